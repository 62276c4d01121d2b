"""Nothing is lost for want of a character set: neither what is printed, nor a folder whose name is no text."""

import os
import sys
from functools import partial

import pytest
from installed import TINY, command, require_one_line, summary, warm

RUN = [*TINY, "metrics=basic", "epochs=1"]
POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NO_TEXT = os.fsdecode(b"caf\xe9")  # Latin 1, on a file system that others write UTF-8 on


def terminal_of(encoding: str) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding=encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_terminal_without_the_letters_shows_every_line_and_the_letters_escaped(encoding, tmp_path):
    terminal = partial(terminal_of, encoding)
    done = warm("ncf-train", *RUN, "output_dir=наука", "name=run", cwd=tmp_path, prepare=terminal)
    assert (done.returncode, done.stderr) == (0, "")
    assert "run folder: \\u043d\\u0430\\u0443\\u043a\\u0430/runs/run" in done.stdout and "BCE" in done.stdout
    run = tmp_path / "наука/runs/run"
    assert "run folder: наука/runs/run" in (run / "run.log").read_text(encoding="utf-8")
    for name, words in (("ncf-eval", [f"checkpoint={run}", "threads=1"]), ("ncf-report", [run]), ("ncf-sample", [f"checkpoint={run}", "n=3"])):
        done = warm(name, *words, cwd=tmp_path, prepare=terminal)
        assert (done.returncode, done.stderr) == (0, "") and "written: " in done.stdout and "\\u043d" in done.stdout
    require_one_line(warm("ncf-train", "resume=нет", cwd=tmp_path, prepare=terminal), "resume=\\u043d\\u0435\\u0442: no run is there")
    done = warm("ncf-train", "--multirun", *RUN, "seed=0,1", "name=зоб", cwd=tmp_path, prepare=terminal)
    assert done.returncode == 0 and "sweep folder: outputs/sweeps/\\u0437" in done.stdout


def test_a_folder_whose_name_is_no_text_holds_runs_like_any_other(tmp_path):
    done = warm("ncf-train", *RUN, f"output_dir={NO_TEXT}", "name=run", f"data_dir={tmp_path}/{NO_TEXT}", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert f"run folder: {NO_TEXT}/runs/run" in done.stdout  # its very bytes
    run = tmp_path / NO_TEXT / "runs/run"
    done = warm("ncf-train", f"resume={run}", "epochs=2", cwd=tmp_path)
    assert (done.returncode, summary(run)["epochs_trained"]) == (0, 2), done.stderr
    for name, words in (("ncf-eval", [f"checkpoint={run}", "threads=1"]), ("ncf-sample", [f"checkpoint={run}", "n=3"]), ("ncf-report", [run])):
        done = warm(name, *words, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "What was run" in (run / "report.html").read_text(encoding="utf-8")
    done = warm("ncf-train", "--multirun", *RUN, "seed=0,1", f"output_dir={NO_TEXT}", f"name={NO_TEXT}", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    done = warm("ncf-report", tmp_path / NO_TEXT, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and (tmp_path / NO_TEXT / "comparison.md").read_text(encoding="utf-8")


def test_a_machine_without_a_locale_works_with_any_folder(tmp_path):
    done = command("ncf-train", *RUN, "output_dir=наука", "name=run", cwd=tmp_path, **POSIX)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "run folder: наука/runs/run" in done.stdout  # the bytes that were typed
    assert summary(tmp_path / "наука/runs/run")["status"] == "complete"
    done = command("ncf-report", "наука/runs", cwd=tmp_path, **POSIX)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr

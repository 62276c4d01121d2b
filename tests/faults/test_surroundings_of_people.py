"""Homes, links, temporary folders, strangers' files, ways in: what surrounds a run on other people's machines."""

import os
import pwd
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from installed import TINY, command, require_one_line, summary, warm

RUN = [*TINY, "metrics=basic", "epochs=1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("run")
    assert warm("ncf-train", *RUN, "name=run", cwd=cwd).returncode == 0
    return cwd / "outputs/runs/run"


# --- homes ------------------------------------------------------------------------------------------------------------


class Home:
    """The process has this home, or none and a user whom the machine does not know."""

    def __init__(self, home: str | None):
        self.home = home

    def __call__(self) -> None:
        os.environ.pop("XDG_CACHE_HOME", None)
        os.environ.pop("HOME", None)
        if self.home:
            os.environ["HOME"] = self.home
        else:
            pwd.getpwuid = unknown


def unknown(uid: int):
    raise KeyError(f"getpwuid(): uid not found: {uid}")


def test_a_tilde_is_the_home_in_every_path(tmp_path):
    home = Home(str(tmp_path / "home"))
    for words in (["output_dir=~/out", "name=one"], ["run_dir=~/out/runs/two"]):
        assert warm("ncf-train", *RUN, *words, cwd=tmp_path, prepare=home).returncode == 0
    first, second = (tmp_path / "home/out/runs" / name for name in ("one", "two"))
    done = warm("ncf-train", "resume=~/out/runs/one", "epochs=2", cwd=tmp_path, prepare=home)
    assert (done.returncode, summary(first)["epochs_trained"]) == (0, 2), done.stderr
    done = warm("ncf-eval", "checkpoint=~/out/runs/two", "output=~/eval.json", "threads=1", cwd=tmp_path, prepare=home)
    assert done.returncode == 0 and (tmp_path / "home/eval.json").exists(), done.stderr
    done = warm("ncf-report", "~/out/runs", "--output", "~/page", cwd=tmp_path, prepare=home)
    assert done.returncode == 0 and (tmp_path / "home/page/comparison.html").exists(), done.stderr
    done = warm("ncf-train", "--multirun", *RUN, "seed=0,1", "output_dir=~/out", "name=s", cwd=tmp_path, prepare=home)
    assert done.returncode == 0 and len(list((tmp_path / "home/out/sweeps/s").glob("seed=*"))) == 2, done.stderr
    assert summary(second)["status"] == "complete" and [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_user_without_a_home_and_a_name_trains_and_is_told_where_a_home_would_be_needed(tmp_path):
    done = warm("ncf-train", *RUN, "name=run", cwd=tmp_path, prepare=Home(None))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    require_one_line(warm("ncf-train", *RUN, "output_dir=~/x", cwd=tmp_path, prepare=Home(None)), "~/x: there is no home folder here")
    done = warm("ncf-train", "dataset=mnist", "dataset.mirror=http://127.0.0.1:9", cwd=tmp_path, prepare=Home(None))
    require_one_line(done, "mnist/train-images-idx3-ubyte.gz", "data_dir")


# --- links, temporary folders -----------------------------------------------------------------------------------------


def test_runs_behind_links_are_reported_once_and_a_circle_ends(run, tmp_path):
    (tmp_path / "all").mkdir()
    for name in ("one", "again"):
        os.symlink(run, tmp_path / "all" / name)
    os.symlink(tmp_path / "all", tmp_path / "all/circle")
    assert warm("ncf-train", *RUN, "seed=1", f"run_dir={tmp_path}/elsewhere/other", cwd=tmp_path).returncode == 0
    os.symlink(tmp_path / "elsewhere", tmp_path / "all/others")
    done = warm("ncf-report", "all", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert len((tmp_path / "all/comparison.csv").read_text().splitlines()) == 1 + 2


def no_temporary_folder() -> None:
    tempfile.tempdir = "/proc/none"


def test_a_sweep_needs_no_temporary_folder(tmp_path):
    done = warm("ncf-train", "--multirun", *RUN, "seed=0,1", "name=sweep", cwd=tmp_path, prepare=no_temporary_folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert [path.name for path in sorted((tmp_path / "outputs/sweeps/sweep").glob("seed=*"))] == ["seed=0", "seed=1"]


def uncountable_cores() -> None:
    """What joblib finds in a container without /sys."""
    from joblib.externals.loky.backend import context

    def fail():
        try:
            raise ValueError("found 0 physical cores < 1")
        except ValueError as error:
            return "not found", error

    context.physical_cores_cache = None
    context._count_physical_cores = fail


def test_a_machine_that_hides_its_cores_is_no_reason_for_a_traceback(run, tmp_path):
    done = warm(
        "ncf-eval", f"checkpoint={run}", "metrics=paper", "metrics.samples=50", f"output={tmp_path}/e.json", cwd=tmp_path, prepare=uncountable_cores
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    done = warm("ncf-report", run, "--output", tmp_path / "page.html", cwd=tmp_path, prepare=uncountable_cores)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


# --- strangers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stranger", ["data_dir: {a: 1}", "data_dir: STRANGE", "- a list", "{", "threads: many"])
def test_a_stranger_s_config_next_door_decides_nothing(stranger, run, tmp_path):
    (tmp_path / "home/models").mkdir(parents=True)
    (tmp_path / "strange").mkdir()
    (tmp_path / "home/config.yaml").write_text(stranger.replace("STRANGE", str(tmp_path / "strange")))
    for folder in ("models", "checkpoints"):
        (tmp_path / "home" / folder).mkdir(exist_ok=True)
        (tmp_path / "home" / folder / "best.pt").write_bytes((run / "checkpoints/best.pt").read_bytes())
        done = warm("ncf-eval", f"checkpoint=home/{folder}/best.pt", "threads=1", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        require_one_line(  # it looks where it would without the stranger
            warm(
                "ncf-eval",
                f"checkpoint=home/{folder}/best.pt",
                "dataset=mnist",
                "dataset.mirror=http://127.0.0.1:9",
                cwd=tmp_path,
                prepare=Home("/proc/none"),
            ),
            "/proc/none/.cache/ncf/mnist/",
        )
    assert warm("ncf-report", "home", cwd=tmp_path).returncode == 0


# --- ways in ----------------------------------------------------------------------------------------------------------


def test_python_m_ncf_is_a_way_in(tmp_path):
    def module(*words):
        return subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, timeout=900)

    done = module("ncf", "train", *RUN, "name=run")
    assert (done.returncode, done.stderr) == (0, "") and summary(tmp_path / "outputs/runs/run")["status"] == "complete"
    done = module("ncf", "trian")
    assert done.returncode == 1 and done.stderr.startswith("error: 'trian' is no command of ncf; did you mean 'train'?")
    done = module("ncf.cli", "train", *RUN, "name=other")
    assert done.returncode == 1 and "python -m ncf train" in done.stderr
    assert module("ncf").returncode == 1 and not (tmp_path / "outputs/runs/other").exists()


def test_two_ways_to_name_the_same_images(tmp_path):
    np.savez(tmp_path / "own.npz", x_train=np.eye(5)[None].repeat(60, 0))
    words = [word for word in RUN if not word.startswith("dataset.")]
    done = warm("ncf-train", *words, "dataset=npz", "dataset.path=~/own.npz", "name=run", cwd=tmp_path, prepare=Home(str(tmp_path)))
    assert done.returncode == 0, done.stderr
    done = command("ncf-train", *words, "dataset=npz", f"dataset.path={tmp_path}/own.npz", "name=run", cwd=tmp_path)
    assert done.returncode == 0 and "already complete" in done.stdout

"""What a person sees while a run trains, on terminals of every kind."""

import fcntl
import json
import os
import pty
import re
import struct
import termios
import threading

import numpy as np
import pytest
from installed import TINY, summary, warm


def on_terminal(columns: int, *arguments, cwd) -> str:
    """What ``ncf-train`` shows on a terminal of so many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
    seen = []
    reader = threading.Thread(target=read_all, args=(master, seen))
    reader.start()
    done = warm("ncf-train", *arguments, cwd=cwd, prepare=Terminal(os.ttyname(slave)))
    os.close(slave)
    reader.join()
    os.close(master)
    assert done.returncode == 0, seen
    return b"".join(seen).decode()


def read_all(descriptor: int, seen: list[bytes]) -> None:
    try:
        while part := os.read(descriptor, 4096):
            seen.append(part)
    except OSError:  # nobody holds the other end any more
        pass


class Terminal:
    """In the command's process: its output goes to the terminal."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self) -> None:
        descriptor = os.open(self.name, os.O_RDWR | os.O_NOCTTY)
        for output in (1, 2):
            os.dup2(descriptor, output)


@pytest.mark.parametrize("columns", [0, 40, 120])
def test_a_terminal_of_any_size_keeps_a_line_per_epoch_with_its_validation(columns, tmp_path):
    shown = on_terminal(columns, *TINY, "batch_size=4", "name=run", cwd=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "outputs/runs/run/metrics.jsonl").read_text().splitlines()]
    for row in rows:
        line = f"epoch   {row['epoch']}/2  train BCE {row['train_bce']:.2f}  ToD {row['train_tod']:.2f}  validation BCE {row['validation_bce']:.2f}"
        assert re.search(rf"(^|[\r\nJK ]){re.escape(line)}[^\r\n]*\r\n", shown), shown
    assert ("batch/s" in shown or "images/s, " in shown or "epoch 1/2" in shown) == (columns > 0)


def test_a_run_says_what_it_is_trained_on_and_made_with(tmp_path):
    np.savez(tmp_path / "my pictures.npz", x_train=np.random.default_rng(0).random((300, 8, 8)))
    done = warm("ncf-train", *TINY, "dataset=npz", "dataset.path=my pictures.npz", "dataset.binarize=none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "my pictures: 200 training, 50 validation and 50 test images of 8 x 8, grey; validation and test split off its training images\n"
        "gncn_pdh: 8,640 synapses\n"
    ) in done.stdout
    assert "gncn_pdh (K = 5, beta = 0.1) on my pictures, best epoch" in done.stdout
    (run,) = (tmp_path / "outputs/runs").iterdir()
    assert run.name.endswith("_gncn_pdh_my pictures_seed0")
    told = summary(run)
    assert told["images"] == {"train": 200, "validation": 50, "test": 50} and told["synapses"] == 8640
    assert told["packages"]["hydra-core"].startswith("1.3") and "made with: {'ncf'" in (run / "run.log").read_text()


def test_the_state_of_git_is_recorded(tmp_path):
    import subprocess

    def git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (tmp_path / "notes").write_text("1")
    git("add", "notes")
    git("commit", "-m", "first")
    assert warm("ncf-train", *TINY, "name=clean", cwd=tmp_path).returncode == 0
    (tmp_path / "notes").write_text("2")
    assert warm("ncf-train", *TINY, "name=dirty", cwd=tmp_path).returncode == 0
    for name, dirty in (("clean", False), ("dirty", True)):
        assert summary(tmp_path / "outputs/runs" / name)["git"]["project"] == {"commit": git("rev-parse", "HEAD"), "dirty": dirty}

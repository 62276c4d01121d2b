"""Data-parallel training as a user starts it: two processes of torchrun against one, on the same images."""

import json
import subprocess
import time

import pytest
from installed import TINY, command, script

from ncf.runs import checkpoint

LAUNCHER = [script("torchrun"), "--standalone", "--no-python", "--nproc-per-node=2", script("ncf-train")]
UPDATES = (
    "compute.dtype=float32 dataset.n_train=1010 batch_size=50 epochs=5 model.layers=[48,48,48] metrics=basic progress=off".split()
)  # 105 updates, the last of an epoch on 10 images


def two(*arguments, cwd, timeout=120) -> subprocess.CompletedProcess:
    return subprocess.run([*LAUNCHER, *arguments], cwd=cwd, capture_output=True, text=True, timeout=timeout)


def rows_of(folder) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


# The kinks of the Laplace prior and of relu's slope let rounding grow in GNCN-t1-Sigma: without them it is the same arithmetic.
SMOOTH = ["model=gncn_t1_sigma", "model.activation=tanh", "model.prior.kind=gaussian"]


@pytest.mark.parametrize(
    "model, kind",
    [
        (["model=gncn_pdh", "model.lateral.columns=[6]"], "whitened"),
        pytest.param(["model=gncn_pdh", "model.lateral.columns=[6]"], "published", marks=pytest.mark.slow),
        pytest.param(SMOOTH, "whitened", marks=pytest.mark.slow),
    ],
)
def test_two_processes_learn_what_one_learns(tmp_path, model, kind):
    setting = [*model, *UPDATES, f"model.precision.kind={kind}"]
    one = command("ncf-train", *setting, "run_dir=one", "threads=1", cwd=tmp_path)
    pair = two(*setting, "run_dir=two", cwd=tmp_path)
    assert one.returncode == pair.returncode == 0, pair.stderr
    assert pair.stdout.count("run folder") == 1  # the second process is silent
    ours, theirs = (checkpoint.load(tmp_path / folder / "checkpoints" / "last.pt")["weights"] for folder in ("one", "two"))
    for name, synapses in ours.items():
        assert (synapses - theirs[name]).abs().max() < 1e-5, name
    for row, other in zip(rows_of(tmp_path / "one"), rows_of(tmp_path / "two"), strict=True):
        assert other == pytest.approx(row, rel=1e-5)
    assert json.loads((tmp_path / "two" / "summary.json").read_text())["hardware"]["processes"] == 2


def test_two_processes_remember_the_tops_of_all_images(tmp_path):
    """Each draws those of its own rows, and both keep them all."""
    alone = "model.last_phase.steps=3 model.last_phase.components=2 model.last_phase.alone=true epochs=2 dataset.n_train=197 batch_size=4 optimizer.lr=1e-6".split()
    setting = ["model=gncn_pdh", "model.lateral.columns=[6]", *UPDATES, *alone]
    one = command("ncf-train", *setting, "run_dir=one", "threads=1", cwd=tmp_path)
    pair = two(*setting, "run_dir=two", cwd=tmp_path)
    assert one.returncode == pair.returncode == 0, pair.stderr
    kept = [checkpoint.load(tmp_path / folder / "checkpoints" / "last.pt")["optimizer"]["tensors"]["Prior.tops"] for folder in ("one", "two")]
    apart = (kept[0] - kept[1]).norm(dim=1) / kept[0].norm(dim=1)
    assert (apart < 0.01).float().mean() > 0.9  # a move that is taken by a hair in one may be left in the other


def test_the_first_process_alone_has_loggers_and_tells(tmp_path):
    tiny = [*TINY, "logger=[tensorboard,csv]", "progress=bar", "name=run"]
    first, again = two(*tiny, cwd=tmp_path), two(*tiny, cwd=tmp_path)
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    assert len(list((tmp_path / "outputs/runs/run/tensorboard").iterdir())) == 1
    assert first.stderr.count("| 0/8 [00:00<?") == 1  # a bar as it begins
    assert again.stdout.count("already complete") == 1


@pytest.mark.slow
def test_two_processes_stopped_together_go_on_bit_for_bit(tmp_path):
    """A signal that one of the two gets is known to both at the same batch."""
    setting = ["model=gncn_pdh", "model.lateral.columns=[6]", *UPDATES]
    assert two(*setting, "run_dir=whole", cwd=tmp_path).returncode == 0
    process = subprocess.Popen([*LAUNCHER, *setting, "run_dir=cut"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    rows = tmp_path / "cut" / "metrics.jsonl"
    while process.poll() is None and not (rows.exists() and rows.read_text().count("\n") >= 2):
        time.sleep(0.02)
    process.terminate()
    process.communicate(timeout=120)
    stopped = json.loads((tmp_path / "cut" / "summary.json").read_text())
    assert stopped["status"] == "stopped" and len(rows_of(tmp_path / "cut")) < 5
    assert two(*setting, "run_dir=cut", cwd=tmp_path).returncode == 0
    ours, theirs = (checkpoint.load(tmp_path / folder / "checkpoints" / "last.pt")["weights"] for folder in ("whole", "cut"))
    assert all((synapses == theirs[name]).all() for name, synapses in ours.items())
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "cut")


@pytest.mark.parametrize("arguments", [["model=gvae"], ["--multirun", "seed=0,1"]])
def test_what_processes_cannot_do_together_is_said(tmp_path, monkeypatch, arguments):
    done = command("ncf-train", *arguments, cwd=tmp_path, WORLD_SIZE="2", RANK="0")
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and "torchrun" in done.stderr
    assert not list(tmp_path.iterdir())

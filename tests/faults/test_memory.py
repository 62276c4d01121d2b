"""Memory that is not there is told in one line with a remedy that fits, before training where it can be foreseen."""

import resource
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from installed import TINY, require_one_line, summary, warm

SMALL = [word for word in TINY if not word.startswith(("epochs", "model."))] + ["epochs=1"]


@dataclass
class Memory:
    """The process may take so many bytes more than it has (ulimit -v)."""

    more: int

    def __call__(self) -> None:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + self.more, resource.RLIM_INFINITY))


@pytest.mark.parametrize(
    "words, expected",
    [
        (["model.layers=[60000,60000]", "model.lateral.columns=[6]"], "model.layers=[60000, 60000]: "),
        (["model=gncn_t1", "metrics=paper", "metrics.samples=1000000000"], "metrics.samples=1000000000: log p(x) of 50 images would take"),
        (["model=gncn_t1", "model.layers=[20000]", "metrics=paper"], "the mixture over 20,000 top activities would take"),
        (
            ["model=gncn_t1", "model.layers=[900]", "model.last_phase.steps=1", "model.last_phase.components=500"],
            "a prior of 500 covariances over 900 units",
        ),
        (["model=gvae", "metrics.names=[elbo]", "metrics.encoder_samples=1000000000"], "metrics.encoder_samples=1000000000 would take"),
    ],
)
def test_what_cannot_fit_is_told_before_training_and_leaves_nothing(words, expected, tmp_path):
    done = warm("ncf-train", *SMALL, *words, cwd=tmp_path, prepare=Memory(3 * 10**9))
    require_one_line(done, expected, " of memory, ", " are free; ", "lower ")
    assert list(tmp_path.iterdir()) == []


def test_an_npz_larger_than_memory_is_no_damaged_file(tmp_path):
    np.savez_compressed(tmp_path / "large.npz", x_train=np.zeros((10**6, 20, 20), np.uint8))
    for more, words in ((3 * 10**8, "its arrays would take about 0.4 GB of memory"), (10**9, "out of memory")):  # foreseen; and on the way
        done = warm("ncf-train", "dataset=npz", "dataset.path=large.npz", "threads=1", cwd=tmp_path, prepare=Memory(more))
        require_one_line(done, words, "use fewer or smaller images")


def test_what_runs_out_on_the_way_says_what_takes_less_there(tmp_path):
    small = [word for word in SMALL if not word.startswith(("batch_size", "dataset."))] + ["dataset.n_train=200"]
    words = ["model=gncn_t1", "model.layers=[40000]", "batch_size=200"]
    done = warm("ncf-train", *small, *words, "name=run", cwd=tmp_path, prepare=Memory(190 * 10**6))
    require_one_line(done, "out of memory (", "lower batch_size or model.layers")
    assert summary(tmp_path / "outputs/runs/run")["status"] == "failed"


def test_what_runs_out_while_measuring_says_what_takes_less_there(tmp_path):
    """Settling is what asks for it there too; `batch_size` and `model.layers` would be no help."""
    words = [*SMALL, "dataset.n_train=900", "model=gncn_t1", "model.layers=[40000]", "model.settle.steps=2", "metrics=basic", "name=run"]
    run = tmp_path / "outputs/runs/run"
    done = warm("ncf-train", *words, "metrics.batch_size=50", cwd=tmp_path)
    assert done.returncode == 0 and "no mixture of 40,000 top activities" in done.stdout, done.stderr  # nor hours for a picture
    before = (run / "checkpoints/best.pt").read_bytes()
    evaluation = ["ncf-eval", f"checkpoint={run}", "threads=1", "metrics=basic", "metrics.n_images=null"]
    done = warm(*evaluation, "metrics.batch_size=1000", cwd=tmp_path, prepare=Memory(330 * 10**6))
    require_one_line(done, "out of memory (", "lower metrics.batch_size, metrics.samples or metrics.n_images")
    assert (run / "checkpoints/best.pt").read_bytes() == before
    done = warm(*evaluation, "metrics.batch_size=50", cwd=tmp_path, prepare=Memory(330 * 10**6))
    assert done.returncode == 0, done.stderr


def test_a_checkpoint_that_does_not_fit_into_memory_is_not_taken_for_a_damaged_one(tmp_path):
    words = [*SMALL, "model=gncn_t1", "model.layers=[30000,4]", "model.settle.steps=2", "metrics=basic", "metrics.batch_size=9", "name=run"]
    assert warm("ncf-train", *words, cwd=tmp_path).returncode == 0
    last = tmp_path / "outputs/runs/run/checkpoints/last.pt"
    before = last.read_bytes()
    done = warm("ncf-train", *words, "epochs=2", cwd=tmp_path, prepare=Memory(35 * 10**6))
    assert done.returncode == 1 and "memory" in done.stderr and "damaged" not in done.stdout + done.stderr
    assert last.read_bytes() == before
    done = warm("ncf-sample", "checkpoint=outputs/runs/run", "n=10000000000", "threads=1", cwd=tmp_path)
    require_one_line(done, "n=10000000000: samples of 64 pixels would take", "lower n")

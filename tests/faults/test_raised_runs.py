"""A run that goes on, with more epochs, other patience, metrics or addresses, is the run that was asked for so at once, bit for bit."""

import os

import numpy as np
import pytest
from installed import TINY, command, require_one_line, rows, summary, warm

from ncf.runs import checkpoint

TRAIN = [*TINY, "optimizer.lr=0.01", "metrics=basic"]
TIMES = ("seconds", "images_per_second")


def train(cwd, *words) -> str:
    done = warm("ncf-train", *TRAIN, *words, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def require_same_run(cwd, one: str, other: str) -> None:
    one, other = cwd / "outputs/runs" / one, cwd / "outputs/runs" / other
    for name in ("best.pt", "last.pt"):
        assert (one / "checkpoints" / name).read_bytes() == (other / "checkpoints" / name).read_bytes(), name
    assert rows(one, *TIMES) == rows(other, *TIMES)
    one, other = ({key: value for key, value in summary(run).items() if key != "seconds"} for run in (one, other))
    assert one == other


@pytest.mark.parametrize(
    "words, ends",
    [
        ("validate_every=2 patience=1 patience_gain=6", (3, 6)),  # the end at 3 used to count for patience
        ("validate_every=2", (1, 3)),  # nothing is validated at first; then the best is not the last
        ("validate_every=0", (2, 5)),  # nothing ever is
        ("validate_every=5 model=gncn_t1 optimizer.lr=0.12", (4, 6, 11)),  # the best is in the middle, of an earlier life
    ],
)
def test_a_run_raised_to_more_epochs_is_the_run_asked_for_them_at_once(words, ends, tmp_path):
    for epochs in ends:
        train(tmp_path, *words.split(), f"epochs={epochs}", "name=raised")
    train(tmp_path, *words.split(), f"epochs={ends[-1]}", "name=once")
    require_same_run(tmp_path, "raised", "once")


@pytest.mark.parametrize("damage", ["row", "checkpoints"])
def test_a_resume_that_is_refused_leaves_the_result(damage, tmp_path):
    """A complete run with a line of metrics.jsonl or its checkpoints damaged cannot go on; its summary and its config stay."""
    train(tmp_path, "epochs=1", "name=run")
    run = tmp_path / "outputs/runs/run"
    if damage == "row":
        (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text().replace('"epoch": 1', '"epoch": 7'))
    else:
        for name in ("last.pt", "previous.pt"):
            (run / "checkpoints" / name).write_bytes(b"damaged")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file() and path.name not in ("run.log", ".lock")}
    require_one_line(
        warm("ncf-train", *TRAIN, "epochs=2", "name=run", cwd=tmp_path), "line 1 of metrics" if damage == "row" else "no readable checkpoint"
    )
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file() and path.name not in ("run.log", ".lock")} == before
    assert summary(run)["status"] == "complete" and summary(run)["epochs"] == 1


def test_only_validations_that_are_due_choose_best_pt_and_without_any_it_is_the_last_state(tmp_path):
    said = train(tmp_path, "validate_every=2", "epochs=3", "name=run")
    run = tmp_path / "outputs/runs/run"
    assert "best.pt is chosen up to epoch 2" in said
    assert [("validation_bce" in row) for row in rows(run)] == [False, True, False]
    assert (summary(run)["best_epoch"], summary(run)["validation_bce"]) == (2, rows(run)[1]["validation_bce"])
    assert checkpoint.load(run / "checkpoints/best.pt")["progress"]["epoch"] == 2
    train(tmp_path, "validate_every=0", "epochs=3", "name=never")
    run = tmp_path / "outputs/runs/never"
    assert (summary(run)["best_epoch"], checkpoint.load(run / "checkpoints/best.pt")["progress"]["epoch"]) == (3, 3)
    assert summary(run)["validation_bce"] == pytest.approx(summary(run)["metrics"]["validation"]["bce"]["value"], rel=1e-6)
    assert command("ncf-report", run, cwd=tmp_path).returncode == 0 and f"{summary(run)['validation_bce']:.2f}" in (run / "report.html").read_text()


def test_a_run_that_patience_stopped_says_why_it_trains_nothing_and_goes_on_with_more_patience(tmp_path):
    impatient = ["patience=1", "patience_gain=1000", "name=run"]
    said = train(tmp_path, *impatient, "epochs=4")
    why = "stopped after epoch 2 of {}, by patience=1: 1 validation in a row not better by patience_gain=1000; to continue, raise patience="
    assert why.format(4) in said and len(rows(tmp_path / "outputs/runs/run")) == 2
    said = train(tmp_path, *impatient, "epochs=5")
    assert why.format(5) in said and "epoch   3/5" not in said
    train(tmp_path, "patience=2", "patience_gain=1000", "epochs=5", "name=run")
    assert len(rows(tmp_path / "outputs/runs/run")) == 3
    train(tmp_path, "patience=2", "patience_gain=1000", "epochs=5", "name=once")
    require_same_run(tmp_path, "run", "once")
    train(tmp_path, "patience=2", "patience_gain=0", "epochs=5", "name=run")  # what was no gain before is one now
    train(tmp_path, "patience=2", "patience_gain=0", "epochs=5", "name=once-more")
    require_same_run(tmp_path, "run", "once-more")
    assert len(rows(tmp_path / "outputs/runs/run")) == 5


def test_patience_without_validations_is_refused_before_anything_is_written(tmp_path):
    done = warm("ncf-train", *TRAIN, "validate_every=0", "patience=2", "name=run", cwd=tmp_path)
    require_one_line(done, "patience=2 counts validations, and validate_every=0 makes none before the end; set validate_every=1")
    assert list(tmp_path.iterdir()) == []


def test_other_metrics_are_measured_on_a_finished_run_without_training_it_again(tmp_path):
    train(tmp_path, "name=run")
    said = train(tmp_path, "metrics=fast", "metrics.mask=left", "name=run")
    assert "epoch   1/2" not in said
    figures = summary(tmp_path / "outputs/runs/run")["metrics"]
    assert figures["test"]["m_mse"]["mask"] == "left"
    done = warm("ncf-eval", "checkpoint=outputs/runs/run", "threads=1", cwd=tmp_path)  # what the report measured, again
    assert done.returncode == 0, done.stderr
    assert "M-MSE" in done.stdout
    train(tmp_path, "metrics=fast", "metrics.mask=left", "name=once")
    require_same_run(tmp_path, "run", "once")
    assert "already complete" in train(tmp_path, "metrics=fast", "metrics.mask=left", "name=run")


# --- addresses --------------------------------------------------------------------------------------------------------


def own_images(path, seed: int = 0, **changes) -> None:
    rng = np.random.default_rng(seed)
    content = {"x_train": rng.random((300, 5, 4)) < 0.4, "y_train": rng.integers(0, 3, 300), "x_test": rng.random((40, 5, 4)) < 0.4}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **content | {"y_test": rng.integers(0, 3, 40)} | changes)


def test_a_run_goes_on_with_images_that_have_moved_and_not_with_others(tmp_path):
    own_images(tmp_path / "here/images.npz")
    own = ["dataset=npz", "epochs=1", "name=run"]
    train(tmp_path, *own, "dataset.path=here/images.npz")
    (tmp_path / "here").rename(tmp_path / "there")
    require_one_line(warm("ncf-train", "resume=outputs/runs/run", "epochs=2", cwd=tmp_path), "here/images.npz: no such file")
    own_images(tmp_path / "labels.npz", y_test=np.arange(40) % 3)  # the training images are the same
    own_images(tmp_path / "test.npz", x_test=np.eye(5, 4)[None].repeat(40, 0) > 0)
    for other in ("labels.npz", "test.npz"):
        for epochs in (1, 2):  # complete, and not
            done = warm("ncf-train", "resume=outputs/runs/run", f"epochs={epochs}", f"dataset.path={other}", cwd=tmp_path)
            require_one_line(done, "the images are not those it began with")
    done = warm("ncf-train", "resume=outputs/runs/run", "epochs=2", "dataset.path=there/images.npz", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    train(tmp_path, "dataset=npz", "dataset.path=there/images.npz", "epochs=2", "name=once")
    require_same_run(tmp_path, "run", "once")


def test_a_link_may_point_elsewhere_and_a_folder_of_data_have_another_name(tmp_path):
    own_images(tmp_path / "one.npz")
    own_images(tmp_path / "two/copy.npz")
    os.symlink("one.npz", tmp_path / "link.npz")
    train(tmp_path, "dataset=npz", "dataset.path=link.npz", "epochs=1", "name=linked")
    (tmp_path / "link.npz").unlink()
    (tmp_path / "one.npz").unlink()
    os.symlink("two/copy.npz", tmp_path / "link.npz")
    train(tmp_path, "dataset=npz", "dataset.path=link.npz", "epochs=2", "name=linked")
    assert len(rows(tmp_path / "outputs/runs/linked")) == 2
    train(tmp_path, "epochs=1", "name=folder")  # the digits lie in no folder: any name is an address
    train(tmp_path, "epochs=2", "dataset.folder=elsewhere", f"data_dir={tmp_path}", "name=folder")
    assert len(rows(tmp_path / "outputs/runs/folder")) == 2

"""TensorBoard events: the rows of the run and its pictures, no event twice after a resume, no cost to the run."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pages import command, train
from PIL import Image

from ncf.config.schema import TrainConfig
from ncf.report import tensorboard


def read(folder: Path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator(str(folder / "tensorboard"))
    return accumulator.Reload()


def test_the_events_are_the_rows_and_the_run_is_the_same_bit_for_bit(finished, tmp_path):
    folder = tmp_path / "run"
    done = train(folder, "epochs=3", "logger=tensorboard")
    assert done.returncode == 0, done.stderr
    rows, found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()], read(folder)
    assert set(found.Tags()["scalars"]) == set(rows[0]) - {"epoch"}
    for name in found.Tags()["scalars"]:
        assert [(e.step, e.value) for e in found.Scalars(name)] == [(row["epoch"], np.float32(row[name])) for row in rows]
    pictures = found.Images("reconstructions")
    assert [e.step for e in pictures] == [1, 2, 3] and (pictures[0].width, pictures[0].height) == (8 * 58 - 2, 4 * 58 - 2)
    assert np.unique(np.asarray(Image.open(io.BytesIO(pictures[0].encoded_image_string)))[:56:7, :56:7]).tolist() == [0, 255]  # the image itself
    for name in ("best.pt", "last.pt"):
        assert len({hashlib.sha256((run / "checkpoints" / name).read_bytes()).hexdigest() for run in (folder, finished)}) == 1


class FakeRun:
    def __init__(self, folder: Path):
        self.folder, self.said, self.config = folder, [], TrainConfig(model=None, logger=["tensorboard"])

    def say(self, line: str) -> None:
        self.said.append(line)


def row(epoch: int, value: float) -> dict:
    return {"epoch": epoch, "train_bce": value}


def test_epochs_that_a_resume_repeats_are_there_once(tmp_path):
    pytest.importorskip("tensorboard")
    for first, values in ((1, {1: 10.0, 2: 20.0, 3: 30.0}), (3, {3: 33.0, 4: 40.0})):
        events = tensorboard.Events(FakeRun(tmp_path), first)
        for epoch, value in values.items():
            events.epoch(row(epoch, value), None, np.zeros((0, 4)), (2, 2))
        events.close()
        assert events.run.said == []
    assert [(e.step, e.value) for e in read(tmp_path).Scalars("train_bce")] == [(1, 10.0), (2, 20.0), (3, 33.0), (4, 40.0)]


def test_events_that_cannot_be_written_are_one_warning(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_text("in the way")
    events = tensorboard.Events(FakeRun(tmp_path), 1)
    for epoch in (1, 2):
        events.epoch(row(epoch, 1.0), None, np.zeros((0, 4)), (2, 2))
    events.close()
    assert len(events.run.said) == 1 and events.run.said[0].startswith("warning: no more events for TensorBoard")


def test_a_disk_that_fills_up_is_one_warning(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    events = tensorboard.Events(FakeRun(tmp_path), 1)

    def full(*_) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(events.writer, "add_scalar", full)
    for epoch in (1, 2):
        events.epoch(row(epoch, 1.0), None, np.zeros((0, 4)), (2, 2))
    assert events.run.said == ["warning: no more events for TensorBoard (no space left)"]


def test_a_missing_package_is_one_line_before_anything_is_made(tmp_path):
    (tmp_path / "shadow" / "tensorboard").mkdir(parents=True)
    (tmp_path / "shadow" / "tensorboard" / "__init__.py").write_text("raise ModuleNotFoundError('not installed')\n")
    done = train(tmp_path / "run", "logger=tensorboard", env={"PYTHONPATH": str(tmp_path / "shadow")})
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and not (tmp_path / "run").exists()
    assert done.stderr.startswith("error: logger=tensorboard: the package tensorboard is not installed; pip install 'ncf[tensorboard]'")


def test_counterparts_stand_below_their_images():
    images, others = np.arange(10, dtype=np.uint8)[:, None], 100 + np.arange(10, dtype=np.uint8)[:, None]
    sheet = tensorboard.above_below(images, others)[:, 0].reshape(4, 8).tolist()
    assert sheet == [[*range(8)], [*range(100, 108)], [8, 9, *[255] * 6], [108, 109, *[255] * 6]]


def test_a_model_without_a_decoder_has_scalars_alone(tmp_path):
    done = command(
        "ncf-train",
        "model=relu_classifier",
        "model.layers=[8]",
        "dataset.n_train=50",
        "epochs=1",
        f"run_dir='{tmp_path / 'run'}'",
        "logger=tensorboard",
    )
    assert done.returncode == 0 and "warning" not in done.stdout, done.stderr
    tags = read(tmp_path / "run").Tags()
    assert "validation_bce" in tags["scalars"] and tags["images"] == []

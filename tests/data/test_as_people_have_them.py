"""Files and arrays as people have them: found, or told apart in words; labels keep their names, and sizes come from what is there."""

import gzip
import json
import struct

import numpy as np
import pytest
from installed import require_one_line, summary, warm

from ncf.config.schema import DatasetConfig
from ncf.data import datasets

LEAST = ["model=gncn_t1", "model.layers=[12]", "model.settle.steps=2", "epochs=1", "batch_size=20", "metrics=basic", "threads=1"]
RNG = np.random.default_rng(0)
X = (RNG.random((60, 28, 28)) < 0.4).astype(np.uint8) * 255
Y = np.arange(60) % 10


def idx(array) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


PARTS = {"train-images-idx3-ubyte": X, "train-labels-idx1-ubyte": Y, "t10k-images-idx3-ubyte": X[:20], "t10k-labels-idx1-ubyte": Y[:20]}
LAYOUTS = {
    "torchvision": lambda name: f"MNIST/raw/{name}",
    "torchvision, gzipped": lambda name: f"MNIST/raw/{name}.gz",
    "unpacked": lambda name: f"mnist/{name}",
    "Kaggle": lambda name: name.replace("-idx", ".idx"),
    "Kaggle, a folder for each": lambda name: "mnist/" + "/".join([name.replace("-idx", ".idx")] * 2),
    "the folder raw itself": lambda name: f"raw/{name}",
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_mnist_is_found_where_other_programs_put_it(layout, tmp_path):
    for name, array in PARTS.items():
        path = tmp_path / "data" / layout(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(idx(array)) if path.suffix == ".gz" else idx(array))
    data = datasets.load(DatasetConfig(name="mnist"), tmp_path / "data")
    assert (len(data.splits["train"]), len(data.splits["validation"]), data.n_classes) == (50, 10, 10)
    assert np.array_equal(data.splits["test"].x.numpy(), X[:20].reshape(20, -1) / 255)


def test_keras_mnist_and_kin_are_found(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=X, y_train=Y, x_test=X[:20], y_test=Y[:20])
    done = warm("ncf-train", *LEAST, "dataset=mnist", f"data_dir={tmp_path}", "name=run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    for folder in ("FashionMNIST/raw", "KMNIST/raw"):
        for name, array in PARTS.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_bytes(idx(array))
    for name in ("fashion_mnist", "kmnist"):
        assert len(datasets.load(DatasetConfig(name=name), tmp_path).splits["test"]) == 20


def test_a_report_never_downloads(tmp_path):
    for name, array in PARTS.items():
        (tmp_path / name).write_bytes(idx(array))
    done = warm("ncf-train", *LEAST, "dataset=mnist", f"data_dir={tmp_path}", "name=run", "dataset.mirror=http://127.0.0.1:9", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in PARTS:
        (tmp_path / name).unlink()
    for paths in (["outputs/runs/run"], ["outputs/runs"]):
        done = warm("ncf-report", *paths, cwd=tmp_path)
        assert done.returncode == 0 and "downloading" not in done.stdout + done.stderr
    assert "is missing; set NCF_DATA" in warm("ncf-report", "outputs/runs/run", cwd=tmp_path).stderr


# --- labels -----------------------------------------------------------------------------------------------------------


def save(path, **content) -> None:
    bright = np.random.default_rng(1).random((60, 5, 5)) < 0.4
    np.savez(path, **{"x_train": bright, "x_test": bright[:20]} | content)


def test_classes_are_what_occurs_and_keep_their_names(tmp_path):
    dates = 20240101 + np.arange(60) % 4
    save(tmp_path / "dates.npz", y_train=dates, y_test=dates[:20])
    own = ["dataset=npz", "dataset.path=dates.npz"]
    done = warm("ncf-train", *LEAST, *own, "metrics.names=[bce,class_err]", "name=run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert 0 <= summary(tmp_path / "outputs/runs/run")["metrics"]["test"]["class_err"]["value"] <= 100
    done = warm("ncf-sample", "checkpoint=outputs/runs/run", "n=12", "threads=1", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    folder = tmp_path / "outputs/runs/run/checkpoints/best-samples"
    told = json.loads((folder / "samples.json").read_text())["classes"]
    assert told["names"] == [20240101, 20240102, 20240103, 20240104] and len(told["samples"]) == 4 and sum(told["samples"]) == pytest.approx(1)
    assert set(np.load(folder / "samples.npz")["class"].tolist()) <= set(told["names"]) and "20240103" in done.stdout
    assert (folder / "samples.json").stat().st_size < 5000
    words = ["model=relu_classifier", "epochs=1", "threads=1", "metrics=basic"]
    done = warm("ncf-train", *words, *own, "name=classes", cwd=tmp_path)  # four of them, not 20 million
    assert done.returncode == 0, done.stderr
    save(tmp_path / "dates.npz", y_train=dates + 7, y_test=dates[:20] + 7)  # the same but for their names: other images
    require_one_line(warm("ncf-train", "resume=outputs/runs/run", "epochs=2", cwd=tmp_path), "the images are not those it began with")


@pytest.mark.parametrize("largest", [2**62, 255])
def test_a_label_sets_no_size(largest, tmp_path):
    save(tmp_path / "own.npz", y_train=np.where(np.arange(60) % 2, largest, 3).astype(np.uint64), y_test=np.full(20, largest, np.uint64))
    data = datasets.load(DatasetConfig(name="npz", path=str(tmp_path / "own.npz")))
    assert (data.n_classes, data.labels, set(data.splits["test"].y.tolist())) == (2, (3, largest), {1})


@pytest.mark.parametrize(
    "content, expected",
    [
        ({"y_train": np.where(np.arange(60) == 7, -1, 3)}, "y_train holds -1 (1 of its 60 labels)"),
        ({"y_train": np.full(60, 2**63, np.uint64)}, "y_train holds 9223372036854775808 (60 of its 60 labels)"),
        ({"y_train": Y, "y_test": Y[:20], "y_validation": Y[:9]}, "holds y_validation but no x_validation"),
        ({"x_train": np.full((60, 5, 5), 1.001)}, "values from 1.001 to 1.001;"),
    ],
)
def test_what_is_wrong_with_arrays_is_named(content, expected, tmp_path):
    save(tmp_path / "own.npz", **content)
    require_one_line(warm("ncf-train", *LEAST, "dataset=npz", "dataset.path=own.npz", cwd=tmp_path), expected)


def test_images_that_the_threshold_empties_or_fills_are_told(tmp_path):
    grey = np.random.default_rng(2).integers(0, 17, (60, 5, 5))
    for name, x in (("dark", grey), ("bright", 255 - grey)):
        np.savez(tmp_path / f"{name}.npz", x_train=x.astype(np.uint8))
        words = [*LEAST, "dataset=npz", f"dataset.path={name}.npz"]
        done = warm("ncf-train", *words, f"name={name}", cwd=tmp_path)
        assert (
            done.returncode == 0 and f"warning: {'0.0' if name == 'dark' else '100.0'}% of the training pixels are at least one half" in done.stdout
        )
        assert "warning" not in warm("ncf-train", *words, f"name={name}2", "dataset.binarize=none", cwd=tmp_path).stdout


def test_rounding_beyond_one_is_no_fault(tmp_path):
    x = np.random.default_rng(3).random((60, 5, 5)).astype(np.float32)
    x[0, 0, :2] = 1.0000001, -0.0000001
    save(tmp_path / "own.npz", x_train=x)
    data = datasets.load(DatasetConfig(name="npz", path=str(tmp_path / "own.npz"), binarize="none", n_validation=1))
    assert 0 <= data.splits["train"].x.min() and data.splits["train"].x.max() <= 1


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2000,), (2000, 1), (1, 1)])
def test_vectors_and_towers_have_pictures_that_one_can_look_at(shape, tmp_path):
    np.savez(tmp_path / "own.npz", x_train=np.random.default_rng(4).random((30, *shape)) < 0.5)
    done = warm("ncf-train", *LEAST, "dataset=npz", "dataset.path=own.npz", "name=run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    done = warm("ncf-sample", "checkpoint=outputs/runs/run", "n=5", "threads=1", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    pictures = [path for path in (tmp_path / "outputs/runs/run").rglob("*.png")]
    assert len(pictures) >= 3
    for path in pictures:
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert 0 < width < 50_000 and 0 < height < 20_000, (path.name, width, height)

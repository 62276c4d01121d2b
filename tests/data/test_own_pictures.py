"""The user's own pictures and files: folders, MedMNIST's names, EMNIST and other IDX files."""

import gzip
import struct

import numpy as np
import pytest
from installed import TINY, require_one_line, warm
from PIL import Image

from ncf.config.schema import DatasetConfig
from ncf.data import datasets
from ncf.errors import UserError

RNG = np.random.default_rng(0)


def write_folder(root, classes=("cats", "dogs"), n=20, size=(8, 8), suffix="png", colour=False) -> None:
    for i, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for k in range(n):
            pixels = RNG.integers(0, 256, (*size, 3) if colour else size, dtype=np.uint8)
            pixels[0, 0] = 255 * i  # by which a class is known again
            Image.fromarray(pixels).save(root / name / f"{k}.{suffix}")


def load(path, **keys) -> datasets.Dataset:
    return datasets.load(DatasetConfig(name=keys.pop("name", "folder"), path=str(path), binarize=keys.pop("binarize", "none"), **keys))


def test_subfolders_are_classes_and_pixels_are_the_files(tmp_path):
    write_folder(tmp_path / "mine")
    data = load(tmp_path / "mine")
    assert data.image_shape == (8, 8) and data.n_classes == 2 and data.carved == ("validation", "test")
    assert sum(len(split) for split in data.splits.values()) == 40
    for split in data.splits.values():
        assert split.x[:, 0].tolist() == split.y.tolist()
    first = np.asarray(Image.open(tmp_path / "mine" / "cats" / "0.png")).ravel() / np.float32(255)
    assert any(np.allclose(x, first, atol=1e-6) for split in data.splits.values() for x in split.x.numpy())


def test_folders_named_as_splits_are_the_sets_own(tmp_path):
    for split, n in (("train", 12), ("val", 4), ("test", 6)):
        write_folder(tmp_path / split, n=n)
    data = load(tmp_path)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 24, "validation": 8, "test": 12} and data.carved == ()


def test_loose_pictures_have_no_classes(tmp_path):
    write_folder(tmp_path, classes=[""], n=30)
    assert all(split.y is None for split in load(tmp_path).splits.values())


def test_pictures_are_resized_turned_grey_and_turned_round_on_request(tmp_path):
    write_folder(tmp_path / "jpeg", size=(20, 30), suffix="jpg", colour=True)
    assert load(tmp_path / "jpeg", size=7, grey=True).image_shape == (7, 7)
    flat = tmp_path / "flat"
    flat.mkdir()
    for k in range(6):
        Image.fromarray(np.full((6, 9, 3), (255, 0, 51), dtype=np.uint8)).save(flat / f"{k}.png")
    assert load(flat, size=3, grey=True).splits["train"].x.unique().tolist() == pytest.approx([0.299 + 0.2 * 0.114], abs=1e-6)
    assert load(flat, size=3, grey=True, invert=True).splits["test"].x.unique().tolist() == pytest.approx([0.701 - 0.2 * 0.114], abs=1e-6)


def colour(root):
    write_folder(root, colour=True)


def mixed(root):
    write_folder(root)
    write_folder(root, classes=["big"], size=(9, 8))


def damaged(root):
    write_folder(root)
    (root / "cats" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")


def loose(root):
    write_folder(root)
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(root / "left.png")


def only_test(root):
    write_folder(root / "test")


WRONG = {
    colour: ("is in colour; dataset.grey=true turns pictures grey",),
    mixed: ("pictures differ in size", "9 x 8", "dataset.size=28"),
    damaged: ("x.png: cannot be read as a picture",),
    loose: ("has pictures (left.png) next to folders of pictures (cats)",),
    only_test: ("none named train",),
    lambda root: root.mkdir(): ("no picture is in",),
    lambda root: None: ("no such folder",),
    lambda root: root.write_text("x"): ("is no folder",),
}


@pytest.mark.parametrize("make, words", WRONG.items())
def test_a_wrong_folder_is_one_line(make, words, tmp_path):
    make(tmp_path / "mine")
    with pytest.raises(UserError) as error:
        load(tmp_path / "mine")
    assert all(word in str(error.value) for word in words), error.value


def test_the_command_trains_on_a_folder_and_evaluates_it(tmp_path):
    write_folder(tmp_path / "my pictures", n=60)
    tiny = [word for word in TINY if not word.startswith("dataset.")]
    done = warm("ncf-train", *tiny, "dataset=folder", "dataset.path=my pictures", "name=own", "metrics.names=[bce,class_err]", cwd=tmp_path)
    assert done.returncode == 0 and "my pictures: 83 training, 17 validation and 20 test images of 8 x 8" in done.stdout, (done.stdout, done.stderr)
    assert "%Err" in done.stdout and warm("ncf-eval", "checkpoint=outputs/runs/own", cwd=tmp_path).returncode == 0
    require_one_line(warm("ncf-train", "dataset=folder", cwd=tmp_path), "dataset=folder needs dataset.path=FOLDER")


# --- other people's files -----------------------------------------------------------------------------------------------


def test_medmnist_names_and_shapes_are_understood(tmp_path):
    parts = {"train": 40, "val": 10, "test": 12}
    arrays = {f"{name}_images": RNG.integers(0, 256, (n, 9, 9), dtype=np.uint8) for name, n in parts.items()}
    arrays |= {f"{name}_labels": RNG.integers(0, 5, (n, 1)) for name, n in parts.items()}
    np.savez(tmp_path / "pneumonia.npz", **arrays)
    data = load(tmp_path / "pneumonia.npz", name="npz")
    assert [len(data.splits[name]) for name in ("train", "validation", "test")] == [40, 10, 12] and data.carved == ()
    assert data.splits["test"].y.tolist() == arrays["test_labels"][:, 0].tolist()
    np.savez(tmp_path / "blood.npz", train_images=RNG.integers(0, 256, (40, 9, 9, 3), dtype=np.uint8))
    with pytest.raises(UserError, match="dataset.grey=true turns them grey"):
        load(tmp_path / "blood.npz", name="npz")
    assert load(tmp_path / "blood.npz", name="npz", grey=True).image_shape == (9, 9)


@pytest.mark.parametrize("whole, dtype", [(255, np.uint8), (255, np.float32), (1, np.uint8), (1, bool)])
def test_pictures_in_colour_are_as_bright_as_their_greys(whole, dtype, tmp_path):
    """Every neutral grey is itself, on the same side of 1/2 too; of pure and mixed colours the luminance."""
    colours = np.concatenate([np.arange(256)[:, None].repeat(3, 1), [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [9, 200, 77]]])
    colours = colours if whole == 255 else colours > 127
    x = (colours / 255 if dtype == np.float32 else colours).astype(dtype)[:, None, None].repeat(2, 1).repeat(3, 2)
    np.savez(tmp_path / "own.npz", x_train=x, x_test=x)
    grey, black_and_white = (load(tmp_path / "own.npz", name="npz", grey=True, binarize=kind).splits["test"].x for kind in ("none", "threshold"))
    luminance = (colours @ np.array([299, 587, 114]) / 1000 / whole)[:, None].repeat(6, 1)
    assert np.allclose(grey, luminance, atol=1e-6) and np.array_equal(black_and_white, luminance >= 0.5)


def save_deep(root, values: np.ndarray, suffix: str = "tif") -> None:
    root.mkdir()
    for k in range(9):
        Image.fromarray(values).save(root / f"{k}.{suffix}")


DEEP = np.array([[0, 0.25, 0.5], [0.75, 1, 0.1]])


@pytest.mark.parametrize(
    "values, suffix",
    [
        (DEEP.astype(np.float32), "tif"),
        ((DEEP * 65535).astype(np.uint16), "tif"),
        ((DEEP * 65535).astype(np.uint16), "png"),
        ((DEEP * 65535).astype(np.int32), "tif"),
    ],
    ids=["floats", "16 bits", "16 bits, PNG", "32 bits"],
)
def test_pictures_of_floats_and_of_16_bits_are_read_as_they_are(values, suffix, tmp_path):
    save_deep(tmp_path / "mine", values, suffix)
    assert load(tmp_path / "mine").splits["train"].x.numpy() == pytest.approx(np.tile(DEEP.ravel(), (6, 1)), abs=2e-5)


@pytest.mark.parametrize("wrong", [1.5, -0.2, np.nan, np.inf, np.int32(65536), np.int32(-1)])
def test_pictures_of_floats_and_integers_out_of_range_are_named(wrong, tmp_path):
    values = np.zeros((2, 3), np.asarray(wrong).dtype if isinstance(wrong, np.int32) else np.float32)
    values[1, 1] = wrong
    save_deep(tmp_path / "mine", values)
    with pytest.raises(UserError, match=f"0.tif holds values from .*; expected 0 to {1 if values.dtype == np.float32 else 65535}: scale them"):
        load(tmp_path / "mine")


def write_idx(path, array: np.ndarray) -> None:
    raw = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def test_emnist_is_found_by_the_start_of_its_names_and_turned(tmp_path):
    x, y = RNG.integers(0, 256, (30, 5, 7)), RNG.integers(1, 27, 30)
    for kind in ("letters", "digits"):
        write_idx(tmp_path / f"emnist-{kind}-train-images-idx3-ubyte.gz", x.transpose(0, 2, 1))
        write_idx(tmp_path / f"emnist-{kind}-train-labels-idx1-ubyte", y)
        write_idx(tmp_path / f"emnist-{kind}-test-images-idx3-ubyte.gz", x[:8].transpose(0, 2, 1))
        write_idx(tmp_path / f"emnist-{kind}-test-labels-idx1-ubyte", y[:8])
    data = load(tmp_path / "emnist-letters", name="idx")
    assert data.image_shape == (5, 7) and data.carved == ("validation",)
    assert [data.labels[i] for i in data.splits["test"].y] == y[:8].tolist()  # letters count from 1
    assert np.allclose(data.splits["test"].x.numpy(), x[:8].reshape(8, -1) / 255)
    with pytest.raises(UserError, match="several files hold train images"):
        load(tmp_path, name="idx")


DAMAGED = {"empty": b"", "nonsense": b"nonsense", "short": struct.pack(">HBBIII", 0, 8, 3, 5, 4, 4) + bytes(79), "cut": gzip.compress(b"abc")[:9]}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_idx_file_is_one_line(content, tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(UserError, match="train-images-idx3-ubyte is damaged: .*; put a good copy in its place"):
        load(tmp_path, name="idx")

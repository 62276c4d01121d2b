"""The image sets: readers on real and on hand-made files, splits, binarisation, batches as pure functions, downloads.

Longer than 300 lines: what a reader must return is asked of every built-in set alike.
"""

import gzip
import hashlib
import os
import struct
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from installed import command, require_one_line

from ncf.config.schema import DatasetConfig
from ncf.data import datasets
from ncf.data.download import CONTENT, owner_of
from ncf.errors import UserError

needs_data = pytest.mark.skipif("NCF_DATA" not in os.environ, reason="NCF_DATA does not name a folder of image sets")
FILES = [f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")]


def load(name: str = "npz", data_dir: Path | None = None, **keys) -> datasets.Dataset:
    return datasets.load(DatasetConfig(name=name, **keys), data_dir)


# --- the real files ---------------------------------------------------------------------------------------------------


def border_and_centre(x: torch.Tensor) -> tuple[float, float]:
    """Mean of the outermost pixels and of the middle 8 x 8 of images (N, 784)."""
    images = x.reshape(-1, 28, 28)
    edge = torch.ones(28, 28, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    return images[:, edge].mean().item(), images[:, 10:18, 10:18].mean().item()


@needs_data
@pytest.mark.parametrize(
    "name, folder, n_train, mean, class_counts",
    [
        ("mnist", None, 60000, 0.13066, [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("fashion_mnist", None, 60000, 0.28604, [6000] * 10),
        ("kmnist", "kmnist_6k", 6284, None, None),
    ],
)
def test_the_mnist_family_has_its_published_counts_and_means(name, folder, n_train, mean, class_counts):
    data = load(name, os.environ["NCF_DATA"], folder=folder, binarize="none")
    parts = [data.splits[split] for split in ("train", "validation")]
    assert (len(parts[1]), len(data.splits["test"])) == (round(n_train / 6), 10000)
    assert (sum(map(len, parts)), data.image_shape, data.n_classes) == (n_train, (28, 28), 10)
    x, y = torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts])
    if mean:
        assert x.double().mean().item() == pytest.approx(mean, abs=1e-5)
        assert torch.bincount(y).tolist() == class_counts
    border, centre = border_and_centre(x)
    assert border < 0.1 < centre  # the object is bright
    assert (x.min(), x.max()) == (0, 1)


@needs_data
def test_caltech_is_upright_with_the_object_bright_and_has_its_own_validation_images():
    from scipy.io import loadmat

    stored = loadmat(Path(os.environ["NCF_DATA"], "caltech101_silhouettes/caltech101_silhouettes_28_split1.mat"))
    data = load("caltech101_silhouettes", os.environ["NCF_DATA"])
    assert [len(data.splits[split]) for split in ("train", "validation", "test")] == [4100, 2264, 2307]
    assert (data.n_classes, data.splits["test"].y.min(), data.splits["test"].y.max()) == (101, 0, 100)
    for i in (0, 7, 2306):  # column-major, object = 0
        assert (data.splits["test"].x[i].reshape(28, 28).numpy() == 1 - stored["test_data"][i].reshape(28, 28).T).all()
        assert data.splits["test"].y[i] == stored["test_labels"][i, 0] - 1
    border, centre = border_and_centre(data.splits["validation"].x)
    assert border == pytest.approx(1 - 0.967, abs=1e-3) and centre > 0.85


PACKINGS = {
    "as published": ("", bytes),
    "unpacked": ("", gzip.decompress),
    "packed again": (".gz", lambda raw: gzip.compress(gzip.decompress(raw), 1)),
}


@needs_data
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("place", [".", "raw", "fashion_mnist"])
def test_a_file_of_the_same_name_from_another_set_is_refused(place, packing, tmp_path):
    suffix, packed = PACKINGS[packing]
    (tmp_path / place).mkdir(exist_ok=True)
    for file in FILES:
        (tmp_path / place / (file.removesuffix(".gz") + suffix)).write_bytes(packed(Path(os.environ["NCF_DATA"], "mnist", file).read_bytes()))
    with pytest.raises(
        UserError, match="train-images-idx3-ubyte.* is a file of mnist; point data_dir or dataset.folder at the files of fashion_mnist"
    ):
        load("fashion_mnist", tmp_path)
    assert len(load("mnist", tmp_path, folder=place).splits["test"]) == 10000


@needs_data
@pytest.mark.parametrize("name", CONTENT)
def test_every_file_of_the_mnist_family_is_known_by_its_content(name):
    files = [path for file in FILES if (path := Path(os.environ["NCF_DATA"], name, file)).is_file()]
    found = [hashlib.md5(gzip.decompress(path.read_bytes())).hexdigest() for path in files]
    assert len(found) >= 3 and [owner_of(md5) for md5 in found] == [name] * len(found) and len(CONTENT[name]) == 4


# --- hand-made IDX files ----------------------------------------------------------------------------------------------


def idx(array: np.ndarray, magic: int | None = None, sizes: tuple | None = None) -> bytes:
    sizes = array.shape if sizes is None else sizes
    return struct.pack(f">{1 + len(sizes)}i", magic or {3: 2051, 1: 2049}[array.ndim], *sizes) + array.astype(np.uint8).tobytes()


@pytest.fixture
def small_set(tmp_path) -> Path:
    """A valid set under MNIST's names: 30 and 12 images, pixel value = 8 * index, label = index modulo 10."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for split, n in (("train", 30), ("t10k", 12)):
        images = np.broadcast_to(8 * np.arange(n)[:, None, None], (n, 28, 28))
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(n) % 10)))
    return folder


def test_idx_files_are_read_as_written(small_set):
    data = load("mnist", small_set.parent, binarize="none", n_validation=5)
    assert [len(data.splits[split]) for split in ("train", "validation", "test")] == [25, 5, 12]
    assert data.splits["test"].x[:, 0].mul(255).round().tolist() == [8 * i for i in range(12)]
    assert data.splits["test"].y.tolist() == [i % 10 for i in range(12)]
    for split in data.splits.values():  # images and labels stay together through the shuffled split
        index = (split.x[:, 0] * 255 / 8).round().long()
        assert (index % 10 == split.y).all()


def swap_files(folder: Path) -> None:
    images, labels = folder / FILES[0], folder / FILES[1]
    content = images.read_bytes()
    images.write_bytes(labels.read_bytes())
    labels.write_bytes(content)


def flip_a_bit(folder: Path) -> None:
    raw = bytearray((folder / FILES[0]).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / FILES[0]).write_bytes(raw)


def write(file: str, content: bytes, compressed: bool = True):
    return lambda folder: (folder / file).write_bytes(gzip.compress(content) if compressed else content)


DAMAGE = {
    "cut off": (lambda folder: (folder / FILES[0]).write_bytes((folder / FILES[0]).read_bytes()[:-9]), FILES[0], "gzip"),
    "a flipped bit": (flip_a_bit, FILES[0], "gzip"),
    "an HTML page": (
        write(FILES[0], b"<html>not found</html>", compressed=False),
        FILES[0],
        "no IDX file of images or labels .it begins with b'<htm'.",
    ),
    "an empty file": (write(FILES[3], b"", compressed=False), FILES[3], "no IDX file"),
    "nothing in it": (write(FILES[0], b""), FILES[0], "no IDX file"),
    "a wrong magic number": (write(FILES[0], idx(np.zeros((30, 28, 28)), magic=2052)), FILES[0], "no IDX file of images or labels"),
    "floats": (
        write(FILES[0], idx(np.zeros((30, 28, 28 * 4)), magic=0x0D03, sizes=(30, 28, 28))),
        FILES[0],
        "images of float32 where images of uint8",
    ),
    "255 dimensions": (write(FILES[0], b"\0\0\x08\xff" + bytes(4 * 255)), FILES[0], "no IDX file"),
    "images and labels swapped": (swap_files, FILES[0], "holds labels of uint8 where images of uint8"),
    "no images": (write(FILES[0], idx(np.zeros((0, 28, 28)))), FILES[0], "no images"),
    "a negative count": (write(FILES[0], idx(np.zeros((3, 28, 28)), sizes=(-3, 28, 28))), FILES[0], "announces"),
    "fewer images than announced": (write(FILES[0], idx(np.zeros((3, 28, 28)), sizes=(30, 28, 28))), FILES[0], "23520 bytes, 2352 follow"),
    "an overflowing count": (write(FILES[0], idx(np.zeros((3, 28, 28)), sizes=(2**31 - 1, 28, 28))), FILES[0], "announces"),
    "another size": (write(FILES[0], idx(np.zeros((30, 27, 28)))), FILES[0], "27 x 28"),
    "more images than labels": (write(FILES[0], idx(np.zeros((31, 28, 28)))), FILES[0], "31 images but 30 labels"),
    "a label of ten": (write(FILES[3], idx(np.full(12, 10))), FILES[3], "a label is 10"),
}


@pytest.mark.parametrize("damage, file, words", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_idx_file_is_named_with_what_is_wrong(damage, file, words, small_set):
    damage(small_set)
    with pytest.raises(UserError, match=words) as caught:
        load("mnist", small_set.parent)
    assert file in str(caught.value) and "\n" not in str(caught.value) and "good copy" in str(caught.value)


def test_a_file_that_may_not_be_read_is_one_line(small_set, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    for config in (DatasetConfig(name="mnist"), DatasetConfig(name="idx", path=str(small_set))):
        with pytest.raises(UserError, match=f"{FILES[0]} cannot be read .Permission denied."):
            datasets.load(config, small_set.parent)


@pytest.mark.parametrize("name, side", [("caltech101_silhouettes", 28), ("caltech101_silhouettes_16", 16)])
def test_a_matlab_file_of_either_size_is_turned_upright_with_the_object_bright(name, side, tmp_path):
    from scipy.io import savemat

    rng = np.random.default_rng(0)
    stored = {split: rng.integers(0, 2, (n, side * side)).astype(np.uint8) for split, n in (("train", 7), ("val", 3), ("test", 4))}
    labels = {split: rng.integers(1, 102, (len(images), 1)) for split, images in stored.items()}
    arrays = {f"{split}_data": images for split, images in stored.items()} | {f"{split}_labels": y for split, y in labels.items()}
    savemat(tmp_path / f"caltech101_silhouettes_{side}_split1.mat", arrays)
    data = load(name, tmp_path)
    assert data.image_shape == (side, side) and [len(data.splits[split]) for split in ("train", "validation", "test")] == [7, 3, 4]
    for i in range(4):
        assert (data.splits["test"].x[i].reshape(side, side).numpy() == 1 - stored["test"][i].reshape(side, side).T).all()


def test_a_damaged_matlab_file_is_named(tmp_path):
    file = tmp_path / "caltech101_silhouettes_28_split1.mat"
    for content in (b"", b"<html></html>", b"MATLAB 5.0 MAT-file" + bytes(200)):
        file.write_bytes(content)
        with pytest.raises(UserError, match="caltech101_silhouettes_28_split1.mat is damaged"):
            load("caltech101_silhouettes", tmp_path)


# --- the user's own arrays --------------------------------------------------------------------------------------------


def own(tmp_path, **arrays) -> str:
    np.savez(tmp_path / "own.npz", **arrays)
    return str(tmp_path / "own.npz")


def test_bytes_mean_the_same_in_every_split_of_a_file(tmp_path):
    """Dark test images of bytes 0 and 1 beside training images of 0 to 255 are nearly black, not black and white."""
    data = load(path=own(tmp_path, x_train=np.full((12, 3, 3), 255, np.uint8), x_test=np.ones((4, 3, 3), np.uint8)), binarize="none")
    assert data.splits["test"].x.max().item() == pytest.approx(1 / 255) and data.splits["train"].x.max() == 1


@pytest.mark.parametrize("dtype, high", [(np.uint8, 255), (np.uint8, 1), (np.float64, 1.0), (bool, True)])
def test_own_arrays_become_images_from_0_to_1(dtype, high, tmp_path):
    x = np.zeros((12, 2, 3), dtype)
    x[:, 1, 2] = high
    data = load(path=own(tmp_path, x_train=x, x_test=x[:4], y_train=np.arange(12), y_test=np.arange(4)), binarize="none")
    assert (data.image_shape, data.n_classes) == ((2, 3), 12)
    assert [len(data.splits[split]) for split in ("train", "validation", "test")] == [10, 2, 4]
    assert data.splits["test"].x.tolist() == [[0, 0, 0, 0, 0, 1]] * 4


def test_rows_of_pixels_are_images_too_square_where_they_can_be(tmp_path):
    assert load(path=own(tmp_path, x_train=np.zeros((12, 9), np.uint8))).image_shape == (3, 3)
    assert load(path=own(tmp_path, x_train=np.zeros((12, 8), np.uint8))).image_shape == (1, 8)


WRONG_ARRAYS = {
    "NaN": ({"x_train": np.full((9, 2, 2), np.nan)}, "x_train holds NaN"),
    "out of range": ({"x_train": np.full((9, 2, 2), 1.5)}, "x_train holds values from 1.5 to 1.5"),
    "a colour out of range": ({"x_train": np.full((9, 2, 2, 3), (1.5, 0, 0))}, "x_train holds values from 0 to 1.5"),
    "negative": ({"x_train": np.full((9, 2, 2), -1)}, "x_train holds values from -1"),
    "empty": ({"x_train": np.zeros((0, 2, 2))}, "x_train is empty"),
    "no pixels": ({"x_train": np.zeros((9, 0))}, "x_train is empty"),
    "one image": ({"x_train": np.zeros((1, 2, 2))}, "leave none"),
    "texts": ({"x_train": np.array(["a", "b"])}, "x_train is <U1"),
    "four axes": ({"x_train": np.zeros((9, 2, 2, 2))}, r"x_train has shape \(9, 2, 2, 2\)"),
    "objects": ({"x_train": np.array([{}, []], object)}, "not a readable .npz of plain arrays"),
    "no x_train": ({"x": np.zeros((9, 2, 2))}, "holds no array x_train; it has x"),
    "too few labels": ({"x_train": np.zeros((9, 2, 2)), "y_train": np.zeros(8, int)}, "y_train is int64 of shape"),
    "labels between classes": ({"x_train": np.zeros((9, 2, 2)), "y_train": np.zeros(9)}, "y_train is float64"),
    "a negative label": ({"x_train": np.zeros((9, 2, 2)), "y_train": np.full(9, -1)}, "y_train"),
    "another shape of test images": ({"x_train": np.zeros((9, 2, 2)), "x_test": np.zeros((9, 3, 3))}, r"test images are \(3, 3\)"),
}


@pytest.mark.parametrize("arrays, words", WRONG_ARRAYS.values(), ids=WRONG_ARRAYS.keys())
def test_wrong_arrays_are_refused_with_the_reason(arrays, words, tmp_path):
    with pytest.raises(UserError, match=words):
        load(path=own(tmp_path, **arrays))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<html></html>", None], ids=["empty", "cut off", "HTML", "flipped bit"])
def test_a_damaged_npz_is_named(content, tmp_path):
    path = own(tmp_path, x_train=np.zeros((50, 2, 2)))
    if content is None:
        content = bytearray(Path(path).read_bytes())
        content[len(content) // 2] ^= 1
    Path(path).write_bytes(content)
    with pytest.raises(UserError, match="own.npz: not a readable .npz"):
        load(path=path)


# --- splits, binarisation, batches ------------------------------------------------------------------------------------


@pytest.fixture
def numbered(tmp_path) -> str:
    """Sixty images of eight bits: image i is its own number."""
    bits = (np.arange(60)[:, None] >> np.arange(8)) & 1
    return own(tmp_path, x_train=bits.astype(np.uint8), y_train=np.arange(60))


def numbers(split: datasets.Split) -> list[int]:
    return (split.x @ 2.0 ** torch.arange(8)).long().tolist()


def test_splits_are_disjoint_complete_and_of_the_size_asked_for(numbered):
    data = load(path=numbered, n_validation=7)
    parts = {name: numbers(split) for name, split in data.splits.items()}
    assert {name: len(part) for name, part in parts.items()} == {"train": 43, "validation": 7, "test": 10}
    assert sorted(sum(parts.values(), [])) == list(range(60))
    for name, part in parts.items():
        assert data.splits[name].y.tolist() == part


@pytest.mark.parametrize("n, expected", [(9, [3, 3, 3]), (10, [3, 3, 4]), (20, [3, 8, 9]), (40, [3, 10, 27])])
def test_a_stratified_validation_split_takes_as_many_of_every_class_as_there_are(n, expected, tmp_path):
    """Of 3, 10 and 47 images of the three classes."""
    labels = np.repeat([0, 1, 2], [3, 10, 47])
    bits = ((np.arange(60)[:, None] >> np.arange(8)) & 1).astype(np.uint8)
    path = own(tmp_path, x_train=bits, y_train=labels, x_test=bits[:1], y_test=labels[:1])
    drawn = [load(path=path, n_validation=n, stratified=True, split_seed=seed).splits for seed in (0, 0, 1)]
    validation, train = numbers(drawn[0]["validation"]), numbers(drawn[0]["train"])
    found = np.bincount(labels[validation], minlength=3).tolist()
    assert sorted(found) == sorted(expected) and max(found) - min(c for c, all_ in zip(found, (3, 10, 47)) if c < all_) <= 1
    assert sorted(validation + train) == list(range(60)) and labels[train].tolist() == drawn[0]["train"].y.tolist()
    assert numbers(drawn[1]["validation"]) == validation != numbers(drawn[2]["validation"])
    assert train != sorted(train)  # still in random order


def test_the_test_images_carved_from_a_set_are_as_mixed_as_the_set_is(tmp_path):
    """The classes take turns in the validation split alone: of 6, 6 and 48 images, 10 of test are not 3, 3 and 4."""
    bits = ((np.arange(60)[:, None] >> np.arange(8)) & 1).astype(np.uint8)
    path = own(tmp_path, x_train=bits, y_train=np.repeat([0, 1, 2], [6, 6, 48]))
    turns, plain = (load(path=path, n_validation=6, stratified=stratified).splits for stratified in (True, False))
    assert numbers(turns["test"]) == numbers(plain["test"])
    assert torch.bincount(turns["validation"].y).tolist() == [2, 2, 2] != torch.bincount(plain["validation"].y, minlength=3).tolist()


def test_a_set_with_validation_images_of_its_own_says_that_it_draws_none(tmp_path):
    x, y = np.zeros((9, 4)), np.arange(9) % 3
    path = own(tmp_path, x_train=x, y_train=y, x_validation=x, y_validation=y, x_test=x, y_test=y)
    told = [remark for remark in load(path=path, stratified=True).remarks if "stratified" in remark]
    assert told == ["dataset.stratified is not used: this set has validation images of its own"]


def test_a_stratified_split_needs_labels(tmp_path):
    with pytest.raises(UserError, match="dataset.stratified=true: npz has no labels"):
        load(path=own(tmp_path, x_train=np.zeros((9, 4))), stratified=True)


def test_smaller_training_sets_are_nested_and_leave_the_other_splits_alone(numbered):
    sets = {n: load(path=numbered, n_train=n).splits for n in (5, 20, None)}
    assert numbers(sets[20]["train"])[:5] == numbers(sets[5]["train"])
    assert numbers(sets[None]["train"])[:20] == numbers(sets[20]["train"])
    for split in ("validation", "test"):
        assert len({tuple(numbers(splits[split])) for splits in sets.values()}) == 1
    assert numbers(load(path=numbered, split_seed=1).splits["train"]) != numbers(sets[None]["train"])


def test_binarisation_by_threshold_is_at_one_half(tmp_path):
    x = np.tile(np.array([[0, 0.49, 0.5, 1]]), (9, 1))
    assert load(path=own(tmp_path, x_train=x)).splits["train"].x[0].tolist() == [0, 0, 1, 1]
    assert load(path=own(tmp_path, x_train=x), binarize="none").splits["train"].x[0].tolist() == pytest.approx([0, 0.49, 0.5, 1])


def test_bernoulli_binarisation_is_drawn_once_for_measuring_and_anew_in_every_epoch_for_training(tmp_path):
    path = own(tmp_path, x_train=np.full((600, 100), 0.3), x_test=np.full((200, 100), 0.8))
    data, again = load(path=path, binarize="bernoulli"), load(path=path, binarize="bernoulli")
    assert torch.equal(data.splits["test"].x, again.splits["test"].x)
    assert data.splits["test"].x.unique().tolist() == [0, 1]
    assert data.splits["test"].x.mean().item() == pytest.approx(0.8, abs=0.02)  # five standard errors are 0.014
    epochs = [torch.cat([x for _, x, _ in datasets.batches(data, 100, seed=0, epoch=epoch)]) for epoch in (1, 2)]
    assert epochs[0].unique().tolist() == [0, 1]
    assert epochs[0].mean().item() == pytest.approx(0.3, abs=0.02)
    for one, other in (epochs, (epochs[0][:100], epochs[0][100:200])):  # independent draws, over epochs and over batches
        assert (one != other).float().mean().item() == pytest.approx(2 * 0.3 * 0.7, abs=0.025)


def test_the_test_images_are_the_same_whatever_the_seed_of_the_split(numbered):
    """So figures of two splits compare; validation and training images change with it."""
    sets = [load(path=numbered, split_seed=seed).splits for seed in (0, 1, 2)]
    assert len({tuple(numbers(splits["test"])) for splits in sets}) == 1
    assert len({tuple(numbers(splits["validation"])) for splits in sets}) == len({tuple(numbers(splits["train"])) for splits in sets}) == 3


@pytest.mark.parametrize("split", ["validation", "test"])
def test_bernoulli_leaves_no_grey_where_figures_are_measured(split, tmp_path):
    """Each split by a draw of its own: black or white, and white as often as the pixel is bright."""
    path = own(tmp_path, x_train=np.full((600, 100), 0.3), x_validation=np.full((200, 100), 0.6), x_test=np.full((200, 100), 0.6))
    splits = load(path=path, binarize="bernoulli").splits
    assert splits[split].x.unique().tolist() == [0, 1] and splits[split].x.mean().item() == pytest.approx(0.6, abs=0.02)
    assert (splits["validation"].x != splits["test"].x).float().mean().item() == pytest.approx(2 * 0.6 * 0.4, abs=0.025)
    assert splits["train"].x.unique().tolist() == pytest.approx([0.3])  # drawn anew in every epoch
    other = load(path=path, binarize="bernoulli", split_seed=1).splits
    assert not torch.equal(other[split].x, splits[split].x)


def test_static_images_are_drawn_once_and_few_of_them_are_a_part_of_all(tmp_path):
    path = own(tmp_path, x_train=np.full((600, 100), 0.3), x_test=np.full((200, 100), 0.8))
    data, again, few = (load(path=path, binarize="static", n_train=n) for n in (None, None, 50))
    for split, mean in (("train", 0.3), ("validation", 0.3), ("test", 0.8)):
        assert data.splits[split].x.unique().tolist() == [0, 1] and data.splits[split].x.mean().item() == pytest.approx(mean, abs=0.02)
        assert torch.equal(data.splits[split].x, again.splits[split].x)
    assert torch.equal(few.splits["train"].x, data.splits["train"].x[:50])
    epochs = [torch.cat([x for _, x, _ in datasets.batches(data, 100, seed=0, epoch=epoch)]) for epoch in (1, 2)]
    assert torch.equal(epochs[0].sum(1).sort().values, epochs[1].sum(1).sort().values)  # the same images in another order


def test_the_noise_of_training_images_is_of_the_seed_too(tmp_path):
    """Of images that are all alike, so that their order cannot hide it."""
    data = load(path=own(tmp_path, x_train=np.full((60, 100), 0.5)), binarize="bernoulli")
    draws = {seed: torch.cat([x for _, x, _ in datasets.batches(data, 20, seed, epoch=1)]) for seed in (0, 1)}
    assert (draws[0] != draws[1]).float().mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("binarize", ["threshold", "bernoulli"])
@pytest.mark.parametrize("batch_size, sizes", [(16, [16, 16, 8]), (40, [40]), (1000, [40]), (39, [39, 1])])
def test_batches_are_a_pure_function_of_seed_epoch_and_start(numbered, binarize, batch_size, sizes):
    data = load(path=numbered, binarize=binarize, n_train=40)
    whole = list(datasets.batches(data, batch_size, seed=3, epoch=2))
    assert [len(x) for _, x, _ in whole] == sizes
    assert [step for step, _, _ in whole] == list(range(len(sizes)))
    for start in range(len(sizes) + 1):
        torch.rand(5), np.random.rand(5)  # global streams do not matter
        rest = list(datasets.batches(data, batch_size, seed=3, epoch=2, start=start))
        assert len(rest) == len(sizes) - start
        for (step, x, y), (same_step, same_x, same_y) in zip(rest, whole[start:]):
            assert step == same_step and torch.equal(x, same_x) and torch.equal(y, same_y)


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(numbered):
    data = load(path=numbered)
    orders = {}
    for seed, epoch in ((0, 1), (0, 2), (1, 1)):
        orders[seed, epoch] = torch.cat([y for _, _, y in datasets.batches(data, 16, seed, epoch)]).tolist()
        assert sorted(orders[seed, epoch]) == sorted(data.splits["train"].y.tolist())
    assert len(set(map(tuple, orders.values()))) == 3


# --- downloads --------------------------------------------------------------------------------------------------------


@pytest.fixture
def mirror(request):
    """A server on this machine alone; call it with the folder to serve to get its address."""
    servers = []

    def serve(folder: Path) -> str:
        class Quiet(SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(folder))

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Quiet))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_download_with_another_checksum_is_refused_and_leaves_nothing(small_set, mirror, tmp_path):
    cwd = tmp_path / "empty"
    cwd.mkdir()
    done = command("ncf-train", "dataset=mnist", "data_dir=data", f"dataset.mirror={mirror(small_set)}", "threads=1", cwd=cwd)
    require_one_line(done, FILES[0], "does not have the published checksum", "data_dir")
    assert list(cwd.iterdir()) == []


def test_a_file_that_the_server_does_not_have_is_one_line(mirror, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match=f"{FILES[0]} is missing and could not be downloaded"):
        load("mnist", tmp_path / "data", mirror=mirror(empty))
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_refused_connection_is_one_line(tmp_path):
    with pytest.raises(UserError, match="is missing and could not be downloaded from http://127.0.0.1:9/"):
        load("mnist", tmp_path / "data", mirror="http://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []


@needs_data
def test_a_whole_download_is_put_in_place_and_used_without_the_server_from_then_on(mirror, tmp_path):
    first = load("mnist", tmp_path, mirror=mirror(Path(os.environ["NCF_DATA"], "mnist")), n_train=10)
    assert sorted(path.name for path in (tmp_path / "mnist").iterdir()) == sorted(FILES)
    again = load("mnist", tmp_path, mirror="http://127.0.0.1:9", n_train=10)
    assert torch.equal(first.splits["train"].x, again.splits["train"].x)

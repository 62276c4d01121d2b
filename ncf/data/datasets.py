"""Image sets as a few arrays in memory: read and check the files, split, binarise; batches are a pure function of (seed, epoch).

Every reader returns images in [0, 1] with the object bright (1), rows
from top to bottom. A file that is already there is judged by its content; only a download is held to a published checksum.

Longer than 300 lines: the readers of all built-in sets stand beside what they must return.
"""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ncf import plugins
from ncf.config.schema import DatasetConfig
from ncf.data import download
from ncf.data.folder import read_folder
from ncf.data.idx import read_idx_folder
from ncf.data.streams import stream
from ncf.errors import UserError, nearest
from ncf.runs import memory


@dataclass
class Split:
    """Images x (N, J_0), float32 in [0, 1], and their classes y (N,), int64, or None."""

    x: torch.Tensor
    y: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.x)

    def first(self, n: int | None) -> "Split":
        return self if n is None else Split(self.x[:n], None if self.y is None else self.y[:n])


@dataclass
class Dataset:
    """Train, validation and test images of one shape, on one device."""

    name: str
    image_shape: tuple[int, int]
    n_classes: int
    splits: dict[str, Split]
    resample: bool  # training images are drawn again as Bernoulli(x) in every epoch
    carved: tuple[str, ...] = ()  # splits that were taken from the training images
    labels: tuple[int, ...] | None = None  # what the classes are called in the data, where not 0, 1, ..
    remarks: tuple[str, ...] = ()  # what a person should know of these images

    def to(self, device: torch.device) -> "Dataset":
        splits = {name: Split(s.x.to(device), None if s.y is None else s.y.to(device)) for name, s in self.splits.items()}
        return replace(self, splits=splits)

    def part(self, split: str, rows: slice) -> "Dataset":
        """The same with some rows of a split in place of all."""
        whole = self.splits[split]
        return replace(self, splits=self.splits | {split: Split(whole.x[rows], None if whole.y is None else whole.y[rows])})

    def about(self) -> dict:
        """What a checkpoint tells of its images, and a run that resumes knows them by, wherever they lie now."""
        marks = {}
        for name, split in self.splits.items():
            marks[name] = zlib.crc32(split.x.cpu().contiguous().numpy(), 0 if split.y is None else zlib.crc32(split.y.cpu().numpy()))
        training = zlib.crc32(self.splits["train"].x.cpu().contiguous().numpy())
        return {"name": self.name, "image_shape": list(self.image_shape), "n_classes": self.n_classes, "crc32": training, "splits": marks} | (
            {"labels": zlib.crc32(np.array(self.labels))} if self.labels else {}
        )


Arrays = dict[str, tuple[np.ndarray, np.ndarray | None]]  # split name -> images (N, H, W) in [0, 1], classes (N,)


def load(config: DatasetConfig, data_dir: str | Path | None = None) -> Dataset:
    """The dataset that the config names: read (or fetched), checked, split and binarised. Raises UserError."""
    arrays, own = carve(read(config, download.data_folder(data_dir)), config)
    carved = tuple(name for name in ("validation", "test") if name not in own)
    train_x, train_y = arrays["train"]
    image_shape = train_x.shape[1:]
    labels = np.unique(np.concatenate([y for _, y in arrays.values() if y is not None] or [np.array([], int)])).astype(np.int64)
    splits, remarks = {}, []
    for name, (x, y) in arrays.items():
        if x.shape[1:] != image_shape:
            raise UserError(f"dataset {config.name}: {name} images are {x.shape[1:]}, training images {image_shape}")
        x = np.ascontiguousarray(1 - x if config.invert else x, dtype=np.float32).reshape(len(x), -1)
        if config.binarize == "threshold":
            grey, x = x, (x >= 0.5).astype(np.float32)
            if name == "train":
                remarks += threshold_remarks(grey, x)
        elif config.binarize == "bernoulli" and name != "train":  # drawn once: a figure must not depend on when it is measured
            x = (stream(config.split_seed, "binarize-" + name).random(x.shape, dtype=np.float32) < x).astype(np.float32)
        splits[name] = Split(torch.from_numpy(x), None if y is None else torch.from_numpy(np.searchsorted(labels, y)))
    names = None if np.array_equal(labels, np.arange(len(labels))) else tuple(labels.tolist())
    return Dataset(config.name, tuple(image_shape), len(labels), splits, config.binarize == "bernoulli", carved, names, tuple(remarks))


def threshold_remarks(grey: np.ndarray, binary: np.ndarray) -> list[str]:
    """A word where the threshold leaves (nearly) nothing or everything: such images teach nothing."""
    bright = float(binary.mean(dtype=np.float64))
    if 0.005 < bright < 0.995:
        return []
    return [
        f"warning: {bright:.1%} of the training pixels are at least one half (they go from {grey.min():.3g} to {grey.max():.3g}), so the threshold "
        "leaves next to nothing of the images; give values up to 255 (bytes) or 1, or dataset.binarize=bernoulli or none"
    ]


def read(config: DatasetConfig, folder: Path) -> Arrays:
    """What the reader of the dataset gives; a plugin's is checked."""
    if config.name in READERS:
        return READERS[config.name](config, folder)
    try:
        found = plugins.DATASETS[config.name](config, folder)
        content = {f"{kind}_{split}": np.asarray(part) for split, pair in found.items() for kind, part in zip("xy", pair) if part is not None}
    except UserError:
        raise
    except Exception as error:  # a stranger's code
        raise UserError(f"dataset {config.name}: its plugin failed: {type(error).__name__}: {error}") from error
    return checked(content, f"dataset {config.name}", config.grey)


def batches(data: Dataset, batch_size: int, seed: int, epoch: int, start: int = 0) -> Iterator[tuple[int, torch.Tensor, torch.Tensor | None]]:
    """Training batches (step, x (B, J_0), y) of one epoch from batch `start` on; the last one may be smaller.

    Order is a function of (seed, epoch), Bernoulli noise of (seed, epoch, step): what went before does not matter.
    """
    train = data.splits["train"]
    order = torch.from_numpy(stream(seed, "order", epoch).permutation(len(train))).to(train.x.device)
    for step in range(start, -(-len(train) // batch_size)):
        rows = order[step * batch_size : (step + 1) * batch_size]
        x = train.x[rows]
        if data.resample:
            noise = stream(seed, "binarize", epoch, step).random(tuple(x.shape), dtype=np.float32)
            x = (torch.from_numpy(noise).to(x.device) < x).to(x.dtype)
        yield step, x, None if train.y is None else train.y[rows]


def carve(arrays: Arrays, config: DatasetConfig) -> tuple[Arrays, set[str]]:
    """Split validation (and test, where the set has none) off the training images, then keep the first `n_train` of the rest. And the
    splits that are the set's own.

    The training images are shuffled by `split_seed`, so that a smaller `n_train` is a part of every larger one.
    """
    x, y = arrays["train"]
    order = stream(0, "test-split").permutation(len(x))  # a carved test set is the same whatever split_seed is
    parts: Arrays = {}
    theirs: set[str] = set()
    for name in ("test", "validation"):
        if name == "validation":
            order = stream(config.split_seed, "split").permutation(order)
        own = arrays.get(name)
        wanted = config.n_validation if name == "validation" else None
        if own is not None and len(own[0]) and not (name == "validation" and wanted):
            parts[name] = own
            theirs.add(name)
            continue
        n = wanted or max(1, round(len(order) / 6))
        if n >= len(order):
            raise UserError(f"dataset {config.name}: {len(order)} training images leave none after {n} for {name}; lower dataset.n_validation")
        if name == "validation" and config.stratified:
            order = np.concatenate(stratified(order, y, n, config.name))
        parts[name] = x[order[:n]], None if y is None else y[order[:n]]
        order = order[n:]
    if config.n_train is not None and config.n_train > len(order):
        raise UserError(f"dataset.n_train={config.n_train}: {config.name} has {len(order)} training images apart from the validation split")
    order = order[: config.n_train]
    train = x[order], None if y is None else y[order]
    return {"train": train, "validation": parts["validation"], "test": parts["test"]}, theirs


def stratified(order: np.ndarray, y: np.ndarray | None, n: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The first n of `order` when its classes take turns, as evenly as they last; and the others. Both keep the order."""
    if y is None:
        raise UserError(f"dataset.stratified=true: {name} has no labels")
    turn = np.empty(len(order), int)  # of each image: how many of its class come before it
    for label in np.unique(y):
        mine = y[order] == label
        turn[mine] = np.arange(mine.sum())
    first = np.zeros(len(order), bool)
    first[np.argsort(turn, kind="stable")[:n]] = True
    return order[first], order[~first]


# --- readers ----------------------------------------------------------------------------------------------------------


def read_digits(config: DatasetConfig, folder: Path) -> Arrays:
    """Scikit-learn's handwritten digits: 1,797 of 8 x 8, 17 grey levels; 297 of them, drawn once and for all, are the test set."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) / 16
    order = stream(0, "digits-test").permutation(len(images))
    return {"train": (images[order[297:]], labels[order[297:]]), "test": (images[order[:297]], labels[order[:297]])}


def read_idx_set(config: DatasetConfig, folder: Path) -> Arrays:
    """MNIST and its kin: four IDX files, gzipped or not; or Keras' mnist.npz."""
    if config.name == "mnist" and (keras := download.present(config, folder, "mnist.npz")):
        return read_npz(replace(config, path=str(keras)), folder)
    splits = {}
    for split, stem in (("train", "train"), ("test", "t10k")):
        images_path = download.find(config, folder, f"{stem}-images-idx3-ubyte.gz")
        images = read_idx(images_path, 2051, config.name)
        labels_path = download.find(config, folder, f"{stem}-labels-idx1-ubyte.gz")
        labels = read_idx(labels_path, 2049, config.name)
        if len(images) != len(labels):
            raise download.damaged(images_path, config, f"{len(images)} images but {len(labels)} labels in {labels_path.name}")
        if len(labels) and labels.max() > 9:
            raise download.damaged(labels_path, config, f"a label is {labels.max()}, labels are 0 to 9")
        splits[split] = images.astype(np.float32) / 255, labels
    return splits


def read_idx(path: Path, magic: int, name: str) -> np.ndarray:
    """One IDX file of bytes, gzipped or not: big-endian magic and sizes, then the data."""
    raw = path.read_bytes()
    owner = download.owner_of(hashlib.md5(raw).hexdigest())
    if owner and owner != name:
        raise UserError(f"dataset {name}: {path} is a file of {owner}; point data_dir or dataset.folder at the files of {name}")
    try:
        packed = path.suffix == ".gz" or raw[:2] == b"\x1f\x8b"
        content = gzip.GzipFile(fileobj=io.BytesIO(raw)).read() if packed else raw
    except (OSError, EOFError, zlib.error) as error:
        raise download.damaged(path, name, f"not a whole gzip file ({error})") from error
    n_sizes = 3 if magic == 2051 else 1
    header = np.frombuffer(content[: 4 + 4 * n_sizes].ljust(4 + 4 * n_sizes, b"\0"), dtype=">i4")
    if header[0] != magic:
        other = {2051: "images", 2049: "labels"}.get(int(header[0]))
        held = f"it holds {other}" if other else f"magic number {header[0]}"
        raise download.damaged(path, name, f"{held} where IDX {'images' if magic == 2051 else 'labels'} (magic number {magic}) were expected")
    sizes = [int(size) for size in header[1:]]
    if magic == 2051 and sizes[1:] != [28, 28]:
        raise download.damaged(path, name, f"images are {sizes[1]} x {sizes[2]}, expected 28 x 28")
    if min(sizes) < 1:
        raise download.damaged(path, name, "it holds no images" if magic == 2051 else "it holds no labels")
    body = len(content) - 4 - 4 * n_sizes
    if body != int(np.prod(sizes)):
        raise download.damaged(path, name, f"its header announces {np.prod(sizes)} bytes, {body} follow")
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * n_sizes).reshape(sizes)


def read_caltech(config: DatasetConfig, folder: Path) -> Arrays:
    """CalTech-101 Silhouettes, 28 x 28, split 1, with its own validation images.

    Stored column-major with object = 0; here rows run from top to bottom and object = 1.
    """
    from scipy.io import loadmat

    path = download.find(config, folder, "caltech101_silhouettes_28_split1.mat")
    try:
        content = loadmat(path)
        splits = {}
        for split, stored in (("train", "train"), ("validation", "val"), ("test", "test")):
            images, labels = content[f"{stored}_data"], content[f"{stored}_labels"].ravel()
            images = images.reshape(len(labels), 28, 28).transpose(0, 2, 1)
            if not (len(labels) and np.isin(images, (0, 1)).all() and 1 <= labels.min() and labels.max() <= 101):
                raise ValueError("pixels must be 0 or 1 and labels 1 to 101")
            splits[split] = 1.0 - images, labels.astype(np.int64) - 1
    except MemoryError:
        raise
    except Exception as error:  # scipy's reader raises nearly anything on a damaged file
        raise download.damaged(path, config, f"not the expected MATLAB file ({error})") from error
    return splits


def read_npz(config: DatasetConfig, folder: Path) -> Arrays:
    """The user's arrays: x_train (N, H, W) or (N, D), and where there are any y_train, x_validation, y_validation, x_test, y_test.

    Bytes are divided by 255; floats must lie in [0, 1]. Missing splits are carved from the training images, a sixth each.
    """
    path = Path(config.path).expanduser()
    try:
        with np.load(path, allow_pickle=False) as file:
            memory.require(sum(entry.file_size for entry in file.zip.infolist()), f"dataset.path={path}: its arrays", "use fewer or smaller images")
            content = {name: file[name] for name in file.files}
    except (UserError, MemoryError):
        raise
    except FileNotFoundError:
        raise UserError(f"dataset.path={path}: no such file") from None
    except Exception as error:  # numpy raises OSError, ValueError, zipfile and zlib errors on a damaged file, TypeError on a .npy
        raise UserError(
            f"dataset.path={path}: not a readable .npz of plain arrays; write one with numpy.savez(FILE, x_train=..., y_train=...)"
        ) from error
    content = {MEDMNIST.get(name, name): array for name, array in content.items()}
    return checked(content, f"dataset.path={path}", config.grey)


def checked(content: dict[str, np.ndarray], where: str, grey: bool = False) -> Arrays:
    """Arrays named x_train, y_train, ... as splits. Bytes are divided by 255; floats must lie in [0, 1]."""
    if "x_train" not in content:
        raise UserError(f"{where}: holds no array x_train; it has {', '.join(content) or 'none'}")
    known = [f"{kind}_{split}" for split in ("train", "validation", "test") for kind in "xy"]
    for name in set(content) - set(known):
        raise UserError(f"{where}: holds an array {name!r} that ncf does not know; {nearest(name, known)}")
    images = [content[name] for name in content if name[0] == "x"]
    whole = 255 if any(x.dtype == np.uint8 and x.size and x.max() > 1 for x in images) else 1  # bytes of 0 and 1 alone are as they are
    splits: Arrays = {}
    for split in ("train", "validation", "test"):
        x, y = content.get(f"x_{split}"), content.get(f"y_{split}")
        if x is None and y is not None:
            raise UserError(f"{where}: holds y_{split} but no x_{split}, the images that it is of; it has {', '.join(content)}")
        if x is None:
            continue
        x = grey_images(x, f"{where}: x_{split}", grey) if x.ndim == 4 else x
        splits[split] = checked_images(x, f"{where}: x_{split}", whole), checked_labels(y, len(x), f"{where}: y_{split}")
    return splits


def grey_images(x: np.ndarray, where: str, grey: bool) -> np.ndarray:
    """Images (N, H, W, 1 or 3) as (N, H, W), where colours may be turned grey."""
    if x.shape[-1] == 1:
        return x[..., 0]
    if x.shape[-1] != 3 or not grey:
        raise UserError(f"{where} has shape {x.shape}; expected (N, height, width); pictures in colour: dataset.grey=true turns them grey")
    return (x @ np.array([0.299, 0.587, 0.114])).astype(x.dtype)


def checked_images(x: np.ndarray, where: str, whole: int) -> np.ndarray:
    """Images (N, H, W) in [0, 1]; bytes are parts of `whole`."""
    if x.dtype.kind not in "uifb" or x.ndim not in (2, 3):
        raise UserError(f"{where} is {x.dtype} of shape {x.shape}; expected numbers of shape (N, height, width) or (N, pixels)")
    if not len(x) or not x[0].size:
        raise UserError(f"{where} is empty; expected at least one image")
    if x.ndim == 2:
        side = int(np.sqrt(x.shape[1]))
        x = x.reshape(len(x), side, side) if side * side == x.shape[1] else x[:, None, :]
    x = x.astype(np.float32) / (whole if x.dtype == np.uint8 else 1)
    if not np.isfinite(x).all():
        raise UserError(f"{where} holds NaN or infinite values")
    if x.min() < -ROUNDING or x.max() > 1 + ROUNDING:
        raise UserError(f"{where} holds values from {x.min():.8g} to {x.max():.8g}; expected bytes, or numbers from 0 to 1")
    return x.clip(0, 1)


def checked_labels(y: np.ndarray | None, n: int, where: str) -> np.ndarray | None:
    if y is None:
        return None
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y  # as MedMNIST has them
    if y.shape != (n,) or y.dtype.kind not in "ui":
        raise UserError(f"{where} is {y.dtype} of shape {y.shape}; expected {n} whole numbers from 0")
    if y.min() < 0 or y.max() >= 2**63:
        wrong = y[(y < 0) | (y >= 2**63)]
        raise UserError(f"{where} holds {wrong[0]} ({len(wrong)} of its {n} labels); expected whole numbers from 0: leave such images out")
    return y


ROUNDING = 1e-5  # by which arithmetic in float32 may miss 0 and 1
MEDMNIST = {  # its names -> ours
    "train_images": "x_train",
    "train_labels": "y_train",
    "val_images": "x_validation",
    "val_labels": "y_validation",
    "test_images": "x_test",
    "test_labels": "y_test",
}
READERS = {
    "digits": read_digits,
    "mnist": read_idx_set,
    "fashion_mnist": read_idx_set,
    "kmnist": read_idx_set,
    "caltech101_silhouettes": read_caltech,
    "npz": read_npz,
    "folder": read_folder,
    "idx": read_idx_folder,
}

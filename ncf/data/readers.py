"""Readers of image sets: the files of each, checked, as arrays by split.

Every reader returns images in [0, 1] with the object bright (1), rows from top to bottom, but for those of `REAL_VALUED` sets. A file that is already there is judged by its
content; only a download is held to a published checksum.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from ncf import plugins
from ncf.config.schema import DatasetConfig
from ncf.data import download, idx
from ncf.data.folder import ROUNDING, read_folder
from ncf.data.moving import moving
from ncf.data.natural_patches import read_natural_patches
from ncf.data.streams import stream
from ncf.errors import UserError, nearest
from ncf.runs import memory

Arrays = dict[str, tuple[np.ndarray, np.ndarray | None]]  # split name -> images (N, H, W), or sequences (N, T, H, W), in [0, 1], classes (N,)


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
        images = read_idx(images_path, "images", config.name)
        labels_path = download.find(config, folder, f"{stem}-labels-idx1-ubyte.gz")
        labels = read_idx(labels_path, "labels", config.name)
        if len(images) != len(labels):
            raise download.damaged(images_path, config.name, f"{len(images)} images but {len(labels)} labels in {labels_path.name}")
        if len(labels) and labels.max() > 9:
            raise download.damaged(labels_path, config.name, f"a label is {labels.max()}, labels are 0 to 9")
        splits[split] = images.astype(np.float32) / 255, labels
    return splits


def read_idx(path: Path, kind: str, name: str) -> np.ndarray:
    """The "images" (N, 28, 28) or "labels" (N,) of the set `name`, bytes. Raises UserError, also where they are known as another set's."""
    values = idx.read(path, name)
    header = np.array([2048 + values.ndim, *values.shape], dtype=">i4")
    owner = download.owner_of(hashlib.md5(header.tobytes() + values.tobytes()).hexdigest())
    if owner not in (None, name):
        raise UserError(f"dataset {name}: {path} is a file of {owner}; point data_dir or dataset.folder at the files of {name}")
    held = idx.KINDS[values.ndim]
    if held != kind or values.dtype != np.uint8:
        raise download.damaged(path, name, f"it holds {held} of {values.dtype.name} where {kind} of uint8 were expected")
    if kind == "images" and values.shape[1:] != (28, 28):
        raise download.damaged(path, name, f"images are {values.shape[1]} x {values.shape[2]}, expected 28 x 28")
    return values


def read_caltech(config: DatasetConfig, folder: Path) -> Arrays:
    """CalTech-101 Silhouettes, 28 x 28 or (as the article has them) 16 x 16, split 1, with its own validation images.

    Stored column-major with object = 0; here rows run from top to bottom and object = 1.
    """
    from scipy.io import loadmat

    side = 16 if config.name.endswith("_16") else 28
    path = download.find(config, folder, f"caltech101_silhouettes_{side}_split1.mat")
    try:
        content = loadmat(path)
        splits = {}
        for split, stored in (("train", "train"), ("validation", "val"), ("test", "test")):
            images, labels = content[f"{stored}_data"], content[f"{stored}_labels"].ravel()
            images = images.reshape(len(labels), side, side).transpose(0, 2, 1)
            if not (len(labels) and np.isin(images, (0, 1)).all() and 1 <= labels.min() and labels.max() <= 101):
                raise ValueError("pixels must be 0 or 1 and labels 1 to 101")
            splits[split] = 1.0 - images, labels.astype(np.int64) - 1
    except MemoryError:
        raise
    except Exception as error:  # scipy's reader raises nearly anything on a damaged file
        raise download.damaged(path, config.name, f"not the expected MATLAB file ({error})") from error
    return splits


def read_npz(config: DatasetConfig, folder: Path) -> Arrays:
    """The user's arrays: x_train (N, H, W), (N, D) or sequences (N, T, H, W), and where there are any y_train, x_validation, y_validation, x_test, y_test.

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
        splits[split] = checked_images(x, f"{where}: x_{split}", whole, grey), checked_labels(y, len(x), f"{where}: y_{split}")
    return splits


def grey_images(x: np.ndarray, where: str, grey: bool) -> np.ndarray:
    """Images (N, H, W, 1 or 3), float32, as (N, H, W), where colours may be turned grey; what is wider than colours are sequences (N, T, H, W)."""
    if x.shape[-1] > 4 and x.shape[1] > 4:
        return x
    if x.shape[-1] == 1:
        return x[..., 0]
    if x.shape[-1] != 3 or not grey:
        raise UserError(
            f"{where} has shape {x.shape}; expected (N, height, width), or (N, frames, height, width) of at least 5 frames and width 5; pictures in colour, "
            "(N, height, width, 3): dataset.grey=true turns them grey"
        )
    return (x @ np.array([0.299, 0.587, 0.114])).astype(np.float32)


def checked_images(x: np.ndarray, where: str, whole: int, grey: bool) -> np.ndarray:
    """Images (N, H, W), or sequences (N, T, H, W), float32, in [0, 1]; bytes are parts of `whole`, and colours are turned `grey`. Raises UserError."""
    if x.dtype.kind not in "uifb" or x.ndim not in (2, 3, 4):
        raise UserError(f"{where} is {x.dtype} of shape {x.shape}; expected numbers of shape (N, height, width) or (N, pixels)")
    if not len(x) or not x[0].size:
        raise UserError(f"{where} is empty; expected at least one image")
    x = x.astype(np.float32) / (whole if x.dtype == np.uint8 else 1)
    if x.ndim == 2:
        side = int(np.sqrt(x.shape[1]))
        x = x.reshape(len(x), side, side) if side * side == x.shape[1] else x[:, None, :]
    if not np.isfinite(x).all():
        raise UserError(f"{where} holds NaN or infinite values")
    if x.min() < -ROUNDING or x.max() > 1 + ROUNDING:
        raise UserError(f"{where} holds values from {x.min():.8g} to {x.max():.8g}; expected bytes, or numbers from 0 to 1")
    x = x.clip(0, 1)
    return grey_images(x, where, grey) if x.ndim == 4 else x


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
    "caltech101_silhouettes_16": read_caltech,
    "natural_patches": read_natural_patches,
    "npz": read_npz,
    "folder": read_folder,
    "idx": idx.read_idx_folder,
    "moving_digits": moving(read_digits, "digits", side=16, step=1),
    "moving_mnist": moving(read_idx_set, "mnist", side=40, step=2),
}

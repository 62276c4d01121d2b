"""Any image set in IDX files, by its folder: EMNIST's and others named as MNIST's are, of any size, gzipped or not."""

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np

from ncf.config.schema import DatasetConfig
from ncf.data.download import damaged
from ncf.errors import UserError

WORDS = {"train": ("train",), "test": ("t10k", "test")}  # in the names of a split's files
TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}  # the third byte of a file
KINDS = {1: "labels", 3: "images"}  # the fourth: the number of dimensions


def read_idx_folder(config: DatasetConfig, folder: Path) -> dict:
    """Split name -> images (N, H, W) and their classes. EMNIST is stored on its side, and turned."""
    root = Path(config.path)
    stem = ""
    if not root.is_dir():  # several sets in one folder, as EMNIST has them: FOLDER/emnist-letters
        root, stem = root.parent, root.name
    if not root.is_dir():
        raise UserError(f"dataset.path={config.path}: no such folder; give the folder of the IDX files, or FOLDER/START-OF-THEIR-NAMES")
    files = sorted(path for path in root.iterdir() if path.is_file() and path.name.startswith(stem) and "idx" in path.name)
    splits = {}
    for split, words in WORDS.items():
        images = chosen(files, words, "images", config.path)
        if images is None:
            continue
        x = read(images, config.name)
        if x.ndim != 3 or x.dtype != np.uint8:
            raise UserError(f"{images}: holds {x.dtype} of shape {x.shape}; expected images, bytes of shape (N, height, width)")
        labels = chosen(files, words, "labels", config.path)
        y = read(labels, config.name).astype(np.int64) if labels else None
        if y is not None and y.shape != (len(x),):
            raise UserError(f"{labels}: holds labels of shape {y.shape} for {len(x)} images")
        splits[split] = (x.transpose(0, 2, 1) if images.name.startswith("emnist") else x).astype(np.float32) / 255, y
    if "train" not in splits:
        raise UserError(f"dataset.path={config.path}: no IDX file of training images is there (a name with train, images and idx)")
    return splits


def chosen(files: list[Path], words: tuple[str, ...], kind: str, where: str) -> Path | None:
    found = {path.name.removesuffix(".gz"): path for path in files if kind in path.name and any(word in path.name for word in words)}
    if len(found) > 1:
        raise UserError(f"dataset.path={where}: several files hold {words[0]} {kind} ({', '.join(found)}); give FOLDER/START-OF-THEIR-NAMES")
    return next(iter(found.values()), None)


def read(path: Path, name: str) -> np.ndarray:
    """The values of an IDX file of the set `name`, gzipped or not: two zero bytes, type, number of dimensions, big-endian sizes, values.

    Images (N, H, W) or labels (N,), at least one. Raises UserError.
    """
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise damaged(path, name, f"not a whole gzip file ({error})") from error
    except OSError as error:
        raise UserError(f"dataset {name}: {path} cannot be read ({error.strerror or error})") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in TYPES or raw[3] not in KINDS:
        raise damaged(path, name, f"no IDX file of images or labels (it begins with {raw[:4]!r})")
    dtype, n = np.dtype(TYPES[raw[2]]), raw[3]
    start = 4 + 4 * n
    sizes = tuple(np.frombuffer(raw[4:start].ljust(4 * n, b"\0"), dtype=">u4").tolist())
    if 0 in sizes:
        raise damaged(path, name, f"it holds no {KINDS[n]}")
    announced, body = dtype.itemsize * prod(sizes), max(0, len(raw) - start)
    if announced != body:
        raise damaged(path, name, f"its header announces {dtype.name} of shape {sizes}, {announced} bytes, {body} follow")
    return np.frombuffer(raw, dtype=dtype, offset=start).reshape(sizes)

"""Where dataset files are, and how missing ones are downloaded: whole and with the published checksum, or not at all."""

import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from ncf.config.schema import DatasetConfig
from ncf.errors import UserError

# dataset -> (published address, {file: published checksum}); CalTech publishes none: the 28 x 28 file is one that two mirrors agree on,
# the 16 x 16 one has not been at hand (a file that lies there already is judged by its content alone)
SOURCES = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion_mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "kmnist": (
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        {
            "train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
            "train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
            "t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
            "t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
        },
    ),
    "caltech101_silhouettes": (
        "https://people.cs.umass.edu/~marlin/data/",
        {"caltech101_silhouettes_28_split1.mat": "4483e9c14b188fd09937f9ea6f9ea777"},
    ),
    "caltech101_silhouettes_16": (
        "https://people.cs.umass.edu/~marlin/data/",
        {"caltech101_silhouettes_16_split1.mat": "3baf9e2c023aa4a187e1d1b92b5a734a"},
    ),
}
# dataset -> md5 of its files unpacked: those of the MNIST family share their names (KMNIST's training images have not been at hand: a reported one)
CONTENT = {
    "mnist": {
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion_mnist": {
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    },
    "kmnist": {
        "92be26ec9822e900ac425d0a0aa84ced",
        "949e75301f8813e0dc5800dcc320fc52",
        "bf305b8cd328700fbc17f5acbc2856d2",
        "9f55f451c0988b028eccdf7d5cc265ab",
    },
}
ALIASES = {  # folders of torchvision and Keras
    "mnist": ("MNIST/raw", "MNIST"),
    "fashion_mnist": ("FashionMNIST/raw", "FashionMNIST", "fashion-mnist"),
    "kmnist": ("KMNIST/raw", "KMNIST"),
}
allowed = True  # to download


def data_folder(data_dir: str | Path | None) -> Path:
    """`data_dir`, else the environment variable NCF_DATA, else a cache folder in the user's home."""
    chosen = data_dir or os.environ.get("NCF_DATA")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    try:
        return Path(pooch.os_cache("ncf"))
    except (RuntimeError, KeyError):  # a user without a home
        return Path("/nonexistent/ncf")


def owner_of(md5: str) -> str | None:
    """The dataset that published a file whose content, unpacked, has this checksum."""
    return next((name for name, files in CONTENT.items() if md5 in files), None)


def find(config: DatasetConfig, folder: Path, file: str) -> Path:
    """The path of a dataset's file: folder/DATASET/file, or folder/file, else downloaded to the first."""
    return present(config, folder, file) or fetch(config, folder / (config.folder or config.name), file)


def present(config: DatasetConfig, folder: Path, file: str) -> Path | None:
    """A file of a dataset where people have it: as published, unpacked, or as Kaggle names it; in our folder or torchvision's or Keras'."""
    bare = file.removesuffix(".gz")
    names = [file, bare, *(name.replace("-idx", ".idx") for name in (file, bare))]
    names += [f"{name}/{name}" for name in names[1::2]]  # unpacked by a program that makes a folder for each file
    homes = [config.folder or config.name, ".", *(() if config.folder else ALIASES.get(config.name, ())), "raw"]
    return next((path for home in homes for name in names if (path := folder / home / name).is_file()), None)


@contextmanager
def never():
    """Whoever only reads what is there (a report) must not wait for a download."""
    global allowed
    allowed = False
    try:
        yield
    finally:
        allowed = True


def fetch(config: DatasetConfig, home: Path, file: str) -> Path:
    import pooch
    from requests.exceptions import RequestException

    if not allowed:
        raise UserError(f"dataset {config.name}: {home / file} is missing; set NCF_DATA to the folder that has {config.folder or config.name}/{file}")
    address, checksums = SOURCES[config.name]
    address = (config.mirror or address).rstrip("/") + "/"
    remedy = f"put the file there by hand, or set data_dir (or NCF_DATA) to a folder that has {config.folder or config.name}/{file}"
    pooch.get_logger().setLevel(logging.WARNING)
    created = [folder for folder in (home, *home.parents) if not folder.exists()]
    print(f"downloading {address}{file}", flush=True)
    try:
        downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
        pooch.retrieve(address + file, known_hash="md5:" + checksums[file], fname=file, path=home, downloader=downloader)
    except RequestException as error:
        cause = type(error).__name__
        raise UserError(f"dataset {config.name}: {home / file} is missing and could not be downloaded from {address} ({cause}); {remedy}") from error
    except ValueError as error:  # pooch: the checksum differs
        raise UserError(
            f"dataset {config.name}: what {address}{file} sent does not have the published checksum, nothing was kept; {remedy}"
        ) from error
    except OSError as error:
        raise UserError(f"dataset {config.name}: {home / file} is missing and cannot be written ({error.strerror or error}); {remedy}") from error
    finally:
        for folder in created:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return home / file


def damaged(path: Path, name: str, what: str) -> UserError:
    again = "delete it to have it downloaded again, or " if name in SOURCES else ""
    return UserError(f"dataset {name}: {path} is damaged: {what}; {again}put a good copy in its place")

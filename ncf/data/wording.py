"""A dataset in words: what a run says that it trains on."""

from pathlib import Path

from ncf.config.schema import REAL_VALUED
from ncf.data.datasets import Dataset

BINARIZED = {
    "threshold": "binarised at 1/2",
    "static": "binarised at random, once",
    "bernoulli": "binarised at random, again in every epoch",
    "none": "grey",
}


def title(dataset: dict) -> str:
    """The name of a dataset's config; a file or folder of the user's own goes by its own name."""
    path = dataset.get("path")
    return Path(path).name.removesuffix(".npz") if isinstance(path, str) and path else str(dataset.get("name"))


def images(dataset: dict, sizes: dict[str, int], shape: tuple[int, int] | None = None) -> str:
    """``1,250 training, 250 validation and 297 test images of 8 x 8, binarised at 1/2``"""
    train, validation, test = (f"{sizes[split]:,}" for split in ("train", "validation", "test"))
    kind = "real-valued" if dataset["name"] in REAL_VALUED else BINARIZED[dataset["binarize"]]
    of = f" of {shape[0]} x {shape[1]}" if shape else ""
    return f"{train} training, {validation} validation and {test} test images{of}, {kind}"


def loss(dataset: object) -> tuple[str, str]:
    """What a run is logged and selected by, and its unit: BCE, for which the squared error stands in where pixels are not in [0, 1]."""
    return ("squared error", "per image") if isinstance(dataset, dict) and dataset.get("name") in REAL_VALUED else ("BCE", "nats per image")


def sizes(data: Dataset) -> dict[str, int]:
    return {name: len(split) for name, split in data.splits.items()}


def split_off(data: Dataset) -> str:
    """Which splits were taken from the training images, in words; nothing where the set has its own."""
    return f"; {' and '.join(data.carved)} split off its training images" if data.carved else ""

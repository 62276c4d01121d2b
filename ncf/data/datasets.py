"""Image sets as a few arrays in memory: split and binarised; batches are a pure function of (seed, epoch)."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import torch

from ncf.config.schema import KEPT_APART, REAL_VALUED, DatasetConfig
from ncf.data import download
from ncf.data.folder import class_names
from ncf.data.readers import Arrays, read
from ncf.data.streams import stream
from ncf.errors import UserError

UNKNOWN = -1


@dataclass
class Split:
    """Images x (N, J_0), float32, in [0, 1] unless real-valued, and their classes y (N,), int64, UNKNOWN where an image has no label, or None."""

    x: torch.Tensor
    y: torch.Tensor | None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def labelled(self) -> torch.Tensor:
        """The rows whose class is known."""
        return (self.y >= 0).nonzero()[:, 0]  # type: ignore[operator]

    def first(self, n: int | None) -> "Split":
        return self if n is None else Split(self.x[:n], None if self.y is None else self.y[:n])


def shades(x: torch.Tensor, real: bool) -> torch.Tensor:
    """Images as pictures show them, black 0 and white 1: real values from 3 below zero to 3 above."""
    return x / 6 + 0.5 if real else x


@dataclass
class Dataset:
    """Train, validation and test images of one shape, on one device. Of sequences the frames stand one after another: frame n of sequence i is
    row i * frames + n."""

    name: str
    image_shape: tuple[int, int]
    n_classes: int
    splits: dict[str, Split]
    resample: bool  # training images are drawn again as Bernoulli(x) in every epoch
    carved: tuple[str, ...] = ()  # splits that were taken from the training images
    labels: tuple[int, ...] | None = None  # what the classes are called in the data, where not 0, 1, ..
    remarks: tuple[str, ...] = ()  # what a person should know of these images
    frames: int = 1  # T, of each sequence; 1: still images
    other_classes: bool = False  # they are not those that the model which sees these images was trained on

    @property
    def real(self) -> bool:
        """Whether pixels are of any value, around zero, and not in [0, 1]."""
        return self.name in REAL_VALUED

    def shades(self, x: torch.Tensor) -> torch.Tensor:
        return shades(x, self.real)

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
            ({"labels": zlib.crc32(np.array(self.labels))} if self.labels else {}) | ({"frames": self.frames} if self.frames > 1 else {})
        )


def load(config: DatasetConfig, data_dir: str | Path | None = None) -> Dataset:
    """The dataset that the config names: read (or fetched), checked, split and binarised. Raises UserError."""
    arrays, own = carve(read(config, download.data_folder(data_dir)), config)
    carved = tuple(name for name in ("validation", "test") if name not in own)
    train_x, train_y = arrays["train"]
    image_shape, frames = train_x.shape[-2:], prod(train_x.shape[1:-2])
    labels = np.unique(np.concatenate([y for _, y in arrays.values() if y is not None] or [np.array([], int)])).astype(np.int64)
    splits, remarks = {}, []
    for name, (x, y) in arrays.items():
        if x.shape[1:] != train_x.shape[1:]:
            raise UserError(f"dataset {config.name}: {name} images are {x.shape[1:]}, training images {train_x.shape[1:]}")
        x = np.ascontiguousarray(1 - x if config.invert else x, dtype=np.float32).reshape(len(x) * frames, -1)
        y = y if y is None else y.repeat(frames)
        if config.binarize == "threshold":
            grey, x = x, (x >= 0.5).astype(np.float32)
            if name == "train":
                remarks += threshold_remarks(grey, x)
        elif config.binarize == "static" or (config.binarize == "bernoulli" and name != "train"):  # what is measured does not depend on when
            x = (stream(config.split_seed, "binarize-" + name).random(x.shape, dtype=np.float32) < x).astype(np.float32)
        splits[name] = Split(torch.from_numpy(x), None if y is None else torch.from_numpy(np.searchsorted(labels, y)))
    if config.n_labels is not None:
        splits["train"].y = few_labels(splits["train"].y, config, frames)
        remarks.append(f"{config.n_labels:,} of {len(splits['train']):,} training images keep their labels")
    if config.name == "folder" and len(labels) > 1:
        remarks.append(f"classes: {', '.join(f'{i} {name}' for i, name in enumerate(class_names(Path(config.path))))}")
    if config.n_validation and config.name in KEPT_APART:
        remarks.append("dataset.n_validation is not used: the validation images of this set are kept apart from the training images")
    if config.stratified and "validation" in own:
        remarks.append("dataset.stratified is not used: this set has validation images of its own")
    if frames > 1:
        remarks.append(f"sequences of {frames} frames: " + ", ".join(f"{len(split) // frames:,} {name}" for name, split in splits.items()))
    names = None if np.array_equal(labels, np.arange(len(labels))) else tuple(labels.tolist())
    return Dataset(config.name, tuple(image_shape), len(labels), splits, config.binarize == "bernoulli", carved, names, tuple(remarks), frames)


def few_labels(y: torch.Tensor | None, config: DatasetConfig, frames: int) -> torch.Tensor:
    """Classes (N,) of which `n_labels` are kept, drawn by `split_seed` and as many of every class as there are; the others are UNKNOWN."""
    if y is None or frames > 1:
        raise UserError(f"dataset.n_labels={config.n_labels}: {config.name} has {'sequences' if frames > 1 else 'no labels'}; leave it out")
    if config.n_labels > len(y):  # type: ignore[operator]
        raise UserError(f"dataset.n_labels={config.n_labels}: there are {len(y)} training images; lower it, or leave it out to keep all labels")
    classes, order = y.numpy(), stream(config.split_seed, "labels").permutation(len(y))
    turn = np.empty(len(y), int)  # an image's place among those of its class
    for label in np.unique(classes):
        rows = order[classes[order] == label]
        turn[rows] = np.arange(len(rows))
    kept = order[np.argsort(turn[order], kind="stable")[: config.n_labels]]
    few = torch.full_like(y, UNKNOWN)
    few[kept] = y[kept]
    return few


def threshold_remarks(grey: np.ndarray, binary: np.ndarray) -> list[str]:
    """A word where the threshold leaves (nearly) nothing or everything: such images teach nothing."""
    bright = float(binary.mean(dtype=np.float64))
    if 0.005 < bright < 0.995:
        return []
    return [
        f"warning: {bright:.1%} of the training pixels are at least one half (they go from {grey.min():.3g} to {grey.max():.3g}), so the threshold "
        "leaves next to nothing of the images; give values up to 255 (bytes) or 1, or dataset.binarize=static, bernoulli or none"
    ]


def batches(
    data: Dataset, batch_size: int, seed: int, epoch: int, start: int = 0, frames: int = 1
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor | None]]:
    """Training batches (step, x (B, J_0), y) of one epoch from batch `start` on; the last one may be smaller. Of sequences that are to stay
    together, of so many `frames`, a batch has B: x (B T, J_0).

    Order is a function of (seed, epoch), Bernoulli noise of (seed, epoch, step): what went before does not matter.
    """
    train = data.splits["train"]
    for step, sequences in enumerate(epoch_order(data, seed, epoch, frames).split(batch_size)[start:], start=start):
        rows = rows_of(sequences, frames)
        x = train.x[rows]
        if data.resample:
            noise = stream(seed, "binarize", epoch, step).random(tuple(x.shape), dtype=np.float32)
            x = (torch.from_numpy(noise).to(x.device) < x).to(x.dtype)
        yield step, x, None if train.y is None else train.y[rows]


def epoch_order(data: Dataset, seed: int, epoch: int, frames: int = 1) -> torch.Tensor:
    """The training images of one epoch, or sequences of so many `frames`, in the order of its batches, (N,)."""
    train = data.splits["train"]
    return torch.from_numpy(stream(seed, "order", epoch).permutation(len(train) // frames)).to(train.x.device)


def rows_of(sequences: torch.Tensor, frames: int) -> torch.Tensor:
    """The rows of sequences (B,), (B T,): all frames of the first, all of the second .."""
    return sequences if frames == 1 else (sequences[:, None] * frames + torch.arange(frames, device=sequences.device)).flatten()


def in_order(x: torch.Tensor, y: torch.Tensor | None, frames: int) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """Of sequences x (B T, J_0), y (B T,): the first frames of all (B, J_0), (B,), then the second .."""
    for n in range(frames):
        yield (x, y) if frames == 1 else (x[n::frames].contiguous(), None if y is None else y[n::frames])


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
        wanted = config.n_validation if name == "validation" and config.name not in KEPT_APART else None
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

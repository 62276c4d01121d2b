"""Moving digits: sequences of one digit that bounces in a larger frame, drawn once and for all (Srivastava et al., 2015, with one digit)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ncf.config.schema import DatasetConfig
from ncf.data.streams import stream

FRAMES = 20
SEQUENCES = {"train": 1000, "validation": 200, "test": 200}
Arrays = dict[str, tuple[np.ndarray, np.ndarray | None]]
DIRECTIONS = np.array([(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx])


def bouncing(images: np.ndarray, side: int, step: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Sequences (N, T, side, side) in which each image (N, h, w) moves from a place of its own by `step` pixels a frame in one of eight
    directions, and is reflected at the walls."""
    room = side - np.array(images.shape[1:])
    start, speed = rng.integers(0, room + 1, (len(images), 2)), step * DIRECTIONS[rng.integers(0, 8, len(images))]
    way = (start[:, None] + speed[:, None] * np.arange(frames)[:, None]) % (2 * room)  # there and back again
    places = np.where(way > room, 2 * room - way, way)
    film = np.zeros((len(images), frames, side, side), np.float32)
    height, width = images.shape[1:]
    for image, sequence, path in zip(images, film, places):
        for frame, (y, x) in zip(sequence, path):
            frame[y : y + height, x : x + width] = image
    return film


def moving(still: Callable[[DatasetConfig, Path], Arrays], name: str, side: int, step: int) -> Callable[[DatasetConfig, Path], Arrays]:
    """A reader of the set `name`'s images on the move: SEQUENCES of FRAMES frames of side x side, labels those of the digits.

    Test sequences show test images. A sixth of the training images are kept for the validation sequences.
    """

    def read(config: DatasetConfig, folder: Path) -> Arrays:
        arrays = still(replace(config, name=name), folder)
        x, y = arrays["train"]
        order = stream(0, "moving-validation").permutation(len(x))
        kept = len(x) // 6
        sources = {"train": (x[order[kept:]], y[order[kept:]]), "validation": (x[order[:kept]], y[order[:kept]]), "test": arrays["test"]}
        sequences: Arrays = {}
        for split, (images, labels) in sources.items():
            rng = stream(0, f"moving-{split}")
            shown = rng.integers(0, len(images), SEQUENCES[split])
            sequences[split] = bouncing(images[shown], side, step, FRAMES, rng), labels[shown]
        return sequences

    return read

"""Natural patches: whitened, real-valued squares from scikit-learn's two sample pictures (after Olshausen and Field, Nature 381:607, 1996)."""

from pathlib import Path

import numpy as np

from ncf.config.schema import DatasetConfig
from ncf.data.streams import stream

SIDE = 16  # pixels, of a patch
CUTOFF = 0.4  # f0, cycles per pixel (theirs: 200 cycles per picture of 512 pixels)
PATCHES = {"train": 20000, "validation": 2000, "test": 2000}
STRIPS = "train train validation train train test".split()  # of the pictures, from the left, over and over
WIDTH = 32  # pixels, of a strip


def read_natural_patches(config: DatasetConfig, folder: Path) -> dict[str, tuple[np.ndarray, None]]:
    """Patches (N, 16, 16) around zero, half of each split from each picture, at places drawn by `dataset.split_seed`.

    A patch lies within one vertical strip of 32 pixels, and a strip belongs to one split, so that no pixel is in two of them. A patch's width along
    the pictures' edges is left out: whitening takes a picture for periodic. `dataset.n_validation` says how many validation patches there are.
    """
    from sklearn.datasets import load_sample_image

    pictures = [whitened(load_sample_image(name) @ np.array([0.299, 0.587, 0.114])) for name in ("china.jpg", "flower.jpg")]
    splits = {}
    for split, n in PATCHES.items():
        n = config.n_validation or n if split == "validation" else n
        rng = stream(config.split_seed, "natural-patches-" + split)
        splits[split] = np.concatenate([cut(picture, m, split, rng) for picture, m in zip(pictures, (n - n // 2, n // 2))]), None
    return splits


def cut(picture: np.ndarray, n: int, split: str, rng: np.random.Generator) -> np.ndarray:
    """n patches (n, 16, 16) at random places of the strips of a split."""
    height, width = picture.shape
    strips = [i for i in range((width - 2 * SIDE) // WIDTH) if STRIPS[i % len(STRIPS)] == split]
    rows = rng.integers(SIDE, height - 2 * SIDE + 1, n)
    columns = SIDE + WIDTH * rng.choice(strips, n) + rng.integers(0, WIDTH - SIDE + 1, n)
    return np.lib.stride_tricks.sliding_window_view(picture, (SIDE, SIDE))[rows, columns].astype(np.float32)


def whitened(picture: np.ndarray) -> np.ndarray:
    """The picture with its amplitude at f cycles per pixel times f exp(-(f / f0)^4): natural spectra fall as 1 / f, and the highest frequencies are
    noise. Its mean is 0, and its variance 1."""
    height, width = picture.shape
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    flat = np.fft.irfft2(np.fft.rfft2(picture) * f * np.exp(-((f / CUTOFF) ** 4)), s=picture.shape)
    return flat / flat.std()

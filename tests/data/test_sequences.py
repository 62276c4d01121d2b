"""Sequences: digits that move as told and bounce, frames in their order, whole sequences in a batch."""

import numpy as np
import pytest
import torch

from ncf.config.schema import DatasetConfig
from ncf.data import datasets
from ncf.data.moving import FRAMES, bouncing
from ncf.data.readers import read_digits
from ncf.errors import UserError


def centres(film: np.ndarray) -> np.ndarray:
    """Of the bright pixels of every frame (N, T, H, W): top, left, bottom, right, (N, T, 4)."""
    return np.array([[[*np.argwhere(frame > 0).min(0), *np.argwhere(frame > 0).max(0)] for frame in sequence] for sequence in film])


def test_an_image_moves_by_whole_steps_keeps_its_shape_and_is_reflected_at_the_walls():
    film = bouncing(np.ones((60, 3, 4), np.float32), side=9, step=1, frames=30, rng=np.random.default_rng(0))
    box = centres(film)
    assert film.shape == (60, 30, 9, 9) and (film.sum((2, 3)) == 12).all()
    assert (box[..., 2] - box[..., 0] == 2).all() and (box[..., 3] - box[..., 1] == 3).all()
    move = np.diff(box[..., :2], axis=1)
    assert set(np.abs(move).ravel()) == {0, 1} and (np.abs(move).sum(2) > 0).all()
    assert len({tuple(first) for first in move[:, 0]}) == 8
    turned = move[:, 1:] != move[:, :-1]
    at_a_wall = (box[:, 1:-1, :2] == 0) | (box[:, 1:-1, :2] == np.array([6, 5]))
    assert turned.any() and (at_a_wall[turned]).all()


def test_moving_digits_show_digits_that_training_has_not_seen_and_are_the_same_every_time():
    data = datasets.load(DatasetConfig(name="moving_digits", binarize="none"))
    assert data.image_shape == (16, 16) and data.frames == FRAMES == 20
    assert {name: len(split) // 20 for name, split in data.splits.items()} == {"train": 1000, "validation": 200, "test": 200}
    still = read_digits(DatasetConfig(name="digits"), None)
    shown = {}
    for name, split in data.splits.items():
        film = split.x.numpy().reshape(-1, 20, 16, 16)
        assert (split.y.view(-1, 20) == split.y.view(-1, 20)[:, :1]).all()
        shown[name] = {np.sort(frame[frame > 0]).tobytes() for frame in film[:, 0]}  # (its bright pixels, wherever it is)
    marks = {split: {np.sort(image[image > 0]).astype(np.float32).tobytes() for image in x} for split, (x, _) in still.items()}
    assert shown["test"] <= marks["test"] and shown["train"] <= marks["train"] and shown["validation"] <= marks["train"]
    assert not shown["train"] & shown["validation"]
    assert data.about() == datasets.load(DatasetConfig(name="moving_digits", binarize="none")).about() and data.about()["frames"] == 20


def own(folder, **arrays) -> DatasetConfig:
    np.savez(folder / "own.npz", **arrays)
    return DatasetConfig(name="npz", path=str(folder / "own.npz"), binarize="none")


def numbered(n: int, frames: int) -> np.ndarray:
    """Sequences (n, frames, 2, 5) whose every pixel tells sequence and frame."""
    return np.tile((np.arange(n)[:, None] * frames + np.arange(frames))[..., None, None] / 1000, (1, 1, 2, 5))


def test_own_sequences_keep_their_frames_in_order_through_splits_and_batches(tmp_path):
    data = datasets.load(own(tmp_path, x_train=numbered(40, 7), y_train=np.arange(40) % 4))
    assert data.frames == 7 and sum(len(split) for split in data.splits.values()) == 280
    for split in data.splits.values():
        assert (split.x.view(-1, 7, 10)[:, :, 0].diff(dim=1) - 0.001).abs().max() < 1e-6
    seen = []
    for _, x, y in datasets.batches(data, 8, seed=0, epoch=1, frames=7):
        frames = list(datasets.in_order(x, y, 7))
        assert len(frames) == 7
        for n, (x_n, y_n) in enumerate(frames):
            number = (1000 * x_n[:, 0]).round().long()
            assert (
                (number % 7 == n).all() and (number // 7 % 4 == y_n).all() and (number // 7 == (1000 * frames[0][0][:, 0]).round().long() // 7).all()
            )
            seen += number.tolist()
    assert len(seen) == len(set(seen)) == len(data.splits["train"])
    part = [x for _, x, _ in datasets.batches(data, 8, seed=0, epoch=1, start=2, frames=7)]
    whole = [x for _, x, _ in datasets.batches(data, 8, seed=0, epoch=1, frames=7)]
    assert all(torch.equal(a, b) for a, b in zip(part, whole[2:], strict=True))


def test_sequences_of_other_lengths_and_pictures_in_colour_are_refused(tmp_path):
    with pytest.raises(UserError, match="test images are"):
        datasets.load(own(tmp_path, x_train=numbered(40, 7), x_test=numbered(4, 6)))
    with pytest.raises(UserError, match="pictures in colour"):
        datasets.load(own(tmp_path, x_train=np.zeros((9, 6, 6, 4))))

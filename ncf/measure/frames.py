"""Sequences: settling on their frames in order, each given the state of the frame before, and predicting a frame before it is seen."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ncf.data.datasets import Dataset, in_order, rows_of
from ncf.errors import UserError
from ncf.network.discrepancy import bce_of
from ncf.network.model import Model
from ncf.network.state import State

FLIPS = [0.0, *torch.logspace(-4, -0.31, 60, dtype=torch.float64).tolist()]  # up to one half


def frames_of(network: Model, data: Dataset) -> int:
    """T, the frames of a sequence, for a model that reads them in order; 1 for one that takes every frame by itself. UserError for still images."""
    if "frames" not in network.abilities:
        return 1
    if data.frames == 1:
        raise UserError(
            f"dataset={data.name}: its images are still, and the model's delayed bundles read the frame before; choose dataset=moving_digits, "
            "or dataset=npz with sequences (N, frames, height, width)"
        )
    return data.frames


def settled(network: Model, x: Tensor, frames: int, batch_size: int) -> Iterator[tuple[Tensor, State]]:
    """Every row of x (N T, J_0) settled, some sequences at a time and their frames in order: which rows (B,), and their state."""
    for sequences in torch.arange(len(x) // frames, device=x.device).split(batch_size):
        rows, state = rows_of(sequences, frames), None
        for n, (x_n, _) in enumerate(in_order(x[rows], None, frames)):
            state = network.settle(x_n) if state is None else network.settle(x_n, before=state)  # type: ignore[call-arg]
            yield rows[n::frames], state


def codes(network: Model, x: Tensor, frames: int, batch_size: int) -> Tensor:
    """The top activities f_L of every row, (N T, J_L)."""
    rows, found = zip(*((rows, state.code) for rows, state in settled(network, x, frames, batch_size)))
    return torch.cat(found)[torch.cat(rows).argsort()]


def predictions(network: Model, x: Tensor, frames: int, batch_size: int) -> Tensor:
    """mu_0 of the frames 2..T of sequences x (N T, J_0) before they are seen, (N, T - 1, J_0).

    A model that reads frames settles on frames 1..n and projects from that past (`GNCN.foresee`): no unit has heard of frame n+1.
    Any other predicts that the frame stays as it has settled on it: mu_0 of frame n.
    """
    film = []
    for part in x.split(batch_size * frames):
        ordered, state, shown = [x_n for x_n, _ in in_order(part, None, frames)], None, []
        for x_n in ordered[:-1]:
            if "frames" in network.abilities:
                state = network.settle(x_n, before=state)  # type: ignore[call-arg]
                shown.append(network.foresee(state))  # type: ignore[attr-defined]
            else:
                shown.append(network.settle(x_n).mu[0])
        film.append(torch.stack(shown, 1))
    return torch.cat(film)


def sequence_bce(x: Tensor, mu: Tensor) -> Tensor:
    """BCE of predicted frames mu (N, T - 1, J_0) against the frames 2..T of x (N, T, J_0), nats per image, the mean over a sequence's frames, (N,)."""
    return bce_of(x[:, 1:].flatten(0, 1), mu.flatten(0, 1)).view(len(mu), -1).mean(1)


def flipped(mu: Tensor, flip: float) -> Tensor:
    """What mu becomes where every pixel flips with a constant probability: (1 - flip) mu + flip (1 - mu)."""
    return mu + flip * (1 - 2 * mu)


def best_flip(x: Tensor, mu: Tensor) -> float:
    """The flip probability, of FLIPS, by which flipped(mu) has the least BCE."""
    return min(FLIPS, key=lambda flip: sequence_bce(x, flipped(mu, flip)).mean().item())


def persistence(x: Tensor) -> tuple[float, float]:
    """How often a white pixel of sequences x (N, T, J_0) is white in the next frame too, and how often a black one is."""
    before, after = x[:, :-1], x[:, 1:]
    white, white_after, both = (part.sum(dtype=torch.float64).item() for part in (before, after, before * after))
    return both / max(white, 1), (white_after - both) / max(before.numel() - white, 1)

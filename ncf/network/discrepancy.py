"""How far a settled state is from its image: per image, from the state alone."""

import torch
from torch import Tensor

from ncf.network.state import State

CLIP = 1e-7  # probabilities are kept this far from 0 and 1 in BCE


def bce(state: State) -> Tensor:
    """BCE = -sum over pixels [ x ln mu_0 + (1 - x) ln(1 - mu_0) ] after settling on x, mu_0 clipped at 1e-7, (B,)."""
    return bce_of(state.z[0], state.mu[0])


def bce_of(x: Tensor, mu: Tensor) -> Tensor:
    """The same of images x and predictions mu, (B,)."""
    mu = mu.clamp(CLIP, 1 - CLIP)
    return -(x * mu.log() + (1 - x) * (1 - mu).log()).sum(1)


def squared_error(state: State) -> Tensor:
    """|x - mu_0|^2 after settling on x, summed over pixels, no half, (B,)."""
    return (state.z[0] - state.mu[0]).square().sum(1)


def tod(state: State) -> Tensor:
    """Total discrepancy ToD = -sum over predicted populations of |r|^2: no half, before precision, (B,)."""
    return -torch.as_tensor(sum(r.square().sum(1) for r in state.r))


def cross_entropy(odds: Tensor, y: Tensor) -> Tensor:
    """-ln of the odds (B, C) that the class y (B,) was given, nats, (B,)."""
    return -odds.gather(1, y[:, None])[:, 0].clamp(min=1e-30).log()


def misplaced_odds(odds: Tensor, y: Tensor) -> Tensor:
    """Minus the squared error of odds (B, C) against the class y, (B,)."""
    return -odds.scatter_add(1, y[:, None], -torch.ones_like(odds)).square().sum(1)

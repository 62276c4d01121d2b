"""Figures of merit per image: plain functions of a settled state or of a network and images (paper.md, section 8)."""

import torch
from torch import Tensor

from ncf.gncn import State

CLIP = 1e-7  # probabilities are kept this far from 0 and 1 in BCE


@torch.no_grad()
def bce(state: State) -> Tensor:
    """BCE = -sum over pixels [ x ln mu_0 + (1 - x) ln(1 - mu_0) ], mu_0 clipped at 1e-7, nats per image, (B,)."""
    mu = state.mu[0].clamp(CLIP, 1 - CLIP)
    x = state.z[0]
    return -(x * mu.log() + (1 - x) * (1 - mu).log()).sum(1)


@torch.no_grad()
def tod(state: State) -> Tensor:
    """Total discrepancy ToD = -sum over layers of |r_l|^2, no half, before precision, (B,)."""
    return -sum(r.square().sum(1) for r in state.r)

METRICS = {"bce": bce, "tod": tod, "m_mse": None}

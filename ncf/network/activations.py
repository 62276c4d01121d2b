"""Activations phi and g by name: `value` writes phi(z) into `out` (which may be z, or None: a new tensor), `slope` gives phi'(z)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    name: str
    value: Callable[..., Tensor]  # value(z, out=tensor)
    slope: Callable[[Tensor, Tensor], Tensor]  # slope(z, f) with f = phi(z) already known


def identity(z: Tensor, out: Tensor | None) -> Tensor:
    return z if out is None or out is z else out.copy_(z)


def relu(z: Tensor, out: Tensor | None) -> Tensor:
    return torch.clamp(z, min=0, out=out)


ACTIVATIONS = {
    "identity": Activation("identity", identity, lambda z, f: torch.ones_like(z)),
    "relu": Activation("relu", relu, lambda z, f: (z >= 0).to(z.dtype)),  # phi'(0) = 1: with 0 a tied network never leaves rest
    "tanh": Activation("tanh", torch.tanh, lambda z, f: 1 - f * f),
    "sigmoid": Activation("sigmoid", torch.sigmoid, lambda z, f: f * (1 - f)),
}

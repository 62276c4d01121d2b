"""Activations phi and g by name: `value` writes phi(z) into `out` (which may be z, or None: a new tensor), `slope` gives phi'(z)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    name: str
    value: Callable[..., Tensor]  # value(z, out=tensor)
    slope: Callable[[Tensor, Tensor], Tensor] | None  # slope(z, f) with f = phi(z) already known; None: of predictions alone
    silent: bool  # phi(0) = 0: at rest it drives nothing


def identity(z: Tensor, out: Tensor | None) -> Tensor:
    return z if out is None or out is z else out.copy_(z)


def relu(z: Tensor, out: Tensor | None) -> Tensor:
    return torch.clamp(z, min=0, out=out)


def soft_threshold(threshold: float) -> Activation:
    """S(z) = max(z - lambda, 0) - max(-z - lambda, 0): zero within lambda of zero, beyond it z drawn to zero by lambda."""
    return Activation(
        "threshold",
        lambda z, out: torch.nn.functional.softshrink(z, threshold) if out is None else out.copy_(torch.nn.functional.softshrink(z, threshold)),
        lambda z, f: (z.abs() > threshold).to(z.dtype),
        silent=True,
    )


def softmax(z: Tensor, out: Tensor | None) -> Tensor:
    return z.softmax(1) if out is None else out.copy_(z.softmax(1))


ACTIVATIONS = {
    "identity": Activation("identity", identity, lambda z, f: torch.ones_like(z), silent=True),
    "relu": Activation("relu", relu, lambda z, f: (z >= 0).to(z.dtype), silent=True),  # phi'(0) = 1: with 0 a tied network never leaves rest
    "tanh": Activation("tanh", torch.tanh, lambda z, f: 1 - f * f, silent=True),
    "sigmoid": Activation("sigmoid", torch.sigmoid, lambda z, f: f * (1 - f), silent=False),
    "softmax": Activation("softmax", softmax, None, silent=False),
    "threshold": soft_threshold(1.0),
}


def activation(name: str, threshold: float) -> Activation:
    """The activation of that name, with the network's lambda where it has one."""
    return soft_threshold(threshold) if name == "threshold" else ACTIVATIONS[name]

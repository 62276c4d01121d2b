"""What the models trained by backpropagation share: synapses drawn for relu layers, the gradient, and the checkpoint's part."""

from collections.abc import Callable
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from ncf.network.discrepancy import bce, tod
from ncf.network.model import take_over
from ncf.network.state import State


class Backpropagated:
    """Parameters by name, and the loop's protocol (ncf/network/model.py) as far as it is the same for all of these models."""

    parameters: dict[str, Tensor]
    abilities: frozenset[str] = frozenset()
    force_dtype: torch.dtype = torch.float32

    def draw_bundle(self, synapses: str, biases: str, below: int, above: int, rng: np.random.Generator, device: torch.device | str) -> None:
        """Synapses (below, above) from N(0, 2 / below), which keeps the variance through relu layers; biases zero."""
        draw = rng.standard_normal((below, above), dtype=np.float32) * np.float32(sqrt(2 / below))
        self.parameters[synapses] = torch.from_numpy(draw).to(device)
        self.parameters[biases] = torch.zeros(above, device=device)

    def gradient(self, objective: Callable[[dict[str, Tensor]], Tensor]) -> dict[str, Tensor]:
        """The gradient of objective(parameters) with respect to each of them: the way up."""
        with torch.enable_grad():
            P = {name: value.detach().requires_grad_() for name, value in self.parameters.items()}
            return dict(zip(P, torch.autograd.grad(objective(P), list(P.values()))))

    def losses(self, state: State, y: Tensor | None) -> tuple[Tensor, Tensor]:
        return bce(state), tod(state)

    def adapt_precision(self, updates=None) -> None:
        """Nothing: there is no precision."""

    def limit_norms(self) -> None:
        """Nothing: norms are free."""

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.parameters)

    @torch.no_grad()
    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        take_over(self.parameters, tensors)


def noise_like(like: Tensor, rng: np.random.Generator) -> Tensor:
    """Standard normal draws in the shape, type and place of `like`."""
    return torch.from_numpy(rng.standard_normal(tuple(like.shape), dtype=np.float32)).to(like)

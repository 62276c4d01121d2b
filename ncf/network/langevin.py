"""Langevin settling: states that settle under noise are draws from what the errors leave open, not its mode.

    z_s <- z_s + beta d_s + sqrt(2 beta T) xi_s,    xi ~ N(0, 1)     (`model.settle.temperature` T)

Where feedback is tied and multiplied by phi', errors compare states with linear predictions (as in GNCN-t1), and neither lateral competition nor whitened
precision has a part, d is the slope of the log joint density of image and states, and with T = 1 small steps draw from
the posterior of the states: Monte Carlo predictive coding (Oliviers, Bogacz and Meulemans, "Learning probability distributions of sensory inputs with
Monte Carlo predictive coding", PLOS Computational Biology 20, 2024). Learning settles so; whatever is measured settles without noise.

Every image of a batch has a generator of its own, so that its noise depends neither on threads nor on how ranks share the batch.
"""

from math import sqrt

import numpy as np
import torch
from torch import Tensor

from ncf.config.schema import SettleConfig
from ncf.errors import UserError


class Noise:
    """xi of some images, step by step."""

    def __init__(self, seeds: np.ndarray, temperature: float):
        self.seeds, self.temperature = seeds, temperature
        self.generators = [np.random.default_rng(int(seed)) for seed in seeds]

    def of(self, rows: slice) -> "Noise":
        """That of some of the images, from the first step on."""
        return Noise(self.seeds[rows], self.temperature)

    def normal(self, size: int) -> Tensor:
        """Standard normal draws, (B, size)."""
        draws = np.empty((len(self.generators), size), np.float32)
        for row, generator in zip(draws, self.generators):
            generator.standard_normal(out=row, dtype=np.float32)
        return torch.from_numpy(draws)

    def uniform(self) -> Tensor:
        """Draws from [0, 1), (B, 1) float64."""
        return torch.tensor([[generator.random()] for generator in self.generators], dtype=torch.float64)

    def stir(self, z: dict[int, Tensor], beta: float, seen: dict[int, Tensor]) -> None:
        """Add sqrt(2 beta T) xi to the states z, (B, J_s) each by population, in place; what is `seen` of one (1) is clamped."""
        sizes = [state.shape[1] for state in z.values()]
        for (i, state), xi in zip(z.items(), self.normal(sum(sizes)).split(sizes, dim=1)):
            free = xi.to(state) if i not in seen else xi.to(state) * (1 - seen[i])
            state.add_(free, alpha=sqrt(2 * beta * self.temperature))


def noise_for(network, rng: np.random.Generator | None, images: int, rows: slice) -> Noise | None:
    """The noise of a training batch of so many images, for these rows; None where settling has none. `rng` belongs to the batch."""
    settle: SettleConfig | None = getattr(network.config, "settle", None)
    if settle is None or not settle.temperature or rng is None:
        return None
    return Noise(rng.integers(2**63, size=images)[rows], settle.temperature)


def require_steps(settle: SettleConfig) -> None:
    if settle.temperature and settle.solver != "euler":
        raise UserError(f"model.settle.temperature={settle.temperature:g}: noise is added to Euler's steps; leave model.settle.solver at euler")
    if settle.temperature and settle.tolerance:
        raise UserError(f"model.settle.temperature={settle.temperature:g}: states under noise never come to rest; leave model.settle.tolerance at 0")

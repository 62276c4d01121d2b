"""Likelihoods of an observed population by name: what its prediction means, and log p(x | drive), where g(drive) is the prediction.

Each is linear in x but for a term without the drive, log p(x | drive) = x . a + b + base(x), so that the likelihoods of many images
under many samples are one matrix product. The error neurons are e = x - mu for all of them: for gaussian the gradient of log p at mu,
for bernoulli and categorical the one at the logits (the published x / mu - (1 - x) / (1 - mu) is that before the sigmoid's slope).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

CLIP = 1e-6  # probabilities are kept this far from 0 and 1 in every estimate of log p(x)
MOST_DRIVE = log((1 - CLIP) / CLIP)  # the same limit before the sigmoid


@dataclass(frozen=True)
class Likelihood:
    """`terms` gives a (S, J) and b (S,) of a drive (S, J), and autograd may pass; `base` what depends on x alone, (N,) float64; `known_slope`
    that of log p(x | drive) along the drive, (S, J), where there is a formula (else autograd finds it)."""

    name: str
    g: str  # the activation of the prediction: mu = g(drive)
    discrete: bool  # whether x must be 0 or 1 to have a probability
    terms: Callable[[Tensor], tuple[Tensor, Tensor]]
    base: Callable[[Tensor], Tensor]
    draw: Callable[[Tensor, np.random.Generator], Tensor]  # x (S, J) for a drive
    known_slope: Callable[[Tensor, Tensor], Tensor] | None = None

    def slope(self, x: Tensor, drive: Tensor) -> Tensor:
        """d log p(x | drive) / d drive for x (S, J), (S, J)."""
        if self.known_slope is not None:
            return self.known_slope(x, drive)
        drive = drive.detach().requires_grad_()
        with torch.enable_grad():
            a, b = self.terms(drive)
            return torch.autograd.grad((x * a).sum() + b.sum(), drive)[0]


def nothing(x: Tensor) -> Tensor:
    return torch.zeros(len(x), dtype=torch.float64, device=x.device)


def uniform(like: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.random(tuple(like.shape), dtype=np.float32)).to(like)


def bernoulli_terms(drive: Tensor) -> tuple[Tensor, Tensor]:
    """a = logit mu with mu in [CLIP, 1 - CLIP], b = sum of ln(1 - mu)."""
    drive = drive.clamp(-MOST_DRIVE, MOST_DRIVE)
    return drive, -softplus(drive).sum(1)


def bernoulli_slope(x: Tensor, drive: Tensor) -> Tensor:
    """x - mu; nothing where mu is clipped."""
    return (x - drive.sigmoid()).masked_fill_(drive.abs() > MOST_DRIVE, 0)


def gaussian_terms(drive: Tensor) -> tuple[Tensor, Tensor]:
    """Unit variance: a = mu, b = -|mu|^2 / 2 - J / 2 ln 2 pi."""
    return drive, -drive.square().sum(1) / 2 - drive.shape[1] / 2 * log(2 * pi)


def categorical_terms(drive: Tensor) -> tuple[Tensor, Tensor]:
    """x one-hot: a = ln mu, b = 0."""
    return drive.log_softmax(1), torch.zeros_like(drive[:, 0])


def draw_gaussian(mean: Tensor, rng: np.random.Generator) -> Tensor:
    return mean + torch.from_numpy(rng.standard_normal(tuple(mean.shape), dtype=np.float32)).to(mean)


def draw_category(drive: Tensor, rng: np.random.Generator) -> Tensor:
    chosen = (drive - (-uniform(drive, rng).clamp(min=1e-12).log()).log()).argmax(1)  # Gumbel's maximum
    return torch.nn.functional.one_hot(chosen, drive.shape[1]).to(drive)


LIKELIHOODS = {
    "bernoulli": Likelihood(
        "bernoulli",
        "sigmoid",
        True,
        bernoulli_terms,
        nothing,
        lambda drive, rng: (uniform(drive, rng) < drive.sigmoid()).to(drive.dtype),
        bernoulli_slope,
    ),
    "gaussian": Likelihood("gaussian", "identity", False, gaussian_terms, lambda x: -x.double().square().sum(1) / 2, draw_gaussian),
    "categorical": Likelihood("categorical", "softmax", True, categorical_terms, nothing, draw_category),
}

"""Gaussians fitted to points, pixels or features: how far two lie apart, and the error of that."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
import torch
from torch import Tensor

PARTS = 10  # of the jackknife
RIDGE = 0.01  # added to every variance: pixels that never change have none


@dataclass(frozen=True)
class Gaussian:
    """Mean (J,) and covariance (J, J) of n points, in float64."""

    n: int
    mean: Tensor
    covariance: Tensor

    @cached_property
    def root(self) -> Tensor:
        """The symmetric square root of the covariance, (J, J)."""
        values, vectors = torch.linalg.eigh(self.covariance)
        return vectors * values.clamp(min=0).sqrt() @ vectors.T


def gaussian_of(points: Tensor) -> Gaussian:
    """Of points (n, J)."""
    points = points.double()
    mean = points.mean(0)
    return Gaussian(len(points), mean, (points - mean).T @ (points - mean) / len(points))


def joined(parts: list[Gaussian]) -> Gaussian:
    """The Gaussian of the points of all parts together: its covariance is that within the parts and that of their means."""
    n = sum(part.n for part in parts)
    mean = sum(part.n / n * part.mean for part in parts)
    return Gaussian(n, mean, sum(part.n / n * (part.covariance + torch.outer(part.mean - mean, part.mean - mean)) for part in parts))


def in_parts(measure: Callable[[Gaussian], float], points: Tensor) -> dict:
    """A measure of the Gaussian of points (n, J), and its error by the jackknife: from what it is without each of PARTS parts of them; None where
    they are too few for that."""
    parts = [gaussian_of(part) for part in points.chunk(PARTS)]
    without = [measure(joined(parts[:k] + parts[k + 1 :])) for k in range(len(parts))] if len(points) >= 2 * PARTS else []
    error = sqrt((len(without) - 1) ** 2 / len(without)) * float(np.std(without, ddof=1)) if without else None
    return {"value": measure(joined(parts)), "n": len(points), "stderr": error}


def gaussian_kl(data: Gaussian, other: Gaussian, ridge: float = RIDGE) -> float:
    """KL( N(m, C) || N(n, D) ) in nats, the Gaussians of the data and of other points, `ridge` added to every variance.

    1/2 ( tr(D^-1 C) + (n - m)^T D^-1 (n - m) - J + ln |D| / |C| )
    """
    m, n = data.mean, other.mean
    C, D = (gaussian.covariance + ridge * torch.eye(len(m)).to(m) for gaussian in (data, other))
    factor = torch.linalg.cholesky(D)
    fit = torch.cholesky_solve(C, factor).trace() + (n - m) @ torch.cholesky_solve((n - m)[:, None], factor)[:, 0]
    return 0.5 * (fit - len(m) + 2 * factor.diagonal().log().sum() - torch.linalg.slogdet(C).logabsdet).item()


def frechet_distance(real: Gaussian, other: Gaussian) -> float:
    """The squared 2-Wasserstein distance between N(m, C), the Gaussian of real points, and N(n, D), that of others.

    |m - n|^2 + tr( C + D - 2 (C D)^(1/2) ), the trace of the root being that of ( C^(1/2) D C^(1/2) )^(1/2) (Heusel et al., NeurIPS 2017: FID).
    """
    C, D = real.covariance, other.covariance
    common = torch.linalg.eigvalsh(real.root @ D @ real.root).clamp(min=0).sqrt().sum()
    return ((real.mean - other.mean).square().sum() + C.trace() + D.trace() - 2 * common).item()

"""Precision of hidden populations: the covariance Sigma of a residual, and the matrix Q that weights it."""

import torch
from torch import Tensor

JITTER = 0.00025  # whitened precision: added to every entry of Sigma at each precision step (released)


def prepare_covariance(sigma: Tensor) -> None:
    """Whitened precision, before it is factorised: Sigma's diagonal raised to at least 1, JITTER added to every entry."""
    sigma.diagonal().clamp_(min=1.0)
    sigma.add_(JITTER)


def whitening(factor: Tensor) -> Tensor:
    """Q = (R^-1)^T with R the Cholesky factor of Sigma's lower triangle, (J_l, J_l): |r Q|^2 = r^T Sigma^-1 r."""
    eye = torch.eye(len(factor), device=factor.device, dtype=factor.dtype)
    return torch.linalg.solve_triangular(factor, eye, upper=False).T.contiguous()


def move_covariance(sigma: Tensor, outer: Tensor, rate: float, shrinkage: float, floor: float) -> None:
    """Published precision: Sigma <- (1 - rate) Sigma + rate * S, S (J_l, J_l) the batch's mean outer product of r.

    S - Sigma is the natural gradient of the Gaussian log likelihood of r, local to the pair of units. S is shrunk toward
    its diagonal, which is kept at least at `floor`, so that no eigenvalue of it falls below shrinkage * floor: a convex mixture of
    positive definite matrices stays so.
    """
    variances = outer.diagonal()
    outer = outer * (1 - shrinkage)
    outer.diagonal().copy_(variances + (floor - variances).clamp_(min=0))
    sigma.lerp_(outer, rate)

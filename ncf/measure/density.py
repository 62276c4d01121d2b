"""log p(x) of a decoder under a prior over its top activities f_L: the mixture prior and the Monte Carlo estimate.

A decoder is anything with `drive(f_L)`, what stands before g_0 in the ancestral projection, and a `likelihood`. Given f_L both
likelihoods are linear in the image but for a term without f_L, log p(x | f_L) = x . a + b + base(x), so that the likelihoods of many
images under many samples are one matrix product.
"""

from dataclasses import dataclass
from math import log, sqrt

import numpy as np
import torch
from torch import Tensor

from ncf.network.likelihoods import LIKELIHOODS


def likelihood_terms(network, f_top: Tensor) -> tuple[Tensor, Tensor]:
    """a (S, J_0) and b (S,) of log p(x | f_L) = x . a + b + base(x); autograd may pass (`ncf.network.likelihoods`)."""
    return LIKELIHOODS[network.likelihood].terms(network.drive(f_top))


def base(network, x: Tensor) -> Tensor:
    """The part of log p(x | f_L) without f_L, (N,) float64."""
    return LIKELIHOODS[network.likelihood].base(x)


# --- Monte Carlo ------------------------------------------------------------------------------------------------------

BLOCKS = 20  # parts in which draws are made, for the sake of memory and of the jackknife


@dataclass
class Estimate:
    """log p(x) in nats, one per image, (N,) float64, with what tells how far to trust it."""

    log_p: Tensor
    effective_samples: Tensor  # (sum w)^2 / sum w^2 of the weights, (N,)
    sampling_stderr: float  # of the mean over the images, from the draws alone: the same draws serve all images


@torch.no_grad()
def monte_carlo(network, prior, x: Tensor, samples: int, rng: np.random.Generator, blocks: int = BLOCKS) -> Estimate:
    """log p(x) ~ logsumexp_s log p(x | f_s) - log S with f_s from the prior: right on average for p(x), so too low for log p(x)."""
    sizes = [len(part) for part in np.array_split(np.arange(samples), min(blocks, samples))]
    sums, squares = [], []
    for size in sizes:
        a, b = likelihood_terms(network, prior.sample(size, rng))
        fits = torch.addmm(b, x, a.T)  # (N, size)
        sums.append(fits.logsumexp(1).double())
        squares.append((2 * fits).logsumexp(1).double())
    sums = torch.stack(sums)  # (blocks, N)
    total = sums.logsumexp(0)
    effective = (2 * total - torch.stack(squares).logsumexp(0)).exp()
    return Estimate(total - log(samples) + base(network, x), effective, jackknife_stderr(sums, sizes))


def jackknife_stderr(sums: Tensor, sizes: list[int]) -> float:
    """Standard error of the mean of logsumexp over blocks, from leaving out one block at a time; sums (blocks, N)."""
    n = len(sizes)
    if n < 2:
        return float("nan")
    kept = 1 - torch.eye(n, device=sums.device).double()
    top = sums.max(0).values
    left = (kept @ (sums - top).exp()).log() + top - (sum(sizes) - torch.tensor(sizes, device=sums.device).double()).log()[:, None]
    return sqrt((n - 1) / n) * (left.mean(1) - left.mean()).square().sum().sqrt().item()


# --- from the encoder -------------------------------------------------------------------------------------------------


@torch.no_grad()
def encoder_estimates(network, x: Tensor, samples: int, rng: np.random.Generator) -> tuple[Tensor, Estimate]:
    """ELBO (N,) and importance-sampled log p(x) under the prior N(0, I), with u from N(0, I) and f = mean + sd u from q(f | x).

    log w = log p(x | f) + log N(f; 0, I) - log q(f | x); the ELBO is the mean of log w, the estimate the log of the mean of w.
    """
    mean, log_variance = network.posterior(x)
    sd = (log_variance / 2).exp()
    log_w = torch.empty(samples, len(x), dtype=torch.float64, device=x.device)
    for s in range(samples):
        u = torch.from_numpy(rng.standard_normal(tuple(mean.shape), dtype=np.float32)).to(mean)
        f = mean + sd * u
        a, b = likelihood_terms(network, f)
        log_w[s] = (x * a).sum(1) + b + (u.square() - f.square() + log_variance).sum(1) / 2
    log_w += base(network, x)
    total = log_w.logsumexp(0)
    effective = (2 * total - (2 * log_w).logsumexp(0)).exp()
    return log_w.mean(0), Estimate(total - log(samples), effective, delta_stderr(effective, samples))


def delta_stderr(effective: Tensor, draws: int) -> float:
    """Standard error of the mean over images of the log of a mean weight, by the delta method, from the effective draws (N,) of so many, each image's
    its own; NaN of a single draw, whose spread nobody knows."""
    if draws < 2:
        return float("nan")
    return ((1 / effective - 1 / draws).clamp(min=0) * draws / (draws - 1)).sum().sqrt().item() / len(effective)

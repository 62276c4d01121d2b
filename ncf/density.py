"""log p(x) of a decoder under a prior over its top activities f_L: the mixture prior and the Monte Carlo estimate (paper.md, section 7).

A decoder is anything with `drive(f_L)`, what stands before g_0 in the ancestral projection, and a `likelihood`. Given f_L both
likelihoods are linear in the image but for a term without f_L, log p(x | f_L) = x . a + b + base(x), so that the likelihoods of many
images under many samples are one matrix product.
"""

from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np
import torch
from torch import Tensor

CLIP = 1e-6  # probabilities are kept this far from 0 and 1 in every estimate of log p(x)
MOST_DRIVE = log((1 - CLIP) / CLIP)  # the same limit before the sigmoid
LATENTS_PER_COMPONENT = 240  # 18,000 latents for 75 components in the released recipe


@dataclass
class Mixture:
    """Sum over c of weights_c N(means_c, A_c A_c^T): weights (C,), means (C, J_L), factors A (C, J_L, J_L).

    Drawn with its weights (the released sampler draws components nearly uniformly), and what is drawn goes into the decoder as an
    activity as it is, as released: a mixture fitted to relu activities, which are never negative, draws negative values too.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    @classmethod
    def standard(cls, size: int, device: torch.device | str = "cpu") -> "Mixture":
        """N(0, I): the prior that a variational autoencoder is trained with."""
        eye = torch.eye(size, device=device)
        return cls(torch.ones(1, device=device), torch.zeros(1, size, device=device), eye[None])

    def sample(self, n: int, rng: np.random.Generator) -> Tensor:
        """n activities f_L (n, J_L)."""
        return self.place(*self.draw(n, rng))

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Components (n,) by their weights, and standard normal noise (n, J_L)."""
        component = self.draw_components(n, rng)
        return component, torch.from_numpy(rng.standard_normal((n, self.means.shape[1]), dtype=np.float32)).to(self.means)

    def draw_components(self, n: int, rng: np.random.Generator) -> Tensor:
        weights = self.weights.double().cpu().numpy()
        return torch.from_numpy(rng.choice(len(weights), size=n, p=weights / weights.sum())).to(self.means.device)

    def place(self, component: Tensor, noise: Tensor) -> Tensor:
        """f_L = means_c + noise A_c^T, (n, J_L)."""
        return self.means[component] + by_group(component, noise, self.factors.mT)

    def pull(self, component: Tensor, slope: Tensor) -> Tensor:
        """The gradient with respect to the noise, from the one with respect to f_L: slope A_c, (n, J_L)."""
        return by_group(component, slope, self.factors)


def by_group(group: Tensor, rows: Tensor, matrices: Tensor) -> Tensor:
    """rows_n @ matrices[group_n]: one product per group that occurs, (n, J)."""
    order = group.argsort()
    present, counts = group[order].unique_consecutive(return_counts=True)
    products = [part @ matrices[g] for g, part in zip(present.tolist(), rows[order].split(counts.tolist()))]
    return torch.empty_like(rows).index_copy_(0, order, torch.cat(products))


def fit_mixture(latents: Tensor, most_components: int, floor: float, seed: int) -> Mixture:
    """The mixture of full covariances that EM reaches from a k-means start on latents (N, J_L).

    As many components as leave each LATENTS_PER_COMPONENT latents, at most `most_components` and at least one; `floor` is added to
    every variance (the released recipe's 1e-6).
    """
    from sklearn.mixture import GaussianMixture

    n_components = max(1, min(most_components, len(latents) // LATENTS_PER_COMPONENT))
    model = GaussianMixture(n_components, covariance_type="full", init_params="kmeans", reg_covar=floor, random_state=seed)
    model.fit(latents.cpu().numpy())
    factors = np.linalg.cholesky(model.covariances_.astype(np.float64))
    return Mixture(*(torch.from_numpy(np.asarray(a, np.float32)).to(latents.device) for a in (model.weights_, model.means_, factors)))


# --- the likelihood ---------------------------------------------------------------------------------------------------


def likelihood_terms(network, f_top: Tensor) -> tuple[Tensor, Tensor]:
    """a (S, J_0) and b (S,) of log p(x | f_L) = x . a + b + base(x); autograd may pass.

    bernoulli: a = logit mu_0 with mu_0 in [CLIP, 1 - CLIP], b = sum of ln(1 - mu_0). gaussian, of unit variance: a = mu_0,
    b = -|mu_0|^2 / 2 - J_0 / 2 ln 2 pi.
    """
    drive = network.drive(f_top)
    if network.likelihood == "bernoulli":
        drive = drive.clamp(-MOST_DRIVE, MOST_DRIVE)
        return drive, -torch.nn.functional.softplus(drive).sum(1)
    return drive, -drive.square().sum(1) / 2 - drive.shape[1] / 2 * log(2 * pi)


def base(network, x: Tensor) -> Tensor:
    """The part of log p(x | f_L) without f_L: 0 for bernoulli, -|x|^2 / 2 for gaussian, (N,)."""
    return torch.zeros(len(x), dtype=torch.float64, device=x.device) if network.likelihood == "bernoulli" else -x.double().square().sum(1) / 2


# --- Monte Carlo ------------------------------------------------------------------------------------------------------


@dataclass
class Estimate:
    """log p(x) in nats, one per image, (N,) float64, with what tells how far to trust it."""

    log_p: Tensor
    effective_samples: Tensor  # (sum w)^2 / sum w^2 of the weights, (N,)
    sampling_stderr: float  # of the mean over the images, from the draws alone: the same draws serve all images


@torch.no_grad()
def monte_carlo(network, prior, x: Tensor, samples: int, rng: np.random.Generator, blocks: int = 20) -> Estimate:
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
    stderr = ((1 / effective - 1 / samples).clamp(min=0) * samples / max(samples - 1, 1)).sum().sqrt().item() / len(x)
    return log_w.mean(0), Estimate(total - log(samples), effective, stderr)

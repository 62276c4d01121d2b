"""The Gaussian mixture over top activities f_L: the prior of a network's root, fitted after training."""

from dataclasses import dataclass
from math import log, pi

import numpy as np
import torch
from torch import Tensor

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

    def log_density(self, f: Tensor) -> Tensor:
        """log sum over c of weights_c N(f; means_c, A_c A_c^T) of activities f (N, J_L), (N,) float64; A_c must be lower triangular, as fitted."""
        return self.joint(f).logsumexp(1)

    def joint(self, f: Tensor) -> Tensor:
        """log weights_c + log N(f; means_c, A_c A_c^T) of every component, (N, C) float64."""
        parts = []
        for weight, mean, factor in zip(self.weights.double(), self.means.double(), self.factors.double()):
            noise = torch.linalg.solve_triangular(factor, (f.double() - mean).T, upper=False)
            parts.append(weight.log() - noise.square().sum(0) / 2 - factor.diagonal().abs().log().sum() - len(mean) / 2 * log(2 * pi))
        return torch.stack(parts, dim=1)

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


def fit_mixture(latents: Tensor, most_components: int, floor: float, seed: int, shrinkage: float = 0.0) -> Mixture:
    """The mixture of full covariances that EM reaches from a k-means start on latents (N, J_L).

    As many components as leave each LATENTS_PER_COMPONENT latents, at most `most_components` and at least one; `floor` is added to
    every variance (the released recipe's 1e-6). Covariances between units are then multiplied by 1 - `shrinkage`.
    """
    from sklearn.mixture import GaussianMixture

    n_components = max(1, min(most_components, len(latents) // LATENTS_PER_COMPONENT))
    model = GaussianMixture(n_components, covariance_type="full", init_params="kmeans", reg_covar=floor, random_state=seed)
    model.fit(latents.cpu().numpy())
    covariances = model.covariances_.astype(np.float64)
    covariances *= 1 - shrinkage * (1 - np.eye(covariances.shape[1]))
    factors = np.linalg.cholesky(covariances)
    return Mixture(*(torch.from_numpy(np.asarray(a, np.float32)).to(latents.device) for a in (model.weights_, model.means_, factors)))

"""The Gaussian mixture over top activities f_L: the prior of a network's root, fitted after training."""

from dataclasses import dataclass, field
from math import log, pi

import numpy as np
import torch
from torch import Tensor

LATENTS_PER_COMPONENT = 240  # 18,000 latents for 75 components in the released recipe
GRID = {"pooling": (0.0, 100.0, 300.0, 1000.0), "shrinkage": (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)}  # what held-out latents choose from
MOST_JUDGES = 500  # held-out latents that choose


@dataclass
class Mixture:
    """Sum over c of weights_c N(means_c, A_c A_c^T): weights (C,), means (C, J_L), factors A (C, J_L, J_L).

    Drawn with its weights (the released sampler draws components nearly uniformly), and what is drawn goes into the decoder as an
    activity as it is, as released: a mixture fitted to relu activities, which are never negative, draws negative values too.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    pooling: Tensor = field(default_factory=lambda: torch.tensor(0.0))  # as fitted (`Groups.mixture`)
    shrinkage: Tensor = field(default_factory=lambda: torch.tensor(0.0))

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

    def noise(self, component: Tensor, f: Tensor) -> Tensor:
        """The noise that `place` would have made f (n, J_L) of: A_c^-1 (f - means_c), in float64 on the way, (n, J_L)."""
        found = torch.empty_like(f)
        for c in component.unique().tolist():
            apart = (f[component == c] - self.means[c]).double()
            found[component == c] = torch.linalg.solve_triangular(self.factors[c].double(), apart.T, upper=False).T.to(f)
        return found

    def to(self, device: torch.device | str) -> "Mixture":
        return Mixture(**{name: tensor.to(device) for name, tensor in vars(self).items()})

    def pull(self, component: Tensor, slope: Tensor) -> Tensor:
        """The gradient with respect to the noise, from the one with respect to f_L: slope A_c, (n, J_L)."""
        return by_group(component, slope, self.factors)


def by_group(group: Tensor, rows: Tensor, matrices: Tensor) -> Tensor:
    """rows_n @ matrices[group_n]: one product per group that occurs, (n, J)."""
    order = group.argsort()
    present, counts = group[order].unique_consecutive(return_counts=True)
    products = [part @ matrices[g] for g, part in zip(present.tolist(), rows[order].split(counts.tolist()))]
    return torch.empty_like(rows).index_copy_(0, order, torch.cat(products))


@dataclass
class Groups:
    """What EM finds in n latents: weights (C,), means (C, J_L) and covariances (C, J_L, J_L), the floor in their variances, float64."""

    n: int
    weights: Tensor
    means: Tensor
    covariances: Tensor

    def mixture(self, pooling: float = 0.0, shrinkage: float = 0.0) -> Mixture:
        """The mixture with covariances (n_c S_c + k P) / (n_c + k), with n_c = weights_c n, k = `pooling` and P = sum of weights_c S_c, which all components
        share; what they say between units is then multiplied by 1 - `shrinkage`. The former is the posterior mode under an inverse Wishart prior around P
        (Fraley and Raftery, "Bayesian regularization for normal mixture estimation", Journal of Classification 24, 2007)."""
        weights = self.weights[:, None, None]
        pooled = (weights * self.covariances).sum(0)
        covariances = self.covariances + pooling / (weights * self.n + pooling).clamp(min=1e-9) * (pooled - self.covariances)
        covariances *= 1 - shrinkage * (1 - torch.eye(len(pooled), dtype=pooled.dtype))
        factors = torch.linalg.cholesky(covariances)
        return Mixture(*(torch.as_tensor(v).float() for v in (self.weights, self.means, factors, pooling, shrinkage)))


def find_groups(latents: Tensor, most_components: int, floor: float, seed: int) -> Groups:
    """The mixture of full covariances that EM reaches from a k-means start on latents (N, J_L).

    As many components as leave each LATENTS_PER_COMPONENT latents, at most `most_components` and at least one; `floor` is added to
    every variance (the released recipe's 1e-6). Where float32 cannot tell such a covariance from a singular one, float64 fits it.
    """
    from sklearn.mixture import GaussianMixture

    n_components = max(1, min(most_components, len(latents) // LATENTS_PER_COMPONENT))
    model = GaussianMixture(n_components, covariance_type="full", init_params="kmeans", reg_covar=floor, random_state=seed)
    values = latents.cpu().numpy()
    try:
        model.fit(values)
    except ValueError:
        model.fit(values.astype(np.float64))
    return Groups(len(latents), *(torch.from_numpy(a.astype(np.float64)) for a in (model.weights_, model.means_, model.covariances_)))


def fit_mixture(
    latents: Tensor, most_components: int, floor: float, seed: int, shrinkage: float | None = 0.0, pooling: float | None = 0.0
) -> Mixture:
    """The mixture fitted to latents (N, J_L) by `find_groups`, its covariances as `Groups.mixture` says.

    `shrinkage` or `pooling` None: the pair of GRID under which the last sixth of the latents is most probable, fitted to the others; the mixture is
    then fitted to all of them.
    """
    if shrinkage is None or pooling is None:
        known, held_out = latents.split([len(latents) - len(latents) // 6, len(latents) // 6])
        groups = find_groups(known, most_components, floor, seed)
        grid = [
            (k, s) for k in (GRID["pooling"] if pooling is None else [pooling]) for s in (GRID["shrinkage"] if shrinkage is None else [shrinkage])
        ]
        judged = held_out[:MOST_JUDGES].cpu()
        found = [groups.mixture(*pair).log_density(judged).mean().item() for pair in grid]
        pooling, shrinkage = grid[int(np.argmax(found))]
    return find_groups(latents, most_components, floor, seed).mixture(pooling, shrinkage).to(latents.device)

"""The Gaussian mixture over top activities f_L: the prior of a network's root, fitted after training or learned in it (`ncf.network.top_prior`)."""

from dataclasses import dataclass, field, replace
from math import log, pi

import numpy as np
import torch
from torch import Tensor

LATENTS_PER_COMPONENT = 240  # 18,000 latents for 75 components in the released recipe
SHRINKAGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)  # of which held-out latents choose
MOST_JUDGES = 500


@dataclass
class Mixture:
    """Sum over c of weights_c N(means_c, A_c A_c^T): weights (C,), means (C, J_L), factors A (C, J_L, J_L).

    Drawn with its weights (the released sampler draws components nearly uniformly), and what is drawn goes into the decoder as an
    activity as it is, as released: a mixture fitted to relu activities, which are never negative, draws negative values too.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    shrinkage: Tensor = field(default_factory=lambda: torch.tensor(0.0))  # as fitted

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

    def component_of(self, f: Tensor, uniforms: Tensor) -> Tensor:
        """A component for every f (N, J_L), drawn from p(c | f) by uniform numbers (N, 1), (N,)."""
        rises = self.joint(f).softmax(1).cumsum(1)
        return (uniforms.to(rises) > rises[:, :-1]).sum(1)

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
        return self.means[component] + by_group(component, noise.to(self.factors.dtype), self.factors.mT)

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
        return by_group(component, slope.to(self.factors.dtype), self.factors).to(slope.dtype)

    def half(self) -> "Mixture":
        """The same with factors in bfloat16, which `place` and `pull` multiply by."""
        return replace(self, factors=self.factors.bfloat16())


def by_group(group: Tensor, rows: Tensor, matrices: Tensor) -> Tensor:
    """rows_n @ matrices[group_n]: one product per group that occurs, (n, J)."""
    order = group.argsort()
    present, counts = group[order].unique_consecutive(return_counts=True)
    products = [part @ matrices[g] for g, part in zip(present.tolist(), rows[order].split(counts.tolist()))]
    return torch.empty_like(rows).index_copy_(0, order, torch.cat(products))


@dataclass
class Groups:
    """What EM finds in latents: weights (C,), means (C, J_L) and covariances (C, J_L, J_L), the floor in their variances, float64."""

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def mixture(self, shrinkage: float = 0.0) -> Mixture:
        """The mixture of these, what the covariances say between units multiplied by 1 - `shrinkage`."""
        kept = 1 - shrinkage * (1 - torch.eye(self.means.shape[1], dtype=self.means.dtype))
        factors = torch.linalg.cholesky(self.covariances * kept)
        return Mixture(*(torch.as_tensor(v).float() for v in (self.weights, self.means, factors, shrinkage)))


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
    return Groups(*(torch.from_numpy(a.astype(np.float64)) for a in (model.weights_, model.means_, model.covariances_)))


def fit_mixture(latents: Tensor, most_components: int, floor: float, seed: int, shrinkage: float | None = 0.0) -> Mixture:
    """The mixture fitted to latents (N, J_L) by `find_groups` and shrunk by `Groups.mixture`.

    `shrinkage` None: the one of SHRINKAGES under which the last sixth of the latents (MOST_JUDGES at most) is most probable where the others are
    fitted; the mixture is then fitted to all of them.
    """
    if shrinkage is None:
        known, held_out = latents.split([len(latents) - len(latents) // 6, len(latents) // 6])
        groups, judges = find_groups(known, most_components, floor, seed), held_out[:MOST_JUDGES].cpu()
        shrinkage = SHRINKAGES[-1] if not len(judges) else max(SHRINKAGES, key=lambda s: groups.mixture(s).log_density(judges).mean().item())
    return find_groups(latents, most_components, floor, seed).mixture(shrinkage).to(latents.device)

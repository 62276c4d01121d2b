"""A prior over the top that learns together with the synapses: Monte Carlo EM, online.

The prior is a mixture p(f) = sum over c of w_c N(f; m_c, A_c A_c^T) over the top's activities f (`model.last_phase.components` components). In the last phase
of every batch (`ncf.network.last_phase`) the top of every image goes from where it fits best towards a draw from its posterior p(f | x) ~ p(f) p(x | f), all
populations below it at their predictions. Hamiltonian moves keep that posterior: with a component c drawn from p(c | f), noise u, f = m_c + u A_c^T, and
momentum v ~ N(0, I),

    v <- v + h/2 ( d_top A_c - u ),   u <- u + h v,   v <- v + h/2 ( d_top A_c - u ),      five times a move, h from 0.8 to 1.2 of the step size,

which is then taken or left by its energy |u|^2 / 2 + |v|^2 / 2 - log p(x | f). d_top is the image's error carried up, here over the transposed generative
synapses, and so the slope of log p(x | f). A few moves leave a bias towards the best fit: what an image says little of spreads less than it should, and the less so the more
`moves`. From what is drawn the synapses learn by products of the activity and the error at their two ends, and the prior by
moving averages of c, f and f f^T within its components:

    S <- S + rho ( S_batch - S ),   rho = (n + 2)^-0.6,     w_c = S_c,   m_c = S_cf / S_c,   A_c A_c^T = S_cff / S_c - m_c m_c^T, shrunk.

Where synapses learn in the last phase `alone`, the chain of an image goes on from epoch to epoch: the prior remembers every training image's top (N, J), and
the next moves begin there (persistent chains: Tieleman, ICML 2008). Images settle in the first epoch only. The bias becomes smaller with every epoch, as long
as synapses change slowly beside it; images that are drawn anew in every epoch are not remembered, since their tops would lag behind them. A run that is resumed
goes on with its tops, one that starts from it (`start_from`) begins them anew.

Neal, "MCMC using Hamiltonian dynamics", Handbook of Markov Chain Monte Carlo (2011); Cappe and Moulines, "On-line expectation-maximization algorithm for
latent data models", Journal of the Royal Statistical Society B 71 (2009).
"""

import numpy as np
import torch
from torch import Tensor

from ncf.network.langevin import Noise
from ncf.network.likelihoods import LIKELIHOODS
from ncf.network.mixture import Mixture
from ncf.network.top_inference import carried_up

LEAPFROGS = 5
ACCEPTANCE = 0.65  # which the step size seeks
WARM = 50  # batches before draws begin and synapses learn in the last phase; the prior learns from the tops that fit best
REFIT = 10  # batches from one mixture to the next
SHRINKAGE = 0.2  # of covariances between units
FLOOR = 1e-4  # of every variance
PREFIX = "Prior."


class TopPrior:
    """The mixture over a top of `size` units and the averages it is made of."""

    def __init__(self, components: int, size: int, device: torch.device):
        eye = torch.eye(size, device=device)
        self.mass = torch.full((components,), 1 / components, device=device)
        self.first = torch.zeros(components, size, device=device)  # averages of [c] f
        self.second = eye.repeat(components, 1, 1) / components  # averages of [c] f f^T
        self.learned = torch.zeros((), device=device)  # batches so far, n
        self.step = torch.full((), 0.1, device=device)  # h
        self.mixture = Mixture(self.mass.clone(), self.first.clone(), eye.repeat(components, 1, 1))
        self.tops: Tensor | None = None  # of every training image, where its last draw left it (N, J); NaN before the first; None: not remembered

    def remember(self, n: int) -> None:
        """Keep the tops of n training images from now on."""
        self.tops = self.first.new_full((n, self.first.shape[1]), torch.nan)

    def recalled(self, images: Tensor | None) -> Tensor | None:
        """The tops of these images (B,), (B, J); None unless all of them are remembered."""
        if self.tops is None or images is None:
            return None
        found = self.tops[images]
        return None if found[:, 0].isnan().any() else found

    @property
    def warm(self) -> bool:
        return self.learned.item() >= WARM

    def components(self, f: Tensor, noise: Noise) -> Tensor:
        """A component for every f (B, J), (B,): drawn from p(c | f); while the prior warms up, the direction of a fixed random set that f points to."""
        if self.warm:
            return self.mixture.component_of(f, noise.uniform())
        directions = np.random.default_rng(0).standard_normal((f.shape[1], len(self.mass)), dtype=np.float32)
        return ((f - self.first.sum(0)) @ torch.from_numpy(directions).to(f)).argmax(1)

    def averages(self, f: Tensor, component: Tensor, accepted: Tensor, batch: int) -> dict[str, Tensor]:
        """What the mixture learns from: sums over these rows of a batch of so many, by it."""
        member = torch.nn.functional.one_hot(component, len(self.mass)).to(f)
        second = torch.stack([(own := f[component == c]).T @ own for c in range(len(self.mass))])
        sums = {"mass": member.sum(0), "first": member.T @ f, "second": second, "accepted": accepted.sum()}
        return {PREFIX + name: total / batch for name, total in sums.items()}

    def remembered(self, f: Tensor, images: Tensor | None, batch: int, rows: slice | None) -> dict[str, Tensor]:
        """What the memory takes: tops f and which images they are of, in these rows of a batch (B, J) and (B,), zero elsewhere, so that parts add up."""
        if self.tops is None or images is None:
            return {}
        tops, which = f.new_zeros(batch, f.shape[1]), f.new_zeros(batch)
        tops[rows or slice(None)], which[rows or slice(None)] = f, images.to(which)
        return {PREFIX + "tops": tops, PREFIX + "images": which}

    def learn(self, updates: dict[str, Tensor]) -> None:
        """One batch's averages taken in, and its tops."""
        if PREFIX + "tops" in updates and self.tops is not None:
            self.tops[updates[PREFIX + "images"].long()] = updates[PREFIX + "tops"].to(self.tops)
        rho = (self.learned.item() + 2) ** -0.6
        for name in ("mass", "first", "second"):
            average = getattr(self, name)
            average.lerp_(updates[PREFIX + name].to(average), rho)
        if self.warm:
            self.step.mul_(1.02 if updates[PREFIX + "accepted"].item() > ACCEPTANCE else 0.98)
        self.learned.add_(1)
        if self.learned.item() % REFIT == 0 or not self.warm:
            self.refit()

    def refit(self) -> None:
        """The mixture that the averages make. A component without mass keeps what it was."""
        mass, first, second = (average.double() for average in (self.mass, self.first, self.second))
        means = first / mass.clamp(min=1e-12)[:, None]
        covariances = second / mass.clamp(min=1e-12)[:, None, None] - means[:, :, None] * means[:, None, :]
        variances = covariances.diagonal(dim1=1, dim2=2).clamp(min=FLOOR)
        shrunk = (1 - SHRINKAGE) * covariances
        shrunk.diagonal(dim1=1, dim2=2).copy_(variances)
        factors, failed = torch.linalg.cholesky_ex(shrunk)
        there = ((mass > 1e-6) & (failed == 0))[:, None]
        self.mixture.weights.copy_(mass / mass.sum())
        self.mixture.means.copy_(torch.where(there, means.float(), self.mixture.means))
        self.mixture.factors.copy_(torch.where(there[:, :, None], factors.float(), self.mixture.factors))

    def tensors(self) -> dict[str, Tensor]:
        own = {name: getattr(self, name) for name in ("mass", "first", "second", "learned", "step")}
        mixture = {name: getattr(self.mixture, name) for name in ("weights", "means", "factors")}
        return {PREFIX + name: tensor for name, tensor in {**own, **mixture}.items()}


def prior_of(network) -> TopPrior | None:
    """The prior that learns with a network's synapses, where it has one (any model may be asked)."""
    prior = getattr(network, "prior", None)
    return prior if isinstance(prior, TopPrior) else None


def draw_top(network, prior: TopPrior, x: Tensor, f: Tensor, given: dict[str, Tensor], moves: int, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
    """Tops (B, J) after Hamiltonian moves that keep p(f | x), from tops f (B, J); their components (B,); and which share of its moves an image took (B,)."""
    taken = torch.zeros(len(f), device=f.device)
    component = prior.components(f, noise)
    if not prior.warm:
        return f, component, taken
    mixture = prior.mixture
    for move in range(moves):
        component = prior.components(f, noise) if move else component
        u, v = mixture.noise(component, f), noise.normal(f.shape[1]).to(f)
        h = prior.step * (0.8 + 0.4 * noise.uniform().to(f))  # no trajectory comes round to its start for every image
        fit, drift = fit_and_slope(network, x, mixture, component, u, given)
        place, likely = u.clone(), fit
        before = (u.square().sum(1) + v.square().sum(1)) / 2 - fit
        v += h / 2 * (drift - place)
        for i in range(1, LEAPFROGS + 1):
            place += h * v
            likely, drift = fit_and_slope(network, x, mixture, component, place, given)
            v += (h if i < LEAPFROGS else h / 2) * (drift - place)
        gain = before - ((place.square().sum(1) + v.square().sum(1)) / 2 - likely)
        accepted = noise.uniform().to(gain)[:, 0].log() < gain
        f = torch.where(accepted[:, None], mixture.place(component, place), f)
        taken += accepted
    return f, component, taken / moves


def fit_and_slope(network, x: Tensor, mixture: Mixture, component: Tensor, u: Tensor, given: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """log p(x | f), (B,), and its slope with respect to u, d_top A_c, (B, J)."""
    f, d = carried_up(network, x, mixture.place(component, u), given, transposed=True)
    a, b = LIKELIHOODS[network.likelihood].terms(f[0])
    return (x * a).sum(1) + b, mixture.pull(component, torch.cat([d[i] for i in network.circuit.tops], dim=1))

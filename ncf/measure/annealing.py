"""Annealed importance sampling of log p(x), from the prior to the posterior over a decoder's top activities.

Neal, "Annealed importance sampling", Statistics and Computing 11 (2001); Wu, Burda, Salakhutdinov and Grosse, "On the quantitative
analysis of decoder-based generative models", ICLR 2017. A chain's state is a component c of the prior and standard normal noise u, so
that f_L = means_c + u A_c^T; the densities on the way are

    p_t(c, u | x)  ~  weights_c N(u; 0, I) p(x | f_L)^beta_t,      beta_0 = 0, beta_T = 1.

Moving u and not f_L, the sampler meets a well-conditioned prior however narrow the components are. Gradients are used here: this is
measurement, not learning. They are calculated in bfloat16 where that is faster: up to rounding, any force that depends on u alone leaves the
leapfrogs reversible and their volume as it is, and log p(x | f_L) in full precision decides what is accepted, so that the estimate is no less
right (Neal, "MCMC using Hamiltonian dynamics", 2011, on approximate trajectories).
"""

from dataclasses import dataclass
from math import exp, log

import numpy as np
import torch
from torch import Tensor

from ncf.config.schema import AnnealingConfig
from ncf.data.streams import stream
from ncf.measure.density import Estimate, base, delta_stderr, likelihood_terms
from ncf.network.likelihoods import LIKELIHOODS
from ncf.network.mixture import Mixture
from ncf.runs.provenance import n_synapses

WORTH_IT = 50_000_000  # synapses times chains from which forces in bfloat16 are faster
TARGET_ACCEPTANCE = 0.65  # of Hamiltonian moves; the pilot's step sizes seek it


@dataclass
class Chains:
    """N chains side by side: images x (N, J_0), components (N,), noise u (N, J_L), and log p(x | f_L) without base, (N,)."""

    x: Tensor
    component: Tensor
    noise: Tensor
    fit: Tensor


@dataclass
class Annealed(Estimate):
    """The estimate, where its chains end, `fit` = E[log p(x | f_L)] over p(f_L | x), (N,), each chain by its weight, and the type of their forces in the
    words of compute.dtype."""

    fit: Tensor
    forces: str

    @property
    def divergence(self) -> Tensor:
        """KL( p(f_L | x) || p(f_L) ) = E[log p(x | f_L)] - log p(x), (N,): by Bayes' rule log p(f_L | x) / p(f_L) is log p(x | f_L) / p(x)."""
        return self.fit - self.log_p


@dataclass
class Bracket:
    """The bidirectional check on images drawn from the model: log p(x) lies, on average, between `lower` and `upper` (nats per image), each
    with the standard error that the chains leave; the ends may cross by as much, and by more, since all chains of an image come down from its one draw,
    which the upper end's error takes no account of."""

    lower: float
    lower_stderr: float
    upper: float
    upper_stderr: float
    images: int


def anneal(network, prior: Mixture, x: Tensor, config: AnnealingConfig, seed: int = 0) -> tuple[Annealed, Bracket]:
    """log p(x) of images x (n, J_0) by annealing `chains` chains each from the prior, and the bidirectional check on drawn ones.

    A pilot with one chain per image finds a step size for every temperature. They are then held, so that the moves of the estimate
    depend on nothing that came before and its weights are right on average.
    """
    betas = temperatures(config.steps)
    half = rough_forces(network, len(x) * config.chains)
    sampler = Sampler(network, prior, config.leapfrogs, stream(seed, "annealing"), half)
    steps = sampler.find_steps(sampler.from_prior(x), betas)
    chains = sampler.from_prior(x.repeat_interleave(config.chains, 0))
    log_weights = sampler.forward(chains, betas, steps).view(len(x), -1)
    shares = log_weights.softmax(1)  # of the chains' last states, which stand for the posterior

    n = config.check_images
    drawn = sampler.simulate(n)
    several = Chains(*(v.repeat_interleave(config.chains, 0) for v in (drawn.x, drawn.component, drawn.noise, drawn.fit)))
    offset = base(network, drawn.x)
    lower = estimate(sampler.forward(sampler.from_prior(several.x), betas, steps).view(n, -1), offset)
    upper = estimate(-sampler.backward(several, betas, steps).view(n, -1), -offset)  # of 1 / p(x)
    bracket = Bracket(lower.log_p.mean().item(), lower.sampling_stderr, -upper.log_p.mean().item(), upper.sampling_stderr, n)
    offset = base(network, x)
    fit = (shares * chains.fit.double().view(len(x), -1)).sum(1) + offset
    return Annealed(**vars(estimate(log_weights, offset)), fit=fit, forces="bf16" if half else "float32"), bracket


def rough_forces(network, chains: int) -> bool:
    """Whether forces are in bfloat16: where the model's `compute.dtype` has it so and there is enough to multiply."""
    return network.force_dtype == torch.bfloat16 and chains * n_synapses(network) >= WORTH_IT


def estimate(log_weights: Tensor, offset: Tensor) -> Estimate:
    """From the chains' log weights (n, chains): log of their mean, effective chains, and the delta method's standard error."""
    chains = log_weights.shape[1]
    effective = (2 * log_weights.logsumexp(1) - (2 * log_weights).logsumexp(1)).exp()
    return Estimate(mean_weight(log_weights) + offset, effective, delta_stderr(effective, chains))


def mean_weight(log_weights: Tensor) -> Tensor:
    return log_weights.logsumexp(1) - log(log_weights.shape[1])


def temperatures(steps: int, steepness: float = 4.0) -> list[float]:
    """beta_0 = 0 .. beta_T = 1 along a sigmoid, dense at both ends, (T + 1)."""
    rise = [1 / (1 + exp(-steepness * (2 * t / steps - 1))) for t in range(steps + 1)]
    return [(r - rise[0]) / (rise[-1] - rise[0]) for r in rise]


class Sampler:
    """Chains of one decoder and one prior: where they start, how they move at one temperature, and the way up and down."""

    def __init__(self, network, prior: Mixture, leapfrogs: int, rng: np.random.Generator, half: bool = False):
        self.network, self.prior, self.leapfrogs, self.rng = network, prior, leapfrogs, rng
        self.half, self.rough = half, prior.half() if half else prior  # whether forces are in bfloat16, and the prior that they go through

    # --- starts -------------------------------------------------------------------------------------------------------

    def from_prior(self, x: Tensor) -> Chains:
        """A draw from p_0 for every image."""
        component, noise = self.prior.draw(len(x), self.rng)
        return Chains(x, component, noise, self.fit(x, component, noise))

    def simulate(self, n: int) -> Chains:
        """n images drawn from the model, with the states that made them: exact draws from p_T."""
        component, noise = self.prior.draw(n, self.rng)
        drive, _ = likelihood_terms(self.network, self.prior.place(component, noise))
        x = LIKELIHOODS[self.network.likelihood].draw(drive, self.rng)
        return Chains(x, component, noise, self.fit(x, component, noise))

    # --- ways ---------------------------------------------------------------------------------------------------------

    def find_steps(self, chains: Chains, betas: list[float]) -> list[float]:
        """A step size for every temperature but the first, by its multiplication up or down on the way."""
        step, steps = 0.1, []
        for beta in betas[1:]:
            step *= 1.05 if self.move(chains, beta, step) > TARGET_ACCEPTANCE else 0.95
            steps.append(step)
        return steps

    def forward(self, chains: Chains, betas: list[float], steps: list[float]) -> Tensor:
        """log w = sum over t of (beta_t - beta_{t-1}) log p(x | f_L), each before the move at beta_t; E[w] = p(x), (N,) float64."""
        log_w = torch.zeros(len(chains.fit), dtype=torch.float64, device=chains.fit.device)
        for before, beta, step in zip(betas, betas[1:], steps):
            log_w += (beta - before) * chains.fit.double()
            self.move(chains, beta, step)
        return log_w

    def backward(self, chains: Chains, betas: list[float], steps: list[float]) -> Tensor:
        """The same sum on the way down from exact draws of the posterior, each after the move at beta_t; E[1 / w] = 1 / p(x), (N,)."""
        log_w = torch.zeros(len(chains.fit), dtype=torch.float64, device=chains.fit.device)
        for before, beta, step in reversed(list(zip(betas, betas[1:], steps))):
            self.move(chains, beta, step)
            log_w += (beta - before) * chains.fit.double()
        return log_w

    # --- moves: each leaves p_t as it is --------------------------------------------------------------------------------

    def move(self, chains: Chains, beta: float, step: float) -> float:
        """A jump between components around a Hamiltonian move of the noise; returns the mean acceptance of the latter."""
        self.jump(chains, beta)
        acceptance = self.glide(chains, beta, step)
        self.jump(chains, beta)
        return acceptance

    def glide(self, chains: Chains, beta: float, step: float) -> float:
        """Hamiltonian Monte Carlo on u with energy |u|^2 / 2 - beta log p(x | f_L): leapfrogs, then accept or stay."""
        momentum, noise = self.normal(chains.noise), chains.noise.clone()
        before = (noise.square().sum(1) + momentum.square().sum(1)) / 2 - beta * chains.fit
        momentum += step / 2 * (beta * self.force(chains.x, chains.component, noise) - noise)
        for i in range(1, self.leapfrogs + 1):
            noise += step * momentum
            momentum += (step if i < self.leapfrogs else step / 2) * (beta * self.force(chains.x, chains.component, noise) - noise)
        fit = self.fit(chains.x, chains.component, noise)
        gain = before - ((noise.square().sum(1) + momentum.square().sum(1)) / 2 - beta * fit)
        accepted = self.log_uniform(gain) < gain
        chains.noise = torch.where(accepted[:, None], noise, chains.noise)
        chains.fit = torch.where(accepted, fit, chains.fit)
        return gain.clamp(max=0).exp().nan_to_num(0.0).mean().item()

    def jump(self, chains: Chains, beta: float) -> None:
        """Propose a component by the prior's weights, the noise kept; accept by the likelihood ratio to the power beta."""
        if len(self.prior.weights) == 1:
            return
        component = self.prior.draw_components(len(chains.fit), self.rng)
        fit = self.fit(chains.x, component, chains.noise)
        accepted = self.log_uniform(fit) < beta * (fit - chains.fit)
        chains.component = torch.where(accepted, component, chains.component)
        chains.fit = torch.where(accepted, fit, chains.fit)

    def fit(self, x: Tensor, component: Tensor, noise: Tensor) -> Tensor:
        """log p(x | f_L) without base, (N,)."""
        a, b = likelihood_terms(self.network, self.prior.place(component, noise))
        return (x * a).sum(1) + b

    def force(self, x: Tensor, component: Tensor, noise: Tensor) -> Tensor:
        """The gradient of `fit` with respect to the noise, through the drive and A_c, (N, J_L)."""
        f_top = self.rough.place(component, noise).requires_grad_()
        with torch.enable_grad(), torch.autocast(x.device.type, torch.bfloat16, enabled=self.half):
            drive = self.network.drive(f_top)
        slope = LIKELIHOODS[self.network.likelihood].slope(x, drive.detach().to(x.dtype))
        return self.rough.pull(component, torch.autograd.grad(drive, f_top, slope.to(drive.dtype))[0])

    def normal(self, like: Tensor) -> Tensor:
        return torch.from_numpy(self.rng.standard_normal(tuple(like.shape), dtype=np.float32)).to(like)

    def log_uniform(self, like: Tensor) -> Tensor:
        return torch.from_numpy(np.log1p(-self.rng.random(len(like)))).to(like)

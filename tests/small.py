"""Tiny networks, priors and image sets that tests share, some with figures in closed form."""

import numpy as np
import torch

from ncf.config.schema import GNCNConfig, SettleConfig
from ncf.data.datasets import Dataset, Split
from ncf.network.gncn import GNCN
from ncf.network.likelihoods import CLIP
from ncf.network.mixture import Mixture


class Counting(GNCN):
    """A network that counts the images it settles."""

    settled = 0

    def settle(self, x, *more, **named):
        self.settled += len(x)
        return super().settle(x, *more, **named)


def network(**changes) -> Counting:
    config = GNCNConfig(layers=[6, 4], activation="tanh", error_synapses="tied", init_sd=0.4, settle=SettleConfig(steps=8, beta=0.3), **changes)
    return Counting(config, 9, np.random.default_rng(0))


def dataset(n: int = 600, seed: int = 0, resample: bool = False) -> Dataset:
    rng = np.random.default_rng(seed)
    splits = {}
    for name, size in (("train", n), ("validation", 50), ("test", 60)):
        y = torch.from_numpy(rng.integers(0, 3, size))
        bright = rng.random((size, 9)) < np.where(np.arange(9) // 3 == y.numpy()[:, None], 0.9, 0.2)
        x = np.full((size, 9), 0.5) if resample and name == "train" else bright
        splits[name] = Split(torch.from_numpy(x.astype(np.float32)), y)
    return Dataset("three", (3, 3), 3, splits, resample)


def tiny_network(likelihood="bernoulli", **changes) -> GNCN:
    config = GNCNConfig(layers=[5, 4, 3], skips=True, error_synapses="tied", likelihood=likelihood, init_sd=1.0, **changes)
    return GNCN(config, 6, np.random.default_rng(1))


def atoms(n: int = 4) -> Mixture:
    """A prior of few atoms: a mixture without any spread, of unequal weights."""
    rng = np.random.default_rng(2)
    weights = torch.tensor([0.55, 0.25, 0.15, 0.05])[:n]
    return Mixture(weights, torch.from_numpy(rng.normal(0, 2, (n, 3)).astype(np.float32)), torch.zeros(n, 3, 3))


def images(n: int = 8) -> torch.Tensor:
    return torch.from_numpy((np.random.default_rng(3).random((n, 6)) < 0.5).astype(np.float32))


def exact_over_atoms(network, prior: Mixture, x: torch.Tensor) -> torch.Tensor:
    """log p(x) = log sum over atoms of weight times product over pixels of p or 1 - p, summed without logarithms in float64."""
    mu = network.project(prior.means).double().clamp(CLIP, 1 - CLIP)
    given = torch.stack([torch.where(x.double() > 0, m, 1 - m).prod(1) for m in mu], dim=1)
    return (given @ prior.weights.double()).log()


def linear_gaussian() -> tuple[GNCN, Mixture, torch.Tensor, torch.Tensor]:
    """One linear layer and a Gaussian likelihood under a mixture of two: log p(x) is a mixture of Gaussians in x, in closed form."""
    network = GNCN(
        GNCNConfig(layers=[3], activation="identity", error_synapses="tied", likelihood="gaussian", init_sd=0.6), 6, np.random.default_rng(4)
    )
    rng = np.random.default_rng(5)
    prior = Mixture(
        torch.tensor([0.7, 0.3]),
        torch.from_numpy(rng.normal(0, 1, (2, 3)).astype(np.float32)),
        torch.from_numpy(np.tril(rng.normal(0, 0.7, (2, 3, 3))).astype(np.float32)),
    )
    W = network.parameters["W1"].double()
    x = torch.from_numpy(rng.normal(0, 1, (10, 6)))
    parts = []
    for weight, mean, factor in zip(prior.weights.double(), prior.means.double(), prior.factors.double()):
        covariance = W.T @ factor @ factor.T @ W + torch.eye(6, dtype=torch.float64)
        parts.append(weight.log() + torch.distributions.MultivariateNormal(mean @ W, covariance).log_prob(x))
    return network, prior, x.float(), torch.stack(parts).logsumexp(0)


def double(network: GNCN) -> GNCN:
    """The same network in float64, so that a referee can be held to many digits."""
    for name in list(network.parameters):
        network.parameters[name] = network.parameters[name].double()
    for l in network.sigma:
        network.sigma[l] = network.parameters.get(f"Sigma{l}", network.sigma[l].double())
        network.q[l] = network.q[l].double()
    return network


def require_same(one, other, atol: float, rtol: float) -> None:
    for name in ("z", "f", "mu", "r", "e"):
        for l, (a, b) in enumerate(zip(getattr(one, name), getattr(other, name), strict=True)):
            torch.testing.assert_close(a, b, atol=atol, rtol=rtol, msg=lambda text: f"{name}[{l}]: {text}")


def run_again(run):
    """In place of `cuda_graph.record`: what is to be done again runs again, and writes where the first run did."""
    state = run()

    def again():
        new = run()
        for name in ("z", "f", "mu", "r", "e"):
            for kept, fresh in zip(getattr(state, name), getattr(new, name)):
                kept.copy_(fresh)

    return again, state

"""A trained network inspected, as arrays: settling curves, activity, receptive fields, samples. Nothing here changes it."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ncf.data.streams import stream
from ncf.errors import UserError
from ncf.measure.fitting import fit_prior
from ncf.measure.latents import TrainingLatents
from ncf.network.state import State

N_LATENTS = 500  # training images behind the quick prior of the samples
MOST_UNITS = 2000  # of which it is fitted in seconds: full covariances take their number squared, and their inverses cubed
ACTIVE = 1e-3  # a unit with |f| above this counts as active


@torch.no_grad()
def settling_curves(network, x: Tensor, steps: int) -> dict[str, list[float]]:
    """BCE (nats per image), or what stands in for it, and ToD (per image), mean over images x (B, J_0), after each of the steps 1..steps, in one pass."""
    curves: dict[str, list[float]] = {"bce": [], "tod": []}
    for state in network.trajectory(network.rest(x), steps):
        for curve, values in zip(curves.values(), network.losses(state, None)):
            curve.append(values.mean().item())
    return curves


@torch.no_grad()
def alternation(network, x: Tensor) -> float:
    """Mean over images x (B, J_0) of the cosine between the last two changes of the hidden states: near -1 where they swing to and fro.

    A step beta multiplies what lies along a direction of stiffness lambda by 1 - beta lambda, which alternates in sign beyond beta lambda = 1
    and grows beyond 2, until a bounded activation holds it.
    """
    seen: list[Tensor] = []
    for state in network.trajectory(network.rest(x)):
        seen = [*seen[-2:], torch.cat([state.z[i] for i in state.free], dim=1)]
    if len(seen) < 3:
        return 0.0
    return torch.cosine_similarity(seen[2] - seen[1], seen[1] - seen[0], dim=1).mean().item()


def activity(state: State, names: list[str]) -> list[dict]:
    """Per population that moves (else all but the image): its name, its units, the share of them active on an image and on none, mean |f| of the active."""
    layers = []
    for i in state.free or range(1, len(state.f)):
        f = state.f[i]
        active = f.abs() > ACTIVE
        strength = f.abs()[active].mean().item() if active.any() else 0.0
        layers.append(
            {
                "name": names[i],
                "units": f.shape[1],
                "active": active.float().mean().item(),
                "silent": (~active.any(0)).float().mean().item(),
                "strength": strength,
            }
        )
    return layers


def receptive_fields(network, n: int) -> np.ndarray:
    """The n rows of W_1 with the largest norm, (n, J_0): what one unit of layer 1 adds to the image's drive."""
    rows = network.fields.cpu()
    strongest = torch.linalg.vector_norm(rows, dim=1).argsort(descending=True, stable=True)[:n]
    return rows[strongest].numpy()


@torch.no_grad()
def composition(network, x: Tensor, counts: list[int]) -> list[Tensor]:
    """What the k most active units of the population nearest to the image make of it by themselves, g_0( sum over them of f_i W_i ) (B, J_0), for each k."""
    f = network.settle(x).f[network.circuit.into(0)[0].source]
    order = f.abs().argsort(dim=1, descending=True, stable=True)
    few = [torch.zeros_like(f).scatter_(1, order[:, :k], f.gather(1, order[:, :k])) for k in counts]
    return [network.g[0].value(part @ network.fields, out=None) for part in few]


def samples(network, training: TrainingLatents, n: int) -> tuple[Tensor, str]:
    """n ancestral projections (n, J_0) of top activities drawn from a prior, and what that prior is.

    The model's own where it has one; else the mixture of log p(x) where that has been fitted; else a quick one of N_LATENTS training images.
    """
    if "own_prior" in network.abilities:
        return network.project(network.own_prior.sample(n, stream(0, "report samples"))), "the model's own prior"
    prior, images = training.kept_prior, training.images[:N_LATENTS]
    n_latents = training.config.mixture.latents if prior else N_LATENTS
    if prior is None:
        if network.code_size > MOST_UNITS:
            raise UserError(
                f"left out, no mixture of {network.code_size:,} top activities has been fitted, and that takes long: metrics=paper fits one"
            )
        prior = fit_prior(training.codes(images), replace(training.config.mixture, components=10))
    components, fitted = f"{len(prior.weights)} component{'s' * (len(prior.weights) != 1)}", min(n_latents, len(training.images))
    words = f"a Gaussian mixture ({components}, fitted to {fitted:,} training images)"
    return network.project(prior.sample(n, stream(0, "report samples"))), words

"""What a trained network shows of itself, as arrays: settling curves, activity, receptive fields, samples. Nothing here changes it."""

import warnings

import numpy as np
import torch
from torch import Tensor

from ncf.metrics import bce, tod
from ncf.streams import stream

ACTIVE = 1e-3  # a unit with |f| above this counts as active


@torch.no_grad()
def settling_curves(network, x: Tensor, steps: int) -> dict[str, list[float]]:
    """BCE (nats per image) and ToD (per image), mean over images x (B, J_0), after each of the steps 1..steps, in one pass."""
    curves: dict[str, list[float]] = {"bce": [], "tod": []}
    state = network.rest(x)
    for _ in range(steps):
        network.move(state)
        network.predict(state)
        network.compare(state)
        curves["bce"].append(bce(state).mean().item())
        curves["tod"].append(tod(state).mean().item())
    return curves


def activity(state) -> list[dict[str, float]]:
    """Per hidden layer: units; share of them active, mean over images; share active on no image; mean |f| of the active."""
    layers = []
    for f in state.f[1:]:
        active = f.abs() > ACTIVE
        strength = f.abs()[active].mean().item() if active.any() else 0.0
        layers.append({"units": f.shape[1], "active": active.float().mean().item(), "silent": (~active.any(0)).float().mean().item(), "strength": strength})
    return layers


def receptive_fields(network, n: int) -> np.ndarray:
    """The n rows of W_1 with the largest norm, (n, J_0): what one unit of layer 1 adds to the image's drive."""
    rows = network.parameters["W1"].detach().cpu()
    strongest = torch.linalg.vector_norm(rows, dim=1).argsort(descending=True, stable=True)[:n]
    return rows[strongest].numpy()


def samples(network, x: Tensor, n: int) -> Tensor:
    """n ancestral projections (n, J_0) of top activities drawn from the model's own prior, else one fitted to those of images x."""
    own = getattr(network, "own_prior", None)
    if own is not None:
        return network.project(own.sample(n, stream(0, "report samples")))
    top = network.settle(x).f[-1]
    drawn = draw_from_mixture(top.double().cpu().numpy(), n)
    return network.project(torch.from_numpy(drawn).to(top))


def draw_from_mixture(latents: np.ndarray, n: int) -> np.ndarray:
    """n draws from a Gaussian mixture with full covariances fitted to latents (N, J_L); a component per 100 of them, 10 at most."""
    from sklearn.mixture import GaussianMixture

    rng = np.random.RandomState(stream(0, "report samples").integers(2**31))
    mixture = GaussianMixture(max(1, min(10, len(latents) // 100)), reg_covar=1e-4, max_iter=20, random_state=rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a rough prior is enough for a picture: it may stop short of convergence
        return mixture.fit(latents).sample(n)[0][rng.permutation(n)]  # sample() returns them component by component


def nearest(images: Tensor, among: Tensor) -> Tensor:
    """The nearest of `among` (N, J_0) to each image (n, J_0) by Euclidean distance over pixels, (n, J_0)."""
    return among[torch.cdist(images, among).argmin(1)]

"""Figures of merit, one value per image: plain functions and a registry (paper.md, section 8)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncf.config import MetricsConfig
from ncf.state import State
from ncf.streams import stream

CLIP = 1e-7  # probabilities are kept this far from 0 and 1 in BCE


def bce(state: State) -> Tensor:
    """BCE = -sum over pixels [ x ln mu_0 + (1 - x) ln(1 - mu_0) ] after settling on x, mu_0 clipped at 1e-7, (B,)."""
    x, mu = state.z[0], state.mu[0].clamp(CLIP, 1 - CLIP)
    return -(x * mu.log() + (1 - x) * (1 - mu).log()).sum(1)


def tod(state: State) -> Tensor:
    """Total discrepancy ToD = -sum over layers of |r_l|^2: no half, before precision, (B,)."""
    return -sum(r.square().sum(1) for r in state.r)


def masked_mse(network, x: Tensor, observed: Tensor) -> Tensor:
    """M-MSE: squared error of mu_0 over the pixels that settling did not see (observed == 0), summed per image, (B,)."""
    mu = network.settle(x, observed=observed).mu[0]
    return ((x - mu).square() * (1 - observed)).sum(1)


def observed_pixels(kind: str, fraction: float, image_shape: tuple[int, int]) -> Tensor:
    """1 where a pixel is seen, (J_0,): the left, right, top or bottom `fraction` is not, or a random one (the same for all images)."""
    height, width = image_shape
    observed = torch.ones(height, width)
    if kind == "random":
        hidden = stream(0, "mask").permutation(height * width)[: round(fraction * height * width)]
        observed.view(-1)[torch.from_numpy(hidden)] = 0
    elif kind in ("left", "right"):
        n = round(fraction * width)
        observed[:, slice(0, n) if kind == "left" else slice(width - n, width)] = 0
    else:
        n = round(fraction * height)
        observed[slice(0, n) if kind == "top" else slice(height - n, height), :] = 0
    return observed.view(-1)


# --- the registry -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metric:
    label: str
    unit: str


METRICS = {
    "bce": Metric("BCE", "nats per image"),
    "tod": Metric("ToD", "per image"),
    "m_mse": Metric("M-MSE", "per image"),
}


@torch.no_grad()
def measure(network, x: Tensor, image_shape: tuple[int, int], config: MetricsConfig) -> dict[str, dict]:
    """Every metric of the config on images x (N, J_0): value (mean), unit, n, standard error of the mean."""
    x = x[: config.n_images]
    values: dict[str, list[Tensor]] = {name: [] for name in config.names}
    observed = observed_pixels(config.mask, config.mask_fraction, image_shape).to(x.device)
    for part in x.split(config.batch_size):
        if {"bce", "tod"} & set(config.names):
            state = network.settle(part)
            for name, function in (("bce", bce), ("tod", tod)):
                if name in values:
                    values[name].append(function(state))
        if "m_mse" in values:
            values["m_mse"].append(masked_mse(network, part, observed))
    return {name: summarize(torch.cat(parts), METRICS[name].unit) for name, parts in values.items()}


def summarize(values: Tensor, unit: str) -> dict:
    values = values.double()
    spread = values.std().item() if len(values) > 1 else 0.0
    return {"value": values.mean().item(), "unit": unit, "n": len(values), "stderr": spread / len(values) ** 0.5}

"""Completing images of which a part is not seen: masks, the model's ways to fill in the rest, and their squared error."""

import torch
from torch import Tensor

from ncf.config.schema import MetricsConfig
from ncf.data.datasets import Dataset
from ncf.data.streams import stream
from ncf.errors import UserError
from ncf.network.model import Model

JUDGES = 2000  # validation images that choose between several ways


def observed_pixels(kind: str, fraction: float, image_shape: tuple[int, int]) -> Tensor:
    """1 where a pixel is seen, (J_0,): the left, right, top or bottom `fraction` is not, or a random one (the same for all images)."""
    height, width = image_shape
    lines = maskable(kind, image_shape)
    if not 0 < round(fraction * lines) < lines:
        parts = {"random": "pixels", "left": "columns", "right": "columns"}.get(kind, "rows")
        raise UserError(
            f"mask_fraction={fraction}: {kind} hides {round(fraction * lines)} of the {lines} {parts} of {height} x {width} images; "
            f"hide some, not all: e.g. mask_fraction=0.5"
        )
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


def maskable(kind: str, image_shape: tuple[int, int]) -> int:
    """The number of rows, columns or pixels of which a mask hides a part."""
    height, width = image_shape
    return {"random": height * width, "left": width, "right": width, "top": height, "bottom": height}[kind]


def nothing_to_hide(kind: str, image_shape: tuple[int, int]) -> str | None:
    """Why a mask has no part of such images to hide, whatever its fraction; None where it has."""
    height, width = image_shape
    return None if maskable(kind, image_shape) > 1 else f"images of {height} x {width} have no {kind} part to hide"


def complete(network: Model, x: Tensor, observed: Tensor, way: str | None = None) -> Tensor:
    """Images as the model predicts them from the pixels that are seen (observed == 1), mu_0 (B, J_0), in one of its ways or by settling."""
    if way is not None:
        return network.completions[way][0](x, observed)  # type: ignore[attr-defined]
    return network.settle(x, observed=observed).mu[0]


def masked_mse(network: Model, x: Tensor, observed: Tensor, way: str | None = None, batch_size: int | None = None) -> Tensor:
    """M-MSE: squared error of mu_0 over the pixels that are not seen (observed == 0), summed per image, (N,)."""
    errors = [((part - complete(network, part, observed, way)).square() * (1 - observed)).sum(1) for part in x.split(batch_size or len(x))]
    return torch.cat(errors)


def measured_ways(network: Model, data: Dataset, config: MetricsConfig) -> dict[str, float]:
    """M-MSE on validation images of each of several ways to complete an image; empty where there is one."""
    if "complete" not in network.abilities:
        return {}
    images = data.splits["validation"].x[:JUDGES]
    observed = observed_pixels(config.mask, config.mask_fraction, data.image_shape).to(images.device)
    return {way: masked_mse(network, images, observed, way, config.batch_size).mean().item() for way in network.completions}  # type: ignore[attr-defined]


def best_way(network: Model, data: Dataset, config: MetricsConfig) -> str | None:
    """Of several ways to complete an image, the one with the least M-MSE on validation images; None where there is one."""
    return least(measured_ways(network, data, config))


def least(ways: dict[str, float]) -> str | None:
    return min(ways, key=lambda way: ways[way]) if ways else None

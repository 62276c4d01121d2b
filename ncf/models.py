"""Models by family: a fresh one for a config, and the one that a checkpoint holds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncf.baselines.autoencoders import Autoencoder
from ncf.baselines.classifier import Classifier
from ncf.baselines.pixel_mixture import PixelMixture
from ncf.config.checks import build
from ncf.config.schema import REAL_VALUED, DatasetConfig, TrainConfig, without_place
from ncf.data import datasets
from ncf.data.streams import stream
from ncf.errors import UserError, nearest
from ncf.measure.frames import frames_of
from ncf.network.gncn import GNCN
from ncf.network.model import Model
from ncf.runs import checkpoint
from ncf.runs.existing import data_dir_of
from ncf.runs.provenance import choose_device, choose_products


@dataclass(frozen=True)
class Seen:
    """What a model must know of its images before it sees them; `images` are training images (N, J_0), for those that start from some."""

    n_pixels: int
    n_classes: int
    images: Tensor


def settling_network(config: TrainConfig, seen: Seen, rng: np.random.Generator, device: torch.device) -> GNCN:
    network = GNCN(config.model, seen.n_pixels, rng, device, seen.n_classes)
    network.real_valued = config.dataset.name in REAL_VALUED
    network.compile_steps = config.compute.compile
    network.product_dtype = choose_products(config.compute.dtype if network.compiled else "float32", device)
    return network


FAMILIES: dict[str, Callable[..., Model]] = {
    "gncn": settling_network,
    "circuit": settling_network,
    "autoencoder": lambda config, seen, rng, device: Autoencoder(config.model, seen.n_pixels, rng, device),
    "pixel_mixture": lambda config, seen, rng, device: PixelMixture(config.model, seen.images, rng, device),
    "classifier": lambda config, seen, rng, device: Classifier(config.model, seen.n_pixels, seen.n_classes, rng, device),
}


def build_model(config: TrainConfig, seen: Seen, rng: np.random.Generator, device: torch.device) -> Model:
    """A fresh model. Raises UserError for what its config cannot mean on these images."""
    if config.model.family not in FAMILIES:
        raise UserError(f"model.family={config.model.family}: unknown; {nearest(config.model.family, FAMILIES)}")
    model = FAMILIES[config.model.family](config, seen, rng, device)
    model.force_dtype = choose_products(config.compute.dtype, device)
    return model


def seen_of(data) -> Seen:
    """Of a `Dataset`."""
    labelled = data.splits["train"].y is not None
    return Seen(prod(data.image_shape), data.n_classes if labelled else 0, data.splits["train"].x)


@dataclass
class Restored:
    """A checkpoint with its model."""

    path: Path
    content: dict
    config: TrainConfig
    network: Model
    device: torch.device

    @property
    def image_shape(self) -> tuple[int, int]:
        height, width = self.content["data"]["image_shape"]
        return height, width


def restore(path: Path, device: str = "auto", threads: int | None = None, adjust=lambda config: None) -> Restored:
    """The model that a checkpoint (or a run's best one) holds; its images are not needed. `adjust` may change its config first.

    Raises UserError, naming the file, if it holds none.
    """
    path = checkpoint.locate(path)
    content = checkpoint.load(path)
    try:
        config: TrainConfig = build(without_place(content["config"]), TrainConfig)  # a stranger's addresses are not asked
    except UserError as error:
        raise UserError(f"checkpoint {path}: its config cannot be used here: {error}") from error
    adjust(config)
    chosen = choose_device(device, threads)
    about = content["data"]
    n_pixels = prod(about["image_shape"])
    nothing = Seen(n_pixels, about.get("n_classes", 0), torch.zeros(1, n_pixels))
    network = build_model(config, nothing, stream(0, "synapses"), chosen)
    try:
        network.load_tensors(content["weights"])
    except ValueError as error:
        raise UserError(f"checkpoint {path}: {error}") from error
    return Restored(path, content, config, network, chosen)


def images_for(restored: Restored, dataset: DatasetConfig, data_dir: str | None = None) -> datasets.Dataset:
    """The images of a dataset for a restored model, which must be of the shape that it was trained on."""
    data = datasets.load(dataset, data_dir or data_dir_of(restored.path, restored.content["config"]))
    if data.image_shape != restored.image_shape:
        raise UserError(
            f"dataset={dataset.name}: its images are {data.image_shape[0]} x {data.image_shape[1]}, "
            f"the checkpoint was trained on {restored.image_shape[0]} x {restored.image_shape[1]}"
        )
    if data.real != (restored.config.dataset.name in REAL_VALUED):
        one, other = ("real values", "pixels in [0, 1]") if data.real else ("pixels in [0, 1]", "real values")
        raise UserError(f"dataset={dataset.name}: its images are {one}, the checkpoint was trained on {other}")
    frames_of(restored.network, data)
    known, about = restored.content["data"], data.about()
    strange = bool(about["n_classes"]) and "n_classes" in known and any(known.get(what) != about.get(what) for what in ("n_classes", "labels"))
    return replace(data, other_classes=strange).to(restored.device)

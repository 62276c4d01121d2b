"""A classifier of one's own that reads images: the class that it tells of them, its features of them, and how often it is wrong."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ncf.data.datasets import Dataset, Split
from ncf.errors import UserError
from ncf.models import restore
from ncf.network.model import Model

BLOCK = 1000  # images at a time


def open_reader(key: str, name: str, data: Dataset, able: set[str]) -> Model:
    """The model of the run or checkpoint `name`, which has one of the abilities `able` and was trained on the set that `data` is of.

    UserError, beginning with `key`, the config's for it, where that is not so.
    """
    try:
        restored = restore(Path(name), str(data.splits["test"].x.device), torch.get_num_threads())
    except UserError as error:
        raise UserError(f"{key}={name}: {error}") from error
    about = restored.content["data"]
    if not able & restored.network.abilities:
        lacks = "tells no classes" if "label" in able else "is no classifier"
        raise UserError(f"{key}={name}: {restored.config.model.name} {lacks}; name a run of a classifier, e.g. model=relu_classifier")
    own = data.about()
    if any(about.get(what) != own.get(what) for what in ("name", "image_shape", "n_classes", "labels")):
        raise UserError(f"{key}={name}: it reads other images than {data.name}; name a classifier trained on that")
    return restored.network


def classes_of(network, images: Tensor) -> Tensor:
    """What a classifier, or a circuit that tells labels, says of images (N, J_0), (N,)."""
    tell = network.classify if "classify" in network.abilities else lambda x: network.told(network.settle(x))
    return torch.cat([tell(part).argmax(1) for part in images.split(BLOCK)])


def features_of(network, images: Tensor) -> Tensor:
    """A classifier's uppermost hidden activities on images (N, J_0), (N, J)."""
    return torch.cat([network.features(part) for part in images.split(BLOCK)])


def percent_wrong(read: Callable[[Tensor], Tensor], split: Split) -> float | None:
    """How often the classes that `read` tells of images are not theirs, in percent; None where no class is known."""
    if split.y is None or not len(split.labelled):
        return None
    return 100.0 * (read(split.x) != split.y)[split.labelled].double().mean().item()

"""ncf from Python: `ncf.load` opens a trained network, `ncf.train` trains one; arrays go in and come out as images.

Arrays are numpy's or torch's: images (N, height, width) or (N, pixels) with values in [0, 1]; a single image stands for N = 1. What comes
out is numpy. Whatever is wrong with them is an `ncf.errors.UserError` that says what was expected.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ncf import plugins
from ncf.config.arguments import parted
from ncf.config.checks import build
from ncf.config.compose import composed
from ncf.config.defaults import override_text
from ncf.config.schema import REAL_VALUED, TrainConfig
from ncf.data.datasets import Dataset
from ncf.data.streams import stream
from ncf.errors import UserError, nearest
from ncf.measure.completion import best_way, complete
from ncf.measure.latents import TrainingLatents
from ncf.models import Restored, images_for, restore
from ncf.network.discrepancy import bce, tod
from ncf.network.model import Model
from ncf.network.state import State
from ncf.runs import again


@dataclass(frozen=True)
class Settled:
    """What settling leaves behind, by population: each a numpy array (N, units), the image's as images (N, height, width)."""

    states: dict[str, np.ndarray]  # z
    activities: dict[str, np.ndarray]  # f = phi(z)
    predictions: dict[str, np.ndarray]  # mu, of the populations that are predicted
    errors: dict[str, np.ndarray]  # e, error neurons, weighed by precision where there is one
    code: np.ndarray  # the activities of the uppermost hidden populations, (N, J_top)
    bce: np.ndarray  # nats per image, (N,); NaN where pixels are real-valued
    tod: np.ndarray  # total discrepancy per image, (N,)

    def __repr__(self) -> str:
        units = ", ".join(f"{name} {value.shape[1:] if name == 'image' else value.shape[1]}" for name, value in self.states.items())
        losses = f", BCE {self.bce.mean():.2f}, ToD {self.tod.mean():.2f}" if np.isfinite(self.bce).all() else ""
        return f"<Settled on {len(self.code)} images: {units}{losses}>"

    @property
    def reconstruction(self) -> np.ndarray:
        """The image as the network predicts it, mu_0, (N, height, width)."""
        return self.predictions["image"]


class Network:
    """A trained network opened by `ncf.load`."""

    def __init__(self, restored: Restored, data_dir: str | None = None):
        self._restored, self._data_dir = restored, data_dir
        self.model: Model = restored.network
        self.config: TrainConfig = restored.config
        self.image_shape: tuple[int, int] = restored.image_shape
        self.path: Path = restored.path
        self._real = self.config.dataset.name in REAL_VALUED

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {size}" for name, size in zip(self.model.names, getattr(self.model, "sizes", [])))
        return f"<{self.config.model.name} trained on {self.config.dataset.name}: {sizes}>"

    @cached_property
    def data(self) -> Dataset:
        """The images that it was trained on, by split: ``network.data.splits["test"].x``. UserError where they are not at hand."""
        return images_for(self._restored, self.config.dataset, self._data_dir)

    def images(self, split: str = "test", n: int | None = None) -> np.ndarray:
        """The first n images of a split (train, validation, test) as the network sees them, (n, height, width)."""
        if split not in self.data.splits:
            raise UserError(f"split={split}: {nearest(str(split), self.data.splits)}")
        return self._as_images(self.data.splits[split].x[: self._count(n)])

    # --- inference ----------------------------------------------------------------------------------------------------

    def settle(self, x, seen=None, steps: int | None = None) -> Settled:
        """Settle on images x for K = `steps` steps (those of training if None); pixels where `seen` is 0 are not observed.

        From rest (`settle.start`) the first step finds all errors zero: what moves, moves from the second step on.
        """
        pixels = self._pixels(x, real=self._real)
        state = self.model.settle(pixels, self._mask(seen, len(pixels)), self._steps(steps))
        return self._settled(state)

    def trajectory(self, x, steps: int | None = None) -> list[Settled]:
        """What settling on images x leaves behind after each of the steps 1 .. K, by plain float32 arithmetic.

        After the first, all states are still zero (see `settle`). Where `settle` multiplies in bfloat16, its last states differ a little.
        """
        self._require("settle", "it does not settle step by step")
        return [self._settled(state) for state in self.model.trajectory(self.model.rest(self._pixels(x, real=self._real)), self._steps(steps))]  # type: ignore[attr-defined]

    def complete(self, x, seen) -> np.ndarray:
        """Images x with the pixels where `seen` is 0 filled in by what settling on the others predicts, (N, height, width)."""
        pixels = self._pixels(x, real=self._real)
        mask = self._mask(seen, len(pixels))
        if mask is None:
            raise UserError("seen: expected an array of the images' shape with 1 where a pixel is seen and 0 where it is to be filled in")
        way = best_way(self.model, self.data, self.config.metrics) if "complete" in self.model.abilities else None
        mu = complete(self.model, pixels, mask, way)
        return self._as_images(torch.where(mask > 0, pixels, mu))

    # --- generation ---------------------------------------------------------------------------------------------------

    def project(self, code) -> np.ndarray:
        """Images (N, height, width) from activities of the top (N, J_top), down without noise: ancestral projection."""
        self._require("project", "it has no decoder")
        try:
            given = torch.as_tensor(np.asarray(code.detach().cpu() if isinstance(code, Tensor) else code, dtype=np.float32)).to(self._restored.device)
        except (ValueError, TypeError) as error:
            raise UserError(f"a code that is no array of numbers ({error})") from error
        if given.ndim == 1:
            given = given[None]
        top = self.model.code_size  # type: ignore[attr-defined]
        if given.ndim != 2 or given.shape[1] != top or not torch.isfinite(given).all():
            raise UserError(f"a code of shape {tuple(given.shape)}: expected finite numbers of shape (N, {top}), activities of the top")
        return self._as_images(self.model.project(given))  # type: ignore[attr-defined]

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """n images drawn from the prior over the top, (n, height, width); it is fitted to the training images when it is first asked for."""
        self._require("project", "it has no decoder")
        self._count(n)
        if not isinstance(seed, (int, np.integer)) or seed < 0:
            raise UserError(f"seed={seed}: must be a whole number, at least 0")
        own = "own_prior" in self.model.abilities  # then the training images are not read
        prior = self.model.own_prior if own else self._latents.prior  # type: ignore[attr-defined]
        return self._as_images(self.model.project(prior.sample(n, stream(seed, "samples"))))  # type: ignore[attr-defined]

    def synapses(self) -> dict[str, np.ndarray]:
        """All that is learned, by name: W1 .. (generative), E1 .. (error), M2 .. (skips), Sigma1, Q1 .. (precision) of a chain; W[z1->image] .. of a circuit;
        Prior.means .. of a prior that learned with them."""
        return {name: tensor.cpu().numpy() for name, tensor in self.model.tensors().items()}

    def fields(self, n: int | None = None) -> np.ndarray:
        """Receptive fields: what a unit next to the image adds to its drive, strongest first, (n, height, width)."""
        self._require("fields", "it has no synapses into the image")
        rows = self.model.fields  # type: ignore[attr-defined]
        strongest = torch.linalg.vector_norm(rows, dim=1).argsort(descending=True, stable=True)[: self._count(n)]
        return self._as_images(rows[strongest])

    @cached_property
    def _latents(self) -> TrainingLatents:
        return TrainingLatents(self.model, self.data, self.config.metrics, self.path)

    # --- arrays -------------------------------------------------------------------------------------------------------

    def _require(self, ability: str, lack: str) -> None:
        if ability not in self.model.abilities:
            raise UserError(f"{self.config.model.name}: {lack}")

    def _count(self, n: int | None, what: str = "n") -> int | None:
        if n is not None and (not isinstance(n, (int, np.integer)) or n < 1):
            raise UserError(f"{what}={n}: must be a whole number, at least 1")
        return n

    def _steps(self, steps: int | None) -> int | None:
        return self._count(steps, "steps")

    def _pixels(self, x, what: str = "images", real: bool = False) -> Tensor:
        """(N, J_0) float32, in [0, 1] unless `real`, on the network's device."""
        try:
            array = np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x)
        except ValueError as error:
            raise UserError(f"{what} that are no array of numbers ({error})") from error
        height, width = self.image_shape
        if array.shape in ((height, width), (height * width,)):
            array = array[None]
        if (
            not array.size
            or array.ndim not in (2, 3)
            or array.shape[1:] not in ((height, width), (height * width,))
            or array.dtype.kind not in "uifb"
        ):
            raise UserError(
                f"{what} of shape {array.shape} and type {array.dtype}: expected numbers of shape (N, {height}, {width}) or (N, {height * width})"
            )
        array = array.reshape(len(array), -1).astype(np.float32)
        if not np.isfinite(array).all() or not real and (array.min(initial=0) < 0 or array.max(initial=0) > 1):
            raise UserError(f"{what} hold values from {array.min():g} to {array.max():g}: expected numbers from 0 to 1")
        return torch.from_numpy(array).to(self._restored.device)

    def _mask(self, seen, n: int) -> Tensor | None:
        """One mask for all n images, (J_0,), or one for each, (n, J_0)."""
        if seen is None:
            return None
        mask = self._pixels(seen, "masks")
        if len(mask) not in (1, n):
            raise UserError(f"{len(mask)} masks for {n} images: expected one for all, or one for each")
        return mask[0] if len(mask) == 1 else mask

    def _as_images(self, x: Tensor) -> np.ndarray:
        return x.detach().cpu().numpy().reshape(-1, *self.image_shape)

    def _settled(self, state: State) -> Settled:
        names = self.model.names

        def by_name(tensors: list[Tensor]) -> dict[str, np.ndarray]:
            arrays = {name: value.detach().cpu().numpy().copy() for name, value in zip(names, tensors)}
            return {name: value.reshape(-1, *self.image_shape) if name == "image" else value for name, value in arrays.items()}

        unknown = torch.full((len(state.z[0]),), torch.nan)
        losses = (unknown if self._real else bce(state), tod(state)) if "project" in self.model.abilities else (unknown, unknown)
        code = state.code.cpu().numpy().copy()
        return Settled(by_name(state.z), by_name(state.f), by_name(state.mu), by_name(state.e), code, *(value.cpu().numpy() for value in losses))


def load(
    path: str | Path, data_dir: str | None = None, device: str = "auto", threads: int | None = None, config_dir: str | Path | None = None
) -> Network:
    """Open a checkpoint (``best.pt``), or a run's folder, whose best checkpoint it then is. The training images are read only if asked for.

    `config_dir` is the folder with the plugins that it was trained with. Raises UserError, naming the file, for what is not a whole
    checkpoint of ncf.
    """
    plugins.load(config_dir)
    return Network(restore(Path(path).expanduser(), device, threads), data_dir)


@dataclass(frozen=True)
class TrainedRun:
    """A run that `ncf.train` brought to its end."""

    folder: Path
    summary: dict[str, Any] = field(repr=False)
    config_dir: str | None = field(default=None, repr=False)

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """split -> metric -> value of the best checkpoint; errors and units stand in `summary`."""
        return {split: {name: figure["value"] for name, figure in figures.items()} for split, figures in self.summary["metrics"].items()}

    @cached_property
    def rows(self) -> list[dict[str, float]]:
        """A row per epoch, as in metrics.jsonl."""
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]

    @cached_property
    def network(self) -> Network:
        """The network of its best checkpoint."""
        return load(self.folder, config_dir=self.config_dir)


def train(*overrides: str | Sequence[str] | Mapping[str, Any], config_dir: str | None = None, **keys: Any) -> TrainedRun:
    """Train as ``ncf-train OVERRIDES`` does: ``ncf.train("model=gncn_t1", "model.settle.steps=30", epochs=5)``.

    Overrides are texts (several may stand in one, or in a list), or a mapping from keys to values; keyword arguments are keys without a
    dot. A name= makes it a run that is continued by the same call. Raises UserError for what the command would refuse.
    """
    from ncf.runs.run import new_folder, run_folder
    from ncf.training import train as train_run

    plugins.load(config_dir)
    lines: list[str] = []
    for given in (*overrides, keys):
        if isinstance(given, Mapping):
            lines += [f"{key}={override_text(value)}" for key, value in given.items()]
        else:
            lines += parted(given) if isinstance(given, str) else list(given)
    lines = again.with_its_model(lines)
    cfg = compose_checked(lines, config_dir)
    config = again.of_another(cfg, lines) or build(cfg, TrainConfig)
    again.tell_idle(config, lines)
    folder, named = run_folder(config)
    made = [path for path in folder.parents if not path.exists()]
    folder = folder if named else new_folder(folder)
    try:
        return TrainedRun(folder, train_run(config, folder, named=True), config_dir)
    except UserError:
        for path in (folder, *made):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise


def compose_checked(lines: list[str], config_dir: str | None):
    """Hydra's composition, with its errors as a UserError."""
    from ncf.config import overrides
    from ncf.config.schema import configs_folder

    try:
        return composed("train", overrides.renamed(lines), config_dir)
    except Exception as error:
        line = overrides.explain(error, "train", configs_folder())
        if line is None:
            raise
        raise UserError(line) from None  # Hydra's own words, some 200 lines, would hide it

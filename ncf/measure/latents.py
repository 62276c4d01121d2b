"""What some metrics learn from the training images: their settled top activities f_L, the mixture and the classifier fitted to them.

Each is made when first asked for. Activities and mixture are kept next to the checkpoint they belong to, as .npz files that name what
they were made from (the checkpoint's bytes, the images, the settings); one that is damaged or made from something else is recomputed.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncf.config.schema import MetricsConfig
from ncf.data.datasets import Dataset
from ncf.data.streams import stream
from ncf.errors import UserError
from ncf.measure.completion import measured_ways
from ncf.measure.fitting import Regression, fit_classifier, fit_prior
from ncf.measure.frames import codes, frames_of
from ncf.measure.gaussians import Gaussian, gaussian_of
from ncf.measure.likeness import Bins
from ncf.measure.posterior_fit import fit_to_posterior
from ncf.measure.reading import classes_of, open_reader, percent_wrong
from ncf.network.mixture import Mixture
from ncf.network.model import Model
from ncf.network.top_inference import infer_top
from ncf.runs.files import as_npz, write_whole

LAYOUT = 2  # of the cached files; raise it when what they hold changes its meaning


class TrainingLatents:
    """The training images of `data` as `network` sees them; `checkpoint` is the file that holds its weights, if there is one."""

    def __init__(self, network: Model, data: Dataset, config: MetricsConfig, checkpoint: Path | None = None):
        self.network, self.data, self.config, self.checkpoint = network, data, config, checkpoint

    @cached_property
    def images(self) -> Tensor:
        """Training images, binarised as in training (of resampled ones, one draw), (N, J_0)."""
        x = self.data.splits["train"].x
        if self.data.resample:
            noise = stream(0, "binarize-latents").random(tuple(x.shape), dtype=np.float32)
            x = (torch.from_numpy(noise).to(x.device) < x).to(x.dtype)
        return x

    @cached_property
    def activities(self) -> Tensor:
        """Settled top activities f_L of all training images, (N, J_L)."""

        def settle() -> dict[str, Tensor]:
            return {"f_top": self.settled_codes(self.images)}

        return self.kept("latents", {}, settle)["f_top"]

    @cached_property
    def ways(self) -> dict[str, float]:
        """M-MSE on validation images of each way to complete an image, of which they choose (`ncf.measure.completion.measured_ways`)."""
        return measured_ways(self.network, self.data, self.config)

    @cached_property
    def fitted_codes(self) -> Tensor:
        """The top activities that the mixture is fitted to, after their `final_steps`, (N, J_L)."""
        wanted = self.config.mixture
        if not wanted.final_steps:
            return self.activities[: wanted.latents]
        last = {"latents": wanted.latents, "final_steps": wanted.final_steps, "final_beta": wanted.final_beta}
        return self.kept("codes", last, lambda: {"f_top": self.codes(self.images[: wanted.latents])})["f_top"]

    @cached_property
    def prior(self) -> Mixture:
        """The mixture fitted to the first `mixture.latents` of them (the training images stand in random order)."""
        wanted = self.config.mixture

        def fit() -> dict[str, Tensor]:
            if len(self.images) < 2:
                raise UserError("no mixture can be fitted to a single training image")
            fitted = fit_prior(self.fitted_codes, wanted)
            return vars(fit_to_posterior(self.network, fitted, self.images[: wanted.latents], self.fitted_codes, wanted) if wanted.rounds else fitted)

        return Mixture(**self.kept("prior", asdict(wanted), fit))

    @property
    def sampling_prior(self) -> Mixture:
        """What samples are drawn from: the model's own prior where it has one, else the fitted mixture."""
        return self.network.own_prior if "own_prior" in self.network.abilities else self.prior  # type: ignore[attr-defined]

    def prior_of(self, label: int, most: int | None = None) -> Mixture:
        """The mixture fitted to the activities f_L that settling on the training images of one class leaves, their label seen: the
        first `most` of them, by default as many as all others are fitted to."""
        split, config = self.data.splits["train"], self.config
        rows = (split.y == label).nonzero()[:, 0][: most or config.mixture.latents]
        if len(rows) < 2:
            name = label if self.data.labels is None else self.data.labels[label]
            raise UserError(f"class {name} has {len(rows)} training image{'s' * (len(rows) != 1)}; no mixture can be fitted to them")
        return fit_prior(self.codes(self.images[rows], split.y[rows]), config.mixture)

    def codes(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Top activities f_L of images x (N, J_0) as the prior sees them, after its `final_steps`, (N, J_L)."""
        wanted, found = self.config.mixture, []
        for rows in torch.arange(len(x)).split(self.config.batch_size):
            state = self.network.settle(x[rows], y=None if y is None else y[rows])
            found.append(infer_top(self.network, state, wanted.final_steps, wanted.final_beta) if wanted.final_steps else state.code)
        return torch.cat(found)

    @cached_property
    def drawn(self) -> Tensor:
        """As many samples mu_0 as there are training images, (N, J_0)."""
        codes = self.sampling_prior.sample(len(self.images), stream(0, "likeness"))
        return torch.cat([self.network.project(part) for part in codes.split(5000)])  # type: ignore[attr-defined]

    @cached_property
    def gaussian(self) -> Gaussian:
        """The Gaussian of the training images' pixels."""
        return gaussian_of(self.images)

    @cached_property
    def reader(self) -> Model:
        """The classifier that `metrics.reader` names."""
        return open_reader("metrics.reader", str(self.config.reader), self.data, {"features"})

    @cached_property
    def reader_wrong(self) -> float | None:
        """How often it is wrong on test images, in percent."""
        return percent_wrong(partial(classes_of, self.reader), self.data.splits["test"])

    @cached_property
    def bins(self) -> Bins:
        """The k-means bins of the training images."""
        return Bins(self.images)

    def classifier(self, known: Tensor, features: Callable[[Tensor], Tensor]) -> Regression:
        """The regression from features of the training images (N, J) to their classes. Its penalty is `metrics.penalty`, or the one that validation
        images choose, whose `features` are asked for then."""
        train, validation = self.data.splits["train"], self.data.splits.get("validation")
        judges = None
        if self.config.penalty is None and validation is not None and validation.y is not None and len(validation.labelled):
            rows = validation.labelled
            judges = (features(validation.x)[rows], validation.y[rows])  # all of them settle: of sequences no frame is left out
        return fit_classifier((known[train.labelled], train.y[train.labelled]), judges, self.config.penalty)

    def settled_codes(self, x: Tensor) -> Tensor:
        """Settled top activities f_L of images of the set x (N, J_0), (N, J_L)."""
        return codes(self.network, x, frames_of(self.network, self.data), self.config.batch_size)

    # --- next to the checkpoint ---------------------------------------------------------------------------------------

    def kept(self, kind: str, settings: dict, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors that `make` gives, read from the file next to the checkpoint if it was made from the same things."""
        if self.checkpoint is None or not self.config.cache:
            return make()
        path, origin = self.file(kind), self.made_from(kind, settings)
        tensors = read_kept(path, origin)
        if tensors is None:
            tensors = make()
            write_kept(path, origin, tensors)
        return {name: tensor.to(self.images.device) for name, tensor in tensors.items()}

    def file(self, kind: str) -> Path:
        return self.checkpoint.with_name(f"{self.checkpoint.stem}-{self.data.name}-{kind}.npz")

    def made_from(self, kind: str, settings: dict) -> str:
        return json.dumps({"kind": kind, "layout": LAYOUT, "settings": settings, **self.origin}, sort_keys=True)

    @property
    def kept_prior(self) -> Mixture | None:
        """The prior where a metric has had it fitted and kept; None where it would have to be made."""
        if self.checkpoint is None or not self.file("prior").exists():
            return None
        tensors = read_kept(self.file("prior"), self.made_from("prior", asdict(self.config.mixture)))
        return tensors and Mixture(**{name: tensor.to(self.images.device) for name, tensor in tensors.items()})

    @cached_property
    def origin(self) -> dict:
        return {
            "checkpoint": hashlib.sha256(self.checkpoint.read_bytes()).hexdigest(),
            "model": asdict(self.network.config),  # an evaluation may settle longer than training did
            "images": hashlib.sha256(np.ascontiguousarray(self.images.cpu().numpy())).hexdigest(),
            "batch_size": self.config.batch_size,
            "device": self.images.device.type,
        }


def read_kept(path: Path, origin: str) -> dict[str, Tensor] | None:
    """The tensors of a kept file, or None if it is not there, damaged (every entry has a checksum) or made from something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["origin"]) != origin:
                return None
            return {name: torch.from_numpy(file[name]) for name in file["names"].tolist()}  # a damaged index may lack some
    except Exception:  # numpy and zipfile raise nearly anything on a damaged file
        return None


def write_kept(path: Path, origin: str, tensors: dict[str, Tensor]) -> None:
    """Put the file in place whole; where that is not possible (a read-only folder, a full disk) go on without."""
    content = as_npz(
        {"origin": np.array(origin), "names": np.array(list(tensors)), **{name: tensor.cpu().numpy() for name, tensor in tensors.items()}}
    )
    try:
        write_whole(path, content)
    except OSError:
        pass

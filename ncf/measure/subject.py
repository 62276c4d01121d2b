"""What the metrics measure: a model on one split, with what they share made once; and the mean of what they find."""

from functools import cached_property

import torch
from torch import Tensor

from ncf.config.schema import MetricsConfig
from ncf.data.datasets import Dataset
from ncf.data.streams import stream
from ncf.measure.annealing import Annealed, Bracket, anneal
from ncf.measure.clouds import Clouds
from ncf.measure.density import Estimate, encoder_estimates
from ncf.measure.fitting import CannotFit
from ncf.measure.frames import frames_of, settled
from ncf.measure.latents import TrainingLatents
from ncf.measure.reading import features_of
from ncf.network.discrepancy import bce_of, squared_error
from ncf.network.mixture import Mixture
from ncf.network.model import Model
from ncf.network.state import State
from ncf.runs import guards

PER_IMAGE = "per_image"


def summarize(values: Tensor) -> dict:
    """Mean over the images, their number, the standard error of the mean (None of a single image, which tells nothing of it), and the values themselves."""
    values = values.double()
    error = values.std().item() / len(values) ** 0.5 if len(values) > 1 else None
    return {"value": values.mean().item(), "n": len(values), "stderr": error, PER_IMAGE: values}


def sequence_stderr(values: Tensor, sequence: Tensor) -> float:
    """Standard error of the mean of values (n,) that are alike within a sequence, `sequence` (n,) telling which of S each belongs to.

    sqrt( S / (S - 1) sum over sequences of ( sum of its values - mean * their number )^2 ) / n: of sequences of one length, that of their means.
    """
    apart = torch.zeros(int(sequence.max()) + 1, dtype=torch.float64, device=values.device).index_add_(0, sequence, values - values.mean())
    s = len(sequence.unique())
    return (s / (s - 1) * apart.square().sum()).sqrt().item() / len(values)


class Subject:
    """A model on one split: its images, what settling leaves on them (made once for all metrics), and the training images' latents."""

    def __init__(self, network: Model, data: Dataset, split: str, config: MetricsConfig, training: TrainingLatents):
        n = config.n_images and max(1, config.n_images // data.frames) * data.frames  # whole sequences
        part = data.splits[split].first(n)
        self.split = split
        self.network, self.data, self.config, self.training = network, data, config, training
        self.x, self.y = part.x, part.y
        if split == "train":  # resampled training images are kept grey: one draw of them, as the other splits are
            self.x = training.images[: len(part)]

    @cached_property
    def settled(self) -> dict[str, Tensor]:
        """What settling leaves, the labels unseen: bce and tod (N,), the top activities f_L as `code` (N, J_L); and where a metric asks for
        them, `mse` (N,), `active` and `in_use` (N, L), the share of such units in every hidden population, `down` (N, L), BCE of what each projects
        down to, and `told` (N,), the class that the network tells."""
        parts = []
        for rows, state in settled(self.network, self.x, frames_of(self.network, self.data), self.config.batch_size):
            if "settle" in self.network.abilities:
                guards.require_settled(self.network, state, f"evaluation on {self.split} images", measuring=True)
            entropy, tod = self.network.losses(state, None if self.y is None else self.y[rows])
            found = {"rows": rows, "bce": entropy, "tod": tod, "code": state.code}
            if "active" in self.config.names:
                found["active"] = active_units(state)
            if "in_use" in self.config.names:
                found["in_use"] = torch.stack([(state.f[i].abs() > self.config.in_use).double().mean(1) for i in state.free], 1)
            if "mse" in self.config.names:
                found["mse"] = squared_error(state)
            if "bce_projected" in self.config.names and "settle" in self.network.abilities:
                found["down"] = torch.stack([bce_of(self.x[rows], self.network.project_from(state, i)) for i in self.network.circuit.hidden], 1)
            if "label_err" in self.config.names:
                found["told"] = self.network.told(state).argmax(1)  # type: ignore[attr-defined]
            parts.append(found)
        whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        order = whole.pop("rows").argsort()
        return {name: values[order] for name, values in whole.items()}

    @cached_property
    def codes(self) -> Tensor:
        """The top activities f_L as the prior sees them, (N, J_L): those that settling leaves, or after their `final_steps`."""
        alike = not self.config.mixture.final_steps and self.data.frames == 1
        return self.settled["code"] if alike else self.training.codes(self.x)

    @cached_property
    def labelled(self) -> Tensor:
        """The rows whose class is known."""
        return (self.y >= 0).nonzero()[:, 0]  # type: ignore[operator]

    def wrong(self, told: Tensor) -> dict:
        """How often classes told of all images (N,) are not those of the images whose class is known, in percent."""
        return summarize(100.0 * (told[self.labelled] != self.y[self.labelled]))  # type: ignore[index]

    @cached_property
    def pixels(self) -> Clouds:
        """As many training images, samples and images of the split, at random: what is held out may stand in any order. CannotFit for training
        images themselves, which are not held out."""
        self.require_held_out()
        n = min(self.config.n_compared, len(self.training.images), len(self.x))
        real, held_out = (images[torch.from_numpy(stream(0, "compared").permutation(len(images))[:n])] for images in (self.training.images, self.x))
        return Clouds(real, self.training.drawn[:n], held_out)

    def require_held_out(self) -> None:
        if self.split == "train":
            raise CannotFit("training images are compared with held-out ones: measure split=validation or test")

    @cached_property
    def features(self) -> Clouds:
        """Their features."""
        pixels = self.pixels
        return Clouds(*(features_of(self.training.reader, images) for images in (pixels.real, pixels.drawn, pixels.held_out)))

    @cached_property
    def annealed(self) -> tuple[Annealed, Bracket]:
        """Of the first `annealing.images`, from the fitted mixture to the posterior."""
        return self.anneal(self.training.prior)

    def anneal(self, prior: Mixture) -> tuple[Annealed, Bracket]:
        config = self.config.annealing
        return anneal(self.network, prior, self.x[: config.images], config)

    @cached_property
    def encoded(self) -> tuple[Tensor, Estimate]:
        """ELBO (N,) and the importance-sampled estimate, both from the same draws of the encoder."""
        return encoder_estimates(self.network, self.x, self.config.encoder_samples, stream(0, "log_p_encoder"))


def active_units(state: State) -> Tensor:
    """The share of units with an activity above 1e-6 in every population that moves, (B, L)."""
    return torch.stack([(state.f[i] > 1e-6).double().mean(1) for i in state.free], 1)

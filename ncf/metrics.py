"""Figures of merit of a model on a split of a dataset: plain functions and a registry (paper.md, section 8)."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from math import log

import torch
from torch import Tensor

from ncf.annealing import anneal
from ncf.config import MetricsConfig
from ncf.datasets import Dataset
from ncf.density import Estimate, monte_carlo
from ncf.latents import TrainingLatents
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


# --- what the metrics of one split share -----------------------------------------------------------------------------


class Subject:
    """A model on one split: its images, what settling leaves on them (made once for all metrics), and the training images' latents."""

    def __init__(self, network, data: Dataset, split: str, config: MetricsConfig, training: TrainingLatents):
        part = data.splits[split].first(config.n_images)
        self.network, self.data, self.config, self.training = network, data, config, training
        self.x, self.y = part.x, part.y

    @cached_property
    def settled(self) -> tuple[Tensor, Tensor, Tensor]:
        """BCE (N,), ToD (N,) and the top activities f_L (N, J_L)."""
        states = (self.network.settle(part) for part in self.x.split(self.config.batch_size))
        return tuple(torch.cat(parts) for parts in zip(*((bce(state), tod(state), state.f[-1]) for state in states)))


def completion(subject: Subject) -> dict:
    config = subject.config
    observed = observed_pixels(config.mask, config.mask_fraction, subject.data.image_shape).to(subject.x.device)
    return summarize(torch.cat([masked_mse(subject.network, part, observed) for part in subject.x.split(config.batch_size)]))


def class_error(subject: Subject) -> dict:
    """%Err: share of images whose class a logistic regression on f_L of the training images gets wrong."""
    found = subject.training.classifier.predict(subject.settled[2].double().cpu().numpy())
    return summarize(100.0 * (torch.from_numpy(found) != subject.y.cpu())) | {"training_images": len(subject.training.activities)}


def log_p(subject: Subject) -> dict:
    """log p(x) by Monte Carlo from the fitted mixture; the released recipe adds log S where it should subtract it."""
    config, prior = subject.config, subject.training.prior
    estimate = monte_carlo(subject.network, prior, subject.x, config.samples, stream(0, "log_p"))
    figure = summarize(estimate.log_p) | reliability(estimate) | {"samples": config.samples, "components": len(prior.weights)}
    return figure | {"as_released": figure["value"] + 2 * log(config.samples)}


def log_p_annealed(subject: Subject) -> dict:
    config, prior = subject.config.annealing, subject.training.prior
    estimate, bracket = anneal(subject.network, prior, subject.x[: config.images], config)
    return summarize(estimate.log_p) | reliability(estimate) | asdict(config) | {"simulated": asdict(bracket)}


def reliability(estimate: Estimate) -> dict:
    return {"sampling_stderr": estimate.sampling_stderr, "effective_samples": estimate.effective_samples.median().item()}


def summarize(values: Tensor) -> dict:
    """Mean over the images, their number, and the standard error of the mean."""
    values = values.double()
    spread = values.std().item() if len(values) > 1 else 0.0
    return {"value": values.mean().item(), "n": len(values), "stderr": spread / len(values) ** 0.5}


# --- the registry -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metric:
    label: str
    unit: str
    figure: Callable[[Subject], dict]  # value, n, stderr, and whatever else tells how it came about
    needs: str | None = None  # what the model (by its method) or the data ("classes") must have


METRICS = {
    "bce": Metric("BCE", "nats per image", lambda subject: summarize(subject.settled[0]), "project"),
    "tod": Metric("ToD", "per image", lambda subject: summarize(subject.settled[1]), "project"),
    "m_mse": Metric("M-MSE", "per image", completion, "project"),
    "class_err": Metric("%Err", "%", class_error, "classes"),
    "log_p": Metric("log p(x), Monte Carlo", "nats per image", log_p, "drive"),
    "log_p_annealed": Metric("log p(x), annealed", "nats per image", log_p_annealed, "drive"),
}


def left_out(network, data: Dataset, names: list[str]) -> dict[str, str]:
    """Metrics that do not apply to the model or the data, each with the reason."""
    reasons = {"project": "the model has no decoder", "drive": "the model has no decoder", "classes": "the images have no classes"}
    labelled = all(split.y is not None for split in data.splits.values())
    present = {need: labelled if need == "classes" else getattr(network, need, None) is not None for need in reasons}
    return {name: reasons[METRICS[name].needs] for name in names if METRICS[name].needs and not present[METRICS[name].needs]}


@torch.no_grad()
def measure(network, data: Dataset, split: str, config: MetricsConfig, training: TrainingLatents | None = None) -> dict[str, dict]:
    """Every metric of the config that applies: value (mean), unit, n, standard error of the mean, and its particulars."""
    subject = Subject(network, data, split, config, training or TrainingLatents(network, data, config))
    absent = left_out(network, data, config.names)
    figures = {name: METRICS[name].figure(subject) for name in config.names if name not in absent}
    return {name: {"value": figure["value"], "unit": METRICS[name].unit, **figure} for name, figure in figures.items()}

"""Metrics of a model on a split of a dataset: plain functions and a registry."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from math import log

import torch
from torch import Tensor

from ncf.config.schema import MetricsConfig
from ncf.data.datasets import Dataset
from ncf.data.streams import stream
from ncf.errors import UserError, nearest
from ncf.measure.annealing import anneal
from ncf.measure.completion import least, masked_mse, measured_ways, nothing_to_hide, observed_pixels
from ncf.measure.density import BLOCKS, Estimate, encoder_estimates, monte_carlo
from ncf.measure.fitting import require_room
from ncf.measure.latents import TrainingLatents
from ncf.measure.likeness import different_bins, gaussian_distance
from ncf.network.discrepancy import bce_of
from ncf.network.likelihoods import LIKELIHOODS
from ncf.network.model import Model
from ncf.network.state import State
from ncf.runs import memory

# --- what the metrics of one split share -----------------------------------------------------------------------------


class Subject:
    """A model on one split: its images, what settling leaves on them (made once for all metrics), and the training images' latents."""

    def __init__(self, network: Model, data: Dataset, split: str, config: MetricsConfig, training: TrainingLatents):
        part = data.splits[split].first(config.n_images)
        self.network, self.data, self.config, self.training = network, data, config, training
        self.x, self.y = part.x, part.y
        if split == "train":  # resampled training images are kept grey: one draw of them, as the other splits are
            self.x = training.images[: len(part)]

    @cached_property
    def settled(self) -> dict[str, Tensor]:
        """What settling leaves, the labels unseen: bce and tod (N,), the top activities f_L as `code` (N, J_L); and where a metric asks for
        them, `active` (N, L), the share of active units in every hidden population, and `told` (N,), the class that the network tells."""
        parts = []
        for start in range(0, len(self.x), self.config.batch_size):
            rows = slice(start, start + self.config.batch_size)
            state = self.network.settle(self.x[rows])
            bce, tod = self.network.losses(state, None if self.y is None else self.y[rows])
            found = {"bce": bce, "tod": tod, "code": state.code}
            if "active" in self.config.names:
                found["active"] = active_units(state)
            if "label_err" in self.config.names:
                found["told"] = self.network.told(state).argmax(1)  # type: ignore[attr-defined]
            parts.append(found)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    @cached_property
    def encoded(self) -> tuple[Tensor, Estimate]:
        """ELBO (N,) and the importance-sampled estimate, both from the same draws of the encoder."""
        return encoder_estimates(self.network, self.x, self.config.encoder_samples, stream(0, "log_p_encoder"))


def active_units(state: State) -> Tensor:
    """The share of units with an activity above 1e-6 in every population that moves, (B, L)."""
    return torch.stack([(state.f[i] > 1e-6).double().mean(1) for i in state.free], 1)


def activity(subject: Subject) -> dict:
    """The share of active units, the mean over populations, with that of each."""
    shares = 100 * subject.settled["active"]
    return summarize(shares.mean(1)) | {"populations": shares.mean(0).tolist()}


def likeness(subject: Subject, measure: Callable[[Tensor], dict]) -> dict:
    """A measure of as many samples as there are training images, and of the split's images: held-out ones show what can be had at best."""
    return measure(subject.training.drawn) | {"held_out": measure(subject.x)["value"]}


def completion(subject: Subject) -> dict:
    """M-MSE, with how the image was completed."""
    network, config = subject.network, subject.config
    observed = observed_pixels(config.mask, config.mask_fraction, subject.data.image_shape).to(subject.x.device)
    ways = measured_ways(network, subject.data, config)
    way = least(ways)
    errors = masked_mse(network, subject.x, observed, way, config.batch_size)
    figure = summarize(errors) | {"mask": config.mask, "mask_fraction": config.mask_fraction}
    return figure if way is None else figure | {"completed_by": way, "multiply_adds": network.completions[way][1], "validation_by_way": ways}  # type: ignore[attr-defined]


def projected_bce(subject: Subject) -> dict:
    """BCE of what the top alone projects down to: the part of an image that a draw from the prior can bring."""
    network, wanted = subject.network, subject.config.mixture
    mu = torch.cat([network.project(codes) for codes in subject.training.codes(subject.x).split(5000)])  # type: ignore[attr-defined]
    return summarize(bce_of(subject.x, mu)) | {"final_steps": wanted.final_steps, "final_beta": wanted.final_beta}


def class_error(subject: Subject) -> dict:
    """%Err: share of images whose class a logistic regression on f_L of the training images gets wrong; a classifier's own error."""
    if "classify" in subject.network.abilities:
        return summarize(100.0 * (subject.settled["code"].argmax(1) != subject.y))
    return regression_error(subject, subject.training.activities, subject.settled["code"])


def hidden_error(subject: Subject) -> dict:
    """The same from an encoder's uppermost hidden layer, as many units as a network's top has."""
    hidden = subject.network.hidden  # type: ignore[attr-defined]
    return regression_error(subject, hidden(subject.training.images), hidden(subject.x))


def regression_error(subject: Subject, training: Tensor, features: Tensor) -> dict:
    found = subject.training.classifier(training).predict(features.double().cpu().numpy())
    return summarize(100.0 * (torch.from_numpy(found) != subject.y.cpu())) | {"training_images": len(training)}


def log_p(subject: Subject) -> dict:
    """log p(x): exact where the model can tell it, else by Monte Carlo from the fitted mixture."""
    if "exact_log_p" in subject.network.abilities:
        return summarize(subject.network.exact_log_p(subject.x)) | {"exact": True}
    return sampled_log_p(subject, subject.training.prior) | {"components": len(subject.training.prior.weights)}


def sampled_log_p(subject: Subject, prior) -> dict:
    """Monte Carlo; the released recipe adds log S where it should be subtracted."""
    config = subject.config
    estimate = monte_carlo(subject.network, prior, subject.x, config.samples, stream(0, "log_p"))
    figure = summarize(estimate.log_p) | reliability(estimate) | {"samples": config.samples}
    return figure | {"as_released": figure["value"] + 2 * log(config.samples)}


def log_p_encoder(subject: Subject) -> dict:
    estimate = subject.encoded[1]
    return summarize(estimate.log_p) | reliability(estimate) | {"samples": subject.config.encoder_samples}


def annealed_log_p(subject: Subject, prior) -> dict:
    config = subject.config.annealing
    estimate, bracket = anneal(subject.network, prior, subject.x[: config.images], config)
    return summarize(estimate.log_p) | reliability(estimate) | asdict(config) | {"simulated": asdict(bracket)}


def reliability(estimate: Estimate) -> dict:
    return {"sampling_stderr": estimate.sampling_stderr, "effective_samples": estimate.effective_samples.median().item()}


PER_IMAGE = "per_image"


def summarize(values: Tensor) -> dict:
    """Mean over the images, their number, the standard error of the mean, and the values themselves."""
    values = values.double()
    spread = values.std().item() if len(values) > 1 else 0.0
    return {"value": values.mean().item(), "n": len(values), "stderr": spread / len(values) ** 0.5, PER_IMAGE: values}


# --- the registry -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metric:
    label: str
    unit: str
    figure: Callable[[Subject], dict]  # value, n, stderr, and whatever else tells how it came about
    meaning: str  # in a sentence or two, for the report
    needs: str | None = None  # what the model (by its name there) or the data ("classes") must have
    higher: bool = False  # whether more is better


MEANINGS = {
    "bce": "Binary cross entropy between an image and what the network settles to on it, summed over pixels. Lower is better.",
    "bce_projected": "BCE of the image that the settled top layer alone projects down to (after metrics.mixture.final_steps): what a draw from the prior can bring. "
    "Lower is better.",
    "tod": "Total discrepancy: minus the squared errors of all layers after settling, summed. Closer to zero is better.",
    "m_mse": "Masked mean squared error, as the article calls it: the network settles on a part of the image; the squared error over the pixels it does "
    "not see, summed over these and averaged over images. Lower is better.",
    "class_err": "Classification error: the share of images whose class a logistic regression on the top layer's activities gets wrong.",
    "class_err_hidden": "The same from the encoder's uppermost hidden layer, which has as many units as a network's top.",
    "log_p": "Log likelihood of an image: exact where the model can tell it, else by Monte Carlo, averaging p(x | z) over draws from a Gaussian "
    "mixture fitted to the top layer's activities. With few effective samples (how many draws carry the average) it is far too low.",
    "log_p_own": "Log likelihood by Monte Carlo from the prior that the model was trained with.",
    "elbo": "Evidence lower bound of a variational autoencoder: a lower bound on log p(x).",
    "log_p_encoder": "Log likelihood by importance sampling from the encoder.",
    "label_err": "Label error: the network settles on the image alone; the share of images whose unseen label it tells wrong.",
    "active": "The share of hidden units with an activity above 1e-6 on an image, the mean over layers. Lower is sparser.",
    "ndb": "Number of statistically different bins, as a share: of 100 k-means bins of the training images, how many hold another share of the samples. "
    "Lower is better; held-out images show what can be had.",
    "gaussian_kl": "Divergence of the Gaussian fitted to the samples from that of the training images' pixels (0.01 added to every variance). Lower is "
    "better; held-out images show what can be had.",
    "log_p_annealed": "Log likelihood by annealed importance sampling from the fitted mixture to the posterior, on the first images of the split.",
    "log_p_annealed_own": "The same from the prior that the model was trained with.",
}
METRICS = {
    "bce": Metric("BCE", "nats per image", lambda subject: summarize(subject.settled["bce"]), MEANINGS["bce"], "project"),
    "bce_projected": Metric("BCE, projected", "nats per image", projected_bce, MEANINGS["bce_projected"], "project"),
    "tod": Metric("ToD", "per image", lambda subject: summarize(subject.settled["tod"]), MEANINGS["tod"], "project", higher=True),
    "m_mse": Metric("M-MSE", "per image", completion, MEANINGS["m_mse"], "project"),
    "class_err": Metric("%Err", "%", class_error, MEANINGS["class_err"], "classes"),
    "class_err_hidden": Metric("%Err, encoder's units", "%", hidden_error, MEANINGS["class_err_hidden"], "hidden"),
    "log_p": Metric("log p(x)", "nats per image", log_p, MEANINGS["log_p"], "project", higher=True),
    "log_p_own": Metric(
        "log p(x), own prior",
        "nats per image",
        lambda subject: sampled_log_p(subject, subject.network.own_prior),
        MEANINGS["log_p_own"],
        "own_prior",
        higher=True,
    ),
    "elbo": Metric("ELBO", "nats per image", lambda subject: summarize(subject.encoded[0]), MEANINGS["elbo"], "posterior", higher=True),
    "log_p_encoder": Metric("log p(x), encoder", "nats per image", log_p_encoder, MEANINGS["log_p_encoder"], "posterior", higher=True),
    "log_p_annealed": Metric(
        "log p(x), annealed",
        "nats per image",
        lambda subject: annealed_log_p(subject, subject.training.prior),
        MEANINGS["log_p_annealed"],
        "project",
        higher=True,
    ),
    "log_p_annealed_own": Metric(
        "log p(x), annealed, own prior",
        "nats per image",
        lambda subject: annealed_log_p(subject, subject.network.own_prior),
        MEANINGS["log_p_annealed_own"],
        "own_prior",
        higher=True,
    ),
    "label_err": Metric(
        "label error", "%", lambda subject: summarize(100.0 * (subject.settled["told"] != subject.y)), MEANINGS["label_err"], "label"
    ),
    "active": Metric("active units", "%", activity, MEANINGS["active"], "settle"),
    "ndb": Metric("NDB", "%", lambda subject: likeness(subject, lambda x: different_bins(x, subject.training.bins)), MEANINGS["ndb"], "project"),
    "gaussian_kl": Metric(
        "Gaussian KL",
        "nats",
        lambda subject: likeness(subject, lambda x: gaussian_distance(subject.training.images, x)),
        MEANINGS["gaussian_kl"],
        "project",
    ),
}
LACKS = {
    "label": "the model has no labels",
    "settle": "the model does not settle",
    "project": "the model has no decoder",
    "own_prior": "the model has no prior of its own over the top activities",
    "posterior": "the model has no encoder that gives a distribution",
    "classes": "the images have no classes",
    "hidden": "the model has no encoder with hidden layers",
}


def require_known(config: MetricsConfig) -> None:
    """UserError for a metric that does not exist."""
    if not config.names:
        raise UserError(f"metrics.names=[]: name at least one of {', '.join(METRICS)}")
    for name in config.names:
        require_metric(name, f"metrics.names: unknown metric {name!r}; ")


def require_metric(name: str, words: str) -> None:
    """UserError, beginning with `words`, for a metric that nobody has registered."""
    if name not in METRICS:
        raise UserError(f"{words}{nearest(name, METRICS)} (a plugin's metric needs --config-dir=FOLDER)")


def require_measurable(network, data: Dataset, config: MetricsConfig) -> None:
    """UserError for what measuring would end with, before anything is trained: settings that do not fit these images."""
    absent = left_out(network, data, config.names, config.mask)
    names, pixels = set(config.names) - set(absent), data.splits["test"].x.shape[1]
    images = max(len(data.splits[name].first(config.n_images)) for name in ("validation", "test"))
    if names & {"log_p", "log_p_own"} and not getattr(network, "exact_log_p", None):
        wanted = 4 * 2 * (images + pixels) * -(-config.samples // BLOCKS)
        memory.require(wanted, f"metrics.samples={config.samples}: log p(x) of {images} images", "lower metrics.samples or metrics.n_images")
    of_samples = set() if "own_prior" in network.abilities else {"ndb", "gaussian_kl"}
    if names & ({"log_p", "log_p_annealed"} | of_samples) and not getattr(network, "exact_log_p", None):
        require_room(network.code_size, len(data.splits["train"]), config.mixture)
    if config.mixture.final_steps and not {"settle", "project"} <= network.abilities:
        raise UserError(f"metrics.mixture.final_steps={config.mixture.final_steps}: the model does not settle on images; leave it at 0")
    if names & {"elbo", "log_p_encoder"}:
        wanted = 8 * 2 * images * config.encoder_samples
        memory.require(wanted, f"metrics.encoder_samples={config.encoder_samples}", "lower it, or metrics.n_images")
    if "m_mse" in names:
        try:
            observed_pixels(config.mask, config.mask_fraction, data.image_shape)
        except UserError as error:
            raise UserError(f"metrics.{error}") from error


def left_out(network, data: Dataset, names: list[str], mask: str = "right") -> dict[str, str]:
    """Metrics that do not apply to the model or the data, each with the reason."""
    labelled = all(split.y is not None for split in data.splits.values())
    has = {need: labelled if need == "classes" else need in network.abilities for need in LACKS}
    reasons = {name: LACKS[METRICS[name].needs] for name in names if METRICS[name].needs and not has[METRICS[name].needs]}
    if "m_mse" in names and (reason := nothing_to_hide(mask, data.image_shape)):
        reasons.setdefault("m_mse", reason)
    regressions = {"class_err", "class_err_hidden"} & set(names) if "classify" not in network.abilities else set()
    if regressions and (not labelled or len(data.splits["train"].y.unique()) < 2):
        why = "the training images are all of one class" if labelled else LACKS["classes"]
        reasons = {name: why for name in regressions} | reasons
    densities = [name for name in names if name.startswith("log_p") or name == "elbo"]
    if len(data.splits["train"]) < 2 and "exact_log_p" not in network.abilities:
        fitted = {"log_p", "log_p_annealed", "ndb", "gaussian_kl"}
        reasons |= {name: "no mixture can be fitted to a single training image" for name in fitted & set(names) - set(reasons)}
    if "exact_log_p" in network.abilities:
        reasons |= {name: "log p(x) of the model is exact" for name in densities if name != "log_p" and name not in reasons}
    if (
        "project" in network.abilities
        and LIKELIHOODS[likelihood := network.likelihood].discrete
        and not all(binary(split.x) for name, split in data.splits.items() if name != "train")
    ):
        reasons |= {name: f"a {likelihood} likelihood gives grey images no probability" for name in densities if name not in reasons}
    return reasons


def binary(x: Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all())


@torch.no_grad()
def measure(
    network, data: Dataset, split: str, config: MetricsConfig, training: TrainingLatents | None = None, per_image: dict | None = None
) -> dict[str, dict]:
    """Every metric of the config, all of which must apply: value (mean), unit, n, standard error of the mean, and its particulars.

    The values of the single images, in the order of the split, are put into `per_image` as SPLIT_METRIC (N,).
    """
    subject = Subject(network, data, split, config, training or TrainingLatents(network, data, config))
    figures = {name: METRICS[name].figure(subject) for name in config.names}
    values = {f"{split}_{name}": figure.pop(PER_IMAGE).float().cpu().numpy() for name, figure in figures.items() if PER_IMAGE in figure}
    if per_image is not None:
        per_image |= values
    return {name: {"value": figure["value"], "unit": METRICS[name].unit, **figure} for name, figure in figures.items()}

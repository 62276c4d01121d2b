"""The registry of metrics: names, units, meanings, what each needs, and measuring a model on a split of a dataset by them.

Longer than 300 lines, so that every metric is found in one file.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ncf.config.schema import MetricsConfig
from ncf.data.datasets import Dataset
from ncf.errors import UserError, nearest
from ncf.measure.completion import nothing_to_hide, observed_pixels
from ncf.measure.density import BLOCKS
from ncf.measure.fitting import CannotFit, require_room
from ncf.measure.latents import TrainingLatents
from ncf.measure.likeness import different_bins
from ncf.measure.measures import (
    activity,
    annealed_log_p,
    best_top_bce,
    class_error,
    completion,
    half_label_error,
    hidden_error,
    inferred_bce,
    label_images,
    labelled_bce,
    labelled_completion,
    log_p,
    log_p_encoder,
    next_frame,
    plane_error,
    posterior_divergence,
    prior_density,
    projected_bce,
    sampled_log_p,
)
from ncf.measure.reading import open_reader
from ncf.measure.sample_measures import among_neighbours, divergence, entropy_of_classes, fantasies, frechet, likeness, two_sample
from ncf.measure.subject import PER_IMAGE, Subject, sequence_stderr, summarize
from ncf.network.likelihoods import LIKELIHOODS
from ncf.runs import memory


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
    "bce_inferred": "BCE of the image that an autoencoder decodes from latents which as many steps infer as a network settles for (model.inference_steps of Adam, from the "
    "encoder's latents on), where bce is by one pass of the encoder. Lower is better.",
    "bce_best_top": "BCE of the image that the best top activities project down to: gradient ascent on log p(x | f_top) from the settled ones, "
    "metrics.best_steps steps. What the decoder can do, whatever the inference. Lower is better.",
    "top_density": "Log density of an image's top activities under the prior fitted to those of training images. Far below theirs, the prior has learned "
    "them by heart. Of one network, by one way of inference, higher is better.",
    "posterior_kl": "KL divergence of the posterior over top activities from the prior fitted to them: the nats that an image's code costs under the "
    "prior. Expected log likelihood minus log p(x), by annealed importance sampling, on the first images of the split. Lower is better.",
    "tod": "Total discrepancy: minus the squared errors of all layers after settling, summed. Closer to zero is better.",
    "mse": "Reconstruction error: the squared error between an image and what the network settles to on it, summed over pixels. Lower is better.",
    "m_mse": "Masked mean squared error, as the article calls it: the network settles on a part of the image; the squared error over the pixels it does "
    "not see, summed over these and averaged over images. Lower is better.",
    "class_err": "Classification error: the share of images whose class a logistic regression on the top layer's activities gets wrong.",
    "class_err_hidden": "The same from the encoder's uppermost hidden layer, by default as wide as a network's top.",
    "log_p": "Log likelihood of an image: exact where the model can tell it, else by Monte Carlo, averaging p(x | z) over draws from a Gaussian "
    "mixture fitted to the top layer's activities. With few effective samples (how many draws carry the average) it is far too low.",
    "log_p_own": "Log likelihood by Monte Carlo from the prior that the model was trained with.",
    "elbo": "Evidence lower bound of a variational autoencoder: a lower bound on log p(x).",
    "log_p_encoder": "Log likelihood by importance sampling from the encoder.",
    "label_err": "Label error: the network settles on the image alone; the share of images whose unseen label it tells wrong.",
    "label_err_half": "The same from the part of an image that the mask leaves.",
    "bce_label": "BCE where the network is told the class beside the image. Lower is better.",
    "m_mse_label": "M-MSE where the network is told the class beside the part of the image that it sees. Lower is better.",
    "label_image": "Squared error, summed over pixels, between an image and the one that the network settles to on its class alone. The mean of "
    "the class's training images is about the best guess.",
    "active": "The share of hidden units with an activity above 1e-6 on an image, the mean over layers. Lower is sparser.",
    "in_use": "The share of hidden units with |f| above metrics.in_use on an image, the mean over populations. Lower is sparser.",
    "ndb": "Number of statistically different bins, as a share: of 100 k-means bins of the training images, how many hold another share of the samples. "
    "Lower is better; held-out images show what can be had.",
    "gaussian_kl": "Divergence of the Gaussian fitted to the samples from that of the training images' pixels (0.01 added to every variance). Lower is "
    "better; held-out images show what can be had.",
    "fantasy_mse": "Nearest fantasy: squared error, summed over pixels, between an image and the nearest of as many samples as there are training images. "
    "Lower is better.",
    "frechet": "Frechet distance: squared 2-Wasserstein distance between the Gaussians fitted to samples and to training images. Lower is better.",
    "precision": "The share of samples within the third nearest neighbour's distance of a training image: how many look real.",
    "recall": "The share of training images within the third nearest neighbour's distance of a sample: how many could have been drawn.",
    "density": "How many training images a sample is as near to as their fifth nearest neighbour is, over five, the mean over samples; 100 % is "
    "expected of real images, and more is possible.",
    "coverage": "The share of training images that have a sample within the distance of their fifth nearest neighbour.",
    "two_sample": "How far the nearest neighbour, of samples and training images mixed, tells the kind of an image: 50 % where it is no better than a "
    "toss-up for either kind, which is best; 100 % where it is right, or wrong, about all. Lower is better.",
    "class_entropy": "Entropy of the classes that the classifier of metrics.reader tells of the samples, in nats. Equally many of C classes have ln C.",
    "next_frame": "Binary cross entropy of the next frame of a sequence, predicted before it is seen, summed over pixels, the mean over its frames from the "
    "second on. Lower is better; copying the last frame shows what comes for free.",
    "tsne_err": "How often the nearest neighbour of a test image, in the plane where t-SNE lays out the codes, is of another class.",
    "log_p_annealed": "Log likelihood by annealed importance sampling from the fitted mixture to the posterior, on the first images of the split.",
    "log_p_annealed_own": "The same from the prior that the model was trained with.",
}


def compared(of: str) -> dict[str, Metric]:
    """The metrics of samples that compare clouds `of` features or pixels, each named after both."""
    where = {"features": "the uppermost hidden activities of the classifier that metrics.reader names", "pixels": "the pixels"}[of]
    found = {"frechet": Metric(f"Frechet distance ({of})", "squared distance", partial(frechet, of=of), "", "project")}
    for name in ("precision", "recall", "density", "coverage"):
        found[name] = Metric(f"{name} ({of})", "%", partial(among_neighbours, of=of, name=name), "", "project", higher=True)
    found["two_sample"] = Metric(f"two-sample ({of})", "%", partial(two_sample, of=of), "", "project")
    return {f"{name}_{of}": replace(metric, meaning=f"{MEANINGS[name]} In {where}.") for name, metric in found.items()}


METRICS = {
    "bce": Metric("BCE", "nats per image", lambda subject: summarize(subject.settled["bce"]), MEANINGS["bce"], "image"),
    "bce_inferred": Metric("BCE, inferred", "nats per image", inferred_bce, MEANINGS["bce_inferred"], "infer"),
    "bce_projected": Metric("BCE, projected", "nats per image", projected_bce, MEANINGS["bce_projected"], "project"),
    "bce_best_top": Metric("BCE, best top", "nats per image", best_top_bce, MEANINGS["bce_best_top"], "project"),
    "tod": Metric("ToD", "per image", lambda subject: summarize(subject.settled["tod"]), MEANINGS["tod"], "image", higher=True),
    "mse": Metric("squared error", "per image", lambda subject: summarize(subject.settled["mse"]), MEANINGS["mse"], "image"),
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
        lambda subject: annealed_log_p(subject, subject.annealed),
        MEANINGS["log_p_annealed"],
        "project",
        higher=True,
    ),
    "log_p_annealed_own": Metric(
        "log p(x), annealed, own prior",
        "nats per image",
        lambda subject: annealed_log_p(subject, subject.anneal(subject.network.own_prior)),
        MEANINGS["log_p_annealed_own"],
        "own_prior",
        higher=True,
    ),
    "top_density": Metric("log density of the top", "nats per image", prior_density, MEANINGS["top_density"], "project", higher=True),
    "posterior_kl": Metric("KL(posterior, prior)", "nats per image", posterior_divergence, MEANINGS["posterior_kl"], "project"),
    "label_err": Metric("label error", "%", lambda subject: subject.wrong(subject.settled["told"]), MEANINGS["label_err"], "label"),
    "label_err_half": Metric("label error, half seen", "%", half_label_error, MEANINGS["label_err_half"], "conditional"),
    "bce_label": Metric("BCE, label given", "nats per image", labelled_bce, MEANINGS["bce_label"], "conditional"),
    "m_mse_label": Metric("M-MSE, label given", "per image", labelled_completion, MEANINGS["m_mse_label"], "conditional"),
    "label_image": Metric("image of a label", "per image", label_images, MEANINGS["label_image"], "conditional"),
    "active": Metric("active units", "%", activity, MEANINGS["active"], "settle"),
    "in_use": Metric(
        "units in use", "%", lambda subject: activity(subject, "in_use") | {"above": subject.config.in_use}, MEANINGS["in_use"], "settle"
    ),
    "ndb": Metric("NDB", "%", lambda subject: likeness(subject, lambda x: different_bins(x, subject.training.bins)), MEANINGS["ndb"], "project"),
    "gaussian_kl": Metric("Gaussian KL", "nats", divergence, MEANINGS["gaussian_kl"], "project"),
    "fantasy_mse": Metric("nearest fantasy", "per image", fantasies, MEANINGS["fantasy_mse"], "project"),
    **compared("features"),
    "class_entropy": Metric("class entropy", "nats", entropy_of_classes, MEANINGS["class_entropy"], "project", higher=True),
    **compared("pixels"),
    "next_frame": Metric("next frame", "nats per image", next_frame, MEANINGS["next_frame"], "sequences"),
    "tsne_err": Metric("%Err in the t-SNE plane", "%", plane_error, MEANINGS["tsne_err"], "classes"),
}
MASKED = ("m_mse", "m_mse_label", "label_err_half")  # of a part of the image
FITTED = ("log_p", "log_p_annealed", "posterior_kl", "top_density")  # under the mixture fitted to top activities
READ = (*compared("features"), "class_entropy")  # by the classifier of metrics.reader
SAMPLED = ("ndb", "gaussian_kl", "fantasy_mse", *compared("pixels"), *READ)  # of samples, drawn from the prior
LACKS = {
    "label": "the model has no labels",
    "conditional": "the model does not predict images beside labels",
    "settle": "the model does not settle",
    "project": "the model has no decoder",
    "image": "the model has no decoder",
    "sequences": "the images come in no sequences, or the model predicts no images",
    "reader": "metrics.reader names no classifier",
    "own_prior": "the model has no prior of its own over the top activities",
    "posterior": "the model has no encoder that gives a distribution",
    "classes": "the images have no classes",
    "hidden": "the model has no encoder with hidden layers",
    "infer": "the model is no autoencoder: it infers by settling, or nothing",
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
        hint = nearest(name, METRICS)
        hint = hint if hint.startswith("did") else f"known: {', '.join(METRICS)}"
        raise UserError(f"{words}{hint} (a plugin's metric needs --config-dir=FOLDER)")


def require_measurable(network, data: Dataset, config: MetricsConfig) -> None:
    """UserError for what measuring would end with, before anything is trained: settings that do not fit these images."""
    absent = left_out(network, data, config.names, config.mask, config.reader)
    names, pixels = set(config.names) - set(absent), data.splits["test"].x.shape[1]
    images = max(len(data.splits[name].first(config.n_images)) for name in ("validation", "test"))
    if names & {"log_p", "log_p_own"} and not getattr(network, "exact_log_p", None):
        wanted = 4 * 2 * (images + pixels) * -(-config.samples // BLOCKS)
        memory.require(wanted, f"metrics.samples={config.samples}: log p(x) of {images} images", "lower metrics.samples or metrics.n_images")
    of_samples = set() if "own_prior" in network.abilities else set(SAMPLED)
    if names & (set(FITTED) | of_samples) and not getattr(network, "exact_log_p", None):
        require_room(network.code_size, len(data.splits["train"]), config.mixture)
    if config.mixture.final_steps and not {"settle", "project"} <= network.abilities:
        raise UserError(f"metrics.mixture.final_steps={config.mixture.final_steps}: the model does not settle on images; leave it at 0")
    if config.mixture.rounds and "project" not in network.abilities:
        raise UserError(f"metrics.mixture.rounds={config.mixture.rounds}: {LACKS['project']}; leave it at 0")
    if names & {"elbo", "log_p_encoder"}:
        wanted = 8 * 2 * images * config.encoder_samples
        memory.require(wanted, f"metrics.encoder_samples={config.encoder_samples}", "lower it, or metrics.n_images")
    if names & set(READ):
        open_reader("metrics.reader", str(config.reader), data, {"features"})
    if set(MASKED) & set(names):
        try:
            observed_pixels(config.mask, config.mask_fraction, data.image_shape)
        except UserError as error:
            raise UserError(f"metrics.{error}") from error


def left_out(network, data: Dataset, names: list[str], mask: str = "right", reader: str | None = None) -> dict[str, str]:
    """Metrics that do not apply to the model or the data, each with the reason."""
    labelled = all(split.y is not None for split in data.splits.values())
    image = bool({"project", "frames"} & network.abilities)
    has = {need: need in network.abilities for need in LACKS} | {"classes": labelled, "image": image, "sequences": image and data.frames > 1}
    lacks = LACKS | ({"project": "the top alone does not decode, the frame before has its part"} if "frames" in network.abilities else {})
    reasons = {name: lacks[METRICS[name].needs] for name in names if METRICS[name].needs and not has[METRICS[name].needs]}
    if reader is None:
        reasons = {name: LACKS["reader"] for name in READ if name in names} | reasons
    if reason := nothing_to_hide(mask, data.image_shape):
        reasons = {name: reason for name in set(MASKED) & set(names)} | reasons
    if "label" in network.abilities:
        units = network.sizes[network.circuit.observed["label"]]
        why = LACKS["classes"] if not labelled else f"the images have {data.n_classes} classes, the model's label has {units}"
        unfit = not labelled or data.n_classes != units
        reasons = {name: why for name in names if unfit and METRICS[name].needs in ("label", "conditional")} | reasons
    if data.other_classes:
        told = {"label", "conditional"} | ({"classes"} if "classify" in network.abilities else set())
        why = "the classes of the images are not those that the model was trained on"
        reasons = {name: why for name in names if METRICS[name].needs in told and name not in ("tsne_err", "class_err_hidden")} | reasons
    regressions = {"class_err", "class_err_hidden"} & set(names) if "classify" not in network.abilities else set()
    if regressions and (not labelled or len(data.splits["train"].y[data.splits["train"].labelled].unique()) < 2):
        why = "the training images are all of one class" if labelled else LACKS["classes"]
        reasons = {name: why for name in regressions} | reasons
    if data.real:
        unfit = {"bce", "bce_inferred", "bce_projected", "bce_best_top"} & set(names)
        reasons |= {name: "pixels are real-valued, not in [0, 1]; the squared error (mse) stands in for it" for name in unfit - set(reasons)}
    densities = [name for name in names if name.startswith("log_p") or name in ("elbo", "posterior_kl")]
    if len(data.splits["train"]) < 2 and "exact_log_p" not in network.abilities:
        fitted = {*FITTED, *SAMPLED}
        reasons |= {name: "no mixture can be fitted to a single training image" for name in fitted & set(names) - set(reasons)}
    if "exact_log_p" in network.abilities:
        inexact = {*densities, "top_density", "bce_best_top"} & set(names) - {"log_p"}
        reasons |= {name: "log p(x) of the model is exact" for name in inexact - set(reasons)}
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
    network,
    data: Dataset,
    split: str,
    config: MetricsConfig,
    training: TrainingLatents | None = None,
    per_image: dict | None = None,
    failed: dict[str, str] | None = None,
) -> dict[str, dict]:
    """Every metric of the config, all of which must apply: value (mean), unit, n, standard error of the mean, and its particulars.

    The values of the single images, in the order of the split, are put into `per_image` as SPLIT_METRIC (N,). A metric that needs a fit
    which is not possible is left out and told in `failed`, metric -> why, where that is given.
    """
    subject = Subject(network, data, split, config, training or TrainingLatents(network, data, config))
    figures = {}
    for name in config.names:
        try:
            figures[name] = METRICS[name].figure(subject)
        except CannotFit as error:
            if failed is None:
                raise
            failed[name] = str(error)
    if data.frames > 1:
        figures = {name: figure | frames_error(subject, name, figure) for name, figure in figures.items()}
    values = {f"{split}_{name}": figure.pop(PER_IMAGE).float().cpu().numpy() for name, figure in figures.items() if PER_IMAGE in figure}
    if per_image is not None:
        per_image |= values
    return {name: {"value": figure["value"], "unit": METRICS[name].unit, **figure} for name, figure in figures.items()}


def frames_error(subject: Subject, name: str, figure: dict) -> dict:
    """The standard error of a figure of frames, of which those of a sequence are alike: that over sequences, None of a single one. What is no figure of
    frames keeps its own."""
    values = figure.get(PER_IMAGE)
    if values is None or METRICS[name].needs == "sequences":
        return {}
    sequence = torch.arange(len(values), device=values.device) // subject.data.frames
    return {"stderr": sequence_stderr(values, sequence) if len(sequence.unique()) > 1 else None}

"""What each metric of samples computes: a subject -> value, number of images, standard error, and the same of held-out images."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ncf.data.datasets import rows_of
from ncf.data.streams import stream
from ncf.measure.clouds import class_entropy, told_apart
from ncf.measure.gaussians import frechet_distance, gaussian_kl, in_parts
from ncf.measure.likeness import nearest
from ncf.measure.reading import classes_of
from ncf.measure.subject import PER_IMAGE, Subject, summarize


def likeness(subject: Subject, measure: Callable[[Tensor], dict]) -> dict:
    """A measure of as many samples as there are training images, and of the split's images, `held_out_n` of them: they show what can be had at best, but
    for what their number does to the measure. CannotFit for training images, which are what is compared with."""
    subject.require_held_out()
    frames = subject.data.frames
    order = torch.from_numpy(stream(0, "compared").permutation(len(subject.x) // frames))  # by class, say, parts of them would not be alike
    held_out = subject.x[rows_of(order.to(subject.x.device), frames)]
    return beside(measure(subject.training.drawn), measure(held_out)) | {"held_out_n": len(held_out)}


def beside(figure: dict, held_out: dict) -> dict:
    """A figure of samples with that of held-out images."""
    return figure | {"held_out": held_out["value"], "held_out_stderr": held_out["stderr"]}


def divergence(subject: Subject) -> dict:
    """Divergence of the Gaussian of samples' pixels, and of held-out images', from that of the training images."""
    return likeness(subject, partial(in_parts, partial(gaussian_kl, subject.training.gaussian)))


def frechet(subject: Subject, of: str) -> dict:
    """Frechet distance of the pixels, or the features, of samples and of as many held-out images."""
    clouds = getattr(subject, of)
    drawn, held_out = (in_parts(partial(frechet_distance, clouds.gaussian), images) for images in (clouds.drawn, clouds.held_out))
    return beside(drawn, held_out) | read_by(subject, of)


def among_neighbours(subject: Subject, of: str, name: str) -> dict:
    """The mean of what `ncf.measure.clouds.neighbours` tells by this name, in percent, of samples and of as many held-out images."""
    clouds = getattr(subject, of)
    drawn, held_out = (summarize(100 * found[name]) for found in clouds.neighbours)
    del drawn[PER_IMAGE]  # which are no images of the split
    return beside(drawn, held_out) | {"n": len(clouds.real)} | read_by(subject, of)


def two_sample(subject: Subject, of: str) -> dict:
    """How far samples, and as many held-out images, are told apart from training images by the nearest neighbour (`ncf.measure.clouds.told_apart`)."""
    clouds = getattr(subject, of)
    drawn, held_out = (told_apart(found["two_sample"], len(clouds.real)) for found in clouds.neighbours)
    return beside(drawn, held_out) | read_by(subject, of)


def entropy_of_classes(subject: Subject) -> dict:
    """Entropy of the classes that the reader tells of samples, and of as many held-out images."""
    told = (classes_of(subject.training.reader, images) for images in (subject.pixels.drawn, subject.pixels.held_out))
    drawn, held_out = (class_entropy(y, subject.data.n_classes) for y in told)
    return beside(drawn, held_out) | read_by(subject, "features")


def read_by(subject: Subject, of: str) -> dict:
    """Of features, how often the classifier whose features they are is wrong on test images, in percent."""
    return {"reader_wrong": subject.training.reader_wrong} if of == "features" else {}


def fantasies(subject: Subject) -> dict:
    """Squared error of the sample nearest to an image, of as many samples as there are training images; and of the nearest of these."""
    training = subject.training
    errors, real = (nearest(subject.x, among, 1)[0][:, 0].square() for among in (training.drawn, training.images))
    return summarize(errors) | {"nearest_training_image": real.mean().item()}

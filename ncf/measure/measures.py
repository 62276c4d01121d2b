"""What each metric computes: a subject (a model on one split) -> value, number of images, standard error, and how it came about."""

from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, partial
from math import log

import torch
from torch import Tensor

from ncf.config.schema import MetricsConfig
from ncf.data.datasets import Dataset
from ncf.data.streams import stream
from ncf.measure.annealing import Annealed, Bracket, anneal
from ncf.measure.clouds import Clouds, class_entropy, frechet_from, told_apart
from ncf.measure.completion import least, masked_mse, measured_ways, observed_pixels
from ncf.measure.density import Estimate, encoder_estimates, likelihood_terms, monte_carlo
from ncf.measure.fitting import CannotFit
from ncf.measure.frames import best_flip, flipped, frames_of, persistence, predictions, sequence_bce, settled
from ncf.measure.latents import TrainingLatents
from ncf.measure.likeness import in_parts, nearest, neighbour_error
from ncf.measure.reading import classes_of, features_of
from ncf.network.discrepancy import bce, bce_of, squared_error
from ncf.network.mixture import Mixture
from ncf.network.model import Model
from ncf.network.state import State


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
        if self.split == "train":
            raise CannotFit("training images are compared with held-out ones: measure split=validation or test")
        n = min(self.config.n_compared, len(self.training.images), len(self.x))
        real, held_out = (images[torch.from_numpy(stream(0, "compared").permutation(len(images))[:n])] for images in (self.training.images, self.x))
        return Clouds(real, self.training.drawn[:n], held_out)

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


def activity(subject: Subject, of: str = "active") -> dict:
    """The share of active (or of `in_use`) units, the mean over populations, with that of each."""
    shares = 100 * subject.settled[of]
    return summarize(shares.mean(1)) | {"populations": shares.mean(0).tolist()}


def likeness(subject: Subject, measure: Callable[[Tensor], dict]) -> dict:
    """A measure of as many samples as there are training images, and of the split's images: held-out ones show what can be had at best."""
    return beside(measure(subject.training.drawn), measure(subject.x))


def beside(figure: dict, held_out: dict) -> dict:
    """A figure of samples with that of held-out images."""
    return figure | {"held_out": held_out["value"], "held_out_stderr": held_out["stderr"]}


def frechet(subject: Subject, of: str) -> dict:
    """Frechet distance of the pixels, or the features, of samples and of as many held-out images."""
    clouds = getattr(subject, of)
    drawn, held_out = (in_parts(partial(frechet_from, *clouds.gaussian), images) for images in (clouds.drawn, clouds.held_out))
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


def completion(subject: Subject) -> dict:
    """M-MSE, with how the image was completed."""
    network, config = subject.network, subject.config
    observed = observed_pixels(config.mask, config.mask_fraction, subject.data.image_shape).to(subject.x.device)
    ways = measured_ways(network, subject.data, config)
    way = least(ways)
    errors = masked_mse(network, subject.x, observed, way, config.batch_size)
    figure = summarize(errors) | {"mask": config.mask, "mask_fraction": config.mask_fraction}
    return figure if way is None else figure | {"completed_by": way, "multiply_adds": network.completions[way][1], "validation_by_way": ways}  # type: ignore[attr-defined]


def next_frame(subject: Subject) -> dict:
    """BCE of the prediction of frame n+1 before it is seen (`ncf.measure.frames.predictions`), nats per image: of every sequence the mean over its
    frames 2..T, and of these the mean over sequences.

    Beside it `copying`, in the same units: the last frame, of which a white pixel `stays` white and a black one `turns` white as often as in training
    sequences. Of what a model that reads no frames predicts every pixel flips with the probability `flip`, chosen on JUDGES training sequences.
    """
    network, frames, size = subject.network, subject.data.frames, subject.config.batch_size
    training = subject.training.images
    x, known = subject.x.unflatten(0, (-1, frames)), training.unflatten(0, (-1, frames))
    mu, flip = predictions(network, subject.x, frames, size), 0.0
    if "frames" not in network.abilities:
        flip = best_flip(known[:JUDGES], predictions(network, training[: JUDGES * frames], frames, size))
    stays, turns = persistence(known)
    copying = sequence_bce(x, turns + (stays - turns) * x[:, :-1]).mean().item()
    return summarize(sequence_bce(x, flipped(mu, flip))) | {"frames": frames - 1, "flip": flip, "copying": copying, "stays": stays, "turns": turns}


JUDGES = 200  # training sequences


def projected_bce(subject: Subject) -> dict:
    """BCE of what the top alone projects down to, the part of an image that a draw from the prior can bring; of networks that settle also
    `populations`, from the image up: of what settling leaves from that one on upwards, the ones below it predicted."""
    network, wanted = subject.network, subject.config.mixture
    mu = torch.cat([network.project(codes) for codes in subject.training.codes(subject.x).split(5000)])  # type: ignore[attr-defined]
    figure = summarize(bce_of(subject.x, mu)) | {"final_steps": wanted.final_steps, "final_beta": wanted.final_beta}
    if "down" not in subject.settled:
        return figure
    return figure | {"populations": subject.settled["down"].double().mean(0).tolist()}


BEST_RATE = 0.05


def best_top_bce(subject: Subject) -> dict:
    """BCE at the top activities that explain the image best: Adam's `metrics.best_steps` steps up log p(x | f_top) from the settled ones."""
    network, config = subject.network, subject.config
    found = []
    for x, start in zip(subject.x.split(config.batch_size), subject.settled["code"].split(config.batch_size)):
        with torch.enable_grad():
            code = start.clone().requires_grad_()
            adam = torch.optim.Adam([code], lr=BEST_RATE, maximize=True)
            for _ in range(config.best_steps):
                a, b = likelihood_terms(network, code)
                (code.grad,) = torch.autograd.grad(((x * a).sum(1) + b).sum(), code)
                adam.step()
        found.append(bce_of(x, network.project(code.detach())))  # type: ignore[attr-defined]
    return summarize(torch.cat(found)) | {"best_steps": config.best_steps}


def class_error(subject: Subject) -> dict:
    """%Err: share of images whose class a logistic regression on f_L of the training images gets wrong; a classifier's own error."""
    if "classify" in subject.network.abilities:
        return subject.wrong(subject.settled["code"].argmax(1))
    return regression_error(subject, subject.training.activities, subject.settled["code"])


def hidden_error(subject: Subject) -> dict:
    """The same from an encoder's uppermost hidden layer, as many units as a network's top has."""
    hidden = subject.network.hidden  # type: ignore[attr-defined]
    return regression_error(subject, hidden(subject.training.images), hidden(subject.x))


def regression_error(subject: Subject, training: Tensor, features: Tensor) -> dict:
    found = subject.training.classifier(training).predict(features.double().cpu().numpy())
    return subject.wrong(torch.from_numpy(found).to(subject.y)) | {"training_images": len(subject.data.splits["train"].labelled)}


# --- image and label, each given the other ---------------------------------------------------------------------------


def half_label_error(subject: Subject) -> dict:
    """The share of images whose class the network tells wrong from the part of them that the mask leaves."""
    network, seen = subject.network, seen_pixels(subject)
    told = by_batch(subject, lambda x, y: network.told(network.settle(x, seen)).argmax(1))  # type: ignore[attr-defined]
    return summarize(100.0 * (told != subject.y[subject.labelled]))  # type: ignore[index]


def labelled_bce(subject: Subject) -> dict:
    """BCE of what the network settles to on images whose class it is told."""
    return summarize(by_batch(subject, lambda x, y: bce(subject.network.settle(x, y=y))))


def labelled_completion(subject: Subject) -> dict:
    """M-MSE where the class is given beside the pixels that are seen."""
    network, seen = subject.network, seen_pixels(subject)
    errors = by_batch(subject, lambda x, y: ((x - network.settle(x, seen, y=y).mu[0]).square() * (1 - seen)).sum(1))
    return summarize(errors) | {"mask": subject.config.mask, "mask_fraction": subject.config.mask_fraction}


def label_images(subject: Subject) -> dict:
    """Squared error of the image that the network settles to on a class alone; `class_mean`: of the mean training image."""
    x, y, images = subject.x[subject.labelled], subject.y[subject.labelled], subject.training.images  # type: ignore[index]
    labels = torch.eye(subject.data.n_classes, device=x.device, dtype=x.dtype)
    predicted = subject.network.settle({"label": labels}).mu[0]  # type: ignore[arg-type]
    train = subject.data.splits["train"]
    members = torch.nn.functional.one_hot(train.y[train.labelled], subject.data.n_classes).to(images)  # type: ignore[index]
    means = (members.T @ images[train.labelled]) / members.sum(0).clamp(min=1)[:, None]
    errors = {name: (x - of[y]).square().sum(1) for name, of in (("predicted", predicted), ("class_mean", means))}  # type: ignore[index]
    return summarize(errors["predicted"]) | {"class_mean": errors["class_mean"][members.sum(0)[y] > 0].mean().item()}


def seen_pixels(subject: Subject) -> Tensor:
    return observed_pixels(subject.config.mask, subject.config.mask_fraction, subject.data.image_shape).to(subject.x)


def by_batch(subject: Subject, measure: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`measure` of the images whose class is known and these classes, a batch at a time, (N,)."""
    x, y = subject.x[subject.labelled], subject.y[subject.labelled]  # type: ignore[index]
    return torch.cat([measure(*part) for part in zip(x.split(subject.config.batch_size), y.split(subject.config.batch_size))])


# --- density and samples ----------------------------------------------------------------------------------------------


def log_p(subject: Subject) -> dict:
    """log p(x): exact where the model can tell it, else by Monte Carlo from the fitted mixture."""
    if "exact_log_p" in subject.network.abilities:
        return summarize(subject.network.exact_log_p(subject.x)) | {"exact": True}
    return sampled_log_p(subject, subject.training.prior) | fitted(subject)


def sampled_log_p(subject: Subject, prior) -> dict:
    """Monte Carlo; the released recipe adds log S where it should be subtracted."""
    config = subject.config
    estimate = monte_carlo(subject.network, prior, subject.x, config.samples, stream(0, "log_p"))
    figure = summarize(estimate.log_p) | reliability(estimate) | {"samples": config.samples}
    return figure | {"as_released": figure["value"] + 2 * log(config.samples)}


def log_p_encoder(subject: Subject) -> dict:
    estimate = subject.encoded[1]
    return summarize(estimate.log_p) | reliability(estimate) | {"samples": subject.config.encoder_samples}


def annealed_log_p(subject: Subject, annealed: tuple[Annealed, Bracket]) -> dict:
    estimate, bracket = annealed
    divergence = {"posterior_kl": estimate.divergence.mean().item()}
    return summarize(estimate.log_p) | reliability(estimate) | asdict(subject.config.annealing) | {"simulated": asdict(bracket)} | divergence


def posterior_divergence(subject: Subject) -> dict:
    """KL(posterior || prior) under the fitted mixture; `fit` is E[log p(x | f_L)] over the posterior, so that log p(x) = fit - KL."""
    estimate = subject.annealed[0]
    means = {"fit": estimate.fit.mean().item(), "log_p": estimate.log_p.mean().item(), "log_p_sampling_stderr": estimate.sampling_stderr}
    return summarize(estimate.divergence) | {"effective_samples": estimate.effective_samples.median().item()} | means | fitted(subject)


def prior_density(subject: Subject) -> dict:
    """Mean log density of the images' top activities, after `final_steps`, under the mixture fitted to those of training images; `training`:
    of these themselves, where no `rounds` have fitted it to others. Far apart, the mixture has learned them by heart."""
    training, units = subject.training, subject.training.prior.means.shape[1]
    found = training.prior.log_density(training.codes(subject.x))
    figure = summarize(found) | {"units": units, "per_unit": found.mean().item() / units} | fitted(subject)
    if subject.config.mixture.rounds:
        return figure
    known = training.prior.log_density(training.fitted_codes).mean().item()
    return figure | {"training": known, "training_per_unit": known / units}


def fitted(subject: Subject) -> dict:
    """What the mixture has become: its components, and the shrinkage that was set or chosen."""
    prior = subject.training.prior
    return {"components": len(prior.weights), "shrinkage": round(prior.shrinkage.item(), 6)}


def fantasies(subject: Subject) -> dict:
    """Squared error of the sample nearest to an image, of as many samples as there are training images; and of the nearest of these."""
    training = subject.training
    errors, real = (nearest(subject.x, among, 1)[0][:, 0].square() for among in (training.drawn, training.images))
    return summarize(errors) | {"nearest_training_image": real.mean().item()}


PLANE = 1000  # images that t-SNE lays out


def plane_error(subject: Subject) -> dict:
    """How often the nearest neighbour in the t-SNE plane of the codes is of another class."""
    rows = subject.labelled[:PLANE]
    codes, y = subject.settled["code"][rows], subject.y[rows]  # type: ignore[index]
    return summarize(100.0 * neighbour_error(codes, y))


def reliability(estimate: Estimate) -> dict:
    return {"sampling_stderr": estimate.sampling_stderr, "effective_samples": estimate.effective_samples.median().item()}


PER_IMAGE = "per_image"


def summarize(values: Tensor) -> dict:
    """Mean over the images, their number, the standard error of the mean, and the values themselves."""
    values = values.double()
    spread = values.std().item() if len(values) > 1 else 0.0
    return {"value": values.mean().item(), "n": len(values), "stderr": spread / len(values) ** 0.5, PER_IMAGE: values}

"""What each metric computes: a subject (a model on one split) -> value, number of images, standard error, and how it came about."""

from collections.abc import Callable
from dataclasses import asdict
from math import isnan, log

import torch
from torch import Tensor

from ncf.data.streams import stream
from ncf.measure.annealing import Annealed, Bracket
from ncf.measure.completion import least, masked_mse, observed_pixels
from ncf.measure.density import Estimate, likelihood_terms, monte_carlo
from ncf.measure.frames import best_flip, flipped, persistence, predictions, sequence_bce
from ncf.measure.likeness import neighbour_error
from ncf.measure.subject import Subject, summarize
from ncf.network.discrepancy import bce, bce_of


def activity(subject: Subject, of: str = "active") -> dict:
    """The share of active (or of `in_use`) units, the mean over populations, with that of each."""
    shares = 100 * subject.settled[of]
    return summarize(shares.mean(1)) | {"populations": shares.mean(0).tolist()}


def completion(subject: Subject) -> dict:
    """M-MSE, with how the image was completed."""
    network, config = subject.network, subject.config
    observed = observed_pixels(config.mask, config.mask_fraction, subject.data.image_shape).to(subject.x.device)
    ways = subject.training.ways
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
    mu = torch.cat([network.project(codes) for codes in subject.codes.split(5000)])  # type: ignore[attr-defined]
    figure = summarize(bce_of(subject.x, mu)) | {"final_steps": wanted.final_steps, "final_beta": wanted.final_beta}
    if "down" not in subject.settled:
        return figure
    return figure | {"populations": subject.settled["down"].double().mean(0).tolist()}


def inferred_bce(subject: Subject) -> dict:
    """BCE of what the latents decode to that an autoencoder's steps of inference find, from the encoder's on, with every pixel seen."""
    network, seen = subject.network, torch.ones_like(subject.x[0])
    mu = torch.cat([network.project(network.inferred(x, seen)) for x in subject.x.split(subject.config.batch_size)])  # type: ignore[attr-defined]
    return summarize(bce_of(subject.x, mu)) | {"inference_steps": network.config.inference_steps}


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
    return regression_error(subject, subject.training.activities, subject.training.settled_codes, subject.settled["code"])


def hidden_error(subject: Subject) -> dict:
    """The same from an encoder's uppermost hidden layer, as many units as a network's top has."""
    hidden = subject.network.hidden  # type: ignore[attr-defined]
    return regression_error(subject, hidden(subject.training.images), hidden, hidden(subject.x))


def regression_error(subject: Subject, known: Tensor, features: Callable[[Tensor], Tensor], asked: Tensor) -> dict:
    """How often the regression from features of the training images, `known`, is wrong of those of the subject, `asked`."""
    found = subject.training.classifier(known, features)
    return subject.wrong(found.tell(asked)) | {"training_images": len(subject.data.splits["train"].labelled), "penalty": found.penalty}


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


# --- density ----------------------------------------------------------------------------------------------------------


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
    simulated = {name: known(value) for name, value in asdict(bracket).items()}
    told = {"simulated": simulated, "posterior_kl": estimate.divergence.mean().item(), "forces": estimate.forces}
    return summarize(estimate.log_p) | reliability(estimate) | asdict(subject.config.annealing) | told


def posterior_divergence(subject: Subject) -> dict:
    """KL(posterior || prior) under the fitted mixture; `fit` is E[log p(x | f_L)] over the posterior, so that log p(x) = fit - KL."""
    estimate = subject.annealed[0]
    means = {"fit": estimate.fit.mean().item(), "log_p": estimate.log_p.mean().item(), "log_p_sampling_stderr": known(estimate.sampling_stderr)}
    return summarize(estimate.divergence) | {"effective_samples": estimate.effective_samples.median().item()} | means | fitted(subject)


def prior_density(subject: Subject) -> dict:
    """Mean log density of the images' top activities, after `final_steps`, under the mixture fitted to those of training images; `training`:
    of these themselves, where no `rounds` have fitted it to others. Far apart, the mixture has learned them by heart."""
    training, units = subject.training, subject.training.prior.means.shape[1]
    found = training.prior.log_density(subject.codes)
    figure = summarize(found) | {"units": units, "per_unit": found.mean().item() / units} | fitted(subject)
    if subject.config.mixture.rounds:
        return figure
    known = training.prior.log_density(training.fitted_codes).mean().item()
    return figure | {"training": known, "training_per_unit": known / units}


def fitted(subject: Subject) -> dict:
    """What the mixture has become: its components, and the shrinkage that was set or chosen."""
    prior = subject.training.prior
    return {"components": len(prior.weights), "shrinkage": round(prior.shrinkage.item(), 6)}


PLANE = 1000  # images that t-SNE lays out


def plane_error(subject: Subject) -> dict:
    """How often the nearest neighbour in the t-SNE plane of the codes is of another class."""
    rows = subject.labelled[:PLANE]
    codes, y = subject.settled["code"][rows], subject.y[rows]  # type: ignore[index]
    return summarize(100.0 * neighbour_error(codes, y))


def reliability(estimate: Estimate) -> dict:
    return {"sampling_stderr": known(estimate.sampling_stderr), "effective_samples": estimate.effective_samples.median().item()}


def known(value: float) -> float | None:
    """None in place of NaN, which JSON has not: an error that a single draw leaves unknown."""
    return None if isnan(value) else value

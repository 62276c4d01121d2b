"""Samples and completions of one checkpoint: ncf-sample.

A sample is a draw of top activities from a prior, projected down (with noise in every layer if asked for). The picture shows the nearest training image below each, which
exposes a network that only repeats what it has seen. A sample's class is the vote of the training images around it, or what a classifier says.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ncf.config.schema import SampleConfig
from ncf.data.streams import stream
from ncf.data.wording import title
from ncf.errors import UserError
from ncf.evaluate import open_checkpoint, write_json
from ncf.measure.completion import best_way, complete, nothing_to_hide, observed_pixels
from ncf.measure.latents import TrainingLatents
from ncf.measure.likeness import nearest
from ncf.measure.reading import classes_of, open_reader, percent_wrong
from ncf.report.html import png, write_whole
from ncf.report.sections import coloured_fields, mosaic
from ncf.report.tables import save_picture
from ncf.runs import files, memory
from ncf.runs.run import speak

NEIGHBOURS = 5  # training images that vote on a sample's class
VOTE = f"vote of the {NEIGHBOURS} nearest training images"
SHOWN = 100  # samples in the picture, however many are drawn
FIELDS = 100  # receptive fields in theirs


def sample(config: SampleConfig, given: set[str] = frozenset()) -> dict:
    """Write samples.npz, samples.json and the pictures (samples, completions, receptive fields) into the folder next to the checkpoint
    (or `output`)."""
    opened = open_checkpoint(config, given)
    network, data, path = opened.network, opened.data, opened.path
    if "project" not in network.abilities:
        raise UserError(f"checkpoint {path}: {opened.config.model.name} has no decoder, so there is nothing to sample")
    pixels = data.splits["train"].x.shape[1]
    memory.require(4 * 2 * config.n * pixels, f"n={config.n}: samples of {pixels} pixels", "lower n")
    config.masks = usable_masks(config, data.image_shape)
    asked_for = re.sub(r"[^\w.+-]+", "_", f"-{config.condition}") if config.condition else ""  # plain samples are not overwritten
    folder = Path(config.output) if config.output else path.with_name(f"{path.stem}-samples{asked_for}")
    files.require_writable(folder / "samples.npz", "output=FOLDER", makes_folders=True)
    training = TrainingLatents(network, data, opened.config.metrics, path)
    f_top, images, asked, kind = draw(network, training, config)
    distances, neighbours = nearest(images, training.images, NEIGHBOURS)
    result = {
        "checkpoint": str(path),
        "model": opened.config.model.name,
        "dataset": title(asdict(opened.dataset)),
        "n": config.n,
        "seed": config.seed,
        "prior": kind,
        "noise": config.noise,
    }
    result["nearest_training_image"] = {
        "mean_distance": distances[:, 0].mean().item(),
        "unit": "Euclidean, pixels in [0, 1]" if not data.real else "Euclidean",
    }
    arrays = {
        "samples": images,
        "latents": f_top,
        "nearest": training.images[neighbours[:, 0]],
        "nearest_row": neighbours[:, 0],
        "distance": distances[:, 0],
    }
    if data.splits["train"].y is not None:
        reader = choose_reader(config, data, training.images)
        found = reader.read(images)
        result["classes"] = class_histogram(found, data, reader)
        if asked is not None:
            result["condition"] = {"asked": config.condition, "read_as_asked_percent": 100 * (found == asked).double().mean().item()}
        arrays["class"] = found if data.labels is None else torch.tensor(data.labels)[found.cpu()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_arrays(folder / "samples.npz", arrays, data.image_shape)
        if config.condition == "label:all":
            draw_classes(folder / "samples.png", images, asked, data)
        else:
            draw_samples(folder / "samples.png", data.shades(images[:SHOWN]), data.shades(arrays["nearest"][:SHOWN]), data.image_shape)
        if config.masks:
            draw_completions(folder / "completions.png", opened, config)
        if "fields" in network.abilities:  # (an autoencoder's first weights are no generative synapses)
            fields, _ = coloured_fields(network, FIELDS)
            write_whole(folder / "receptive_fields.png", png(mosaic(fields, data.image_shape, columns=20)))
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); give output=FOLDER") from error
    write_json(folder / "samples.json", result)
    pictures = ["completions.png"] * bool(config.masks) + ["receptive_fields.png"] * ("fields" in network.abilities)
    speak(describe(result, [folder / name for name in (*pictures, "samples.json", "samples.npz", "samples.png")]))
    return result


def draw(network, training: TrainingLatents, config: SampleConfig) -> tuple[Tensor, Tensor, Tensor | None, str]:
    """Activities of the top (n, J_top), their images (n, J_0), the class that each was asked for (n,), and the prior's name.

    Of a class: activities from the mixture of that class's training images, and where a label drives the circuit, that label with them.
    """
    rng = stream(config.seed, "samples")
    noise = layer_noise(network, config)
    if config.condition is not None and config.prior == "own":
        raise UserError(f"prior=own: condition={config.condition} draws from a mixture fitted to that class's training images; leave prior out")
    if config.condition is None:
        prior, kind = choose_prior(network, training, config.prior)
        f_top = prior.sample(config.n, rng)
        return f_top, network.project(f_top, **noise), None, kind
    classes = asked_classes(config, training.data)
    if training.data.other_classes and "label" in network.abilities:
        raise UserError(f"condition={config.condition}: the classes of dataset={training.data.name} are not those that the model was trained on")
    each = -(-config.n // len(classes))
    asked = torch.tensor(classes, device=training.images.device).repeat_interleave(each)[: config.n]
    f_top = torch.cat([training.prior_of(label).sample(int((asked == label).sum()), rng) for label in classes if (asked == label).any()])
    one_hot = torch.nn.functional.one_hot(asked, training.data.n_classes).to(f_top)
    images = network.project(f_top, {"label": one_hot}, **noise) if "label" in network.abilities else network.project(f_top, **noise)
    return f_top, images, asked, "fitted by class"


def layer_noise(network, config: SampleConfig) -> dict:
    """What `project` is told of noise=layers: a generator of its own, so that the top's draws are those without noise."""
    if config.noise == "none":
        return {}
    if "settle" not in network.abilities:
        raise UserError("noise=layers: the model has no layers that predict one another with errors between; leave noise out")
    return {"rng": stream(config.seed, "layers")}


def asked_classes(config: SampleConfig, data) -> list[int]:
    """The classes of condition=label:3 or label:all, numbered from 0."""
    what, _, which = config.condition.partition(":")  # type: ignore[union-attr]
    if data.splits["train"].y is None:
        raise UserError(f"condition={config.condition}: {data.name} has no classes; leave it out")
    names = [str(name) for name in (range(data.n_classes) if data.labels is None else data.labels)]
    if what != "label" or not (which == "all" or which in names):
        known = ", ".join(names) if len(names) <= 20 else f"{names[0]} to {names[-1]}"
        raise UserError(f"condition={config.condition}: expected label:all or label:CLASS, of {known}")
    return list(range(len(names))) if which == "all" else [names.index(which)]


def usable_masks(config: SampleConfig, shape: tuple[int, int]) -> list[str]:
    """The masks that have something of such images to hide; the others are left out with the reason, before anything is written."""
    reasons = {mask: nothing_to_hide(mask, shape) for mask in config.masks}
    for mask, reason in reasons.items():
        if reason:
            speak(f"left out, {reason}: completions with mask {mask}")
        else:
            observed_pixels(mask, config.mask_fraction, shape)
    return [mask for mask in config.masks if not reasons[mask]]


def choose_prior(network, training: TrainingLatents, wanted: str):
    """The prior to draw from, and its name: the model's own where it has one (and unless told otherwise), else the fitted mixture."""
    own = "own_prior" in network.abilities
    if wanted == "own" and not own:
        raise UserError("prior=own: the model has no prior of its own over its top activities; use prior=fitted")
    if own and wanted != "fitted":
        return training.sampling_prior, "own"
    if training.kept_prior is None:
        speak("fitting a mixture to the codes of training images (minutes; kept for the next time)")
    return training.prior, "fitted"


# --- the class of a sample --------------------------------------------------------------------------------------------


@dataclass
class Reader:
    """What tells the class of images (N, J_0): its name, the function to (N,), and how often it is wrong on test images, in percent."""

    name: str
    read: Callable[[Tensor], Tensor]
    wrong: float | None


def choose_reader(config: SampleConfig, data, training: Tensor) -> Reader:
    """The classifier whose run `reader` names, else the vote of the nearest training images (its error is that on at most 1,000 test images)."""
    if config.reader is None:
        rows = data.splits["train"].labelled
        read, name, test = partial(read_by_vote, data.splits["train"].y[rows], training[rows]), VOTE, data.splits["test"].first(1000)
    else:
        read, name, test = partial(classes_of, open_reader("reader", config.reader, data, {"classify", "label"})), config.reader, data.splits["test"]
    return Reader(name, read, percent_wrong(read, test))


def read_by_vote(y: Tensor, training: Tensor, images: Tensor) -> Tensor:
    return vote(y[nearest(images, training, NEIGHBOURS)[1]])


def vote(classes: Tensor) -> Tensor:
    """The class that most of the neighbours have, the nearest of the winners where votes are equal; classes (n, k), nearest first."""
    votes = (classes[:, :, None] == classes[:, None, :]).sum(2)  # (n, k): votes for the class of neighbour i
    return classes.gather(1, votes.argmax(1, keepdim=True))[:, 0]  # argmax takes the first, hence nearest, of equals


def class_histogram(found: Tensor, data, reader: Reader) -> dict:
    """Share of each class among the samples and the training images, and the reader's own error on test images."""
    train = data.splits["train"].y[data.splits["train"].labelled]

    def shares(y: Tensor) -> list[float]:
        return (torch.bincount(y, minlength=data.n_classes) / len(y)).tolist()

    difference = (torch.tensor(shares(found)) - torch.tensor(shares(train))).abs().sum().item() / 2
    return {
        "names": list(range(data.n_classes)) if data.labels is None else list(data.labels),
        "told_by": reader.name,
        "its_test_error_percent": reader.wrong,
        "samples": shares(found),
        "training_images": shares(train),
        "total_variation": difference,
    }


# --- files ------------------------------------------------------------------------------------------------------------


def write_arrays(path: Path, arrays: dict[str, Tensor], shape: tuple[int, int]) -> None:
    """samples and nearest (n, height, width), latents (n, J_L), nearest_row, distance and class (n,)."""
    plain = {name: value.cpu().numpy() for name, value in arrays.items()}
    for name in ("samples", "nearest"):
        plain[name] = plain[name].reshape(-1, *shape)
    files.write_whole(path, files.as_npz(plain))


def draw_samples(path: Path, images: Tensor, near: Tensor, shape: tuple[int, int], columns: int = 20) -> None:
    """Rows of samples, each above the nearest training images."""
    rows = []
    for start in range(0, len(images), columns):
        part = slice(start, start + columns)
        rows += [("sample", images[part].cpu().numpy()), ("nearest", near[part].cpu().numpy())]
    save_picture(path, rows, *shape, group=2)


def draw_classes(path: Path, images: Tensor, asked: Tensor, data) -> None:
    """A row of samples for each class that was asked for."""
    names = range(data.n_classes) if data.labels is None else data.labels
    rows = [(str(name), images[asked == label][:20].cpu().numpy()) for label, name in enumerate(names) if (asked == label).any()]
    save_picture(path, rows, *data.image_shape)


def draw_completions(path: Path, opened, config: SampleConfig) -> None:
    """For every mask: test images, what is seen of them (the rest grey), and their completion (seen pixels as they are)."""
    rows = []
    for mask in config.masks:
        metrics = replace(opened.config.metrics, mask=mask, mask_fraction=config.mask_fraction)
        x = opened.data.splits["test"].x[: config.n_completions]
        observed = observed_pixels(mask, config.mask_fraction, opened.data.image_shape).to(x.device)
        mu = complete(opened.network, x, observed, best_way(opened.network, opened.data, metrics))
        x, mu = opened.data.shades(x), opened.data.shades(mu)
        seen = x * observed
        rows += [("image", x), (mask, seen + 0.5 * (1 - observed)), ("completion", seen + mu * (1 - observed))]
    save_picture(path, [(label, images.cpu().numpy()) for label, images in rows], *opened.data.image_shape, group=3)


def by(classes: dict) -> str:
    return f"the {VOTE}" if classes["told_by"] == VOTE else f"the classifier {classes['told_by']}"


def describe(result: dict, written: list[Path]) -> str:
    lines = [f"{result['n']} samples of {result['model']} (prior {result['prior']}), nearest training images of {result['dataset']} "]
    lines[0] += f"at a mean distance of {result['nearest_training_image']['mean_distance']:.2f}"
    if "condition" in result:
        wrong = result["classes"]["its_test_error_percent"]
        told = f"; it reads {wrong:.1f}% of test images wrong" if wrong is not None else ""
        share = result["condition"]["read_as_asked_percent"]
        lines.append(f"{share:.1f}% of them are read as the class that was asked for, by {by(result['classes'])}{told}")
    if "classes" in result:
        classes = result["classes"]
        apart = 100 * classes["total_variation"]
        if "condition" not in result:
            lines.append(f"their classes, told by {by(classes)}, are {apart:.0f}% away from those of the training images (total variation)")
        if len(classes["samples"]) <= 20:
            width = max(8, 2 + max(len(str(name)) for name in classes["names"]))
            rows = [("class", classes["names"]), ("samples", classes["samples"]), ("training images", classes["training_images"])]
            lines += [
                f"{label:<15}" + "".join(f"{value:{width}}" if label == "class" else f"{100 * value:{width - 1}.1f}%" for value in row)
                for label, row in rows
            ]
    lines += [f"written: {path}" for path in written]
    return "\n".join(lines)

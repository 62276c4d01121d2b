"""Sections of a run's report that show its network at work: what `portrait` measures, as pictures, charts and tables."""

from contextlib import suppress

import numpy as np
import torch

from ncf.config.checks import build_node
from ncf.config.schema import MetricsConfig
from ncf.data import wording
from ncf.data.streams import stream
from ncf.errors import UserError
from ncf.measure import diagnostics
from ncf.measure.completion import best_way, complete, nothing_to_hide, observed_pixels
from ncf.measure.frames import frames_of, predictions, settled
from ncf.measure.latents import TrainingLatents
from ncf.measure.likeness import nearest
from ncf.report import circuit_picture
from ncf.report.charts import Line, line_chart
from ncf.report.html import Html, details, gif, picture, png, section, table, tag, write_whole
from ncf.runs.reader import Record

N_PICTURES = 16  # reconstructions and completions
N_SAMPLES = 32
N_FIELDS = 48
N_FILMS = 4
N_CLASSES, N_DRAWS = 10, 5  # whose images are shown, and how many of each
N_CODES = 500  # training images of a class that their mixture is fitted to: more take too long for a page
N_TOLD = 1000  # test images whose label is asked for
MOST_CLASSES = 20  # in their table
COMPOSED = (1, 3, 10, 30)  # the article composes images of 30 features


def metric_settings(run: Record) -> MetricsConfig:
    return build_node(run.value("metrics") or {}, MetricsConfig, "metrics.")


def grey(images) -> np.ndarray:
    """Images in [0, 1], (n, J_0), as bytes."""
    values = images.detach().cpu().numpy() if hasattr(images, "detach") else np.asarray(images)
    return np.round(np.nan_to_num(values).clip(0, 1) * 255).astype(np.uint8)


def stacks(shape: tuple[int, int], rows: list[np.ndarray], *alts: str) -> Html:
    """The i-th images (bytes, grey or in colour) of all rows stand in the i-th stack, top to bottom; the stacks wrap."""
    height, width = shape

    def tile(image: np.ndarray, alt: str) -> Html:
        return picture(png(image.reshape(height, width, *image.shape[1:])), width, height, alt, pixel_size(shape))

    stacked = (
        tag("div", *(tile(image, f"{alt} {i}") for image, alt in zip(images, alts, strict=True))) for i, images in enumerate(zip(*rows), start=1)
    )
    return tag("div", *stacked, class_="pictures")


def reconstructions(run: Record, network, data, x) -> Html:
    x = x[:N_PICTURES]
    rows = [grey(data.shades(x)), grey(data.shades(network.settle(x).mu[0]))]
    return section(
        "Reconstructions",
        stacks(data.image_shape, rows, "test image", "reconstruction"),
        note="Above, test images; below, what the network settles to on them.",
    )


def completions(run: Record, network, data, x) -> Html:
    x = x[:N_PICTURES]
    settings = metric_settings(run)
    if reason := nothing_to_hide(settings.mask, data.image_shape):
        return section("Completions", note=f"Left out: {reason}.")
    observed = observed_pixels(settings.mask, settings.mask_fraction, data.image_shape).to(x.device)
    way = best_way(network, data, settings)
    seen = np.repeat(grey(data.shades(x))[..., None], 3, axis=2)
    seen[:, observed.cpu().numpy() == 0] = (86, 180, 233)  # a colour that no image has
    rows = [grey(data.shades(x)), seen, grey(data.shades(complete(network, x, observed, way)))]
    where = f"the {settings.mask} {settings.mask_fraction:.0%}" if settings.mask != "random" else f"a random {settings.mask_fraction:.0%}"
    return section(
        "Completions",
        stacks(data.image_shape, rows, "test image", "what is seen of it", "completion"),
        note=f"From the top: a test image; what settling sees of it ({where} hidden, blue); the whole image as the network predicts it.",
    )


def sample_pictures(run: Record, network, data, x) -> Html:
    training = TrainingLatents(network, data, metric_settings(run), run.checkpoint)
    drawn, fitted = diagnostics.samples(network, training, N_SAMPLES)
    rows = [grey(data.shades(part)) for part in (drawn, training.images[nearest(drawn, training.images, 1)[1][:, 0]])]
    with suppress(UserError):  # for the comparison page; this page holds them itself
        write_whole(run.folder / "samples.png", png(mosaic(rows[0], data.image_shape)))
    return section(
        "Samples",
        stacks(data.image_shape, rows, "sample", "nearest training image"),
        note=f"Above, projections of top activities drawn from {fitted}; below each, the training image nearest to it (squared error over pixels).",
    )


def mosaic(images: np.ndarray, shape: tuple[int, int], columns: int = 8) -> np.ndarray:
    """Images of bytes, (n, J_0) or in colour (n, J_0, 3), as one picture, enlarged by a whole factor, with white between them and where
    the last line ends."""
    colours = images.shape[2:]
    tiles = images.reshape(-1, *shape, *colours).repeat(pixel_size(shape), axis=1).repeat(pixel_size(shape), axis=2)
    tiles = np.pad(tiles, ((0, -len(tiles) % columns), (0, 2), (0, 2), *((0, 0) for _ in colours)), constant_values=255)
    tiles[len(images) :] = 255
    lines = tiles.reshape(-1, columns, *tiles.shape[1:]).swapaxes(1, 2)
    return lines.reshape(lines.shape[0] * lines.shape[1], -1, *colours)[:-2, :-2]


def pixel_size(shape: tuple[int, int]) -> int:
    return max(1, 56 // max(shape))


def fields(run: Record, network, data, x) -> Html:
    weights, scale = coloured_fields(network, N_FIELDS)
    source = network.names[network.circuit.into(0)[0].source]
    return section(
        "Receptive fields",
        stacks(data.image_shape, [weights], "receptive field"),
        note=f"What each unit of {source} adds to the image: the {len(weights)} of {len(network.fields)} with the largest norm, largest first. "
        f"Blue lowers a pixel, orange raises it, white leaves it; full colour at {scale:.2g}.",
    )


def composed(run: Record, network, data, x) -> Html:
    x, source = x[:N_PICTURES], network.circuit.into(0)[0].source
    size = network.sizes[source]
    counts = [*(k for k in COMPOSED if k < size), size]
    rows = [grey(data.shades(part)) for part in (x, *diagnostics.composition(network, x, counts))]
    return section(
        "Composition",
        stacks(data.image_shape, rows, "test image", *(f"of {k} units" for k in counts)),
        note=f"From the top: a test image; what its {', '.join(map(str, counts))} most active units of {network.names[source]} add up to.",
    )


def coloured_fields(network, count: int) -> tuple[np.ndarray, float]:
    """The receptive fields of `count` units as colours (bytes, (n, J_0, 3)), and the weight that full colour stands for."""
    weights = diagnostics.receptive_fields(network, count)
    scale = float(np.quantile(np.abs(weights), 0.995)) or 1.0
    return diverging(weights / scale), scale


def diverging(values: np.ndarray) -> np.ndarray:
    """Values in [-1, 1] as colours (bytes): blue below, white at zero, orange above."""
    t = np.nan_to_num(values).clip(-1, 1)[..., None]
    ends = np.where(t < 0, np.array([0, 114, 178]), np.array([213, 94, 0]))
    return np.round(255 + np.abs(t) * (ends - 255)).astype(np.uint8)


def film(run: Record, network, data, x) -> Html:
    """Sequences as strips of their frames above what the network predicted of each before it saw it; and both as a picture that moves."""
    true = data.splits["test"].x[: N_FILMS * data.frames]
    predicted = predictions(network, true, data.frames, N_FILMS)
    shape, scale = data.image_shape, pixel_size(data.image_shape)
    films = [(grey(frames[1:]), grey(mu)) for frames, mu in zip(true.unflatten(0, (-1, data.frames)), predicted)]
    strips = [mosaic(np.concatenate(pair), shape, columns=data.frames - 1) for pair in films]
    side_by_side = [mosaic(np.stack([part[n] for pair in zip(*films) for part in pair]), shape, columns=len(films)) for n in range(data.frames - 1)]
    height, width = side_by_side[0].shape
    moving = picture(gif(side_by_side), width, height, "film", kind="gif")
    return section(
        "Next frame",
        *(tag("div", picture(png(strip), *strip.shape[::-1], f"film strip {i}"), class_="scroll") for i, strip in enumerate(strips, start=1)),
        moving,
        note=f"Test sequences from their second frame on. Above, the frames; below, what the network predicted of each before it saw it. The last "
        f"picture shows the {len(films)} sequences as they move{f', pixels enlarged {scale} times' if scale > 1 else ''}.",
    )


def activity(run: Record, network, data, x) -> Html:
    *_, (_, state) = settled(network, x[: len(x) // data.frames * data.frames], frames_of(network, data), len(x))  # of sequences, their last frames
    layers = diagnostics.activity(state, network.names)
    rows = [[layer["name"], layer["units"], bar(layer["active"]), bar(layer["silent"]), layer["strength"]] for layer in layers]
    return section(
        "Activity",
        table(["population", "units", "active per image", "never active", "mean |f| where active"], rows),
        note=f"After settling on {len(state.z[0])} test images; a unit is active where |f| > {diagnostics.ACTIVE:g}.",
    )


def bar(share: float) -> Html:
    return tag("td", tag("span", class_="bar", style=f"width:{80 * share:.0f}px"), f" {share:.0%}", data_value=share)


def nats(run: Record) -> Html | None:
    """Where the nats of log p(x) go, from what `metrics=gap` has measured of test images; None where it has not."""
    figures = (run.summary.get("metrics") or {}).get("test") or {}
    projected, posterior = figures.get("bce_projected") or {}, figures.get("posterior_kl") or {}
    down = projected.get("populations") or []
    if not down and not posterior:
        return None
    steps = [("BCE as settled", figures.get("bce", {}).get("value"))]
    steps += [(f"projected from hidden population {l} up", value) for l, value in enumerate(down[1:], start=2)]
    steps += [(f"projected from the top after its {projected['final_steps']} last steps", projected["value"])] if projected.get("final_steps") else []
    steps += [("projected from the best top", figures.get("bce_best_top", {}).get("value"))]
    if posterior and run.value("model", "likelihood") != "gaussian":  # whose nats are no BCE
        steps += [("projected from the posterior, expected", -posterior["fit"]), ("and KL(posterior, prior)", posterior["value"])]
        steps += [("sum of the two: -log p(x)", -posterior["log_p"])]
    rows = [(name, value) for name, value in steps if isinstance(value, (int, float))]
    if len(rows) < 2:
        return None
    most = max(value for _, value in rows)
    return section(
        "Where the nats go",
        table(["step", "nats per image", ""], [[name, value, length(value / most)] for name, value in rows]),
        note="Test images. The fewer populations keep what they have settled to, the less of an image is left; a draw from the prior has the top alone. "
        "What an image's code costs under the prior is the divergence of the posterior from it, on the first images by annealing.",
    )


def length(share: float) -> Html:
    return tag("td", tag("span", class_="bar", style=f"width:{240 * max(share, 0):.0f}px"))


def settling(run: Record, network, data, x) -> Html:
    K, beta = network.config.settle.steps, network.config.settle.beta
    curves, loss = diagnostics.settling_curves(network, x, 2 * K), wording.loss(run.value("dataset"))
    steps = list(range(1, 2 * K + 1))
    charts = [
        line_chart(f"{label} while settling", [Line(name, steps, curves[name])], "step k", f"{label} ({unit})", (K, f"K = {K}"))
        for name, label, unit in (("bce", *loss), ("tod", "ToD", "per image"))
    ]
    data = table(["k", loss[0], "ToD"], zip(steps, curves["bce"], curves["tod"]))
    return section(
        "Settling",
        tag("div", *charts, class_="charts"),
        details(f"The {2 * K} values behind them", data),
        note=f"Mean over {len(x)} test images, step by step to twice K (β = {beta}): a curve that still moves at K has not settled.",
    )


def images_of_classes(run: Record, network, data, x) -> Html:
    """What the network makes of a class that it is told: the one image it settles to, and draws given that class."""
    classes = range(min(N_CLASSES, data.n_classes))
    names = list(data.labels or range(data.n_classes))
    labels = torch.eye(data.n_classes, device=x.device)[: len(classes)]
    training, drawn = TrainingLatents(network, data, metric_settings(run), run.checkpoint), []
    for label in classes:
        try:
            codes = training.prior_of(label, N_CODES).sample(N_DRAWS, stream(0, "report classes", label))
        except UserError:  # a class of too few images
            drawn.append(x.new_zeros(N_DRAWS, x.shape[1]))
        else:
            drawn.append(network.project(codes, {"label": labels[label].expand(N_DRAWS, -1)}))
    rows = [network.settle({"label": labels}).mu[0], *torch.stack(drawn, dim=1)]
    return section(
        "Images of classes",
        stacks(data.image_shape, [grey(data.shades(row)) for row in rows], "settled on the class", *(f"sample {i} of class" for i in range(N_DRAWS))),
        note=f"A stack per class, {', '.join(str(names[label]) for label in classes)}. On top, what the network settles to on the label alone; below, samples "
        f"given the label, of top activities drawn from a mixture fitted to at most {N_CODES} training images of the class (black where it has too few).",
    )


def labels_told(run: Record, network, data, x) -> Html:
    """The confusion matrix of test images whose label the network does not see."""
    split = data.splits["test"].first(N_TOLD)
    rows = split.labelled
    names = [str(name) for name in data.labels or range(data.n_classes)]
    told = torch.cat([network.told(network.settle(part)).argmax(1) for part in split.x[rows].split(500)])
    counts = torch.zeros(data.n_classes, data.n_classes, dtype=torch.int64)
    counts.index_put_((split.y[rows].cpu(), told.cpu()), torch.ones(len(rows), dtype=torch.int64), accumulate=True)
    shown, note = list(range(data.n_classes)), ""
    if len(shown) > MOST_CLASSES:
        mistakes = counts.sum(1) - counts.diagonal()
        shown, note = mistakes.topk(N_CLASSES).indices.sort().values.tolist(), f" The {N_CLASSES} classes with the most mistakes."
    lines = [[names[label], *counts[label, shown].tolist(), (counts[label].sum() - counts[label, shown].sum()).item()] for label in shown]
    others = len(shown) < data.n_classes
    return section(
        "Labels",
        table(
            ["class", *(f"told {names[label]}" for label in shown), *(["another"] if others else [])],
            lines if others else [line[:-1] for line in lines],
        ),
        note=f"{len(rows)} test images whose label the network did not see: how many of a class (rows) it told to be of which.{note}",
    )


def circuit(run: Record, network, data, x) -> Html:
    return circuit_picture.picture(network.circuit)


EXHIBITS = {  # title -> the section, and the abilities that a model must have for it
    "Circuit": (circuit, {"settle"}),
    "Reconstructions": (reconstructions, {"project"}),
    "Next frame": (film, {"frames"}),
    "Completions": (completions, {"project"}),
    "Samples": (sample_pictures, {"project"}),
    "Images of classes": (images_of_classes, {"conditional"}),
    "Labels": (labels_told, {"label"}),
    "Receptive fields": (fields, {"fields"}),
    "Composition": (composed, {"fields", "project"}),
    "Settling": (settling, {"fields", "project"}),
    "Activity": (activity, set()),
}

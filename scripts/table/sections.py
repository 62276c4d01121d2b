"""The tables of one dataset on docs/results.md: the article's figures, densities, and samples beside held-out images."""

import shlex
from collections.abc import Iterable
from functools import cache
from statistics import mean, median

import torch
from table.cells import LATER, Cell, command_of
from table.rows import AUTOENCODERS, SIZES, composed, is_for, row_title, settings
from table.text import MARKS, image_error, markdown, shown
from table.verdicts import best, compare, measured

from ncf.data.streams import stream
from ncf.measure.metrics import METRICS, READ, compared
from ncf.models import Seen, build_model
from ncf.network.model import Model
from ncf.network.settling import multiply_adds
from ncf.runs.provenance import n_synapses

DENSITIES = ("log_p_own", "elbo", "log_p_encoder", "log_p_annealed", "log_p_annealed_own")
DIFFERENCES = {"log_p_annealed": "annealed", "log_p_annealed_own": "annealed, own prior"}
OF_SAMPLES = {
    "by the article's measures": ("ndb", "gaussian_kl", "fantasy_mse", "active", "tsne_err"),
    "among training images, by the pixels": tuple(compared("pixels")),
    "among training images, by the features of a classifier": READ,
}
YARDSTICKS = {"log_p": "Remembered training images", "class_err": "Pixels in place of codes"}  # of table.without_model
Rows = dict[str, dict]
Cells = dict[tuple[str, str], Cell]


def of_dataset(dataset: str, table: Rows, full: Cells, yardsticks: dict) -> list[str]:
    parts = [dataset_table(dataset, table, full, yardsticks), density_table(dataset, table, full), refit_table(dataset, table, full)]
    return [part for part in (*parts, *(sample_table(dataset, table, full, *group) for group in OF_SAMPLES.items())) if part]


def dataset_table(dataset: str, table: Rows, full: Cells, yardsticks: dict) -> str:
    """The article's figures, and what a method is: its synapses, what reading and completing an image costs, how long it trained."""
    present = [full[dataset, row] for row in table if (dataset, row) in full]
    elsewhere = {*DENSITIES, *(name for group in OF_SAMPLES.values() for name in group)}
    metrics = [name for name in METRICS if name not in elsewhere and any(cell.values(name) for cell in present)]
    head = ["method", *(METRICS[name].label for name in metrics), "settling", "synapses", "multiply-adds", "seeds", "epochs", "minutes"]
    rows = []
    for row in table:
        cell = full.get((dataset, row))
        if cell is None and not is_for(table[row], dataset):
            continue
        told = [entry(dataset, table[row], cell, name) for name in metrics]
        if cell is None:
            rows.append([row_title(row), *told, "", size(dataset, table[row]), cost(dataset, table[row], None), "0", "", ""])
            continue
        budget = " / ".join(sorted({settling(run["settle"]) for run in cell.runs.values()}))
        epochs = mean(run["best_epoch"] for run in cell.runs.values())
        minutes = median(run["seconds"] for run in cell.runs.values()) / 60
        made = [size(dataset, table[row]), cost(dataset, table[row], cell), str(len(cell.runs)), f"{epochs:.0f}", f"{minutes:.1f}"]
        rows.append([row_title(row), *told, budget, *made])
    shown_yardsticks = {metric: title for metric, title in YARDSTICKS.items() if metric in yardsticks and metric in metrics}
    for metric, title in shown_yardsticks.items():
        told = [image_error(yardsticks[metric]) if name == metric else "–" for name in metrics]
        rows.append([title, *told, *["–"] * 6])
    note = (
        "`multiply-adds`: millions, of reading an image / of completing one; `epochs`: of the best checkpoint; `minutes`: of training, the median over seeds, whatever else the "
        "machine did meanwhile; –: does not apply to the method. " + MARKS
    )
    command = f"`python -m table.without_model docs/without_model.json {dataset}`"
    if "log_p" in shown_yardsticks:
        memory = yardsticks["log_p"]
        note += (
            f" {YARDSTICKS['log_p']}, no model: a mixture of all of them, blurred by {memory['blur']:g} pixels and kept within "
            f"[{memory['floor']:g}, {1 - memory['floor']:g}], chosen on validation images ({command})."
        )
    if "class_err" in shown_yardsticks:
        note += f" {YARDSTICKS['class_err']}: the regression of %Err on the pixels themselves ({command})."
    folders = {run["folder"] for cell in present for run in cell.runs.values()} - {None}
    if folders:
        note += f" Images from the folder {', '.join(sorted(folders))} in place of the published set."
    apart = departures([(cell, table[cell.row]) for cell in present])
    if apart:
        note += f" Run otherwise than the row says: {'; '.join(apart)}."
    return f"{markdown(head, rows)}\n\n{note}"


def density_table(dataset: str, table: Rows, full: Cells) -> str:
    """Densities beside Monte Carlo, annealed ones also as differences from an autoencoder's; empty where none is measured."""
    own = {row: full.get((dataset, row)) for row in table if is_for(table[row], dataset)}
    metrics = [name for name in DENSITIES if any(cell and cell.values(name) for cell in own.values())]
    if not metrics:
        return ""
    rival, under_own = (densest(own.values(), metric) for metric in DIFFERENCES)
    bracketed = any(bracket(cell) != "–" for cell in own.values())
    held = [(metric, than) for metric, than in zip(DIFFERENCES, (rival, under_own)) if than]
    head = [
        "method",
        *(METRICS[name].label for name in metrics),
        *(["bracket"] if bracketed else []),
        *(f"{DIFFERENCES[metric]}, less that of {row_title(than.row)}" for metric, than in held),
    ]
    rows = []
    for row, cell in own.items():
        told = [entry(dataset, table[row], cell, name) for name in metrics]
        if all(text == "–" for text in told):
            continue
        told += [bracket(cell)] if bracketed else []
        for metric, than in held:
            verdict = compare(cell, than, metric) if cell and measured(metric, cell) else None
            told.append("–" if cell is than else verdict.told if verdict else entry(dataset, table[row], cell, metric))
        rows.append([row_title(row), *told])
    note = f"**Density.** {annealed_images(own)}"
    if bracketed:
        note += " The bracket is what annealing may miss, and no part of ±: how far apart its two bounds are on images drawn from the model itself, in nats, the mean over seeds."
    if rival:
        note += (
            f" Differences are from the densest of the autoencoders (here: {row_title(rival.row)}; a row of one seed only where it is significantly denser), each under the mixture fitted to its own codes"
            + (f", and under priors of their own from {row_title(under_own.row)}" if under_own else "")
            + ", ± their standard error: over images, paired, and over seeds (where a side has one, by the spread that other rows of its method have on this set, marked ¹; ⁰ where none of them has several seeds either); "
            "*unpaired* by the two standard errors."
        )
    return f"{note}\n\n{markdown(head, rows)}"


def bracket(cell: Cell | None) -> str:
    """Between the bounds on log p of images that the model draws, nats; under the fitted mixture."""
    found = [figure["simulated"] for figure in (cell.found("log_p_annealed") if cell else ()) if "simulated" in figure]
    return f"{mean(bounds['upper'] - bounds['lower'] for bounds in found):.1f}" if found else "–"


def densest(cells: Iterable[Cell | None], metric: str = "log_p_annealed") -> Cell | None:
    """The densest of the autoencoders, on the images that all of them have."""
    return best([cell for cell in cells if cell and cell.row.startswith(AUTOENCODERS) and measured(metric, cell)], metric)


def annealed_images(cells: dict[str, Cell | None]) -> str:
    """Of how many images the annealed figures are, and which rows' of more or fewer."""
    counted = {row: n for row, cell in cells.items() if cell and (n := len(cell.by_image("log_p_annealed")))}
    if not counted:
        return ""
    usual, *others = sorted(set(counted.values()), key=lambda n: -list(counted.values()).count(n))
    apart = [f"{n} of {'; '.join(row_title(row) for row, count in counted.items() if count == n)}" for n in others]
    beside = f" ({'; '.join(apart)}), and images differ: compare rows by the differences, over the images that both have" if apart else ""
    return f"Annealed figures are of the first {usual} test images{beside}."


def refit_table(dataset: str, table: Rows, full: Cells) -> str:
    """Annealed densities under refitted priors, with what else a GVAE is held to; empty where none is measured."""
    cells = [found for row in table if (cell := full.get((dataset, row))) and (found := cell.refit).runs]
    if not cells:
        return ""
    rival = densest(cells)
    metrics = ("log_p_annealed", "posterior_kl", "m_mse", "class_err", "bce")
    rows = []
    for cell in cells:
        told = [shown(cell, name) if cell.values(name) else "–" for name in metrics]
        if rival:
            told.append("–" if cell is rival else compare(cell, rival, "log_p_annealed").told)
        rows.append([row_title(cell.row), *told])
    note = (
        "**Density under refitted priors.** Every mixture is refitted to what training images leave open ([how](guides/density.md#a-prior-that-fits)): "
        f"`ncf-eval checkpoint=... split=test {shlex.join(LATER['refit'])}`, of a network with `metrics.mixture.final_steps=30`. The other figures are of the same runs. Differences "
        "± their standard error, as in the table above."
    )
    head = ["method", *(METRICS[name].label for name in metrics), *([f"annealed, less that of {row_title(rival.row)}"] if rival else [])]
    return f"{note}\n\n{markdown(head, rows)}"


def sample_table(dataset: str, table: Rows, full: Cells, how: str, group: tuple[str, ...]) -> str:
    """Figures of samples, and below them those of held-out images, as good as samples can be expected to be; empty where none is measured."""
    present = {row: full.get((dataset, row)) for row in table if is_for(table[row], dataset)}
    metrics = [name for name in group if any(cell and cell.values(name) for cell in present.values())]
    if not metrics:
        return ""
    rows = []
    for row, cell in present.items():
        told = [entry(dataset, table[row], cell, name) for name in metrics]
        if any(text != "–" for text in told):
            rows.append([row_title(row), *told])
    found = {name: [figure for cell in present.values() if cell for figure in cell.found(name)] for name in metrics}
    rows.append(["Held-out images", *(beside(found[name], "held_out") for name in metrics)])
    if "fantasy_mse" in metrics:
        rows.append(["Training images", *(beside(found[name], "nearest_training_image") for name in metrics)])
    wrong = {figure["reader_wrong"] for figures in found.values() for figure in figures if figure.get("reader_wrong") is not None}
    read = f" The classifier is wrong on {', '.join(f'{value:.2f}' for value in sorted(wrong))} % of the test images." if wrong else ""
    heads = [METRICS[name].label.replace(" (pixels)", "").replace(" (features)", "") for name in metrics]
    fewer = ""
    if any(figure.get("held_out_n", figure.get("n", 0)) < figure.get("n", 0) for figure in found.get("ndb", ())):
        fewer = (
            " They are fewer than the samples, of which there are as many as training images: that alone makes the divergence larger, and NDB, whose test has "
            "less to go by, smaller where they differ."
        )
    return f"**Samples, {how}.** Held-out images are test images in place of the samples.{fewer}{read}\n\n{markdown(['method', *heads], rows)}"


def beside(figures: list[dict], kind: str) -> str:
    """What figures of samples tell of images of that kind, the mean over rows and seeds: it hardly varies, with the training images compared with."""
    told = [figure[kind] for figure in figures if figure.get(kind) is not None]
    return f"{mean(told):.2f}" if told else "–"


# --- a row's model ----------------------------------------------------------------------------------------------------


def entry(dataset: str, row: dict, cell: Cell | None, metric: str) -> str:
    """A figure; – where the metric does not apply to the method, else "not run"."""
    if cell and cell.values(metric):
        return shown(cell, metric)
    return "not run" if applies(model_of(dataset, row), metric) else "–"


def applies(model: Model, metric: str) -> bool:
    needs, classifier = METRICS[metric].needs, "classify" in model.abilities
    exact = "exact_log_p" in model.abilities and (metric in DENSITIES)
    able = {"classes": not classifier or metric == "class_err", "image": bool({"project", "frames"} & model.abilities)}
    return not exact and (needs is None or able.get(needs, needs in model.abilities))


def model_of(dataset: str, row: dict) -> Model:
    """A row's model on a dataset, untrained."""
    return blank(dataset, row["model"], row.get("experiment", "table"), tuple(settings(row, dataset)))


@cache
def blank(dataset: str, model: str, protocol: str, overrides: tuple[str, ...]) -> Model:
    n_pixels, n_classes = SIZES[dataset]
    config = composed(dataset, {"model": model, "experiment": protocol}, list(overrides))
    return build_model(config, Seen(n_pixels, n_classes, torch.zeros(1, n_pixels)), stream(0, "synapses"), torch.device("cpu"))


def size(dataset: str, row: dict) -> str:
    return f"{n_synapses(model_of(dataset, row)):,}"


def cost(dataset: str, row: dict, cell: Cell | None) -> str:
    """Millions of multiply-adds of reading an image, as the row is set now, / of completing one by the way that validation chose in its first seed."""
    model = model_of(dataset, row)
    if "settle" in model.abilities:
        return f"{multiply_adds(model, model.config.settle.steps) / 1e6:.2f}"
    if not hasattr(model, "completions"):
        return f"{n_synapses(model) / 1e6:.2f}"
    completed = [figure["multiply_adds"] for figure in (cell.found("m_mse") if cell else ()) if "multiply_adds" in figure]
    reading = min(adds for _, adds in model.completions.values())
    return f"{reading / 1e6:.2f}" + (f" / {completed[0] / 1e6:.2f}" if completed else "")


# --- how it was run ---------------------------------------------------------------------------------------------------


def settling(settle: dict | None) -> str:
    """The budget of a run and what its products were computed in."""
    if not settle:
        return "–"
    return ", ".join(filter(None, [f"K {settle['steps']}", f"β {settle['beta']}", settle.get("solver"), settle.get("products")]))


def departures(cells: list[tuple[Cell, dict]]) -> list[str]:
    """What runs set beside what their row sets now, or lack of it, and which they are: rows change, and runs may be given more."""
    found: dict[str, list[str]] = {}
    for cell, row in cells:
        wanted = words(command_of(composed(cell.dataset, row, settings(row, cell.dataset))))
        by_seed = {seed: words(run["command"]) for seed, run in sorted(cell.runs.items())}
        for ran in sorted(set(by_seed.values()) - {wanted}, key=sorted):
            seeds = [seed for seed, others in by_seed.items() if others == ran]
            which = "" if len(seeds) == len(by_seed) else f" (seed {', '.join(map(str, seeds))})"
            found.setdefault(difference(ran, wanted), []).append(row_title(cell.row) + which)
    return [f"{', '.join(rows)}: {told}" for told, rows in found.items()]


def difference(ran: frozenset[str], wanted: frozenset[str]) -> str:
    return " ".join([*(f"`{word}`" for word in sorted(ran - wanted)), *(f"without `{word}`" for word in sorted(wanted - ran))])


def words(command: str | None) -> frozenset[str]:
    return frozenset(word for word in shlex.split(command or "") if not word.startswith(("seed=", "dataset.folder=", "start_from=")))  # told anyway

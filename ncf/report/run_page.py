"""A run's report: report.html in its folder, one self-contained page made of what the run has written so far."""

import json
from collections.abc import Callable
from pathlib import Path

from ncf import __version__
from ncf.config import defaults
from ncf.data import download, wording
from ncf.errors import UserError
from ncf.measure.metrics import METRICS
from ncf.models import images_for, restore
from ncf.network.solvers import solver_words
from ncf.report import names
from ncf.report.charts import COLOURS, Line, line_chart
from ncf.report.html import Html, broken, cell, count, details, document, section, short, table, tag, write_whole
from ncf.report.sections import EXHIBITS, nats
from ncf.runs import reader
from ncf.runs.provenance import n_synapses
from ncf.runs.reader import Record

N_TEST = 100  # test images behind the pictures, the settling curves and the activity


def write(folder: Path, network=None, data=None, target: Path | None = None) -> tuple[Path, list[str]]:
    """Write the report of a run, and samples.png next to it; returns its path and what could not be shown, and why.

    Without a network and its data both are restored from the run's best (else last) checkpoint.
    """
    run = reader.read(folder)
    missing: list[str] = []
    versions = run.summary.get("versions")
    if network is None:
        try:
            if run.checkpoint is None:
                raise UserError("there is no checkpoint yet")
            threads = run.place.get("threads")
            opened = restore(run.checkpoint, threads=threads if isinstance(threads, int) and threads > 0 else None)
            with download.never():
                network, data = opened.network, images_for(opened, opened.config.dataset)
            run.config = run.config or opened.content["config"]
            versions = versions or opened.content["versions"]
        except UserError as error:
            missing.append(f"no pictures: {error}")

    def shown(title: str, make: Callable, *arguments) -> Html:
        """A section that fails costs itself alone."""
        try:
            return make(*arguments)
        except Exception as error:
            missing.append(f"{title}: {error or type(error).__name__}")
            return section(title, note="not shown: the lines at the top say why")

    parts = [
        shown("What was run", what_was_run, run),
        shown("Learning curves", learning_curves, run),
        shown("Final metrics", final_metrics, run),
        shown("Where the nats go", nats, run),
    ]
    if network is not None:
        x = data.splits["test"].x[:N_TEST]
        exhibits = {title: make for title, (make, needed) in EXHIBITS.items() if needed <= network.abilities}
        parts += [shown(title, make, run, network, data, x) for title, make in exhibits.items()]
    head = shown("Facts", facts, run, versions, network, data)
    page = document(run.name, heading(run, missing), head, *parts, tag("footer", f"Made by ncf {__version__}."))
    target = target or folder / "report.html"
    write_whole(target, page.encode(errors="backslashreplace"))
    return target, missing


# --- what the folder tells ----------------------------------------------------------------------------------------------


def heading(run: Record, missing: list[str]) -> list[Html | None]:
    reason = run.summary.get("reason")
    return [
        tag("h1", run.name),
        tag("p", title_of(run), class_="lead"),
        tag("p", f"This run is {run.status}: {reason}", class_="warning") if reason else None,
        *(tag("p", line, class_="warning") for line in [*run.warnings, *missing]),
    ]


def title_of(run: Record) -> str:
    """What was trained on what, as people write it."""
    dataset = run.value("dataset")
    trained = [run.value("model", "name"), wording.title(dataset) if isinstance(dataset, dict) else None]
    return " on ".join(write(str(name)) for name, write in zip(trained, (names.method, names.dataset)) if name)


def settling_words(settle: dict) -> str:
    solver = f", {solver_words(settle)}" if settle.get("solver", "euler") != "euler" or settle.get("growth") else ""
    return f"K = {settle['steps']}, β = {settle['beta']}{solver}"


def facts(run: Record, versions: dict | None, network=None, data=None) -> Html:
    trained = run.rows[-1]["epoch"] if run.rows else 0
    hardware = run.summary.get("hardware") or {}
    loss, unit = wording.loss(run.value("dataset"))
    layers, settle = run.value("model", "layers"), run.value("model", "settle")
    pairs = {
        "status": run.status,
        "epochs": f"{trained} of {run.value('epochs') or '?'}" + (f", best {run.best[1]}" if run.best else ""),
        f"best validation {loss}": f"{short(run.best[0])} {unit}" if run.best else None,
        "training time": duration(run.seconds) if run.rows else None,
        "images": images_words(run, data),
        "synapses": f"{n:,}" if (n := n_synapses(network) if network is not None else run.summary.get("synapses")) else None,
        "hidden layers": "–".join(map(str, layers)) if layers else None,
        "settling": settling_words(settle) if settle else None,
        "seed": run.value("seed"),
        "hardware": f"{hardware['name']}, {hardware['device']}, {count(hardware['threads'], 'thread')}" if hardware else None,
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()) if versions else None,
        "code": "; ".join(map(git_words, git.items())) if isinstance(git := run.summary.get("git"), dict) and git else None,
    }
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs.items() if value is not None), class_="facts")


def images_words(run: Record, data) -> str | None:
    dataset, sizes = run.value("dataset"), wording.sizes(data) if data is not None else run.summary.get("images")
    if not (isinstance(dataset, dict) and dataset.get("binarize") in wording.BINARIZED and sizes):
        return None
    return wording.images(dataset, sizes, data.image_shape if data is not None else None)


def git_words(item: tuple[str, dict]) -> str:
    return f"{item[0]} at {item[1]['commit'][:10]}" + (", with changes" if item[1]["dirty"] else "")


def duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.1f} s" if minutes < 1 else f"{minutes:.1f} min" if hours < 1 else f"{hours:.1f} h"


def what_was_run(run: Record) -> Html:
    if not run.config:
        return section("What was run", note="The folder has no readable config.yaml.")
    changed = defaults.departures(run.config, run.place)
    rows = [[tag("code", broken(key)), text(value), text(default)] for key, (value, default) in sorted(changed.items())]
    command = defaults.command(run.config, run.place, defaults.exact(run.summary))
    everything = [[tag("code", broken(key)), text(value)] for key, value in defaults.flatten({**run.config, **run.place}).items()]
    return section(
        "What was run",
        tag("pre", command) if command else None,
        table(["key", "this run", "default"], rows) if rows else None,
        details(f"All {len(everything)} keys", table(["key", "value"], everything)),
        note=f"{count(len(rows), 'key')} set apart from the defaults of this model, dataset and optimizer."
        if rows
        else "All keys are at their defaults.",
    )


def text(value) -> Html:
    """A config value as YAML would show it."""
    return tag("td", tag("code", broken(value if isinstance(value, str) else json.dumps(value)), class_="value"))


def learning_curves(run: Record) -> Html:
    if not run.rows:
        return section("Learning curves", note="No epoch is finished yet.")
    charts = []
    for name, label, unit in (("bce", *wording.loss(run.value("dataset"))), ("tod", "ToD", "per image")):
        lines = []
        for split, colour in (("train", COLOURS[0]), ("validation", COLOURS[1])):
            points = [(row["epoch"], row[f"{split}_{name}"]) for row in run.rows if f"{split}_{name}" in row]
            lines.append(Line(split, [x for x, _ in points], [y for _, y in points], colour))
        mark = (run.best[1], "best") if run.best else None
        charts.append(line_chart(f"{label} after each epoch", lines, "epoch", f"{label} ({unit})", mark))
    names = list(dict.fromkeys(name for row in run.rows for name in row))
    data = table(names, ([row.get(name) for name in names] for row in run.rows))
    return section(
        "Learning curves",
        tag("div", *charts, class_="charts"),
        details(f"The {count(len(run.rows), 'row')} of metrics.jsonl behind them", data),
        note="Train: over the epoch's batches, each before its own update. Validation: after the epoch.",
    )


def final_metrics(run: Record) -> Html:
    figures = run.summary.get("metrics") or {}
    if not figures:
        return section("Final metrics", note="Measured when training is complete.")
    splits = list(figures)
    rows = []
    for name in dict.fromkeys(name for split in splits for name in figures[split]):
        given = [figures[split].get(name) or {} for split in splits]
        unit = next(figure.get("unit", "") for figure in given if figure)
        n = ", ".join(str(figure.get("n", "–")) for figure in given)
        label = METRICS[name].label if name in METRICS else name
        rows.append([tag("td", label, tag("small", unit)), *(with_error(figure) for figure in given), n])
    header = ["metric", *splits, "images"]
    note = f"Of the checkpoint of epoch {run.summary.get('best_epoch')}: mean over images ± its standard error."
    wrong = [figure["reader_wrong"] for measured in figures.values() for figure in measured.values() if figure.get("reader_wrong") is not None]
    if wrong:
        note += f" Features and classes are told by a classifier that errs on {short(wrong[0])} % of test images."
    return section("Final metrics", table(header, rows), meanings(figures), note=note)


def meanings(figures: dict) -> Html:
    """What the metrics of the table are, in a sentence each."""
    named = dict.fromkeys(name for measured in figures.values() for name in measured if name in METRICS)
    pairs = [tag("dt", METRICS[name].label) + tag("dd", METRICS[name].meaning) for name in named]
    return details("What the metrics mean", tag("dl", Html("".join(pairs)), class_="meanings"))


def with_error(figure: dict) -> Html:
    value, error = figure.get("value"), figure.get("stderr")
    if not isinstance(value, (int, float)) or not isinstance(error, (int, float)):
        return cell(value)
    shown = cell(value, f"{short(value)} ± {error:.2f}")
    effective, held_out, spread = (figure.get(key) for key in ("effective_samples", "held_out", "held_out_stderr"))
    words = f"{short(effective)} effective samples" if isinstance(effective, (int, float)) else None
    if isinstance(held_out, (int, float)) and isinstance(spread, (int, float)):
        words = f"held-out images {short(held_out)} ± {spread:.2f}"
    return Html(shown.removesuffix("</td>") + tag("small", words) + "</td>") if words else shown

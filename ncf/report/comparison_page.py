"""The page of a comparison, with its tables also as CSV and Markdown."""

import csv
import os
import struct
from pathlib import Path
from statistics import mean, stdev
from urllib.parse import quote

from ncf import __version__
from ncf.data import wording
from ncf.errors import UserError
from ncf.report import names
from ncf.report.charts import COLOURS, PALE, Line, legend, line_chart
from ncf.report.comparison import (
    Comparison,
    Group,
    by_dataset,
    compare,
    figure_name,
    figure_of,
    label,
    short_label,
    spread_text,
    unit_of,
    value_of,
    value_text,
)
from ncf.report.comparison_text import csv_text, group_csv_text, markdown_text, terminal_text
from ncf.report.html import Html, broken, cell, document, picture, section, short, table, tag, write_whole
from ncf.runs import reader
from ncf.runs.reader import Record

N_SAMPLES = 24  # groups whose samples are shown
N_BANDS = len(COLOURS)  # groups drawn in colour


def write(paths: list[Path], output: Path | None = None) -> tuple[list[Path], str]:
    """Compare all runs at or below the paths: comparison.html, .csv, .md and comparison-groups.csv in `output`, else in the folder that
    holds them all. The paths written, and the comparison for the terminal."""
    comparison, root = compared(paths)
    output = output or root
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from error
    stem = free_stem(output, comparison)
    texts = {
        f"{stem}.html": page(comparison, output, stem),
        f"{stem}.csv": csv_text(comparison),
        f"{stem}-groups.csv": group_csv_text(comparison),
        f"{stem}.md": markdown_text(comparison),
    }
    for name, text in texts.items():
        write_whole(output / name, text.encode(errors="backslashreplace"))
    return [output / name for name in texts], terminal_text(comparison)


def compared(paths: list[Path]) -> tuple[Comparison, Path]:
    """All runs at or below the paths, and the folder that holds them all."""
    folders = list(dict.fromkeys(run.resolve() for path in paths for run in reader.find(path)))
    one = paths[0].resolve() if len(paths) == 1 else None
    root = one or Path(os.path.commonpath([folder.parent for folder in folders]))
    return compare([reader.read(folder) for folder in folders], one.name if one else "comparison", root), root


def free_stem(folder: Path, comparison: Comparison) -> str:
    """A name whose files are not those of a comparison with other runs; one with some of these runs grows."""
    runs = {comparison.run_name(run) for run in comparison.runs}
    for n in range(1, 10_000):
        stem = "comparison" if n == 1 else f"comparison-{n}"
        try:
            with open(folder / f"{stem}.csv", encoding="utf-8", newline="") as file:
                earlier = {row.get("run") for row in csv.DictReader(file)}
        except (OSError, ValueError, csv.Error):
            return stem
        if earlier <= runs:
            return stem
    raise UserError(f"{folder}: has too many comparisons; give --output=FOLDER")


def page(comparison: Comparison, folder: Path, stem: str = "comparison") -> Html:
    runs, groups = comparison.runs, comparison.groups
    statuses = [run.status for run in runs]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
    search = tag("input", type="search", placeholder="filter by words, e.g. gncn_t1 seed=0", aria_label="filter", autocomplete="off")
    parts = by_dataset(comparison)
    lead = f"{len(runs)} runs in {len(groups)} groups of one config each but for the seed: {counts}."
    if len(parts) > 1:
        lead += " One section per data set: " + ", ".join(f"{names.dataset(name)} ({len(part.runs)})" for name, part in parts.items()) + "."
    return document(
        comparison.name,
        tag("h1", comparison.name),
        tag("p", lead, class_="lead"),
        tag("div", search, tag("output"), class_="filter"),
        *(sections(part, folder, f"{names.dataset(name)}: " if len(parts) > 1 else "", stem) for name, part in parts.items()),
        tag("footer", f"Made by ncf {__version__}."),
    )


def sections(comparison: Comparison, folder: Path, of: str, stem: str) -> list[Html]:
    """What is told of the runs on one data set."""

    def titled(title: str, *body, note: str) -> Html:
        return section(of + title.lower() if of else title, *body, note=note)

    return [
        titled(
            "Groups", group_table(comparison), note="Mean ± standard deviation over the seeds of complete runs. A click on a column's head sorts."
        ),
        titled("Learning curves", curves(comparison), note=curves_note(comparison)),
        titled("Samples", samples(comparison), note=f"Of the best run of each group, by validation {loss_of(comparison)[0]}."),
        titled(
            "Runs",
            run_table(comparison, folder),
            note=f"Metrics are of the best epoch's checkpoint; the last {loss_of(comparison)[0]} is that of the last epoch. "
            f"Standard errors and all digits are in {stem}.csv next to this page.",
        ),
    ]


def loss_of(comparison: Comparison) -> tuple[str, str]:
    """What the runs (on one data set) are selected by, and its unit."""
    return wording.loss(comparison.runs[0].value("dataset"))


# --- tables -----------------------------------------------------------------------------------------------------------


def heads(comparison: Comparison) -> list[tuple[str, str]]:
    """The columns of both tables that hold the summaries' figures, with their units."""
    return [(figure_name(figure), unit_of(comparison, figure)) for figure in comparison.figures]


def group_table(comparison: Comparison) -> Html:
    keys = [key for key in comparison.keys if key != "seed"]
    rows = []
    for group in comparison.groups:
        figures = [group.over_seeds(figure) for figure in comparison.figures]
        n = f"{len(group.complete)}" if len(group.complete) == len(group.runs) else f"{len(group.complete)} of {len(group.runs)}"
        figure_cells = [cell(f and f[0], spread_text(f)) for f in figures]
        rows.append([cell(group.label), *figure_cells, cell(len(group.complete), n), *(config_cell(group.values[key]) for key in keys)])
    header = ["group", *heads(comparison), "runs", *names.short_keys(keys).values()]
    return table(header, rows, sortable=True, filters=[group.words for group in comparison.groups])


def run_table(comparison: Comparison, folder: Path) -> Html:
    rows, filters = [], []
    short_names = names.short_keys(comparison.keys)
    for run in comparison.runs:
        values = {key: value_of(run, key) for key in comparison.keys}
        figures = (figure_of(run, figure) for figure in comparison.figures)
        seconds = run.summary.get("seconds", run.seconds)
        best = (
            tag("td", short(run.best[0]), tag("small", f"epoch {run.best[1]}"), class_="number", data_value=repr(run.best[0])) if run.best else None
        )
        rows.append(
            [name_cell(comparison.run_name(run), run, folder), *figures, best, run.last, status_cell(run), *map(config_cell, values.values())]
            + [run.rows[-1]["epoch"] if run.rows else None, cell(seconds, f"{seconds:.0f}")]
        )
        filters.append(f"{comparison.run_name(run)} {run.status} {label(values)} {short_label(values, short_names)}")
    loss, unit = loss_of(comparison)
    header = ["run", *heads(comparison), (f"best {loss}", unit), (f"last {loss}", unit), "status"]
    return table([*header, *short_names.values(), "epochs", "seconds"], rows, sortable=True, filters=filters)


def config_cell(value) -> Html:
    return (
        cell(value)
        if isinstance(value, int) and not isinstance(value, bool)
        else cell(value, repr(value))
        if isinstance(value, float)
        else cell(value_text(value))
    )


def name_cell(name: str, run: Record, folder: Path) -> Html:
    report = run.folder / "report.html"
    if not report.is_file():
        return tag("td", broken(name), class_="name")
    return tag("td", tag("a", broken(name), href=quote(os.fsencode(os.path.relpath(report, folder.resolve())))))


def status_cell(run: Record) -> Html:
    return tag("td", run.status_marked, title=run.summary.get("reason") or "; ".join(run.warnings) or None)


# --- pictures ---------------------------------------------------------------------------------------------------------


def curves(comparison: Comparison) -> Html:
    lines = group_lines(comparison, "validation_bce")
    loss, unit = loss_of(comparison)
    charts = [
        line_chart(f"{loss} on validation images", lines, "epoch", f"{loss} ({unit})", key=False),
        line_chart("ToD on validation images", group_lines(comparison, "validation_tod"), "epoch", "ToD (per image)", key=False),
    ]
    return Html(tag("div", *charts, class_="charts") + (legend(lines) or ""))


def curves_note(comparison: Comparison) -> str:
    note = "Mean over the runs of a group that reached the epoch; the band is their standard deviation."
    return note + (f" In colour, the {N_BANDS} best by validation {loss_of(comparison)[0]}." if len(comparison.groups) > N_BANDS else "")


def group_lines(comparison: Comparison, name: str) -> list[Line]:
    """A curve per group; those beyond the colours are pale, lie behind the others, and have no band."""
    lines = []
    for i, group in enumerate(comparison.groups):
        by_epoch: dict[int, list[float]] = {}
        for run in group.runs:
            for row in run.rows:
                if name in row:
                    by_epoch.setdefault(row["epoch"], []).append(row[name])
        epochs = sorted(by_epoch)
        middle = [mean(by_epoch[epoch]) for epoch in epochs]
        if i >= N_BANDS:
            lines.insert(0, Line(group.label, epochs, middle, PALE, words=group.words))
            continue
        half = [stdev(by_epoch[epoch]) if len(by_epoch[epoch]) > 1 else 0.0 for epoch in epochs]
        low, high = ([m + sign * h for m, h in zip(middle, half)] if any(half) else None for sign in (-1, 1))
        lines.append(Line(group.label, epochs, middle, COLOURS[i], low=low, high=high, words=group.words))
    return lines


def samples(comparison: Comparison) -> Html:
    """The samples.png that each run's own report left in its folder."""
    figures = [figure for group in comparison.groups[:N_SAMPLES] if (figure := samples_figure(comparison, group)) is not None]
    if not figures:
        return tag("p", "No run here has a report with samples yet.")
    left_out = len(comparison.groups) - N_SAMPLES
    more = tag("p", f"{left_out} more groups are left out.", class_="note") if left_out > 0 else None
    return Html(tag("div", *figures, class_="pictures wide") + (more or ""))


def samples_figure(comparison: Comparison, group: Group) -> Html | None:
    run = group.best_run
    try:
        file = (run.folder / "samples.png").read_bytes()
        width, height = struct.unpack(">II", file[16:24])
    except (OSError, struct.error):
        return None
    best = f", {loss_of(comparison)[0]} {short(run.best[0])}" if run.best else ""
    caption = tag("figcaption", group.label, tag("small", f"{comparison.run_name(run)}{best}"))
    return tag("figure", picture(file, width, height, f"samples of {group.label}"), caption, data_filter=group.words)

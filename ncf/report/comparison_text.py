"""A comparison as text: CSV to the last digit, Markdown for papers, and a table for the terminal."""

import csv
import html
import io
import json
import re

from ncf.report import names
from ncf.report.comparison import (
    Comparison,
    by_dataset,
    figure_name,
    figure_of,
    key_name,
    spread_text,
    unit_of,
    value_of,
    value_text,
)
from ncf.report.html import short
from ncf.report.tables import aligned

MOST_GROUPS = 30  # on the terminal


def csv_text(comparison: Comparison) -> str:
    """A line per run, every number with all its digits (a float's shortest text that reads back as itself)."""
    header = ["run", "status", *map(key_name, comparison.keys), "epochs_trained", "best_epoch", "validation_bce", "last_validation_bce"]
    header += [f"{split}.{metric}{part}" for split, metric in comparison.figures for part in ("", ".stderr", ".n")]
    lines = [[*header, "seconds"]]
    for run in comparison.runs:
        values = [value_of(run, key) for key in comparison.keys]
        best_bce, best_epoch = run.best or (None, None)
        row = [comparison.run_name(run), run.status, *map(plain, values)]
        row += [run.rows[-1]["epoch"] if run.rows else 0, best_epoch, best_bce, run.last]
        row += [figure_of(run, figure, part) for figure in comparison.figures for part in ("value", "stderr", "n")]
        lines.append([*row, run.summary.get("seconds", run.seconds)])
    return csv_of(lines)


def group_csv_text(comparison: Comparison) -> str:
    """A line per group: number of complete runs, and each metric's mean and standard deviation over them."""
    keys = [key for key in comparison.keys if key != "seed"]
    lines = [["group", *map(key_name, keys), "runs", "complete_runs"]]
    lines[0] += [f"{split}.{metric}.{part}" for split, metric in comparison.figures for part in ("mean", "sd")]
    for group in comparison.groups:
        row = [group.label, *(plain(group.values[key]) for key in keys), len(group.runs), len(group.complete)]
        lines.append(row + [part for figure in comparison.figures for part in group.over_seeds(figure) or (None, None)])
    return csv_of(lines)


def plain(value):
    return value if value is None or isinstance(value, (str, int, float)) else json.dumps(value)


def csv_of(lines: list[list]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(lines)
    return file.getvalue()


def terminal_text(comparison: Comparison) -> str:
    """Per data set a line for each group, the best first; of two groups (or two runs) also what differs, and by how much."""
    parts = by_dataset(comparison)
    texts = []
    for name, part in parts.items():
        rows = [[names.dataset(name), "runs", *(figure_name(figure) for figure in part.figures)]]
        for group in part.groups[:MOST_GROUPS]:
            rows.append([group.label, str(len(group.complete)), *(spread_text(group.over_seeds(figure)) for figure in part.figures)])
        left_out = len(part.groups) - MOST_GROUPS
        texts.append(aligned(rows, left=1) + (f"\n({left_out} more groups are in the files)" if left_out > 0 else ""))
        if len(part.runs) == 2 or len(part.groups) == 2:
            texts.append("\n".join(differences(part)))
    return "\n\n".join(texts)


def differences(part: Comparison) -> list[str]:
    """Two runs, or two groups: each key and metric that tells them apart."""
    if len(part.runs) == 2:
        sides = [part.run_name(run) for run in part.runs]
        values = [{key: value_of(run, key) for key in part.keys} for run in part.runs]
        metrics = [[figure_of(run, figure) for run in part.runs] for figure in part.figures]
    else:
        sides = [group.label for group in part.groups]
        values = [group.values for group in part.groups]
        metrics = [[mean and mean[0] for mean in (group.over_seeds(figure) for group in part.groups)] for figure in part.figures]
    lines = [f"from {sides[0]} to {sides[1]}:"]
    lines += [f"  {key_name(key)}: {value_text(values[0][key])} -> {value_text(values[1][key])}" for key in values[0]]
    for figure, (old, new) in zip(part.figures, metrics):
        if old is not None and new is not None:
            change = short(new - old) if new < old else f"+{short(new - old)}"
            lines.append(f"  {figure_name(figure)}: {short(old)} -> {short(new)} ({change} {unit_of(part, figure)})")
    return lines


def markdown_text(comparison: Comparison) -> str:
    """For each data set two tables: groups with mean and standard deviation over seeds, and runs."""
    parts = by_dataset(comparison)
    tables = [(f"## {markdown_escaped(names.dataset(name))}\n\n" if len(parts) > 1 else "") + markdown_part(part) for name, part in parts.items()]
    return f"# {markdown_escaped(comparison.name)}\n\nMean ± standard deviation over seeds.\n\n" + "\n".join(tables)


def markdown_part(comparison: Comparison) -> str:
    units = [unit_of(comparison, figure) for figure in comparison.figures]
    heads = [f"{figure_name(figure)} ({unit})" if unit else figure_name(figure) for figure, unit in zip(comparison.figures, units)]
    groups = [["group", "complete runs", *heads]]
    for group in comparison.groups:
        groups.append([group.label, f"{len(group.complete)} of {len(group.runs)}", *(spread_text(group.over_seeds(f)) for f in comparison.figures)])
    runs = [["run", *heads, *map(key_name, comparison.keys), "status"]]
    for run in comparison.runs:
        cells = [value_text(value_of(run, key)) for key in comparison.keys]
        figures = (figure_of(run, figure) for figure in comparison.figures)
        runs.append([comparison.run_name(run), *("–" if value is None else short(value) for value in figures), *cells, run.status])
    return f"{markdown_table(groups)}\n\n### Runs\n\n{markdown_table(runs)}\n"


def markdown_table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(map(markdown_escaped, row)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def markdown_escaped(text: str) -> str:
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))

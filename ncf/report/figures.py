"""Figures for papers, as SVG and PDF: learning curves, and a config key against a metric."""

import io
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev

from ncf.config.keys import meant
from ncf.config.schema import flatten
from ncf.data import wording
from ncf.errors import UserError, nearest
from ncf.measure.metrics import METRICS, require_metric
from ncf.report import names
from ncf.report.charts import COLOURS
from ncf.report.comparison import Comparison, by_dataset, figure_name, figure_of, key_name, short_label, value_of, value_text
from ncf.runs.files import write_whole

KINDS = ("svg", "pdf")
FULL = (5.2, 3.6)  # inches
MARKERS = "osD^v<"


@dataclass(frozen=True)
class Look:
    """A figure's width and height in inches, and its title: the data set's name where there is none."""

    size: tuple[float, float]
    title: str | None

    @property
    def font_size(self) -> float:
        """Points: smaller in a figure of less than FULL size."""
        return max(6.0, 10 * min(1.0, *(side / full for side, full in zip(self.size, FULL))))


def size(text: str) -> tuple[float, float]:
    """``3.4x2.4``: width and height in inches."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)", text)
    if not found or not all(1 <= float(side) <= 40 for side in found.groups()):
        raise UserError(f"--size={text}: expected WIDTHxHEIGHT in inches, 1 to 40, e.g. --size=3.4x2.4")
    return float(found[1]), float(found[2])


def write(comparison: Comparison, what: str, metric: str, split: str, folder: Path, look: Look) -> list[Path]:
    """`what` is ``curves`` or a key; one figure per data set. Raises UserError."""
    import matplotlib

    require_metric(metric, f"--metric={metric}: ")
    key = next((k for k in comparison.keys if what in (k, key_name(k))), None) or next(iter(meant(what, comparison.keys)), "")
    if what != "curves" and not key:
        known = {key_name(k): k for run in comparison.runs for k in flatten(run.config)}
        same = known.get(what) or next(iter(meant(what, list(known.values()))), None)
        raise UserError(
            f"--figure={what}: {key_name(same)} is {value_text(value_of(comparison.runs[0], same))} in all of these runs; "
            f"{nearest('', ['curves', *map(key_name, comparison.keys)])}"
            if same
            else f"--figure={what}: no such key; {nearest(what, ['curves', *map(key_name, comparison.keys)])}"
        )
    written = []
    parts = by_dataset(comparison)
    for dataset, part in parts.items():
        if what == "curves":
            loss, unit = wording.loss(part.runs[0].value("dataset"))
            lines, x_label, y_label = curves(part), "epoch", f"validation {loss} ({unit})"
        else:
            lines, x_label = against(part, key, (split, metric)), names.axis(key_name(key))
            y_label = f"{figure_name((split, metric))} ({METRICS[metric].unit})"
        if not lines:
            continue
        stem = "curves" if what == "curves" else f"{re.sub(r'[^A-Za-z0-9_.]+', '_', key_name(key))}-{metric}-{split}"
        stem += f"-{re.sub(r'[^A-Za-z0-9_.-]+', '_', dataset)}" if len(parts) > 1 else ""
        with matplotlib.rc_context({"font.size": look.font_size}):
            figure = draw(lines, x_label, y_label, look, names.dataset(dataset), points=what != "curves")
            written += [save(figure, folder / f"{stem}.{kind}") for kind in KINDS]
    if not written:
        raise UserError(f"no run here has {figure_name((split, metric)) if what != 'curves' else 'an epoch with a validation'} to draw")
    return written


Lines = dict[str, list[tuple[float | str, float, float]]]  # label -> (x, mean, standard deviation)


def curves(part: Comparison) -> Lines:
    """Of every group the mean over its runs, epoch by epoch."""
    lines: Lines = {}
    for group in part.groups:
        by_epoch: dict[int, list[float]] = {}
        for row in (row for run in group.runs for row in run.rows if "validation_bce" in row):
            by_epoch.setdefault(row["epoch"], []).append(row["validation_bce"])
        if by_epoch:
            lines[group.label] = [(epoch, *spread(values)) for epoch, values in sorted(by_epoch.items())]
    return lines


def against(part: Comparison, key: str, figure: tuple[str, str]) -> Lines:
    """A line for each setting of the other keys, its points means over seeds."""
    short = names.short_keys(k for k in part.keys if k not in (key, "seed"))
    found: dict[str, dict] = {}
    for run in part.runs:
        value, x = figure_of(run, figure), value_of(run, key)
        if value is None or x is None:
            continue
        label = short_label({k: value_of(run, k) for k in short}, short)
        x = x if isinstance(x, (int, float)) and not isinstance(x, bool) else str(x)
        found.setdefault(label, {}).setdefault(x, []).append(value)
    order = lambda x: (isinstance(x, str), x)  # noqa: E731
    every = sorted({x for points in found.values() for x in points}, key=order)  # a line has a gap where its run has no value
    nothing = (float("nan"), 0.0)
    return {label: [(x, *(spread(points[x]) if x in points else nothing)) for x in every] for label, points in found.items()}


def spread(values: list[float]) -> tuple[float, float]:
    return mean(values), stdev(values) if len(values) > 1 else 0.0


def draw(lines: Lines, x_label: str, y_label: str, look: Look, dataset: str, points: bool):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=look.size, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for i, (label, line) in enumerate(lines.items()):
        x, middle, half = zip(*line)
        style = {"color": COLOURS[i % len(COLOURS)], "label": label, "linestyle": ("-", "--", ":", "-.")[i // len(COLOURS) % 4]}
        if points:
            axis.errorbar(x, middle, yerr=half if any(half) else None, marker=MARKERS[i % len(MARKERS)], capsize=3, markersize=5, **style)
        else:
            axis.plot(x, middle, **style)
            axis.fill_between(x, [m - h for m, h in zip(middle, half)], [m + h for m, h in zip(middle, half)], color=style["color"], alpha=0.15, lw=0)
    if not points:
        axis.xaxis.get_major_locator().set_params(integer=True)
    values = list(dict.fromkeys(p[0] for line in lines.values() for p in line)) if points else []
    if geometric(values):
        axis.set_xscale("log")
    if 1 < len(values) <= 8 and all(isinstance(value, (int, float)) for value in values):
        axis.set_xticks(values, [f"{value:g}" for value in values])
        axis.minorticks_off()
    axis.set(xlabel=x_label, ylabel=y_label, title=dataset if look.title is None else look.title)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#e6e6e6")
    axis.set_axisbelow(True)
    if len(lines) > 1:
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def geometric(values: list) -> bool:
    """Whether numbers span a wide range in about equal ratios, as 0.001, 0.01, 0.1 do, rather than in equal steps."""
    if not values or not all(isinstance(value, (int, float)) and value > 0 for value in values):
        return False
    least, middle, most = min(values), median(values), max(values)
    return most >= 8 * least and abs(middle - (least * most) ** 0.5) < abs(middle - (least + most) / 2)


def save(figure, path: Path) -> Path:
    import matplotlib

    buffer = io.BytesIO()
    fixed = {"svg.hashsalt": "ncf", "svg.fonttype": "none", "pdf.fonttype": 42}  # texts stay texts
    with matplotlib.rc_context(fixed):
        figure.savefig(buffer, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else {"CreationDate": None})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); give --output=FOLDER") from error
    return path

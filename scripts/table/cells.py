"""The cells of the comparison: what the runs that scripts/reproduce made have measured, and the lines (.jsonl) that keep it.

The lines hold all that the page says, so that runs which lie here are added to those that were measured before or elsewhere.
"""

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import hypot
from pathlib import Path
from statistics import mean, stdev, variance

import numpy as np
from omegaconf import OmegaConf
from table.rows import AUTOENCODERS, DATASETS, SUFFIXES

from ncf.config.checks import build
from ncf.config.defaults import command
from ncf.config.schema import TrainConfig, science
from ncf.errors import UserError

LATER = {  # what is measured once a run is complete: file -> what is asked for; a figure measured later takes the place of the run's own
    "density": ["metrics.names=[log_p_annealed,log_p_annealed_own]", "metrics.annealing.images=100", "metrics.annealing.steps=300"],
    "refit": [  # under the mixture that makes training images most probable
        "metrics.names=[log_p_annealed,posterior_kl]",
        "metrics.annealing.images=100",
        "metrics.annealing.steps=300",
        "metrics.annealing.check_images=5",
        "metrics.mixture.components=20",
        "metrics.mixture.latents=12000",
        "metrics.mixture.shrinkage=0.2",
        "metrics.mixture.rounds=12",
    ],
    "samples": ["metrics=samples"],
    "hidden": ["metrics.names=[class_err_hidden]"],  # of autoencoders
    "inferred": ["metrics.names=[bce_inferred]"],  # likewise
}
ONE_SET_OF_DRAWS = ("log_p", "log_p_own")  # Monte Carlo from a prior, for all images at once
FEW = 1000  # values of single images that are kept among the rows, at most
RUN = ("seed", "figures", "epochs_trained", "best_epoch", "seconds", "command", "folder", "settle", "versions", "hardware")  # what is told of one


@dataclass
class Cell:
    """One row of one dataset: its runs, seed -> what the run left."""

    dataset: str
    row: str
    n_train: int | None
    runs: dict[int, dict]
    usual: dict[str, tuple[float, int]] = field(default_factory=dict)  # metric -> `usual_variance` over seeds, degrees of freedom

    def found(self, metric: str) -> list[dict]:
        """The figures of all seeds that have one."""
        return [figure for _, run in sorted(self.runs.items()) if (figure := run["figures"].get(metric))]

    def values(self, metric: str, first: int | None = None) -> list[float]:
        """Of every seed, the figure; of seeds that were measured on different numbers of images, or told `first`, by the images that come first."""
        n = self.shared(metric) if first is None else first
        kept = [(figure, figure.get("values", ())) for figure in self.found(metric)]
        return [mean(values[:n]) if 0 < n < len(values) else figure["value"] for figure, values in kept]

    def shared(self, metric: str) -> int:
        """How many images' values every seed has kept, the first of the test images."""
        return min((len(figure.get("values", ())) for figure in self.found(metric)), default=0)

    def spread(self, metric: str) -> float:
        """Over the seeds; of a single one, the standard error over its images."""
        values = self.values(metric)
        if len(values) > 1:
            return stdev(values)
        return self.image_error(metric)

    def renamed(self, names: dict[str, str]) -> "Cell":
        """The same runs by these figures alone: new name -> the name that it has here. None where no run has any of them."""
        figures = {s: {new: run["figures"][old] for new, old in names.items() if old in run["figures"]} for s, run in self.runs.items()}
        runs = {seed: {**self.runs[seed], "figures": found} for seed, found in figures.items() if any(figures.values())}
        return Cell(self.dataset, self.row, self.n_train, runs, {new: self.usual[old] for new, old in names.items() if old in self.usual})

    @property
    def refit(self) -> "Cell":
        """The runs measured under a refitted prior, by these figures, and beside them by those that ask for no prior."""
        measured = {seed: run for seed, run in self.runs.items() if "log_p_annealed_refit" in run["figures"]}
        names = {name: name for name in ("bce", "m_mse", "class_err")} | {name: f"{name}_refit" for name in ("log_p_annealed", "posterior_kl")}
        return Cell(self.dataset, self.row, self.n_train, measured, self.usual).renamed(names)

    @property
    def inferring(self) -> "Cell":
        """An autoencoder's runs whose BCE was measured by inferred latents too, by the better of the two, none if there are no such; any other row as it is."""
        if not self.row.startswith(AUTOENCODERS):
            return self
        found = self.renamed({"bce": "bce_inferred"})
        return self if found.runs and mean(self.values("bce")) < mean(found.values("bce")) else found

    def by_image(self, metric: str) -> list[float]:
        """The values of the first test images, of which every seed has kept them, each the mean over the seeds."""
        return [mean(values) for values in zip(*(figure.get("values", ()) for figure in self.found(metric)))]

    def image_error(self, metric: str) -> float:
        """The standard error over the images, of the first seed, and of draws that all images share."""
        return hypot(self.found(metric)[0]["stderr"] or 0.0, self.draws_error(metric))

    def draws_error(self, metric: str) -> float:
        """What the draws leave of the first seed's error where the same serve all images, so that their spread does not show it."""
        return self.found(metric)[0].get("sampling_stderr") or 0.0 if metric in ONE_SET_OF_DRAWS else 0.0


def read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def status(folder: Path) -> str:
    return read_json(folder / "summary.json").get("status", "not run")


def figures(folder: Path, split: str) -> dict[str, float]:
    """Metric -> value of a complete run; none of one that is not."""
    return {metric: measured["value"] for metric, measured in read_json(folder / "summary.json").get("metrics", {}).get(split, {}).items()}


def read_run(folder: Path) -> dict | None:
    """What a complete run left: test figures (those measured later with them), config, command, time, versions, hardware."""
    summary = read_json(folder / "summary.json")
    if summary.get("status") != "complete":
        return None
    config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    later = [with_values(folder, group) for group in LATER]
    new = {name: value for more in later for name, value in more.items()}
    kept = {name: summary[name] for name in ("seed", "epochs_trained", "best_epoch", "seconds", "versions", "hardware")}
    if config.get("start_from") and Path(config["start_from"]).parts[-3] in DATASETS:  # another run of the table, wherever the table lies
        config["start_from"] = "/".join(("outputs/table", *Path(config["start_from"]).parts[-3:]))
    made = {"command": command_of(build(config, TrainConfig)), "folder": config["dataset"]["folder"], "settle": summary.get("settle")}
    return {"figures": summary["metrics"]["test"] | new, **made, **kept}


def with_values(folder: Path, group: str) -> dict[str, dict]:
    """Test figures measured later; of few images with the values of each, so that two rows are compared image by image."""
    found = read_json(folder / f"{group}.json")
    if found.get("epoch") != read_json(folder / "summary.json").get("best_epoch"):  # of an earlier checkpoint: the run has gone on since
        return {}
    figures = found.get("metrics", {}).get("test", {})
    path = folder / f"{group}-per-image.npz"
    values = dict(np.load(path)) if path.exists() else {}
    for name, figure in figures.items():
        if 0 < len(single := values.get(f"test_{name}", ())) <= FEW:
            rounded = [round(float(value), 3) for value in single]
            figure["values"] = [int(value) if value.is_integer() else value for value in rounded]  # a third of the file is zeros and hundreds
    return {f"{name}_refit": figure for name, figure in figures.items()} if group == "refit" else figures


def command_of(config: TrainConfig) -> str | None:
    return command(science(config))


def collect(output: Path, rows: Path) -> list[Cell]:
    """Every cell that has a complete run, from OUTPUT/DATASET/ROW/seedN[-nSIZE] and, where there is none, from the rows written before."""
    cells = stored(rows)
    for folder in sorted(output.glob("*/*/seed*")):
        match = re.fullmatch(r"seed(\d+)(?:-n(\d+))?", folder.name)
        dataset, row = folder.parts[-3:-1]
        run = read_run(folder) if match and dataset in DATASETS else None
        if run:
            n_train = int(match[2]) if match[2] else None
            runs = cells.setdefault((dataset, row, n_train), Cell(dataset, row, n_train, {})).runs
            runs[int(match[1])] = run_again(runs.get(int(match[1])), run)
    usual = usual_variance(cells.values())
    for cell in cells.values():
        cell.usual = usual.get((cell.dataset, family(cell.row)), {})
    return list(cells.values())


def family(row: str) -> str:
    """Rows of one method whatever their settings; those of 360 latents are apart, since they vary more than the others."""
    return next((row.removesuffix(f"_{suffix}") for suffix in SUFFIXES if suffix != "many" and row.endswith(f"_{suffix}")), row)


def usual_variance(cells: Iterable[Cell]) -> dict[tuple[str, str], dict[str, tuple[float, int]]]:
    """(dataset, family) -> metric -> how much a figure of all training images varies with the seed, pooled over the rows that have several, and its degrees
    of freedom: it stands in where a row has a single seed."""
    squares: dict[tuple[str, str], dict[str, tuple[float, int]]] = {}
    for cell in cells:
        for metric in {name for run in cell.runs.values() for name in run["figures"]} if cell.n_train is None else ():
            if (df := len(values := cell.values(metric)) - 1) > 0:
                pooled = squares.setdefault((cell.dataset, family(cell.row)), {})
                before, n = pooled.get(metric, (0.0, 0))
                pooled[metric] = before + variance(values) * df, n + df
    return {key: {metric: (total / df, df) for metric, (total, df) in pooled.items()} for key, pooled in squares.items()}


def run_again(before: dict | None, run: dict) -> dict:
    """A run in place of the one stored before it: the same command that came out the same keeps what was measured on that one alone."""
    told = ("command", "best_epoch", "folder")
    if before is None:
        return run
    own = ("bce", "class_err") if value_of(run, "bce") is None else ("bce",)  # a classifier reconstructs nothing
    same = all(before[name] == run[name] for name in told) and all(value_of(before, metric) == value_of(run, metric) for metric in own)
    gone = sorted(before["figures"].keys() - run["figures"].keys())
    if gone and not same:
        print(f"note: {run['command']}, run anew, came out otherwise; dropped from before: {', '.join(gone)}", file=sys.stderr)
    return run | {"figures": before["figures"] | run["figures"]} if same else run


def value_of(run: dict, metric: str) -> float | None:
    return run["figures"].get(metric, {}).get("value")


def stored(rows: Path) -> dict[tuple, Cell]:
    """The cells of a .jsonl that `lines` made."""
    cells: dict[tuple, Cell] = {}
    for text in rows.read_text().splitlines() if rows.exists() else []:
        run = json.loads(text)
        if "figures" not in run:
            raise UserError(f"{rows}: lines of an earlier layout, a figure each; take the file of this version, or write another with --page")
        key = (run.pop("dataset"), run.pop("row"), run.pop("n_train"))
        cells.setdefault(key, Cell(*key, {})).runs[run["seed"]] = run
    return cells


def lines(cells: list[Cell]) -> list[dict]:
    """One per run: where it stands in the table, what made it, and its figures of test images."""
    return [
        {"dataset": cell.dataset, "row": cell.row, "n_train": cell.n_train, **{name: run[name] for name in RUN}}
        for cell in cells
        for _, run in sorted(cell.runs.items())
    ]

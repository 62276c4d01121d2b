"""Runs side by side: which keys differ, the metrics of each run to the last digit, and mean and spread over seeds.

Only summaries, configs and metrics.jsonl are read, no checkpoint: hundreds of runs take seconds.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

from ncf.config import defaults
from ncf.data.wording import title
from ncf.errors import UserError
from ncf.measure.metrics import METRICS
from ncf.report import names
from ncf.report.html import short
from ncf.runs.reader import Record

Figure = tuple[str, str]  # split, metric


@dataclass
class Group:
    """Runs of one config but for the seed."""

    values: dict[str, object]  # of the keys that differ between the groups
    label: str
    runs: list[Record] = field(default_factory=list)

    @property
    def complete(self) -> list[Record]:
        return [run for run in self.runs if run.status == "complete"]

    def over_seeds(self, figure: Figure) -> tuple[float, float | None] | None:
        """Mean and standard deviation (n - 1) of a figure over the complete runs; no deviation of one."""
        return spread(self.by_seed(lambda run: figure_of(run, figure)))

    @property
    def best_bce(self) -> tuple[float, float | None] | None:
        return spread(self.by_seed(lambda run: run.best[0] if run.best else None))

    def by_seed(self, value: Callable[[Record], float | None]) -> list[float]:
        """One value for each seed: a run that was made twice, or measured otherwise, counts once."""
        return list({json.dumps(run.value("seed")): one for run in self.complete if (one := value(run)) is not None}.values())

    @property
    def best_run(self) -> Record:
        return min(self.complete or self.runs, key=lambda run: run.best or (float("inf"), 0))

    @property
    def words(self) -> str:
        """What a filter finds it by: all that tells its runs apart and from others."""
        return " ".join(
            dict.fromkeys(
                word
                for run in self.runs
                for word in [*label(self.values).split(), *self.label.split(), f"seed={run.value('seed')}", run.name, run.status]
            )
        )


@dataclass
class Comparison:
    name: str
    root: Path  # run names are relative to it
    runs: list[Record]
    keys: list[str]  # the config keys that differ, the seed last
    figures: list[Figure]  # that any summary has
    groups: list[Group]  # the best by validation BCE first

    def run_name(self, run: Record) -> str:
        inside = os.path.relpath(run.folder.resolve(), self.root)
        return run.name if inside == "." else inside


def compare(runs: list[Record], name: str, root: Path) -> Comparison:
    keys = differing_keys(runs)
    short = names.short_keys(key for key in keys if key != "seed")
    runs = sorted(runs, key=lambda run: [*(sort_key(value_of(run, key)) for key in keys), sort_key(run.name)])
    groups: dict[str, Group] = {}
    for run in runs:
        science = {key: value for key, value in defaults.flatten(run.config).items() if key not in ("seed", "metrics.names")}
        values = {key: value_of(run, key) for key in keys if key != "seed"}
        groups.setdefault(json.dumps(science, sort_keys=True), Group(values, short_label(values, short))).runs.append(run)
    found = {(split, metric) for run in runs for split, figures in summary_figures(run).items() for metric in figures}
    splits, metrics = ["validation", "test"], [*METRICS]
    place = lambda name, known: (known.index(name) if name in known else len(known), name)  # noqa: E731
    figures = sorted(found, key=lambda figure: (place(figure[1], metrics), place(figure[0], splits)))
    ordered = sorted(groups.values(), key=lambda group: group.best_bce[0] if group.best_bce else float("inf"))
    return Comparison(name, root, runs, keys, figures, ordered)


def by_dataset(comparison: Comparison) -> dict[str, Comparison]:
    """A comparison for each data set: figures on other images tell nothing about each other."""
    parts: dict[str, list[Record]] = {}
    for run in comparison.runs:
        dataset = run.value("dataset")
        parts.setdefault(title(dataset) if isinstance(dataset, dict) else "unknown data", []).append(run)
    return {name: compare(runs, comparison.name, comparison.root) for name, runs in parts.items()}


# --- keys -------------------------------------------------------------------------------------------------------------


def differing_keys(runs: list[Record]) -> list[str]:
    """The keys that tell the runs apart. What follows from another model, dataset or optimizer by its defaults is left out."""
    known = [run for run in runs if run.config]
    flat = [defaults.flatten(run.config) for run in known]
    asked = {f"{group}.name" for group in ("model", "dataset", "optimizer")}
    for run in known:
        asked |= departures(run).keys()
    asked.discard("metrics.names")  # what was measured makes no other network
    keys = [key for key in dict.fromkeys(key for config in flat for key in config) if key in asked or key == "seed"]
    differing = [key for key in keys if len({json.dumps(config.get(key)) for config in flat}) > 1]
    return sorted(differing, key=lambda key: (key == "seed", not key.endswith(".name")))


def departures(run: Record) -> dict:
    try:
        return defaults.departures(run.config, run.place)
    except (UserError, KeyError, TypeError):  # a config of another version: every key may tell it apart
        return defaults.flatten(run.config)


def value_of(run: Record, key: str):
    return run.value(*key.split("."))


def key_name(key: str) -> str:
    """A key as it is typed: model.name is model=."""
    return key.removesuffix(".name") if key in ("model.name", "dataset.name", "optimizer.name") else key


def value_text(value) -> str:
    return value if isinstance(value, str) else "–" if value is None else json.dumps(value)


def sort_key(value) -> tuple:
    """Numbers as numbers, before texts; the numbers inside a text too."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return 0, [("", value)]
    parts = re.split(r"(\d+(?:\.\d+)?(?:e-?\d+)?)", value_text(value))
    return 1, [(part, 0.0) if i % 2 == 0 else ("", float(part)) for i, part in enumerate(parts)]


def short_label(values: dict, short: dict[str, str]) -> str:
    """A group in few words: ``GNCN-t1 lr=0.01``."""
    shown = {"model.name": names.method, "dataset.name": names.dataset}
    words = [
        shown[key](value) if key in shown and isinstance(value, str) else f"{short[key]}={value_text(value)}"
        for key, value in values.items()
        if value is not None
    ]
    return " ".join(words) or "all runs"


def label(values: dict) -> str:
    return " ".join(f"{key_name(key)}={value_text(value)}" for key, value in values.items()) or "all runs"


# --- figures ----------------------------------------------------------------------------------------------------------


def summary_figures(run: Record) -> dict[str, dict[str, dict]]:
    """split -> metric -> figure, of those whose value is a number."""
    number = lambda figure: isinstance(figure, dict) and isinstance(figure.get("value"), (int, float))  # noqa: E731
    splits = run.summary.get("metrics")
    splits = splits if isinstance(splits, dict) else {}
    return {split: {name: f for name, f in figures.items() if number(f)} for split, figures in splits.items() if isinstance(figures, dict)}


def figure_of(run: Record, figure: Figure, part: str = "value"):
    split, metric = figure
    return summary_figures(run).get(split, {}).get(metric, {}).get(part)


def figure_name(figure: Figure) -> str:
    split, metric = figure
    return f"{METRICS[metric].label if metric in METRICS else metric} {split}"


def unit_of(comparison: Comparison, figure: Figure) -> str:
    return next((unit for run in comparison.runs if (unit := figure_of(run, figure, "unit"))), "")


def spread(values: list[float]) -> tuple[float, float | None] | None:
    return (mean(values), stdev(values) if len(values) > 1 else None) if values else None


def spread_text(figure: tuple[float, float | None] | None) -> str:
    if figure is None:
        return "–"
    return short(figure[0]) + (f" ± {figure[1]:.2f}" if figure[1] is not None else "")

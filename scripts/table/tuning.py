"""scripts/reproduce --tune: the grid of every row on every dataset, chosen on validation images; what was tried goes into tuning.jsonl."""

import argparse
import itertools
import json
import shlex
from math import prod

from table import cells as results
from table.commands import given, run, train_command
from table.rows import is_for, settings

from ncf.config.defaults import override_text
from ncf.measure.metrics import METRICS


def tune(arguments: argparse.Namespace, rows: dict[str, dict]) -> bool:
    """Every row's grid on every dataset, one seed: its keys in turn, each left at its best value on validation images before the next."""
    complete = True
    for dataset, (name, row) in itertools.product(arguments.datasets, rows.items()):
        if not is_for(row, dataset):
            continue
        chosen = dict(setting.split("=", 1) for setting in settings(row, dataset))
        tried: dict[str, dict[str, float]] = {}
        for key, values in row.get("grid", {}).items():
            for value in values:
                setting = " ".join(f"{k}={v}" for k, v in sorted({**chosen, key: override_text(value)}.items()))
                if setting not in tried:
                    found = try_setting(dataset, name, row, setting, arguments)
                    complete &= bool(found)
                    tried |= {setting: found} if found else {}
            if tried:
                chosen = dict(pair.split("=", 1) for pair in best_of(tried, row).split())
        if tried:
            best = best_of(tried, row)
            figures = ", ".join(f"{metric} {value:.3f}" for metric, value in tried[best].items())
            print(f"{dataset}, {name}: best of {len(tried)} on validation images, by {row['choose_by']}: {best} ({figures})", flush=True)
            choice = {
                "dataset": dataset,
                "row": name,
                "choose_by": row["choose_by"],
                "aim": row.get("aim", {}),
                "best": best,
                "trial": trial(dataset, arguments),
                "tried": tried,
            }
            arguments.page.parent.mkdir(parents=True, exist_ok=True)
            with open(arguments.page.with_name("tuning.jsonl"), "a", encoding="utf-8") as file:
                file.write(json.dumps(choice) + "\n")
    return complete


def trial(dataset: str, arguments: argparse.Namespace) -> str:
    """What made the trials shorter than the table's runs, as told on the command line."""
    told = [setting for setting in given(dataset, arguments) if setting.split("=")[0] not in ("threads", "progress", "device", "data_dir")]
    return " ".join([*([f"epochs={arguments.epochs}"] if arguments.epochs else []), *told])


def try_setting(dataset: str, name: str, row: dict, setting: str, arguments: argparse.Namespace) -> dict[str, float]:
    """The validation figures after one run with the setting; none if it failed."""
    asked = (trial(dataset, arguments) or "whole", setting or "defaults")  # a shorter trial of the setting is another run
    folder = arguments.output.joinpath("tuning", dataset, name, *(text.replace(" ", ",") for text in asked))
    command = train_command(dataset, {**row, "fixed": [], "sets": setting.split(), "sets_for": {}}, arguments.seeds[0], folder, arguments)
    if results.status(folder) != "complete":
        print(f"\n{shlex.join(command)}", flush=True)
        run(command)
    return results.figures(folder, "validation")


def best_of(tried: dict[str, dict[str, float]], row: dict) -> str:
    """The setting with the best figure, or, of several, with the least geometric mean of their sizes: a tenth off any of them counts the same.

    A row's `aim` (figure -> at most) comes first: where some settings meet it, the others do not count.
    """
    choose_by, aim = row["choose_by"], row.get("aim", {})
    within = {setting: found for setting, found in tried.items() if all(found[metric] <= most for metric, most in aim.items())} or tried
    if isinstance(choose_by, list):
        return min(within, key=lambda setting: prod(abs(within[setting][metric]) for metric in choose_by))
    return (max if METRICS[choose_by].higher else min)(within, key=lambda setting: within[setting][choose_by])

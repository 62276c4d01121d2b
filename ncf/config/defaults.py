"""What a run would have been without its overrides: the defaults of its model, dataset and optimizer, and how it departs from them."""

import re
import shlex
from functools import cache
from pathlib import Path

import yaml

from ncf.config.checks import build_node
from ncf.config.schema import MODEL_FAMILIES, TrainConfig, configs_folder, flatten, science


@cache
def options(group: str) -> dict[str, Path]:
    return {path.stem: path for path in (Path(configs_folder()) / group).glob("*.yaml")}


def stored(path: Path | None) -> tuple[dict, dict]:
    """A config file: its keys, and its defaults list as group -> option. Nothing for a file of the user's own that is not at hand."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path else {}
    chosen = {k: v for entry in content.pop("defaults", []) if isinstance(entry, dict) for k, v in entry.items()}
    content.pop("hydra", None)
    return content, chosen


@cache
def flat_defaults(family: str, model: str, dataset: str, optimizer: str) -> dict:
    """Every key of the science, dotted, as ``ncf-train model=... dataset=... optimizer=...`` composes it without further overrides."""
    top, chosen = stored(options(".").get("train"))
    groups = {"dataset": dataset, "optimizer": optimizer, "metrics": chosen["metrics"]}
    parts = {group: stored(options(group).get(option))[0] for group, option in groups.items()}
    config = build_node({**top, **parts}, TrainConfig, "")
    config.model = build_node(stored(options("model").get(model))[0], MODEL_FAMILIES[family], "model.")
    return flatten(science(config))


def departures(config: dict) -> dict[str, tuple]:
    """The keys of a run's science that differ from the defaults of its model, dataset and optimizer: key -> (value, default)."""
    flat = flatten(config)
    default = flat_defaults(*(flat.get(key) for key in ("model.family", "model.name", "dataset.name", "optimizer.name")))
    return {key: (value, default.get(key)) for key, value in flat.items() if value != default.get(key, ...)}


def command(config: dict) -> str | None:
    """The command that repeats a run's science; None where its model is a file of the user's own."""
    names = {group: config[group]["name"] for group in ("model", "dataset", "optimizer")}
    if any(name not in options(group) for group, name in names.items()):
        return None
    overrides = [f"{group}={name}" for group, name in names.items() if group != "optimizer" or name != "adam"]
    overrides += [f"{key}={override_text(value)}" for key, (value, _) in departures(config).items()]
    return shlex.join(["ncf-train", *overrides])


def override_text(value) -> str:
    """A value as Hydra's override grammar reads it back."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(override_text(item) for item in value)}]"
    if isinstance(value, str) and (not re.fullmatch(r"[A-Za-z_][\w./-]*", value) or value.lower() in ("null", "true", "false", "nan", "inf")):
        return '"' + value.replace('"', '\\"') + '"'
    return str(value)

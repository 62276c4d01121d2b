"""What a run would have been without its overrides: the defaults of its model, dataset and optimizer, and how it departs from them."""

import re
import shlex
from contextlib import suppress
from functools import cache
from pathlib import Path

import yaml

from ncf.config.checks import build, build_node
from ncf.config.compose import composed
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


@cache
def usual_optimizer(model: str) -> str:
    """The option of group optimizer in `ncf-train model=MODEL`: a model's own choice, else that of train.yaml."""
    own, usual = stored(options("model").get(model))[1], stored(options(".")["train"])[1]
    return own.get("override /optimizer@_global_.optimizer", usual["optimizer"])


def optimizer_option(model: str, name: str) -> str:
    """The option that a run of the model with an optimizer of this name starts from."""
    usual = usual_optimizer(model)
    return usual if stored(options("optimizer")[usual])[0]["name"] == name else name


@cache
def own_defaults(config_dir: str, *chosen: str) -> dict:
    """The same where a group's option is a file of the user's own: as Hydra composes it."""
    config = build(composed("train", chosen, config_dir), TrainConfig)
    return flatten(science(config))


def departures(config: dict, place: dict | None = None) -> dict[str, tuple]:
    """The keys of a run's science that differ from the defaults of its model, dataset and optimizer: key -> (value, default).

    `place` is the rest of its config, where that is known: it tells the folder of the user's own options.
    """
    default = defaults_of(config, place)
    return {key: (value, default.get(key)) for key, value in flatten(config).items() if value != default.get(key, ...)}


def left_out(config: dict, place: dict | None = None) -> list[str]:
    """The populations that the defaults of a run's model have and the run has not."""
    own = config["model"].get("populations")
    names = {key.split(".")[2] for key in defaults_of(config, place) if key.startswith("model.populations.")} if isinstance(own, dict) else set()
    return [f"model.populations.{name}" for name in sorted(names - set(own or ()))]


def defaults_of(config: dict, place: dict | None) -> dict:
    if own := own_options(place):
        with suppress(Exception):  # the folder may be gone, or hold something else by now
            return own_defaults(place["config_dir"], *own)  # type: ignore[index]
    flat = flatten(config)
    family, model, dataset, optimizer = (flat.get(key) for key in ("model.family", "model.name", "dataset.name", "optimizer.name"))
    return flat_defaults(family, model, dataset, optimizer_option(model, optimizer))


def own_options(place: dict | None) -> list[str]:
    """``model=mine``, ``dataset=...``, ``optimizer=...``: what a run with --config-dir chose."""
    chosen = (place or {}).get("chosen") or {}
    return [f"{group}={chosen[group]}" for group in ("model", "dataset", "optimizer") if group in chosen] if (place or {}).get("config_dir") else []


def command(config: dict, place: dict | None = None, exact: dict | None = None) -> str | None:
    """The command that repeats a run's science, with `exact` (number of threads, type of products) to the last digit; None where its
    model is a file of the user's own that is not known."""
    names = {group: config[group]["name"] for group in ("model", "dataset", "optimizer")}
    overrides = own_options(place)
    flags = [f"--config-dir={place['config_dir']}"] if overrides else []
    if not overrides and any(name not in options(group) for group, name in names.items()):
        return None
    names["optimizer"] = optimizer_option(names["model"], names["optimizer"])
    overrides = overrides or [f"{group}={name}" for group, name in names.items() if group != "optimizer" or name != usual_optimizer(names["model"])]
    keys = {key: value for key, (value, _) in departures(config, place).items()}
    if place and place.get("data_dir"):
        keys["data_dir"] = place["data_dir"]
    overrides += [f"~{key}" for key in left_out(config, place)]
    overrides += [f"{key}={override_text(value)}" for key, value in (keys | (exact or {})).items()]
    return shlex.join(["ncf-train", *flags, *overrides])


def exact(summary: dict, place: dict | None = None) -> dict:
    """What the last digits of a run depend on besides its config: threads, and the type of products."""
    hardware, settle = summary.get("hardware") or {}, summary.get("settle") or {}
    found = {"threads": hardware.get("threads") or (place or {}).get("threads"), "compute.dtype": settle.get("products")}
    return {key: value for key, value in found.items() if value}


def override_text(value) -> str:
    """A value as Hydra's override grammar reads it back."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(override_text(item) for item in value)}]"
    if isinstance(value, str) and (not re.fullmatch(r"[A-Za-z_][\w./-]*", value) or value.lower() in ("null", "true", "false", "nan", "inf")):
        return '"' + value.replace('"', '\\"') + '"'
    return str(value)

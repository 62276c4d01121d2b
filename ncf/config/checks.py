"""From a composed config to the schema's objects, with every key checked: its name, its range, and its relations to other keys."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ncf import plugins
from ncf.config.keys import nearest_key
from ncf.config.schema import (
    DATASETS,
    LOGGERS,
    MODEL_FAMILIES,
    REAL_VALUED,
    DatasetConfig,
    GNCNConfig,
    MetricsConfig,
    SampleConfig,
    TermsConfig,
    TrainConfig,
    modern,
)
from ncf.errors import UserError, nearest


def build(config: DictConfig | dict, schema: type) -> Any:
    """The schema's object for a composed config (or one out of a checkpoint), with every key checked.

    Keys that the schema does not have are refused (``+typo=1`` passes Hydra), as are values outside their range.
    """
    plain = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else dict(config)
    plain = modern({name: value for name, value in plain.items() if name != "hydra"})
    nested = {}
    if schema is TrainConfig:
        if not isinstance(plain.get("model"), dict):
            raise UserError("model is not set: choose one, e.g. model=gncn_pdh")
        family = plain["model"].get("family")
        if family not in MODEL_FAMILIES:
            hint = nearest(family, MODEL_FAMILIES) if family else "begin the model's file with `defaults: [circuit_schema, _self_]`"
            raise UserError(f"model.family={family}: unknown; {hint}" if family else f"model.family is not set; {hint}")
        nested["model"] = build_node(plain.pop("model"), MODEL_FAMILIES[family], "model.")
    result = build_node(plain, schema, "")
    for name, value in nested.items():
        setattr(result, name, value)
    if schema is TrainConfig:
        check_train(result)
    if schema is SampleConfig:
        check_masks(result.masks)
    return result


def build_node(plain: dict, schema: type, prefix: str) -> Any:
    unknown = first_unknown(plain, schema, prefix)
    if unknown:
        raise UserError(f"unknown key {unknown!r}: {nearest_key(unknown, known_under(schema, prefix))}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), plain)
        missing = [k for k in OmegaConf.missing_keys(merged) if k != "model"]
        if missing:
            raise UserError(f"{prefix}{missing[0]} is not set: give {prefix}{missing[0]}=...")
        if "model" in OmegaConf.missing_keys(merged):
            merged["model"] = None
        result = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        where = f"{prefix}{error.full_key}: " if error.full_key else ""
        raise UserError(where + in_words(str(error.msg or error).splitlines()[0])) from error
    check_ranges(result, prefix)
    return result


def in_words(message: str) -> str:
    """What OmegaConf says of a value of the wrong type, as people say it."""
    kinds = {"Integer": "a whole number", "Float": "a number", "bool": "true or false"}
    if "Cannot merge DictConfig with ListConfig" in message:  # either way round, and of which key it does not say
        return "a list stands where keys with values are expected, or the other way round (a circuit's bundles and feedback are lists)"
    if section := re.match(r"Merge error: \w+ is not a subclass of \w+Config. value: (.*)", message):
        return f"{section[1]} stands where keys with values are expected"
    found = re.match(r"Value ('.*') (?:of type '\w+' could not be converted to|is not a valid) (\w+)", message)
    return f"{found[1]} is not {kinds[found[2]]}" if found and found[2] in kinds else message


def first_unknown(plain: dict, schema: type, prefix: str) -> str | None:
    known = {f.name: f for f in fields(schema)}
    for name, value in plain.items():
        if name not in known:
            return f"{prefix}{name}"
        inner, nested = known[name].default_factory, known[name].metadata.get("each")
        if is_dataclass(inner) and isinstance(value, dict):
            deeper = first_unknown(value, inner, f"{prefix}{name}.")
            if deeper:
                return deeper
        for entry, terms in value.items() if nested and isinstance(value, dict) else ():
            deeper = first_unknown(terms, nested, f"{prefix}{name}.{entry}.") if isinstance(terms, dict) else None
            if deeper:
                return deeper
    return None


def known_under(schema: type, prefix: str) -> list[str]:
    """Every key that a person may have meant by one that the schema does not have."""
    keys = [prefix + key for key in flat_keys(schema)]
    return keys if schema is not TrainConfig else keys + [f"model.{key}" for family in MODEL_FAMILIES.values() for key in flat_keys(family)]


def flat_keys(schema: type, prefix: str = "") -> list[str]:
    """Every key of a schema, dotted: ``settle.steps``."""
    keys = []
    for f in fields(schema):
        keys.append(prefix + f.name)
        if is_dataclass(f.default_factory):
            keys += flat_keys(f.default_factory, f"{prefix}{f.name}.")
    return keys


def check_ranges(node: Any, prefix: str = "") -> None:
    for f in fields(node):
        value, rule, name = getattr(node, f.name), f.metadata, f"{prefix}{f.name}"
        if is_dataclass(value):
            check_ranges(value, f"{name}.")
        elif value is None:
            continue
        elif "each" in rule:
            for entry, terms in value.items():
                check_ranges(terms, f"{name}.{entry}.")
        elif isinstance(value, list) and any(isinstance(element, (list, dict)) for element in value):  # OmegaConf lets them pass
            raise UserError(f"{name}={value}: must be a plain list, e.g. {name}=[{', '.join(str(v) for v in f.default_factory())}]")
        elif "choices" in rule and value not in rule["choices"]:
            hint, allowed = nearest(value, rule["choices"]), f"allowed: {', '.join(rule['choices'])}"
            raise UserError(f"{name}={value}: {hint} ({allowed})" if hint.startswith("did") else f"{name}={value}: unknown; {allowed}")
        elif isinstance(value, float) and not abs(value) < float("inf"):
            raise UserError(f"{name}={value}: must be a finite number")
        elif "least" in rule and not value >= rule["least"]:
            raise UserError(f"{name}={value}: must be at least {rule['least']}")
        elif "above" in rule and not value > rule["above"]:
            raise UserError(f"{name}={value}: must be above {rule['above']}")
        elif "most" in rule and not value <= rule["most"]:
            raise UserError(f"{name}={value}: must be at most {rule['most']}")


def check_train(config: TrainConfig) -> None:
    layers = getattr(config.model, "layers", None)
    if layers is not None and (not layers or min(layers) < 1):
        raise UserError(f"model.layers={layers}: give at least one layer, each with at least one unit, e.g. model.layers=[360,360]")
    if isinstance(config.model, TermsConfig):
        check_terms(config.model)
    check_dataset(config.dataset)
    if config.dataset.name in REAL_VALUED:
        check_real_valued(config)
    config.logger = chosen_loggers(config.logger)
    if config.data_dir:  # an evaluation or a report finds it from anywhere
        config.data_dir = str(Path(config.data_dir).expanduser().resolve())
    check_name(config.name)


def require_stoppable(config: TrainConfig) -> None:
    """Patience counts validations; a cooldown is no longer than the run, and of use only where its end is validated. (Asked before training alone: a
    checkpoint of such a run may be read.)"""
    if config.patience is not None and not config.validate_every:
        raise UserError(f"patience={config.patience} counts validations, and validate_every=0 makes none before the end; set validate_every=1")
    if config.optimizer.cooldown > config.epochs:
        raise UserError(f"optimizer.cooldown={config.optimizer.cooldown} is longer than the run: give it at most epochs={config.epochs}")
    if config.optimizer.cooldown and config.validate_every and config.epochs % config.validate_every:
        raise UserError(
            f"validate_every={config.validate_every} makes no validation after the last of epochs={config.epochs}, for which optimizer.cooldown is; "
            "let it divide epochs, or set it to 0"
        )


def check_name(name: str | None) -> None:
    if name and (Path(name).name != name or name == ".."):
        raise UserError(f"name={name}: a name is one folder in OUTPUT_DIR/runs (a sweep's, in OUTPUT_DIR/sweeps); give run_dir= for a path")


PATHS = {
    "npz": "FILE.npz, a file with an array x_train",
    "folder": "FOLDER, a folder of pictures",
    "idx": "FOLDER, a folder of IDX files",
}


def check_dataset(config: DatasetConfig) -> None:
    """What is read from a path needs one, and keeps it absolute: a checkpoint is evaluated from anywhere."""
    known = {*DATASETS, *plugins.DATASETS}
    if config.name not in known:
        raise UserError(f"dataset.name={config.name}: unknown; {nearest(config.name, known)} (a plugin's dataset needs --config-dir=FOLDER)")
    if config.name in PATHS and not config.path:
        raise UserError(f"dataset={config.name} needs dataset.path={PATHS[config.name]}")
    if config.path and config.name in DATASETS and config.name not in PATHS:
        raise UserError(f"dataset.path={config.path}: {config.name} is read from data_dir; say what is there, dataset=folder, npz or idx")
    if config.path:
        config.path = str(Path(config.path).expanduser().resolve())


def check_real_valued(config: TrainConfig) -> None:
    """Pixels of any value have no probability under a Bernoulli likelihood, and autoencoders and pixel mixtures expect them in [0, 1]."""
    name, model, dataset = config.dataset.name, config.model, config.dataset
    if not isinstance(model, TermsConfig):
        raise UserError(f"dataset={name} is real-valued, and a model of family {model.family} expects pixels in [0, 1]; choose model=sparse_cauchy")
    own = [p.likelihood for p in getattr(model, "populations", {}).values() if p.observed == "image" and p.likelihood]
    if (likelihood := own[0] if own else model.likelihood) == "bernoulli":
        raise UserError(f"dataset={name} is real-valued, and its pixels have no {likelihood} likelihood; set model.likelihood=gaussian")
    if dataset.binarize != "none" or dataset.invert:
        wrong = "dataset.invert=true" if dataset.invert else f"dataset.binarize={dataset.binarize}"
        raise UserError(f"{wrong}: {name} is real-valued; leave out binarize and invert, and choose it by dataset={name}")


def chosen_loggers(given) -> list[str]:
    """logger=none, a name, or a list of names."""
    names = [] if given in (None, "none", "") else given if isinstance(given, list) else [given]
    for name in names:
        if name not in LOGGERS:
            raise UserError(f"logger={name}: {nearest(name, LOGGERS)} (allowed: none, {', '.join(LOGGERS)}, or several: logger=[csv,wandb])")
    return list(dict.fromkeys(names))


def check_masks(masks: list[str]) -> None:
    known = next(f.metadata["choices"] for f in fields(MetricsConfig) if f.name == "mask")
    for mask in masks:
        if mask not in known:
            raise UserError(f"masks: unknown mask {mask!r}; {nearest(mask, known)}")


def check_terms(config: TermsConfig) -> None:
    """What relates several keys of a network."""
    activations = {config.activation, *(p.activation for p in getattr(config, "populations", {}).values())}
    if config.derivative and "threshold" in activations:
        raise UserError("model.derivative=true: at rest the slope of activation threshold is 0, and no state would ever move; set it to false")
    if isinstance(config, GNCNConfig) and config.lateral.enabled:
        sizes = columns_per_layer(config)
        for layer, (units, column) in enumerate(zip(config.layers, sizes), start=1):
            if column < 1 or units % column:
                raise UserError(
                    f"model.layers: layer {layer} has {units} units, not divisible by its column size {column}; "
                    f"change model.layers or model.lateral.columns={list(sizes)}"
                )
    least = config.precision.shrinkage * config.precision.floor  # no eigenvalue of Sigma falls below it: see move_covariance
    if config.precision.kind == "published" and not (isinstance(config, GNCNConfig) and len(config.layers) == 1) and config.settle.beta >= 2 * least:
        raise UserError(
            f"model.precision: shrinkage * floor is {least:g}; it must be above beta / 2 = {config.settle.beta / 2:g}, or -beta e_l may overshoot"
        )


def columns_per_layer(config: GNCNConfig) -> list[int]:
    """Column sizes of layers 1..L: the list itself, or its one number for all."""
    columns, depth = config.lateral.columns, len(config.layers)
    if len(columns) == 1:
        return list(columns) * depth
    if len(columns) != depth:
        raise UserError(f"model.lateral.columns={columns}: {depth} layers need {depth} column sizes, or one for all")
    return list(columns)

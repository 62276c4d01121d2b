"""The config of a run that is made of another's: config=RUN/config.yaml, a new run with some keys changed, and resume=RUN, the same run, which goes on."""

import os
from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ncf.config.checks import build
from ncf.config.defaults import options
from ncf.config.idle import idle
from ncf.config.schema import TrainConfig
from ncf.errors import UserError
from ncf.runs.existing import stored_config
from ncf.runs.run import speak

GROUPS = ("model", "dataset", "optimizer", "metrics")


def with_its_model(arguments: list[str]) -> list[str]:
    """Overrides with ``model=`` of the run that config= or resume= names, unless they have one: so that Hydra knows the keys of that model."""
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    source = given.get("config") or given.get("resume")
    if source in (None, "null", "auto", "never") or "model" in given:
        return arguments
    read = stored_by if "config" in given else stored_config
    try:
        stored = read(Path(source.strip("'\"")).expanduser())
    except UserError:  # said where it is used
        return arguments
    name = option_of(stored or {}, "model")
    here = name in options("model") or any(argument.startswith(("--config-dir", "-cd")) for argument in arguments)
    return [*arguments, f"model={name}"] if name and here else arguments


def option_of(stored: dict, group: str) -> str | None:
    """The option of a group that a run was made of."""
    section = stored.get(group)
    return (stored.get("chosen") or {}).get(group) or (section.get("name") if isinstance(section, dict) else None)


def of_another(cfg: DictConfig, given: list[str]) -> TrainConfig | None:
    """What config= or resume= makes of another run and the overrides given; None where neither names one."""
    require_one_folder(cfg)
    if cfg.config is not None:
        path = Path(cfg.config).expanduser()
        stored = stored_by(path) | {"name": None, "run_dir": None, "output_dir": cfg.output_dir, "resume": "auto"}  # it is another run
        return build(changed(stored, cfg, given, f"config={path}"), TrainConfig)
    if cfg.resume in ("auto", "never", None):
        return None
    folder = Path(cfg.resume)
    found = stored_config(folder)
    if found is None:
        raise UserError(f"resume={folder}: no run is there (no config.yaml); expected auto, never or the folder of a run")
    found = changed(found, cfg, given, f"resume={folder}")
    found.run_dir, found.resume = str(folder), "auto"
    return build(found, TrainConfig)  # its science may not change: Run.open checks


def require_one_folder(cfg: DictConfig) -> None:
    """UserError where two keys name the folder of the run, or the run that it is made of."""
    resumed = None if cfg.resume in ("auto", "never", None) else cfg.resume
    named = f"name={cfg.name}" if cfg.name else f"run_dir={cfg.run_dir}" if cfg.run_dir else None
    if cfg.name and cfg.run_dir:
        raise UserError(f"name={cfg.name} and run_dir={cfg.run_dir} both name the run's folder; give one of them")
    if resumed and cfg.config is not None:
        raise UserError(f"config={cfg.config} and resume={resumed}: resume goes on with that run, config makes a new one; give one of them")
    if resumed and named and cfg.run_dir != resumed:
        raise UserError(
            f"{named} and resume={resumed}: resume goes on in that run's own folder; a run of another name starts from it by start_from={resumed}"
        )


def tell_idle(config: TrainConfig, given: Iterable[str]) -> None:
    """A line for each of these overrides that changes nothing (`ncf.config.idle`), by the first of the ranks alone."""
    if os.environ.get("RANK", "0") == "0":
        for line in idle(config, map(dotted, given)):
            speak(f"note: {line}")


def stored_by(path: Path) -> dict:
    """What config=PATH names: a run's config.yaml, or its folder."""
    try:
        read = OmegaConf.load(path / "config.yaml" if path.is_dir() else path)
        if not isinstance(read, DictConfig) or "${" in str(OmegaConf.to_container(read)).replace("${ncf.by_model:", ""):
            raise ValueError("it is no config.yaml that a run has written")
        stored = OmegaConf.to_container(read, resolve=True)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"config={path}: cannot be read ({getattr(error, 'strerror', None) or error}); give RUN/config.yaml") from error
    return stored


def changed(stored: dict, cfg: DictConfig, given: list[str], whose: str) -> DictConfig:
    """A run's stored config with what the overrides give on top: another option of a group in place of its section, single keys one by one."""
    config = OmegaConf.create(stored)
    for override in sorted(given, key=lambda override: dotted(override) not in GROUPS):  # an option first: single keys are changes to it
        key, value = dotted(override), override.partition("=")[2]
        if key == "experiment":
            raise UserError(f"{override} with {whose}: a run has its own config; give the single keys to change, e.g. epochs=")
        if override.startswith("~"):
            parent, _, name = key.rpartition(".")
            section = OmegaConf.select(config, parent) if parent else config
            if section is not None:
                section.pop(name, None)
        elif key not in GROUPS or value != option_of(stored, key):
            OmegaConf.update(config, key, OmegaConf.select(cfg, key), merge=key not in GROUPS)
            if key in GROUPS and key in (config.get("chosen") or {}):
                config.chosen[key] = value
    return config


def dotted(override: str) -> str:
    """The key that an override sets: ``+model/x@y=1`` -> ``model.x``."""
    return override.lstrip("+~").split("=", 1)[0].split("@")[0].replace("/", ".")

"""What the command line gives: flags and overrides checked before Hydra sees them, and its errors as one line with the nearest name."""

import argparse
import re
import shutil
from dataclasses import fields, is_dataclass
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ncf import plugins
from ncf.config import schema as config_schema
from ncf.config.checks import flat_keys, in_words
from ncf.config.keys import handle, meant, nearest_key
from ncf.config.schema import MODEL_FAMILIES, RENAMED, DatasetConfig, EvalConfig, MetricsConfig, SampleConfig, TrainConfig
from ncf.errors import UserError, nearest
from ncf.runs import memory

SCHEMAS = {"train": TrainConfig, "eval": EvalConfig, "sample": SampleConfig}
GROUPS = {"train": ("model", "dataset", "optimizer", "metrics", "experiment"), "eval": ("dataset", "metrics"), "sample": ("dataset",)}
NESTED = {"dataset": DatasetConfig, "metrics": MetricsConfig}  # groups that ncf-eval and ncf-sample may leave out


def known_keys(name: str) -> list[str]:
    """Every key that a command knows, dotted."""
    keys = flat_keys(SCHEMAS[name])
    if name == "train":
        return keys + [f"model.{key}" for family in MODEL_FAMILIES.values() for key in flat_keys(family)]
    return keys + [f"{group}.{key}" for group in GROUPS[name] for key in flat_keys(NESTED[group])]


def groups(name: str, *folders: str | None) -> dict[str, list[str]]:
    """Config groups of a command and their options, in ncf's folder and the user's own."""
    return {
        group: sorted(
            {path.stem for folder in folders if folder for path in (Path(folder) / group).glob("*.yaml")}
            | (set(plugins.DATASETS) if group == "dataset" else set())
        )
        for group in GROUPS[name]
    }


# --- errors -----------------------------------------------------------------------------------------------------------


def explain(error: BaseException, name: str, configs: str) -> str | None:
    """One line for an error that a user can cause; None for a bug of ours."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return " ".join(explain_hydra(error, name, configs).split())
    if isinstance(error, YAMLError):  # a config file of the user's own
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename}" if error.filename else str(error.strerror or error)
    if isinstance(error, ValueError) and raised_in(error) in ("hydra", "omegaconf"):  # e.g. model=null
        return f"cannot use these overrides: {error}"
    if memory.ran_out(error):
        return memory.explain(error)
    return None


def raised_in(error: BaseException) -> str:
    """The package whose code raised an error."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    return frame.tb_frame.f_globals.get("__name__", "").split(".")[0] if frame else ""


def flags_first(name: str, arguments: list[str]) -> list[str]:
    """The same arguments with the flags before the overrides, where Hydra's parser takes them. An unknown flag is a UserError."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.exit_on_error = parser.allow_abbrev = False
    known = {flag: action for action in parser._actions for flag in action.option_strings} | {"--version": None}
    flags, overrides, rest = [], [], list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        action = known.get(argument)
        if action is not None and action.nargs is None and rest:  # its value stands beside it, and may look like an override
            argument = f"{argument}={rest.pop(0)}"
        flags.append(argument)
    try:
        _, unknown = parser.parse_known_args([flag for flag in flags if flag not in ("-h", "--help", "--version")])
    except (argparse.ArgumentError, SystemExit) as error:
        raise UserError(f"{error}; --help lists the flags") from error
    if unknown:
        word, _, value = unknown[0].partition("=")
        if keys := meant(word.lstrip("-"), known_keys(name)):
            raise UserError(f"unknown flag {word!r}: keys are written without dashes, {keys[0]}={value or 'VALUE'}")
        raise UserError(f"unknown flag {word!r}; {nearest(word, known)}")
    return flags + overrides


def config_dir_of(arguments: list[str]) -> str | None:
    """The folder that --config-dir (or -cd) names."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser().parse_known_args([a for a in arguments if a not in ("-h", "--help", "--version")])[0].config_dir


def renamed(arguments: list[str]) -> list[str]:
    """Overrides with the keys of 0.1 under their names now."""

    def now(argument: str) -> str:
        key = argument.split("=", 1)[0]
        for old, new in RENAMED.items():
            if key == old or key.startswith(f"{old}."):
                return new + argument.removeprefix(old)
        return argument

    return [now(argument) for argument in arguments]


def require_fitting(name: str, arguments: list[str]) -> None:
    """UserError for a value of the wrong kind, with what to type in its place: Hydra would speak of its own classes."""
    keys = key_fields(name)
    for key, value in (argument.lstrip("+").split("=", 1) for argument in arguments if "=" in argument and argument[0] not in "-~="):
        if value[:1] in ("{", "$") or "(" in value:
            continue
        f = keys.get(key)
        if f is None:
            section = key not in GROUPS[name] and any(known.startswith(f"{key}.") for known in keys)
            if section and value not in ("", "null"):
                chosen = handle(key, list(keys))
                inner = ", ".join(known for known in keys if known.startswith(f"{key}."))
                raise UserError(f"{key}={value}: {key} has keys of its own; " + (f"{chosen}={value}?" if chosen else f"set one of {inner}"))
        elif str(f.type).startswith("list") and value[:1] not in ("[", "'", '"'):
            raise UserError(f"{key}={value}: takes a list, write '{key}=[{value}]'")
        elif str(f.type).split(" ")[0] in ("<class", "str", "int", "float") and value[:1] == "[":
            several = f"--multirun {key}={value.strip('[]')} makes a run of each" if name == "train" else "run the command once for each"
            raise UserError(f"{key}={value}: takes one value; {several}")


def key_fields(name: str) -> dict:
    """Every key of a command that holds a value: dotted name -> its field."""

    def leaves(schema: type, prefix: str) -> dict:
        found = {}
        for f in fields(schema):
            inner = f.default_factory
            found |= leaves(inner, f"{prefix}{f.name}.") if is_dataclass(inner) else {prefix + f.name: f}
        return found

    found = leaves(SCHEMAS[name], "")
    if name == "train":
        found.pop("model")
        for family in reversed(MODEL_FAMILIES.values()):
            found |= leaves(family, "model.")
    return found


EXTRAS = {"optuna": "optuna", "joblib": "joblib", "submitit_slurm": "slurm", "submitit_local": "slurm"}  # hydra/sweeper= or launcher= -> extra


def require_plugins(arguments: list[str], multirun: bool) -> None:
    """UserError where a sweeper or launcher is not installed, or would not be used."""
    from hydra.core.plugins import Plugins
    from hydra.plugins.launcher import Launcher
    from hydra.plugins.sweeper import Sweeper

    for argument in arguments:
        key, _, value = argument.lstrip("+").partition("=")
        if key not in ("hydra/sweeper", "hydra/launcher") or value == "basic":
            continue
        if not multirun:
            raise UserError(f"{argument}: is for sweeps; add --multirun")
        base = Sweeper if key.endswith("sweeper") else Launcher
        modules = " ".join(plugin.__module__ for plugin in Plugins.instance().discover(base))
        if value in EXTRAS and value.split("_")[0] not in modules:
            raise UserError(f"{argument}: not installed; pip install 'ncf[{EXTRAS[value]}]'")
        if value == "submitit_slurm" and not shutil.which("srun"):
            raise UserError(
                f"{argument}: there is no srun on the PATH; run this on a login node of the cluster, or try it here with hydra/launcher=submitit_local"
            )


def explain_option(group: str, option: str, options: list[str]) -> str:
    """Of an option that a group does not have."""
    from ncf.measure.metrics import METRICS

    if group == "metrics" and option in METRICS:
        return f"metrics={option}: metrics= chooses a list of them ({', '.join(options)}); a single one is written 'metrics.names=[{option}]'"
    hint, listed = nearest(option, options), f"{group}: {', '.join(options)}"
    plugin = " or a plugin in FOLDER/plugin.py" if group == "dataset" else ""
    own = f"one of your own is a file FOLDER/{group}/{option}.yaml{plugin}, with --config-dir=FOLDER"
    return f"{group}={option}: unknown; " + (f"{hint} ({listed})" if hint.startswith("did") else f"{own} ({listed})")


def explain_hydra(error: Exception, name: str, configs: str) -> str:
    text = str(error)
    if isinstance(error, MissingConfigException):
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        options = [o for o in error.options or [] if not o.endswith("_schema")]
        if group and options:
            return explain_option(group, option, options)
        return text.splitlines()[0]
    if isinstance(error, OverrideParseException):
        if name != "train" and Path(error.override).exists():
            return f"{error.override}: write checkpoint={error.override}"
        return f"cannot read {error.override!r}: expected key=value, e.g. seed=1 or 'metrics.names=[bce,tod]' (quote brackets and spaces; texts with spaces or arrows in a list once more: 'key=[\"a -> b\"]')"
    ambiguous = re.search(r"Ambiguous value for argument '(.*?)'", text)
    if ambiguous:
        several = "several values make a sweep, add --multirun" if name == "train" else "run the command once for each value"
        return f"{ambiguous[1]}: {several}; a list is written 'key=[a,b]'"
    added = re.search(r"Could not append.*An item is already at '(.*?)'", text)
    if added:
        return f"+{added[1]}: the key is there already; leave out the +"
    unmatched = re.search(r"Could not (?:override|append|delete).*?'(?:\+|~)?(.*?)'", text)
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    full_key = getattr(cause, "full_key", None)
    if type(cause).__name__ in ("ConfigKeyError", "ConfigAttributeError") or (unmatched and cause is error):
        key = (unmatched[1] if unmatched else full_key or "").split("@")[0].replace("/", ".")
        known = [*known_keys(name), *groups(name, configs)]
        if key in known:  # ncf-eval: a key of a group that was not chosen; ncf-train: one that the chosen option does not have
            group = key.split(".")[0]
            return (
                f"{key} needs {group}=NAME as well"
                if name != "train"
                else f"{key}: the chosen {group} has no such key; {group}=NAME --help lists those it has"
            )
        owner = next((other for other in SCHEMAS if other != name and key in known_keys(other)), None)
        theirs = f" (it is a key of ncf-{owner})" if owner else ""
        if owner and not meant(key.split(".")[-1], known):
            return f"unknown key {key!r}: it is a key of ncf-{owner}, which ncf-{name} does not have"
        return f"unknown key {key!r}{theirs}: {nearest_key(key, known)}"
    own = re.search(r"Key '(\w+)' not in '(\w+)'", text)
    experiment = re.match(r"In 'experiment/([\w-]+)'", text)
    family = own and own[2] in {schema.__name__ for schema in MODEL_FAMILIES.values()}
    if own and family and experiment and any(own[1] in flat_keys(other) for other in MODEL_FAMILIES.values()):
        return f"experiment={experiment[1]} sets model.{own[1]}, which the chosen model does not have: it is for networks of another kind"
    if own and hasattr(config_schema, own[2]):
        return f"unknown key {own[1]!r} in {text.split(':')[0].removeprefix('In ')}; {nearest(own[1], [f.name for f in fields(getattr(config_schema, own[2]))])}"
    lines = str(getattr(cause, "msg", None) or cause).splitlines()
    detail = " ".join(line for line in lines if line.split("=")[0].split(":")[0].strip() not in ("full_key", "object_type", "reference_type"))
    named = re.search(r"full_key: (\S+)", text)
    full_key = full_key or (named[1] if named else None)
    where, _, what = detail.rpartition(" raised while composing config: ")
    place = re.sub(r"In '(.*)': \w+", r"\1.yaml: ", where)
    return place + (f"{full_key}: {in_words(what)}" if full_key else in_words(what))

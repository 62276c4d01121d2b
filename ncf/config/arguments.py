"""The command line rewritten for Hydra: overrides in one text are parted, paths and names quoted, and a sweep takes all that a single run takes."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override

from ncf.config.schema import configs_folder
from ncf.errors import UserError

PATHS = {
    "config",
    "checkpoint",
    "resume",
    "start_from",
    "run_dir",
    "output",
    "output_dir",
    "data_dir",
    "dataset.path",
    "reader",
    "metrics.reader",
    "hydra.sweep.dir",
    "hydra.run.dir",
}
SWEPT_NAMES = {"dataset.path", "dataset.folder", "dataset.mirror", "model.name"}  # in a sweep, a comma between them parts two values
GROUPS = ("model", "dataset", "optimizer", "metrics", "experiment")


def quoted(value: str) -> str:
    """A text as Hydra's grammar of overrides reads it back, whatever is in it."""
    return "'" + re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), value) + "'"


def parted(text: str) -> list[str]:
    """The overrides that stand in one text: apart at blanks, but for those within brackets and quotes. A quote opens where a value or an element begins."""
    found, depth, quote, before = [""], 0, "", " "
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and (before.isspace() or before in "=[{(,:"):
            quote = char
        else:
            depth += (char in "[{(") - (char in ")}]")
        if char.isspace() and not quote and depth <= 0:
            found.append("")
        else:
            found[-1] += char
        before = char
    return [word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"" else word for word in found if word]


def quote_paths(arguments: Sequence[str], sweep: bool = False) -> list[str]:
    """Paths and names as texts: a sweep's job folder (``seed=0,model=b``) is no expression of that grammar."""
    return [quote_path(argument, sweep) for argument in arguments]


def quote_path(argument: str, sweep: bool) -> str:
    key, _, value = argument.partition("=")
    name = key.lstrip("+")
    is_text = len(value) > 1 and value[0] in "'\"" and value[-1] == value[0]
    if name not in {"name"} | PATHS | SWEPT_NAMES or not value or value == "null" or is_text or "${" in value:
        return argument
    home = at_home if name in PATHS else str
    if sweep and name in SWEPT_NAMES:
        if re.fullmatch(r"(choice|shuffle|sort|tag)\(.*\)", value):
            return argument
        if "," in value and not Path(value).exists():
            return f"{key}={','.join(quoted(home(part)) for part in value.split(','))}"
    return f"{key}={quoted(home(value))}"


def at_home(path: str) -> str:
    """``~/x`` as a shell would expand it, which it does not after ``output_dir=``."""
    expanded = os.path.expanduser(path)
    if expanded == path and re.match(r"~(/|$)", path):
        raise UserError(f"{path}: there is no home folder here (HOME is not set); give the whole path")
    return expanded


def of_sweep(arguments: list[str]) -> list[str]:
    """Globs as the options that they stand for; keys of a swept group (``model=gvae_cv,rae model.refills=3``) as keys of its jobs.

    Hydra composes the sweep's own config with the group's default, which may not have such a key.
    """
    given = get_args_parser().parse_args(arguments)
    overrides = OverridesParser.create().parse_overrides(given.overrides)
    groups = {o.key_or_group for o in overrides if o.is_sweep_override()} & set(GROUPS)
    changed = {o.input_line: expanded(o, given.config_dir) for o in overrides if isinstance(o.value(), Glob)}
    for o in overrides:
        group, dot, _ = o.key_or_group.partition(".")
        if groups and dot and group in GROUPS and not o.is_sweep_override() and not o.is_delete():
            changed[o.input_line] = f"{o.get_key_element()}=choice({o.get_value_string()})"
    return [changed.get(argument, argument) for argument in arguments]


def expanded(override: Override, config_dir: str | None) -> str:
    group = override.key_or_group
    folders = [Path(folder) / group for folder in (configs_folder(), config_dir) if folder]
    options = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    if not options:
        raise UserError(f"{override.input_line}: glob() stands for the options of a group, and {group} is none; a sweep's values are listed, a,b")
    found = override.value().filter(options)
    if not found:
        raise UserError(f"{override.input_line}: there is no such option ({group}: {', '.join(options)})")
    return f"{group}={','.join(found)}"

"""The text of --help: usage, groups with their options, and every key with its value, its range and its line of help."""

from dataclasses import fields, is_dataclass

from omegaconf import OmegaConf

from ncf.config.compose import composed
from ncf.config.overrides import NESTED, SCHEMAS, groups
from ncf.config.schema import MODEL_FAMILIES

USAGE = {
    "train": """ncf-train: train a network by settling and local updates, and report.

usage: ncf-train [group=option ...] [key=value ...]
       ncf-train model=gncn_t1_sigma dataset=mnist epochs=20 seed=1 model.settle.steps=30
       ncf-train --multirun model=gncn_t1,gncn_pdh seed=0,1,2
       ncf-train resume=FOLDER""",
    "eval": """ncf-eval: measure a checkpoint.

usage: ncf-eval checkpoint=PATH [dataset=...] [split=test] [metrics=...]""",
    "sample": """ncf-sample: draw images from a checkpoint, each with its nearest training image, and complete test images.

usage: ncf-sample checkpoint=PATH [n=100] [prior=own|fitted] [masks=[left,random]]""",
}


def help_text(name: str, arguments: list[str], configs: str) -> str:
    """Usage, groups with their options, and every key with its value under the given overrides, its range and its line of help."""
    from hydra._internal.utils import get_args_parser

    parsed = get_args_parser().parse_args([a for a in arguments if a not in ("-h", "--help", "--version")])
    given, own = parsed.overrides, parsed.config_dir
    cfg = OmegaConf.to_container(composed(name, given, own), resolve=True)
    lines = [USAGE[name], "", "groups:"]
    lines += [
        f"  {group + '=':<14}{' | '.join(options) or 'your own, with --config-dir=FOLDER'}" for group, options in groups(name, configs, own).items()
    ]
    lines += ["", "keys and their values" + (f" under {' '.join(given)}:" if given else ":")]
    schema = SCHEMAS[name]
    nested = {"model": MODEL_FAMILIES.get((cfg.get("model") or {}).get("family"))} if name == "train" else NESTED
    lines += key_lines(schema, cfg, nested)
    sweeps = "--multirun (sweep over comma-separated values), " if name == "train" else ""
    lines += ["", f"flags: {sweeps}--cfg job (print the config), --config-dir=FOLDER (your own groups), --version"]
    return "\n".join(lines)


def key_lines(schema: type, values: dict | None, nested: dict[str, type | None], prefix: str = "") -> list[str]:
    plain, sections = [], []
    for f in fields(schema):
        value = (values or {}).get(f.name)
        inner = f.default_factory if is_dataclass(f.default_factory) else nested.get(f.name)
        if inner is not None:
            sections += ["", f"  {prefix}{f.name}: {f.metadata['help']}", *key_lines(inner, value, {}, f"{prefix}{f.name}.")]
            continue
        if f.metadata.get("recorded"):
            continue
        if "each" in f.metadata and value:
            for entry, terms in value.items():
                plain += [f"    {prefix}{f.name}.{entry}.{key}={term}" for key, term in (terms or {}).items() if term not in (None, 0)]
            continue
        shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")
        line = f"    {prefix + f.name + '=' + shown:<42} {f.metadata['help']}"
        bounds = range_words(f.metadata)
        plain.append(line + (f" [{bounds}]" if bounds and bounds not in line else ""))
    return plain + sections


def range_words(rule) -> str:
    if "choices" in rule:
        return " | ".join(rule["choices"])
    words = {"least": ">= {}", "above": "> {}", "most": "<= {}"}
    return ", ".join(text.format(rule[name]) for name, text in words.items() if name in rule)

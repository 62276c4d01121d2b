"""Keys that were given and change nothing, because of what a key beside them is: a sweep over one would draw a curve of nothing."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from ncf.config.defaults import override_text
from ncf.config.schema import CircuitConfig, TrainConfig

OF_POPULATIONS = ("model.prior", "model.precision", "model.threshold")  # populations of a circuit may choose these for themselves


def idle(config: TrainConfig, given: Iterable[str]) -> list[str]:
    """A line for each of these dotted keys without effect: which key stands in its way, and what it would have to be."""
    return [line for key in given if (line := why_idle(config, key))]


def why_idle(config: TrainConfig, key: str) -> str | None:
    *sections, name = key.split(".")
    node: Any = config
    for section in sections:
        node = getattr(node, section, None)
    when = next((f.metadata.get("when") for f in fields(node) if f.name == name), None) if hasattr(node, "__dataclass_fields__") else None
    if when is None or (isinstance(config.model, CircuitConfig) and key.startswith(OF_POPULATIONS)):
        return None
    other, wanted = when.replace("!", "").split("=")
    value, beside = override_text(getattr(node, other)), ".".join([*sections, other])
    if (value in wanted.split("|")) is ("!=" not in when):
        return None
    choices = next(f.metadata.get("choices", ()) for f in fields(node) if f.name == other)
    options = [option for option in choices if option != wanted] if "!=" in when else wanted.split("|")
    mend = f"{beside}={' or '.join(options)}" if options else f"another {beside}"
    return f"{key} changes nothing beside {beside}={value}; it needs {mend}"

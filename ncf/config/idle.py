"""Keys that were given and change nothing, because of what a key beside them is: a sweep over one would draw a curve of nothing."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from ncf import plugins
from ncf.config.defaults import override_text
from ncf.config.schema import CircuitConfig, TrainConfig

OF_POPULATIONS = ("model.prior", "model.precision", "model.threshold")  # populations of a circuit may choose these for themselves


def idle(config: TrainConfig, given: Iterable[str]) -> list[str]:
    """A line for each of these dotted keys without effect: which key stands in its way, and what it would have to be."""
    return [line for key in dict.fromkeys(given) if (line := why_idle(config, key))]


def why_idle(config: TrainConfig, key: str) -> str | None:
    *sections, name = key.split(".")
    node: Any = config
    for section in sections:
        node = getattr(node, section, None)
    beside = {f.name: f for f in fields(node)} if hasattr(node, "__dataclass_fields__") else {}
    when = beside[name].metadata.get("when") if name in beside else None
    by_plugin = sections == ["dataset"] and config.dataset.name in plugins.DATASETS  # its reader may make anything of them
    if when is None or by_plugin or (isinstance(config.model, CircuitConfig) and key.startswith(OF_POPULATIONS)):
        return None
    stands, needs = [], []
    for condition in when.split(" or "):
        other, wanted = condition.replace("!", "").split("=")
        value, negated, there = override_text(getattr(node, other)), "!=" in condition, ".".join([*sections, other])
        if (value in wanted.split("|")) is not negated:
            return None
        allowed = [c for c in beside[other].metadata.get("choices", ()) if c != wanted] if negated else wanted.split("|")
        stands.append(f"{there}={value}")
        needs.append(f"{there}={' or '.join(allowed)}" if allowed else f"{there} other than {wanted}")
    return f"{key} changes nothing beside {' and '.join(stands)}; it needs {' or '.join(needs)}"

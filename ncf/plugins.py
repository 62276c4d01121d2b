"""Datasets, metrics, activations, likelihoods and model families from outside: a Python file in --config-dir, or a package with an entry point in the group ``ncf``.

    # mine/plugin.py                                       ncf-train --config-dir=mine dataset=stripes metrics.names=[bce,brightness]
    from ncf import plugins

    @plugins.dataset("stripes")
    def stripes(config, folder):
        return {"train": (images, labels)}                 # (N, H, W) in [0, 1] or bytes; and "validation", "test" where there are any

    @plugins.metric("brightness", unit="per image", meaning="Mean of the reconstruction's pixels.")
    def brightness(subject):
        return subject.network.settle(subject.x).mu[0].mean(1)   # a value per image

What a checkpoint names is never imported: only the folder on the command line and installed packages are.
"""

import importlib.util
import json
import os
import sys
import zlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from ncf.errors import UserError

GROUP = "ncf"
DATASETS: dict[str, Callable] = {}
loaded: set[str] = set()


def dataset(name: str) -> Callable:
    """Register a reader: (config, data folder) -> split name -> (images, labels or None)."""

    def register(reader: Callable) -> Callable:
        from hydra.core.config_store import ConfigStore

        from ncf.config.schema import DatasetConfig
        from ncf.data.readers import READERS

        refuse(name in READERS, "dataset", name)
        DATASETS[name] = reader
        ConfigStore.instance().store(group="dataset", name=name, node=DatasetConfig(name=name))
        return reader

    return register


def metric(name: str, unit: str, meaning: str, label: str | None = None, needs: str | None = None, higher: bool = False) -> Callable:
    """Register a metric: a subject (model, images, settings) -> a value per image, or a dict with value, n and stderr."""

    def register(function: Callable) -> Callable:
        from ncf.measure.metrics import METRICS, Metric

        def figure(subject) -> dict:
            return guarded(f"metric {name}", lambda: as_figure(f"plugin metric {name}", function(subject), subject.x))

        refuse(name in METRICS and name not in registered, "metric", name)
        registered.add(name)
        METRICS[name] = Metric(label or name, unit, figure, meaning, needs, higher)
        return function

    return register


registered: set[str] = set()


def as_figure(who: str, found, x) -> dict:
    """What a metric has found on images x, fit for tables and summary.json; an exception where it is not."""
    import numpy as np
    import torch

    from ncf.measure.subject import PER_IMAGE, summarize

    if not isinstance(found, dict):
        shape = tuple(np.shape(found))
        if shape != (len(x),):
            raise UserError(f"{who}: gave values of shape {shape}; expected one for each of the {len(x)} images, or a dict")
        return summarize(torch.as_tensor(found, device=x.device))
    kinds = {"value": (int, float), "n": int, "stderr": (int, float, type(None))}
    unfit = [key for key, kind in kinds.items() if not isinstance(found.get(key, ...), kind)]
    if unfit:
        raise UserError(
            f"{who}: gave a dict without a plain number as {', '.join(unfit)}; expected value (float), n (int) and stderr (float or None)"
        )
    json.dumps({key: entry for key, entry in found.items() if key != PER_IMAGE})
    return found


def activation(name: str, slope: Callable, silent: bool = True) -> Callable:
    """Register phi or g, a function of a tensor: model.activation=NAME, model.prediction=NAME.

    `slope(z, f)` is phi'(z), f = phi(z) being known; `silent` says that phi(0) = 0. Networks with it settle by the plain equations in
    float32, without compiled steps.
    """

    def register(function: Callable) -> Callable:
        from ncf.config.schema import ACTIVATIONS as NAMES
        from ncf.network.activations import ACTIVATIONS, Activation

        refuse(name in ACTIVATIONS, "activation", name)
        ACTIVATIONS[name] = Activation(name, lambda z, out: function(z) if out is None else out.copy_(function(z)), slope, silent)
        NAMES.append(name)
        return function

    return register


def likelihood(made) -> None:
    """Register an `ncf.network.likelihoods.Likelihood` for images: model.likelihood=NAME."""
    from ncf.config.schema import IMAGE_LIKELIHOODS
    from ncf.network.likelihoods import LIKELIHOODS

    refuse(made.name in LIKELIHOODS, "likelihood", made.name)
    LIKELIHOODS[made.name] = made
    IMAGE_LIKELIHOODS.append(made.name)


def family(name: str, schema: type) -> Callable:
    """Register a family of models: its config, a dataclass with `family` and `name`, and what builds one: (config, seen, rng, device) -> `Model`.

    A YAML file in the folder's model/ begins with ``defaults: [NAME_schema, _self_]``.
    """

    def register(build: Callable) -> Callable:
        from hydra.core.config_store import ConfigStore

        from ncf.config.schema import MODEL_FAMILIES
        from ncf.models import FAMILIES

        refuse(name in FAMILIES, "model family", name)
        MODEL_FAMILIES[name] = schema
        FAMILIES[name] = lambda config, seen, rng, device: build(config.model, seen, rng, device)
        ConfigStore.instance().store(group="model", name=f"{name}_schema", node=schema)
        return build

    return register


def refuse(taken: bool, what: str, name: str) -> None:
    if taken:
        raise UserError(f"plugin: {'an' if what[0] in 'aeiou' else 'a'} {what} named {name!r} is ncf's own; choose another name")


def load(config_dir: str | Path | None = None) -> None:
    """Import the plugins of installed packages and the Python files of a folder, each once. Raises UserError for one that fails."""
    for entry in metadata.entry_points(group=GROUP):
        once(f"{entry.name} ({entry.value})", entry.load)
    if config_dir and not Path(config_dir).is_dir():
        raise UserError(f"--config-dir={config_dir}: no such folder")
    if (
        config_dir
        and not any(Path(config_dir).glob("*.py"))
        and Path(config_dir).resolve().name in ("model", "dataset", "optimizer", "metrics", "experiment")
    ):
        raise UserError(f"--config-dir={config_dir}: give the folder that holds it, --config-dir={Path(config_dir).parent}")
    if config_dir:
        for path in sorted(Path(config_dir).resolve().glob("*.py")):
            once(str(path), lambda path=path: import_file(path))


def once(name: str, action: Callable) -> None:
    if name not in loaded:
        guarded(name, action)
        loaded.add(name)


def guarded(name: str, action: Callable):
    """What somebody else's code gives; whatever it raises is one line (HYDRA_FULL_ERROR=1 shows where)."""
    try:
        return action()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"plugin {name}: {type(error).__name__}: {error}") from error


def import_file(path: Path) -> None:
    name = f"ncf_plugin_{path.stem}_{zlib.crc32(os.fsencode(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)

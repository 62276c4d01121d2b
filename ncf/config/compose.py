"""The one place that composes a config outside Hydra's own run of a command."""

import os
from collections.abc import Sequence

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from ncf.config.arguments import quote_paths, quoted
from ncf.config.checks import build
from ncf.config.schema import TrainConfig, configs_folder, register_schemas

register_schemas()  # for Hydra's own run of a command too


def by_model(values: dict, otherwise, *, _root_: DictConfig):
    """``${ncf.by_model:{gncn_t1: none}, published}``: what an experiment sets for the models it names, and for all others."""
    return values.get(_root_.model.name, otherwise)


OmegaConf.register_new_resolver("ncf.by_model", by_model, replace=True)


def composed(name: str, overrides: Sequence[str] = (), config_dir: str | None = None, return_hydra_config: bool = False) -> DictConfig:
    """What `ncf-NAME OVERRIDES` composes, unchecked; `config_dir` is a folder with groups of the user's own."""
    more = [f"hydra.searchpath=[{quoted('file://' + os.path.abspath(config_dir))}]"] if config_dir else []
    around = GlobalHydra.instance()
    running, around.hydra = around.hydra, None  # a report composes inside Hydra's own run of the command
    try:
        with initialize_config_dir(config_dir=configs_folder(), version_base="1.3"):
            return hydra_compose(name, overrides=[*more, *quote_paths(overrides)], return_hydra_config=return_hydra_config)
    finally:
        around.hydra = running


def compose_train(*overrides: str, config_dir: str | None = None) -> TrainConfig:
    """The checked config of ``ncf-train OVERRIDES``."""
    return build(composed("train", overrides, config_dir), TrainConfig)

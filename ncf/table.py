"""The rows of the comparison, configs/table.yaml: what each sets, tries and aims at."""

from pathlib import Path

import yaml

from ncf.checks import build
from ncf.config import TrainConfig, configs_folder, register_schemas
from ncf.errors import UserError

DATASETS = {"digits": "Digits", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST", "caltech101_silhouettes": "CalTech-101 Silhouettes"}


def read_table() -> dict[str, dict]:
    """Row name -> model, sets, sets_for, grid, choose_by, aim, targets, remark."""
    return yaml.safe_load((Path(configs_folder()) / "table.yaml").read_text())["rows"]


def settings(row: dict, dataset: str) -> list[str]:
    """What a row sets on a dataset."""
    return [*row.get("sets", []), *row.get("sets_for", {}).get(dataset, [])]


def composed(dataset: str, model: str | None, overrides: list[str]):
    """The config of a run of the table with further overrides."""
    from hydra import compose, initialize_config_dir

    register_schemas()
    with initialize_config_dir(config_dir=configs_folder(), version_base="1.3"):
        return build(compose("train", overrides=[f"experiment=table_{dataset}", *([f"model={model}"] if model else []), *overrides]), TrainConfig)


def is_set(found: list[str], row: dict | None, dataset: str) -> bool:
    """Whether a row's runs on a dataset are what --tune found: the same config, its defaults with it."""
    from hydra.errors import HydraException

    try:
        return row is not None and composed(dataset, row["model"], found) == composed(dataset, row["model"], settings(row, dataset))
    except (HydraException, UserError):  # a key or a value that there is no more
        return False


def deciders(choose_by: str | list[str]) -> list[str]:
    return choose_by if isinstance(choose_by, list) else [choose_by]


def deciding(row: dict) -> str:
    choose_by = row.get("choose_by", "–")
    by = f"geometric mean of {', '.join(choose_by)}" if isinstance(choose_by, list) else choose_by
    aim = ", ".join(f"{metric} at most {most}" for metric, most in row.get("aim", {}).items())
    return f"{by}, of those with {aim} if there are any" if aim else by

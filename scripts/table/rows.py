"""The rows of the comparison, rows.yaml: what each sets, tries and aims at."""

from pathlib import Path

import yaml

from ncf.config.compose import compose_train
from ncf.config.schema import TrainConfig
from ncf.errors import UserError
from ncf.report.names import METHODS, method

DATASETS = {
    "digits": "Digits",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "caltech101_silhouettes": "CalTech-101 Silhouettes",
}
SIZES = {
    "digits": (64, 10),
    "mnist": (784, 10),
    "fashion_mnist": (784, 10),
    "kmnist": (784, 10),
    "caltech101_silhouettes": (784, 101),
}  # pixels, classes

AUTOENCODERS = ("rae", "gvae", "gvae_cv", "gan_ae")
SUFFIXES = {
    "tuned": "tuned",
    "sgd": "default (SGD)",
    "cooled": "cooled down",
    "last": "with learning in the last phase",
    "prior": "with a prior that learns",
    "published": "published protocol",
    "wide": "1.4 million synapses",
    "narrow": "few latents",
    "many": "360 latents",
    "dropout": "with dropout",
    "850": "850-850 units, with dropout",
}


def read_table() -> dict[str, dict]:
    """Row name -> model, experiment (table without it), after (the row whose run it takes up), fixed, sets, sets_for, only (datasets; all without it), grid, choose_by, aim, targets, remark."""
    return yaml.safe_load(Path(__file__).with_name("rows.yaml").read_text())["rows"]


def row_title(name: str) -> str:
    """A row as people write it: its method, and what sets it apart."""
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(f"_{suffix}")), None)
    if suffix is None:
        return f"{method(name)}, released" if name.startswith("gncn_") and name in METHODS else method(name)
    return f"{method(name.removesuffix(f'_{suffix}'))}, {SUFFIXES[suffix]}"


def experiment(row: dict, dataset: str) -> str:
    """What the runs of a row share with others: the table's protocol, or the row's own."""
    return f"experiment={row.get('experiment', 'table')}_{dataset}"


def settings(row: dict, dataset: str) -> list[str]:
    """What a row sets on a dataset."""
    return [*row.get("fixed", []), *row.get("sets", []), *row.get("sets_for", {}).get(dataset, [])]


def is_for(row: dict, dataset: str) -> bool:
    return dataset in row.get("only", [dataset])


def composed(dataset: str, row: dict, overrides: list[str]) -> TrainConfig:
    """The config of a run of a row with these overrides."""
    return compose_train(experiment(row, dataset), f"model={row['model']}", *overrides)


def is_set(found: list[str], row: dict | None, dataset: str) -> bool:
    """Whether a row's runs on a dataset are what --tune found: the same config, its defaults with it."""
    from hydra.errors import HydraException

    try:
        if row is None:
            return False
        found = [*(setting for setting in row.get("fixed", []) if setting not in found), *found]  # older grids did not name it
        return composed(dataset, row, found) == composed(dataset, row, settings(row, dataset))
    except (HydraException, UserError):  # a key or a value that there is no more
        return False


def deciders(choose_by: str | list[str]) -> list[str]:
    return choose_by if isinstance(choose_by, list) else [choose_by]


def deciding(row: dict) -> str:
    choose_by = row.get("choose_by", "–")
    by = f"geometric mean of {', '.join(choose_by)}" if isinstance(choose_by, list) else choose_by
    aim = ", ".join(f"{metric} at most {most}" for metric, most in row.get("aim", {}).items())
    return f"{by}, of those with {aim} if there are any" if aim else by

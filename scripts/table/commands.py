"""The commands of the comparison: what trains a run, what measures it later, and how they are run."""

import argparse
import subprocess
import sys
from math import ceil
from pathlib import Path

from table import cells as results
from table.rows import DATASETS, composed, experiment, settings

from ncf.config.compose import compose_train

READER = "relu_classifier"
CURVE_UPDATES = 2000  # at least so many, however few the images


def run(command: list[str]) -> bool:
    """Run an installed command; false if it failed (it has said why). Stopped by a signal, it stops us too."""
    status = subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]]).returncode
    if status in (130, 143):
        raise KeyboardInterrupt
    return status == 0


def train_command(dataset: str, row: dict, seed: int, folder: Path, arguments: argparse.Namespace, n_train: int | None = None) -> list[str]:
    epochs = [f"epochs={arguments.epochs}"] if arguments.epochs else []
    if epochs and any(setting.startswith("optimizer.cooldown=") for setting in settings(row, dataset)):
        epochs.append(f"optimizer.cooldown={arguments.epochs}")
    if n_train:
        shared = composed(dataset, row, settings(row, dataset))
        usual = arguments.epochs or shared.epochs
        needed = ceil(CURVE_UPDATES / ceil(n_train / shared.batch_size))
        if needed > usual:  # few images make short epochs: more of them, and validation twenty times
            epochs = [f"epochs={needed}", f"validate_every={max(1, needed // 20)}"]
        epochs.append(f"dataset.n_train={n_train}")
    made = [experiment(row, dataset), f"model={row['model']}", f"seed={seed}", *settings(row, dataset), *epochs]
    return ["ncf-train", *made, *given(dataset, arguments), f"run_dir={folder}"]


def eval_command(dataset: str, folder: Path, metrics: str, arguments: argparse.Namespace, settles: bool) -> list[str]:
    kept = [s for s in given(dataset, arguments) if s.split("=")[0] in ("threads", "device", "data_dir") or s.startswith("metrics.")]
    return [
        "ncf-eval",
        f"checkpoint={folder}",
        *results.LATER[metrics],
        *([f"metrics.annealing.images={arguments.annealed}"] if metrics == "density" and arguments.annealed else []),
        *(["metrics.mixture.final_steps=30"] if metrics == "refit" and settles else []),
        *([f"metrics.reader={reader_of(dataset, arguments)}"] if metrics == "samples" else []),
        "metrics.cache=false",
        "split=test",
        *kept,
        f"output={folder / metrics}.json",
    ]


def reader_of(dataset: str, arguments: argparse.Namespace) -> Path:
    """The run of the classifier whose features samples are compared by."""
    return arguments.output / dataset / READER / "seed0"


def given(dataset: str, arguments: argparse.Namespace) -> list[str]:
    """The overrides of --set that are for this dataset: DATASET:KEY=VALUE for one, KEY=VALUE for all."""
    split = [(s.partition(":") if s.partition(":")[0] in DATASETS else (dataset, "", s)) for s in arguments.set]
    return [setting for whose, _, setting in split if whose == dataset]


def training_images(dataset: str, arguments: argparse.Namespace) -> int:
    """How many a run on the dataset has beside its validation split."""
    from ncf.data import datasets

    config = compose_train(f"experiment=table_{dataset}", *given(dataset, arguments))
    return len(datasets.load(config.dataset, config.data_dir).splits["train"])

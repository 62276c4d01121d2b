"""What %Err depends on beside the network: the layer that is read, how finely the regression's penalty is sought, the images it is fitted to. MNIST.

python -m table.readout docs/readout.json RUN...      (the folder of scripts/ on PYTHONPATH; a run's row and seed are the last two of its path)
"""

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from table.article import NETWORKS, rows_of
from table.cells import read_json
from torch import Tensor

import ncf
from ncf.measure.fitting import PENALTIES, fit_classifier
from ncf.measure.subject import summarize
from ncf.runs.files import write_whole

ROWS = {row for name in NETWORKS for row in rows_of(name).values()}
FINER = (50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5)


class Reading(NamedTuple):
    """Layers counted from the top down, the penalties to choose from, and whether validation images are fitted to as well once they have chosen."""

    layers: tuple[int, ...]
    penalties: tuple[float, ...]
    again: bool = False


READINGS = {
    "top layer, penalties ten times apart (ncf's %Err)": Reading((-1,), PENALTIES),
    "top layer, penalties about twice apart": Reading((-1,), FINER),
    "top layer, penalties about twice apart, fitted to validation images too": Reading((-1,), FINER, again=True),
    "layer below the top, penalties about twice apart": Reading((-2,), FINER),
    "both layers, penalties about twice apart": Reading((-2, -1), FINER),
}

Split = tuple[dict[int, Tensor], Tensor]  # activities by layer, each (N, J), and classes (N,)


@torch.no_grad()
def settled(network, x: Tensor, batch_size: int) -> dict[int, Tensor]:
    """f of the two uppermost layers, each (N, J)."""
    states = [network.settle(part).f for part in x.split(batch_size)]
    return {layer: torch.cat([f[layer] for f in states]) for layer in (-2, -1)}


def read(reading: Reading, train: Split, validation: Split, test: Split) -> dict[str, float]:
    """The penalty that validation images choose, and the share of test images told wrong, in percent, with its standard error over images."""
    known, judges, asked = ((torch.cat([f[layer] for layer in reading.layers], 1), y) for f, y in (train, validation, test))
    found = fit_classifier(known, judges, None, reading.penalties)
    if reading.again:
        found = fit_classifier((torch.cat([known[0], judges[0]]), torch.cat([known[1], judges[1]])), None, found.penalty)
    wrong = summarize(100.0 * (found.tell(asked[0]) != asked[1]))
    return {"penalty": found.penalty, "value": wrong["value"], "stderr": wrong["stderr"]}


def main(target: str, *runs: str) -> None:
    """Put into the file, as row -> seed -> reading, what each run gives whose readings are not all there."""
    kept = read_json(Path(target)) or {}
    for run in map(Path, runs):
        row, seed = run.absolute().parts[-2:]
        if row not in ROWS or not re.fullmatch(r"seed\d+", seed):
            sys.exit(f"error: {run} is not the run of a network's row: the last two of its path are to be like gncn_pdh_sgd/seed0")
        if set(kept.get(row, {}).get(seed, {})) >= set(READINGS):
            continue
        network = ncf.load(run)
        if network.config.dataset.name != "mnist":
            sys.exit(f"error: {run} was trained on {network.config.dataset.name}: the page has networks of mnist alone")
        splits = (network.data.splits[name] for name in ("train", "validation", "test"))
        parts = [(settled(network.model, split.x, network.config.metrics.batch_size), split.y) for split in splits]
        kept.setdefault(row, {})[seed] = {name: read(reading, *parts) for name, reading in READINGS.items()}
        print(run, json.dumps(kept[row][seed], indent=2), flush=True)
        write_whole(Path(target), (json.dumps(kept, indent=2) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[1:])

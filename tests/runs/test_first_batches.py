"""Every shipped network that settles survives its first batches on the images it is meant for: some diverged there and nowhere else."""

import os
from pathlib import Path

import pytest
import torch

from ncf.config.compose import compose_train
from ncf.config.schema import configs_folder
from ncf.data import datasets
from ncf.data.streams import stream
from ncf.models import build_model, seen_of
from ncf.network.optimizer import Optimizer
from ncf.training import train_step

MODELS = sorted(path.stem for path in (Path(configs_folder()) / "model").glob("*.yaml"))
SETTLING = [name for name in MODELS if compose_train(f"model={name}", "dataset=digits").model.family in ("gncn", "circuit")]
OWN_SETS = ("recurrent", "sparse")  # circuits for sequences and patches, tried on these elsewhere

pytestmark = pytest.mark.skipif("NCF_DATA" not in os.environ, reason="NCF_DATA does not name a folder of image sets")


@pytest.fixture(scope="module")
def mnist() -> datasets.Dataset:
    return datasets.load(compose_train("dataset=mnist").dataset, os.environ["NCF_DATA"])


@pytest.mark.parametrize("model", [name for name in SETTLING if not name.startswith(OWN_SETS)])
def test_the_first_batches_of_mnist_are_learned_from(model, mnist):
    config = compose_train(f"model={model}", "dataset=mnist", "seed=0")
    network = build_model(config, seen_of(mnist), stream(0, "synapses"), torch.device("cpu"))
    optimizer = Optimizer(config.optimizer, network.parameters)
    for step, x, y in datasets.batches(mnist, config.batch_size, 0, 1):
        state = train_step(network, optimizer, x, y, where=f"batch {step + 1}")  # raises where it diverges
        if step == 0:
            first = network.losses(state, y)[0].mean()
        if step == 9:
            break
    assert network.losses(state, y)[0].mean() < first

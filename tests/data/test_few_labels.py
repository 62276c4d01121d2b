"""Training images of which only some have labels: which, and what a circuit, the metrics and samples make of them."""

import json

import numpy as np
import pytest
import torch
from installed import command, warm

from ncf.config.compose import compose_train
from ncf.data import datasets
from ncf.errors import UserError
from ncf.network.gncn import GNCN


def load(*overrides: str) -> datasets.Dataset:
    return datasets.load(compose_train("dataset=digits", *overrides).dataset)


def test_as_many_of_every_class_keep_their_label_and_more_labels_contain_fewer():
    whole, few, more = (load(*n).splits["train"].y for n in ([], ["dataset.n_labels=50"], ["dataset.n_labels=117"]))
    kept = few >= 0
    assert kept.sum() == 50 and torch.equal(few[kept], whole[kept]) and np.bincount(few[kept]).tolist() == [5] * 10
    assert set(np.bincount(more[more >= 0]).tolist()) == {11, 12} and torch.equal(more[kept], few[kept])
    assert torch.equal(load("dataset.n_labels=50").splits["train"].y, few)
    assert not torch.equal(load("dataset.n_labels=50", "dataset.split_seed=1").splits["train"].y, few)


def test_more_labels_than_images_are_refused():
    with pytest.raises(UserError, match="n_labels=99999: there are 1250 training images"):
        load("dataset.n_labels=99999")


@pytest.mark.parametrize("model", ["image_and_label", "gncn_pdh_label"])
def test_an_unknown_label_is_an_unseen_one(model):
    layers = [f"model.populations.{z}={{size:6,columns:0}}" for z in ("z1", "z2", "z3")]
    network = GNCN(compose_train(f"model={model}", "model.settle.steps=9", *layers).model, 9, np.random.default_rng(0), n_classes=3)
    x = torch.from_numpy((np.random.default_rng(1).random((8, 9)) < 0.5).astype(np.float32))
    y = torch.tensor([0, -1, 2, -1, 1, 1, -1, 0])
    mixed, unseen, seen = network.settle(x, y=y), network.settle(x), network.settle(x, y=y.clamp(min=0))
    states = ([*(s.z[i] for i in network.circuit.hidden), *s.mu, *s.r] for s in (mixed, unseen, seen))
    for one, without, given in zip(*states):
        torch.testing.assert_close(one[y < 0], without[y < 0])
        torch.testing.assert_close(one[y >= 0], given[y >= 0])
    updates, alone = network.local_updates(mixed), network.local_updates(network.settle(x[y >= 0], y=y[y >= 0]))
    arrow = "W[z1->label]" if model == "image_and_label" else "W[label->z3]"
    if model == "image_and_label":  # what is unseen has no error: only labelled images teach the label
        torch.testing.assert_close(updates[arrow] * 8, alone[arrow] * 5)


def test_a_run_with_few_labels_from_the_shell(tmp_path):
    small = "dataset.n_train=300 dataset.n_labels=100 epochs=2 threads=1 model.settle.steps=10".split()
    sizes = [f"model.populations.z{i}.size=36" for i in (1, 2, 3)]
    done = command("ncf-train", "model=gncn_pdh_label", "metrics=labels", "name=few", *small, *sizes, cwd=tmp_path)
    assert done.returncode == 0 and "100 of 300 training images keep their labels" in done.stdout, done.stderr
    figures = json.loads((tmp_path / "outputs/runs/few/summary.json").read_text())["metrics"]["test"]
    assert figures["class_err"]["training_images"] == 100 and 0 < figures["label_err"]["value"] < 100
    assert warm("ncf-sample", "checkpoint=outputs/runs/few", "condition=label:all", "n=20", "masks=[]", "threads=1", cwd=tmp_path).returncode == 0
    refused = warm("ncf-train", "model=relu_classifier", "dataset.n_labels=100", "epochs=1", cwd=tmp_path)
    assert refused.returncode == 1 and "dataset.n_train" in refused.stderr and len(refused.stderr.splitlines()) == 1

"""What a run draws, seen at the loop's own doors: every draw by itself changes with the seed, and with the epoch and the batch it is for."""

import time

import numpy as np
import pytest
import torch
from installed import TINY, rows

from ncf.baselines.autoencoders import Autoencoder
from ncf.config.compose import compose_train
from ncf.data import datasets
from ncf.runs import checkpoint
from ncf.training import train

LITTLE = [*TINY, "metrics=basic", "progress=off"]
STILL = ["optimizer.lr=1e-12", "epochs=1"]  # the synapses stay what they were drawn as


def peek(rng: np.random.Generator) -> float:
    """The next draw, left in place."""
    state = rng.bit_generator.state
    drawn = rng.random()
    rng.bit_generator.state = state
    return drawn


def starting_synapses(folder, *overrides) -> dict[str, torch.Tensor]:
    train(compose_train(*LITTLE, *STILL, *overrides), folder, named=True)
    return checkpoint.load(folder / "checkpoints/last.pt")["weights"]


def test_the_starting_synapses_are_of_the_seed(tmp_path):
    first, other = (starting_synapses(tmp_path / str(seed), f"seed={seed}", "model.constraint.kind=none") for seed in (0, 1))
    again = starting_synapses(tmp_path / "again", "seed=0", "dataset.split_seed=1", "model.constraint.kind=none")
    for name in ("W1", "W2", "W3", "M2", "M3", "E1", "E2", "E3"):
        assert torch.equal(first[name], again[name])
        assert torch.corrcoef(torch.stack([first[name].ravel(), other[name].ravel()]))[0, 1].abs() < 0.2
        assert first[name].std().item() == pytest.approx(0.05, rel=0.1)
    for one, two in (("W1", "M2"), ("W2", "W3"), ("E2", "E3"), ("W2", "E2")):  # no bundle is another's copy
        size = min(first[one].numel(), first[two].numel())
        assert torch.corrcoef(torch.stack([first[one].ravel()[:size], first[two].ravel()[:size]]))[0, 1].abs() < 0.2


@pytest.fixture
def orders(monkeypatch):
    """The images of every batch, by epoch and step, of a run with these overrides."""
    found, batches = {}, datasets.batches

    def watched(data, batch_size, seed, epoch, **named):
        for step, x, y in batches(data, batch_size, seed, epoch, **named):
            found[epoch, step] = x.clone()
            yield step, x, y

    monkeypatch.setattr(datasets, "batches", watched)

    def of(folder, *overrides) -> dict:
        found.clear()
        train(compose_train(*LITTLE, *overrides), folder, named=True)
        return dict(found)

    return of


def test_the_order_of_images_is_of_the_seed_and_the_epoch(orders, tmp_path):
    first, again, other = (orders(tmp_path / name, f"seed={seed}", "epochs=3") for name, seed in (("first", 0), ("again", 0), ("other", 1)))
    assert set(first) == {(epoch, step) for epoch in (1, 2, 3) for step in range(4)}
    assert all(torch.equal(first[place], again[place]) for place in first)
    assert not any(torch.equal(first[place], other[place]) for place in first)
    epochs = [torch.cat([first[epoch, step] for step in range(4)]) for epoch in (1, 2, 3)]
    assert not any(torch.equal(epochs[a], epochs[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert all(torch.equal(epoch.sum(0), epochs[0].sum(0)) for epoch in epochs)  # the same images


def test_noise_is_of_the_seed_the_epoch_and_the_batch(tmp_path, monkeypatch):
    drawn, updates = [], Autoencoder.local_updates
    monkeypatch.setattr(Autoencoder, "local_updates", lambda self, state, y, rng: drawn.append(peek(rng)) or updates(self, state, y, rng))
    overrides = "model=gvae model.layers=[8,3] dataset.n_train=200 dataset.n_validation=50 batch_size=64 epochs=3 metrics=basic threads=1 progress=off".split()
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        train(compose_train(*overrides, f"seed={seed}"), tmp_path / name, named=True)
    assert len(drawn) == 36 and drawn[:12] == drawn[12:24] and len(set(drawn)) == 24


# --- when it saves ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keys, within",
    [  # batches of half a minute, ten an epoch; the clock starts anew with every save
        (["checkpoint.every_minutes=1"], [3, 6, 9]),
        (["checkpoint.every_minutes=2"], [5, 10]),
        (["checkpoint.every_minutes=0"], []),
        ([], []),
        (["checkpoint.every_minutes=0", "checkpoint.every_steps=4"], [4, 8]),
    ],
)
def test_it_saves_within_an_epoch_after_so_many_minutes_or_batches(keys, within, tmp_path, monkeypatch):
    clock, batches, save, saved = [0.0], datasets.batches, checkpoint.save, []

    def slow(*arguments, **named):
        for batch in batches(*arguments, **named):
            clock[0] += 30
            yield batch

    def watched(path, content):
        saved.append((path.name, content["progress"]["epoch"], content["progress"]["step"]))
        save(path, content)

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(datasets, "batches", slow)
    monkeypatch.setattr(checkpoint, "save", watched)
    train(compose_train(*LITTLE, "batch_size=20", "epochs=2", *keys), tmp_path / "run", named=True)
    expected = [("last.pt", epoch, step) for epoch in (0, 1) for step in within]
    assert [place for place in saved if place[0] == "last.pt" and place[2]] == expected
    assert [place for place in saved if place[0] == "last.pt" and not place[2]] == [("last.pt", 1, 0), ("last.pt", 2, 0)]
    assert sum(1 for name, _, _ in saved if name == "best.pt") in (1, 2)


def test_an_epoch_that_was_cut_is_told_as_if_it_had_not_been(tmp_path, monkeypatch):
    """Half of it before, half after: the row has the sums and the time of all its batches."""
    clock, batches, cut = [0.0], datasets.batches, [True]

    def slow(*arguments, **named):
        for batch in batches(*arguments, **named):
            clock[0] += 30
            if cut and batch[0] == 6:
                cut.clear()
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(datasets, "batches", slow)
    config = compose_train(*LITTLE, "batch_size=20", "epochs=1", "checkpoint.every_steps=5")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", named=True)
    for name in ("cut", "whole"):
        train(config, tmp_path / name, named=True)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert (rows(tmp_path / "cut")[0]["seconds"], rows(tmp_path / "cut")[0]["images_per_second"]) == (300.0, pytest.approx(200 / 300))

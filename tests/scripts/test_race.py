"""scripts/benchmark --race: what is timed, what is measured when, and a package's synapses in ncf's network."""

import json
from itertools import islice

import numpy as np
import pytest
import torch
from benchmarks import peers, race
from test_peers import add, folder  # noqa: F401 (a fixture)

from ncf.config.schema import DatasetConfig
from ncf.data import datasets
from ncf.network.discrepancy import bce


@pytest.fixture(scope="module")
def digits():
    return datasets.load(DatasetConfig(name="digits", n_validation=50))


def test_measurements_stand_at_fixed_times_and_error_at_every_doubling():
    times = list(race.marks(16))
    assert [at for at, with_error in times if with_error] == [pytest.approx(t) for t in (4, 8, 16)]
    assert len(times) == 13 and times[0][0] == 2 and np.allclose(np.diff(np.log2([at for at, _ in times])), 0.25)


def test_training_stops_at_the_first_measurement_that_meets_both_goals(digits, monkeypatch):
    figures = {"bce": iter([80.0, 60.0, 50.5, 51.0, 40.0, 40.0]), "err": iter([9.0, 3.9])}
    monkeypatch.setattr(race, "test_bce", lambda network, data: next(figures["bce"]))
    monkeypatch.setattr(race, "test_error", lambda network, data: next(figures["err"]))
    monkeypatch.setattr(race, "marks", lambda seconds: [(1, True), (2, False), (3, False), (4, True), (5, True)])
    contestant = race.Contestant("one", lambda images: 0.5, lambda: None)
    race.run(contestant, digits, 5)
    assert [p["images"] for p in contestant.points] == [2000, 4000, 6000, 8000]  # two chunks of a thousand images a second
    assert (contestant.reached("bce"), contestant.reached("err")) == (3.0, 4.0)
    assert "err" not in contestant.points[1]
    assert race.table([contestant]).splitlines()[1].split()[1:7] == ["3.0", "4.0", "50.50", "51.00", "3.90", "3.90"]


def test_batches_are_those_of_ncf_train_whole_ones_alone(digits):
    seen = torch.cat(list(islice(race.chunks(digits), 2)))
    expected = [x for epoch in (1, 2, 3) for _, x, _ in datasets.batches(digits, 200, 0, epoch) if len(x) == 200]
    assert torch.equal(seen, torch.cat(expected[:10]))


KEEPER = """
import numpy as np
PACKAGE = "numpy"
DIFFERENCES = {"only": "adds up"}
def variants(batch, steps):
    seen = []
    def train(images):
        assert len(images) <= batch
        seen.append(images.sum())
    train.synapses = lambda: {"W1": np.full((360, 784), 0.1), "W2": np.zeros((360, 360)), "W3": np.array(seen[2:])}
    return {"only": train}
"""


def test_a_package_trains_on_the_images_that_it_is_given_and_hands_over_its_synapses(folder, tmp_path):  # noqa: F811
    add(folder, "keeper", KEEPER)
    peer = peers.Peer(peers.environment("keeper"), folder / "keeper.py", 200, 50)
    np.save(tmp_path / "images.npy", np.repeat(np.arange(3, dtype=np.float32), 200)[:, None] * np.ones((1, 784), np.float32))
    assert peer.ask({"variant": "only", "images": str(tmp_path / "images.npy")})["seconds"] > 0
    peer.ask({"variant": "only", "synapses": str(tmp_path / "synapses.npz")})
    peer.close()
    with np.load(tmp_path / "synapses.npz") as file:
        assert file["W3"].tolist() == [0, 200 * 784, 2 * 200 * 784] and file["W1"].shape == (360, 784)


def test_one_of_ours_learns_and_is_measured(digits, monkeypatch):
    compose = race.compose_train
    monkeypatch.setattr(race, "compose_train", lambda *words: compose("dataset=digits", *words[1:]))
    contestant = race.ours("small", ["model=gncn_t1", "model.layers=[24,24]", "model.settle.steps=9", "optimizer.lr=0.01"], digits)
    before = bce(contestant.network().settle(digits.splits["test"].x)).mean()
    for chunk in islice(race.chunks(digits), 4):
        assert contestant.train(chunk) > 0
    assert race.test_bce(contestant.network(), digits) < 0.8 * before
    assert 0 < race.test_error(contestant.network(), digits) < 60
    race.run(contestant, digits, 0.01)
    json.dumps(contestant.points)

"""Readings of codes: which layers, which penalties, which images, and what is kept of them."""

from statistics import mean
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from measured import DOCS, cell, of_the_project
from small import dataset, network
from table import readout, standing
from table.article import NETWORKS, published
from table.cells import read_json
from table.readout import PENALTIES, Reading

from ncf.measure.fitting import fit_classifier


def split(n: int, seed: int, classes: int = 4, noise: float = 0.2):
    """Of classes 0 to 3 (and 4) the layer below the top tells whether they are above 1, the top whether they are odd."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    layers = {-2: y // 2, -1: y % 2}
    activities = {layer: torch.from_numpy(np.eye(3)[told] + noise * rng.standard_normal((n, 3))) for layer, told in layers.items()}
    return activities, torch.from_numpy(y)


@pytest.mark.parametrize("layers, least, most", [((-1,), 40, 60), ((-2,), 40, 60), ((-2, -1), 0, 5), ((-1, -2), 0, 5)])
def test_the_layers_that_a_reading_names_are_read(layers, least, most):
    assert least <= readout.read(Reading(layers, PENALTIES), split(200, 1), split(100, 2), split(400, 3))["value"] <= most


def test_validation_images_choose_the_penalty_and_test_images_do_not():
    train, validation, test = (split(n, seed, noise=1.0) for n, seed in ((60, 1), (300, 2), (300, 5)))

    def chosen(judges) -> float:
        known, asked = ((torch.cat([f[-2], f[-1]], 1), y) for f, y in (train, judges))
        return fit_classifier(known, asked, None).penalty

    assert chosen(validation) != chosen(test)
    assert readout.read(Reading((-2, -1), PENALTIES), train, validation, test)["penalty"] == chosen(validation)
    assert readout.read(Reading((-2, -1), (3.0,)), train, validation, test)["penalty"] == 3.0


def test_validation_images_are_fitted_to_once_they_have_chosen_where_a_reading_says_so():
    """A class that no training image has, but validation images do, is told only then."""
    parts = split(200, 1), split(300, 2, classes=5), split(300, 3, classes=5)
    before, after = (readout.read(Reading((-2, -1), PENALTIES, again), *parts) for again in (False, True))
    assert before["value"] > 15 and after["value"] < 8 and before["penalty"] == after["penalty"]


def test_what_is_kept_is_added_to_and_not_measured_twice(tmp_path, monkeypatch):
    opened, net = [], network()

    def load(run):
        opened.append(run)
        trained_on = SimpleNamespace(name="digits" if "digits" in run.parts else "mnist")
        return SimpleNamespace(model=net, data=dataset(100), config=SimpleNamespace(metrics=SimpleNamespace(batch_size=30), dataset=trained_on))

    monkeypatch.setattr(readout.ncf, "load", load)
    monkeypatch.setattr(readout, "READINGS", {"top": Reading((-1,), (1.0,)), "below": Reading((-2,), (1.0,))})
    target, runs = tmp_path / "readout.json", [tmp_path / "gncn_pdh" / f"seed{seed}" for seed in (0, 1)]
    readout.main(str(target), str(runs[0]))
    first = read_json(target)
    readout.main(str(target), *map(str, runs))
    kept = read_json(target)
    assert opened == runs and list(kept["gncn_pdh"]) == ["seed0", "seed1"] and kept["gncn_pdh"]["seed0"] == first["gncn_pdh"]["seed0"]
    x, y = (getattr(dataset(100).splits["test"], name) for name in "xy")
    known = dataset(100).splits["train"]
    told = fit_classifier((net.settle(known.x).code, known.y), None, 1.0).tell(net.settle(x).code)  # the network's own top, in one batch
    assert kept["gncn_pdh"]["seed1"]["top"]["value"] == pytest.approx(100 * (told != y).double().mean().item())
    assert kept["gncn_pdh"]["seed1"]["top"] != kept["gncn_pdh"]["seed1"]["below"]
    with pytest.raises(SystemExit, match="trained on digits: the page has networks of mnist alone"):
        readout.main(str(target), str(tmp_path / "digits" / "gncn_pdh" / "seed2"))
    for odd in ("runs/first", "gvae/seed0", "gncn_pdh/seed0-n1000"):
        with pytest.raises(SystemExit, match="like gncn_pdh_sgd/seed0"):
            readout.main(str(target), str(tmp_path / odd))
    assert read_json(target) == kept


def test_readings_on_the_page_are_of_the_networks_in_the_tables():
    """But for one that was trained again on another processor."""
    kept = read_json(DOCS / "readout.json")
    stored = {
        (own.row, f"seed{seed}"): run for own in of_the_project() if (own.dataset, own.n_train) == ("mnist", None) for seed, run in own.runs.items()
    }
    usual, others = next(iter(readout.READINGS)), set()
    for row, seeds in kept.items():
        for seed, found in seeds.items():
            assert set(found) == set(readout.READINGS)
            if found[usual]["value"] != pytest.approx(stored[row, seed]["figures"]["class_err"]["value"]):
                others.add((row, seed))
    assert others == {("gncn_pdh_cooled", "seed0")}


def test_what_the_page_says_of_the_readings_holds():
    kept, printed = read_json(DOCS / "readout.json"), published()
    usual, finer, all_images, below, both = readout.READINGS
    pdh = "gncn_pdh_published", "gncn_pdh_cooled"

    def average(row: str, reading: str) -> float:
        return mean(found[reading]["value"] for found in kept[row].values())

    def stands(row: str, reading: str) -> str:
        name = next(name for name in NETWORKS if row.startswith(name))
        values = [found[reading]["value"] for found in kept[row].values()]
        return standing.standing(cell(row, *values, metric="class_err"), "class_err", *printed["mnist", name, "class_err"])[0]

    assert all(found[both]["value"] < min(found[usual]["value"], found[finer]["value"]) for seeds in kept.values() for found in seeds.values())
    assert {stands(row, both) for row in kept} == {"past"} and {stands(row, all_images) for row in kept} == {"level"}
    assert [stands(row, below) for row in kept] == ["level", "level", "past"] and [*kept] == [*pdh, "gncn_t2_l_sigma_cooled"]
    assert sum(map(len, kept.values())) == 9
    moved = max(abs(average(row, finer) - average(row, usual)) for row in kept)
    assert sum(stands(row, finer) != stands(row, usual) for row in kept) == 2
    assert stands(pdh[0], usual) == "level" and stands(pdh[0], finer) == "undecided"
    assert all(average(row, usual) - printed["mnist", "gncn_pdh", "class_err"][0] == pytest.approx(0.1, abs=0.03) for row in pdh)
    again = kept["gncn_pdh_cooled"]["seed0"][usual]["value"]
    (before,) = (own.runs[0]["figures"]["class_err"]["value"] for own in of_the_project() if (own.dataset, own.row) == ("mnist", "gncn_pdh_cooled"))
    text = " ".join((DOCS / "replication.md").read_text(encoding="utf-8").split())
    for sentence in (
        f"is {again:.2f} % wrong; the network of the tables above, by the looser regression, {before:.2f}",
        f"These are {len(kept) * len(readout.READINGS)} comparisons on test images",
        "In each of the nine networks",
        f"moves the means by up to {moved:.2f}, which turns two verdicts",
        f"| {both} | 2.08 ± 0.07, past by 0.20, p = 0.026 | 2.05 ± 0.02, past by 0.23† | 2.19 ± 0.06, past by 0.19†, p = 0.021 |",
    ):
        assert sentence in text

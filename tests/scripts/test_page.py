"""The results page: its claims and its targets."""

import shutil

import numpy as np
import pytest
from measured import DOCS, cell, columns
from table import curve
from table import page as results_page
from table.cells import Cell
from table.rows import read_table


@pytest.mark.parametrize("metric, values, target, word", [
    ("bce", (50.0, 52.0, 57.0), 52.5, "missed by 0.50"), ("bce", (50.0, 52.0, 57.0), 53.0, "reached"),
    ("log_p", (-110.0, -120.0), -114.0, "missed by 1.00"), ("log_p", (-110.0, -120.0), -115.0, "reached"),
])  # fmt: skip
def test_a_target_is_held_against_the_mean_over_seeds(metric, values, target, word):
    table = {"one": {"model": "gncn_pdh", "targets": {"mnist": {metric: target}}}}
    (row,) = columns(results_page.targets(table, {("mnist", "one"): cell("one", *values, metric=metric)}))
    assert row[""] == word and row["measured"].startswith(f"{np.mean(values):.2f} ± ")


def test_claims_hold_each_network_against_each_rival():
    full = {
        ("mnist", row): cell(row, *values) for row, values in {"gncn_pdh": (50, 51, 52), "gvae": (60, 61, 62), "gvae_tuned": (51, 52, 53)}.items()
    }
    rows = {name: {"model": name} for name in ("gncn_pdh", "gncn_t1", "gvae", "rae")} | {"gvae_tuned": {"model": "gvae"}}
    page = results_page.claims(rows, full | {("digits", name): cell(name, *values) for name, values in {"gncn_pdh": (9, 10), "gvae": (7, 8)}.items()})
    assert "| MNIST | GNCN-PDH, released | GVAE | ahead +10.00 ± 0.82 | – | – | – | – |" in page
    assert "| MNIST | GNCN-PDH, released | GVAE, tuned | level +1.00 ± 0.82 | – | – | – | – |" in page
    assert "| GNCN-PDH, released | GVAE | 1 | 0 | 1 | 0 |" in page and "| GNCN-PDH, released | GVAE, tuned | 0 | 1 | 0 | 0 |" in page
    assert (
        "GNCN-t1, " not in page
        and "RAE" not in page
        and "Of tests that are counted here, 3, five in a hundred" in page
        and results_page.claims(rows, {}) == "Not run yet."
    )


def test_targets_are_reached_or_missed_by_so_much():
    table = {name: {"model": name, "targets": {"mnist": {"bce": 50.5, "log_p": -110.0}}} for name in ("one", "other")}
    runs = {seed: {"figures": {"bce": {"value": 50.0, "stderr": 0.5}, "log_p": {"value": -110.25, "stderr": 0.5}}} for seed in (0, 1)}
    page = results_page.targets(table, {("mnist", "one"): Cell("mnist", "one", None, runs)})
    for line in (
        "| MNIST | one | BCE at most 50.5 | 50.00 ± 0.00 | reached |",
        "| MNIST | one | log p(x) at least -110.0 | -110.25 ± 0.00 | missed by 0.25 |",
        "| MNIST | other | BCE at most 50.5 | not run |  |",
    ):
        assert line in page


def test_the_pages_of_the_documentation_are_those_of_the_stored_runs(tmp_path, monkeypatch):
    """Half a minute, for every figure on three pages."""
    monkeypatch.setattr(curve, "draw", lambda *drawn: None)
    pages = ("results.md", "replication.md", "comparison.md")
    for name in (*pages, "results.jsonl", "tuning.jsonl", "without_model.json", "masked.json", "switches.json", "trials.json", "readout.json"):
        shutil.copy(DOCS / name, tmp_path)
    for name in pages[:2]:
        (tmp_path / name).unlink()
    results_page.write(tmp_path / "none", tmp_path / "results.md", read_table())
    assert {name for name in (*pages, "results.jsonl") if (tmp_path / name).read_bytes() != (DOCS / name).read_bytes()} == set()

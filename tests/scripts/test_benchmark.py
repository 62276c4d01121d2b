"""scripts/benchmark at a size that takes a second: what it prints adds up, and the bare products are those of the network."""

import json

import numpy as np
import pytest
import torch
from benchmarks import benchmark, rounds
from installed import of_repository

from ncf.config.compose import compose_train
from ncf.network.gncn import GNCN


def test_it_prints_a_table_and_one_line_of_json(tmp_path):
    arguments = "--models gncn_pdh --batches 32 --repeats 1 --threads 1".split()
    done = of_repository("benchmarks.benchmark", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert [(r["model"], r["batch"], r["precision"]) for r in record["rows"]] == [("gncn_pdh", 32, "float32"), ("gncn_pdh", 32, "bf16")]
    for r in record["rows"]:
        assert sum(r["ms"].values()) == pytest.approx(r["ms_per_batch"], rel=1e-6)
        assert r["ratio"] == pytest.approx(sum(r["ms"][part] for part in ("settle", "update", "constrain")) / r["bare_ms"], rel=1e-6)
    assert record["peak_memory_mib"] > 50 and record["hardware"]["threads"] == 1


@pytest.mark.parametrize("model, expected", [("gncn_t1", 6), ("gncn_t1_sigma", 8), ("gncn_t2_l_sigma", 8), ("gncn_pdh", 10)])
def test_the_bare_products_are_those_of_the_equations(model, expected, monkeypatch):
    """W and feedback of three layers, Q of two, M of two: counted per step."""
    network = GNCN(compose_train(f"model={model}", "model.layers=[36,36,36]", "model.settle.steps=3").model, 30, np.random.default_rng(0))
    calls, mm = [], torch.mm
    monkeypatch.setattr(torch, "mm", lambda *a, **k: calls.append(a[1].shape) or mm(*a, **k))
    rounds.bare_products(network, 5)()
    assert len(calls) == 3 * expected


def test_growth_is_measured_and_drawn(tmp_path, monkeypatch):
    axes = {"units per layer": ([12, 24], lambda n: ([f"model.layers=[{n}]"], 8)), "images per batch": ([4, 8], lambda n: (["model.layers=[12]"], n))}
    monkeypatch.setattr(benchmark, "GROWTH", axes)
    rows = benchmark.measure_growth("gncn_t1", ["float32", "bf16"], 1, torch.device("cpu"))
    assert [(r["axis"], r["value"], r["batch"]) for r in rows[::2]] == [
        (axis, n, 8 if axis != "images per batch" else n) for axis in axes for n in axes[axis][0]
    ]
    benchmark.draw_growth(rows, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 10_000
    assert benchmark.table(rows).count("units per layer: 12") == 2

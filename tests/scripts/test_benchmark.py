"""scripts/benchmark at a size that takes a second: what it prints adds up, and the limit's products are those of the network."""

import json
import time

import numpy as np
import pytest
import torch
from benchmarks import benchmark, busy, limit
from installed import of_repository

from ncf.config.compose import compose_train
from ncf.network.gncn import GNCN
from ncf.network.settling import multiply_adds


def test_it_prints_a_table_and_one_line_of_json(tmp_path):
    arguments = "--models gncn_pdh --batches 32 --repeats 1 --threads 1 --pixels 64 --settings model.layers=[36,36,36]".split()
    done = of_repository("benchmarks.benchmark", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert [(r["model"], r["batch"], r["precision"]) for r in record["rows"]] == [("gncn_pdh", 32, "float32"), ("gncn_pdh", 32, "bf16")]
    for r in record["rows"]:
        assert sum(r["ms"].values()) == pytest.approx(r["ms_per_batch"], rel=1e-6)
        assert r["ratio"] == pytest.approx(r["ms"]["settle"] / r["limit_ms"], rel=1e-6)
    assert record["peak_memory_mib"] > 50 and record["hardware"]["threads"] == 1


def network_of(model: str, steps: int = 3) -> GNCN:
    return GNCN(compose_train(f"model={model}", "model.layers=[72,72,72]", f"model.settle.steps={steps}").model, 80, np.random.default_rng(0))


@pytest.mark.parametrize("model, expected", [("gncn_t1", 6), ("gncn_t1_sigma", 8), ("gncn_t2_l_sigma", 8), ("gncn_pdh", 10)])
def test_the_limits_products_are_those_of_the_equations(model, expected):
    """W and feedback of three layers, Q of two, M of two; as many multiply-adds as settling counts."""
    network = network_of(model, steps=9)
    rights, plan = limit.matrices(network), limit.plan_of(network)
    assert len(rights) == expected and sorted(plan[-1]) == list(range(expected)) and len(plan) == 9
    assert sum(rights[i].numel() for step in plan for i in step) == multiply_adds(network, 9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_are_shared_among_cores_and_each_is_multiplied_as_planned(dtype):
    network, batch = network_of("gncn_t1"), 32
    rights = limit.matrices(network)
    assert {"torch", "torch by rows"} <= set(limit.runs_of(rights, batch, dtype))
    seen: list[tuple[int, int, int]] = []
    run = limit.by_rows(lambda left, i: seen.append((len(left), left.shape[1], i)), rights, batch, dtype)
    run([[0, 1], [1]])
    rows = {i: sum(n for n, _, j in seen if j == i) for i in range(len(rights))}
    assert rows == dict.fromkeys(range(len(rights)), 0) | {0: batch, 1: 2 * batch} and all(width == len(rights[i]) for _, width, i in seen)


def test_the_fastest_way_is_the_limit(monkeypatch):
    spent = []

    def way(name: str, pause: float):
        def make(rights, batch, dtype):
            return lambda plan: (spent.append((name, len(plan))), time.sleep(pause))

        return make

    monkeypatch.setattr(limit, "ways", lambda dtype, device: {"torch": way("torch", 0.02), "other": way("other", 0.001)})
    best, products = limit.fastest(network_of("gncn_t1", steps=7), 4, torch.float32)
    spent.clear()
    products()
    assert best == "other" and spent == [("other", 7)]


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


def test_a_batch_beside_busy_processes_is_held_against_its_fair_share(tmp_path):
    arguments = "--busy 1 --models gncn_t1 --batches 32 --precisions float32 --repeats 1 --threads 1".split()
    done = of_repository("benchmarks.benchmark", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    alone, beside = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert (alone["others"], alone["times_fair"], beside["others"]) == (0, 1.0, 1)
    assert beside["times_alone"] == pytest.approx(beside["seconds"] / alone["seconds"]) == pytest.approx(2 * beside["times_fair"])


def test_busy_processes_are_gone_afterwards(monkeypatch):
    begun, popen = [], busy.subprocess.Popen
    monkeypatch.setattr(busy.subprocess, "Popen", lambda *a: begun.append(popen(*a)) or begun[-1])
    with pytest.raises(KeyboardInterrupt), busy.counting(2):
        assert [process.poll() for process in begun] == [None, None]
        raise KeyboardInterrupt
    assert [process.poll() for process in begun] == [-9, -9]

"""scripts/benchmark --peers, without any peer installed: small scripts that sleep stand in for them."""

import argparse
import json
import shutil
import sys
import time

import pytest
from benchmarks import benchmark, peers

SLEEPER = """
import time
PACKAGE = "numpy"
DIFFERENCES = {"short": "sleeps", "long": "sleeps longer"}
def variants(batch, steps):
    print("a peer may print")
    def rest(seconds):
        def train(images):
            assert images.shape == (batch, 784) and steps == 3
            time.sleep(seconds)
        return train
    return {"short": rest(0.01), "long": rest(0.05)}
"""
# The first two batches warm up, the third is of the warm-up round, the fourth counts.
FAILS_LATER = (
    SLEEPER
    + """
def variants(batch, steps):
    left = iter(range(3))
    def train(images):
        if next(left, None) is None:
            raise ValueError("out of batches")
    return {"short": train, "long": lambda images: None}
"""
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty scripts/peers in a checkout of its own, whose peers run in this environment."""
    shutil.copy(peers.SCRIPTS / "serve.py", tmp_path)
    monkeypatch.setattr(peers, "SCRIPTS", tmp_path)
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    return tmp_path


def add(folder, name, script, requirements="", installed=True):
    (folder / f"{name}.py").write_text(script)
    (folder / f"{name}.txt").write_text(requirements)
    python = folder / ".peers" / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    if installed:
        (python.parents[1] / ".ready").write_text(requirements)


def test_ratios_are_those_of_the_times(folder):
    add(folder, "sleeper", SLEEPER)
    failed = {}
    rows = peers.measure_peers(["sleeper"], 8, ["float32", "bf16"], 1, 3, failed)
    assert not failed and [r["who"] for r in rows] == ["ncf float32", "ncf bf16", "sleeper short", "sleeper long"]
    ms = {r["who"]: r["ms_per_batch"] for r in rows}
    assert 10 < ms["sleeper short"] and 50 < ms["sleeper long"]
    for r in rows:  # one round: every median is that round's
        assert r["fastest_ms"] == r["ms_per_batch"]
        assert r["ratio"] == pytest.approx(r["ms_per_batch"] / r["limit_ms"])
        assert r["times_ncf"] == {kind: pytest.approx(r["ms_per_batch"] / ms[f"ncf {kind}"]) for kind in ("float32", "bf16")}
    assert rows[2]["differences"] == "sleeps" and rows[2]["version"].count(".") == 2


def test_peers_that_fail_are_named_with_the_reason_and_the_others_go_on(folder, capsys):
    add(folder, "broken", "import no_such_module")
    add(folder, "later", FAILS_LATER)
    add(folder, "missing", SLEEPER, requirements="./no_such_folder\n", installed=False)
    add(folder, "sleeper", SLEEPER)
    peers.compare(peers.known_peers(), [8, 9], ["float32"], 1, 3)
    *printed, last = capsys.readouterr().out.splitlines()
    record = json.loads(last)
    assert [(r["who"], r["batch"]) for r in record["rows"]] == [
        (who, batch) for batch in (8, 9) for who in ("ncf float32", "sleeper short", "sleeper long")
    ]
    assert record["failed"]["broken"] == "ended: ModuleNotFoundError: No module named 'no_such_module'"
    assert record["failed"]["later"] == "ended: ValueError: out of batches"
    assert record["failed"]["missing"].startswith("cannot be installed: ") and "no_such_folder" in record["failed"]["missing"]
    assert len(printed) == 2 * (1 + 3) + 3 and printed[0].split()[:2] == ["who", "version"]
    assert {line.split(":")[0] for line in printed[-3:]} == {"broken", "later", "missing"}


def test_a_peer_that_says_nothing_is_ended(folder, monkeypatch):
    add(folder, "silent", "import time; time.sleep(60)")
    monkeypatch.setattr(peers, "MINUTES_TO_BUILD", 0.005)
    failed = {}
    with peers.started(["silent"], 8, 3, failed) as running:
        assert not running
    assert failed == {"silent": "no answer within 0.005 minutes"}


def test_its_process_ends_with_the_comparison(folder):
    add(folder, "sleeper", SLEEPER)
    with peers.started(["sleeper"], 8, 3, {}) as running:
        process = running["sleeper"].process
        assert process.poll() is None
    assert process.poll() is not None


def test_contestants_take_turns_and_the_first_round_does_not_count():
    order = []
    turns = {name: lambda name=name: order.append(name) or {"lap": len(order)} for name in "abc"}
    start = time.perf_counter()
    laps = benchmark.take_turns(turns, 2, pause=0.001)
    assert order == list("abcabcabc") and time.perf_counter() - start > 0.009
    assert laps == {"a": [{"lap": 4}, {"lap": 7}], "b": [{"lap": 5}, {"lap": 8}], "c": [{"lap": 6}, {"lap": 9}]}


def test_an_unknown_peer_is_one_line_that_names_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        benchmark.compare_with_peers(argparse.ArgumentParser(), argparse.Namespace(peers=["pcax"]))
    assert capsys.readouterr().err.splitlines()[-1].endswith("no peer 'pcax'; known: fabricpc, ngclearn, pcn_torch, pcx")


@pytest.mark.parametrize("name", peers.known_peers())
def test_every_peer_pins_its_versions_and_says_what_differs(name):
    pins = (peers.SCRIPTS / f"{name}.txt").read_text().split()
    assert all("==" in pin for pin in pins)
    script = (peers.SCRIPTS / f"{name}.py").read_text()
    compile(script, name, "exec")
    assert script.startswith('"""') and "\nDIFFERENCES = {" in script and "\ndef variants(batch, steps):" in script

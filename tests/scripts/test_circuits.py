"""The table of the other circuits: every run in it is what its row says, and a row that a script makes is taken up like the others."""

import json
import shlex
from pathlib import Path

from measured import DOCS
from table import circuits
from table.cells import read_json

from ncf.config.compose import compose_train
from ncf.data import datasets


def test_every_run_of_the_table_has_the_command_of_its_row():
    stored = read_json(DOCS / "circuits.json")
    told = {(data, row, seed): run["command"] for data, rows in stored.items() for row, runs in rows.items() for seed, run in runs.items()}
    assert told == {(data, row, seed): shlex.join(circuits.command(data, row, int(seed))) for data, row, seed in told}
    assert {row for rows, _ in circuits.TABLES.values() for row in rows} <= {row for data, row, _ in told if data == "digits"}


def test_what_a_script_measured_is_taken_up(tmp_path, monkeypatch):
    row = circuits.Row("GRU of 5 units", ["--epochs", "1", "--units", "5"], moving=True, script="table.gru")
    monkeypatch.setitem(circuits.ROWS, "gru", row)
    monkeypatch.setenv("PYTHONPATH", str(Path(circuits.__file__).parents[1]))
    circuits.make(tmp_path, "digits", "gru", 3, [])
    run = circuits.collect(tmp_path, {})["digits"]["gru"]["3"]
    assert run["command"] == "python -m table.gru moving_digits --epochs 1 --units 5 --seed 3" and run["best_epoch"] == 1
    assert run["figures"] == json.loads((tmp_path / "digits/gru/seed3/summary.json").read_text())["metrics"]["test"]
    data = datasets.load(compose_train("dataset=moving_digits").dataset)
    assert run["figures"]["next_frame"]["n"] == len(data.splits["test"].x) // data.frames

"""scripts/reproduce --tune: which settings of a row's grid are tried, and which is chosen."""

import argparse
import json
from pathlib import Path

from table import page as results_page
from table import rows as table
from table import tuning


def test_tuning_takes_the_best_value_of_each_key_in_turn(tmp_path, monkeypatch, capsys):
    """On a validation figure that is known: 3 + 2 values are tried, not 3 x 2, and a run that failed counts for nothing."""
    figures = {
        "a=1 b=0": {"bce": 5.0, "log_p": -9.0},
        "a=2 b=0": {"bce": 3.0, "log_p": -10.0},
        "a=3 b=0": {},
        "a=2 b=1": {"bce": 2.0, "log_p": -20.0},
    }
    asked = []
    monkeypatch.setattr(tuning, "try_setting", lambda dataset, name, row, setting, arguments: asked.append(setting) or figures.get(setting))
    row = {"model": "gvae", "sets": ["b=0"], "grid": {"a": [1, 2, 3], "b": [0, 1]}, "choose_by": "bce"}
    arguments = argparse.Namespace(
        datasets=["digits"], output=tmp_path, page=tmp_path / "results.md", seeds=[0], epochs=2, set=["digits:dataset.n_train=9", "threads=1"]
    )
    assert tuning.tune(arguments, {"mine": row}) is False
    assert asked == ["a=1 b=0", "a=2 b=0", "a=3 b=0", "a=2 b=1"]
    assert "digits, mine: best of 3 on validation images, by bce: a=2 b=1 (bce 2.000, log_p -20.000)" in capsys.readouterr().out
    written = json.loads((tmp_path / "tuning.jsonl").read_text())
    assert written["best"] == "a=2 b=1" and written["trial"] == "epochs=2 dataset.n_train=9"
    assert written["tried"] == {setting: found for setting, found in figures.items() if found}
    tuning.tune(arguments, {"mine": row | {"choose_by": "log_p"}})  # more is better
    tuning.tune(arguments, {"mine": row | {"choose_by": ["bce", "log_p"]}})  # 45, 30, 40
    assert [json.loads(line)["best"] for line in (tmp_path / "tuning.jsonl").read_text().splitlines()[1:]] == ["a=1 b=0", "a=2 b=0"]
    two = row | {"choose_by": ["bce", "log_p"]}
    within = {most: tuning.best_of(written["tried"], two | {"aim": {"bce": most}}) for most in (1.0, 2.0, 3.0)}
    assert within == {1.0: "a=2 b=0", 2.0: "a=2 b=1", 3.0: "a=2 b=0"}  # none: all count; the one that meets it; the better of two
    monkeypatch.setattr(table, "composed", lambda dataset, model, overrides: set(overrides))
    page = results_page.choices({"mine": row | {"sets": ["b=0", "a=2"], "remark": "More steps:\n  no better.\n"}}, tmp_path / "tuning.jsonl")
    assert "| Digits | mine | `a=2 b=0` | yes |  | BCE 3.00, log p(x) -10.00 | 3 | `epochs=2 dataset.n_train=9` |  |" in page
    assert "| Digits | mine | `a=2 b=1` |  | `b` | BCE 2.00 | 3 | `epochs=2 dataset.n_train=9` |  |" in page
    assert "\n- mine: More steps: no better.\n" in page


def test_a_short_trial_does_not_stand_for_a_whole_one(tmp_path, monkeypatch):
    ran = []

    def run(command: list[str]) -> bool:
        ran.append(command)
        folder = Path(command[-1].removeprefix("run_dir="))
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps({"status": "complete", "metrics": {"validation": {"bce": {"value": float(len(ran))}}}}))
        return True

    monkeypatch.setattr(tuning, "run", run)
    asked = {"output": tmp_path, "seeds": [0], "set": ["threads=1"]}
    found = [
        tuning.try_setting("digits", "mine", {"model": "gvae"}, "batch_size=20", argparse.Namespace(epochs=epochs, **asked))
        for epochs in (2, None, 2, None)
    ]
    assert found == [{"bce": 1.0}, {"bce": 2.0}, {"bce": 1.0}, {"bce": 2.0}] and len(ran) == 2

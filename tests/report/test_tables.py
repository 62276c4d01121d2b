"""Tables for the terminal: every cell below its heading."""

import json
from types import SimpleNamespace

from ncf.report import comparison
from ncf.report.tables import metric_table, sweep_table
from ncf.runs import reader
from ncf.runs.display import Display


def figure(value: float, stderr: float, n: int = 40, unit: str = "nats per image") -> dict:
    return {"value": value, "stderr": stderr, "n": n, "unit": unit}


FIGURES = {
    "validation": {"bce": figure(12.3456, 0.1), "m_mse": figure(3.0, 0.25, 9, "per image")},
    "test": {"bce": figure(9.8765, 0.2), "m_mse": figure(4.0, 0.75, 9, "per image")},
}


def test_figures_stand_below_their_splits_beside_their_units():
    lines = [line.split("  ") for line in metric_table(FIGURES, "title").splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells == [
        ["title"],
        ["validation", "test", "unit"],
        ["BCE", "12.35 +- 0.10", "9.88 +- 0.20", "nats per image"],
        ["M-MSE (9 images)", "3.00 +- 0.25", "4.00 +- 0.75", "per image"],
        ["images", "40", "40"],
    ]


def test_jobs_of_a_sweep_have_their_best_epoch_figures_and_seconds():
    jobs = {
        "a=1": {"status": "complete", "best_epoch": 2, "epochs_trained": 5, "seconds": 61.6, "metrics": FIGURES},
        "a=2": {"status": "failed", "reason": "x"},
    }
    lines = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in sweep_table(jobs).splitlines()]
    assert lines[0] == ["job", "status", "epoch", "BCE validation", "BCE test", "M-MSE validation", "M-MSE test", "seconds"]
    assert lines[1] == ["a=1", "complete", "2", "12.35", "9.88", "3.00", "4.00", "62"]
    assert lines[2] == ["a=2", "failed", *["-"] * 6]


def test_a_comparison_tells_the_epochs_trained_the_best_of_them_and_its_figure(tmp_path):
    """The best epoch is neither the first nor the last, and differs from run to run."""
    validated = {"one": [9.0, 5.0, 6.0, 7.0], "two": [4.0, 3.5, 3.0, 8.0]}
    for name, figures in validated.items():
        (tmp_path / name).mkdir()
        lines = (json.dumps({"epoch": i, "validation_bce": value, "train_bce": -value, "seconds": 10.0 * i}) for i, value in enumerate(figures, 1))
        (tmp_path / name / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        (tmp_path / name / "config.yaml").write_text(f"model: {{name: {name}}}\nseed: 0\n")
    runs = [reader.read(folder) for folder in reader.find(tmp_path)]
    assert [(run.best, run.seconds) for run in runs] == [((5.0, 2), 100.0), ((3.0, 3), 100.0)]
    header, *rows = (line.split(",") for line in comparison.csv_text(comparison.compare(runs, "x", tmp_path)).splitlines())
    found = [{key: row[header.index(key)] for key in ("run", "epochs_trained", "best_epoch", "validation_bce", "seconds")} for row in rows]
    assert found == [
        {"run": "one", "epochs_trained": "4", "best_epoch": "2", "validation_bce": "5.0", "seconds": "100.0"},
        {"run": "two", "epochs_trained": "4", "best_epoch": "3", "validation_bce": "3.0", "seconds": "100.0"},
    ]


def test_the_best_checkpoint_is_reported_and_else_the_last(tmp_path):
    run = reader.read(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert run.checkpoint is None
    for name in ("last.pt", "best.pt"):
        (tmp_path / "checkpoints" / name).touch()
        assert run.checkpoint.name == name


def test_the_bar_counts_the_batches_of_all_epochs():
    progress = SimpleNamespace(step=3, bce_sum=120.0, tod_sum=-60.0, images=30, seconds=2.0)
    with Display("bar", epochs=5, n_steps=4) as display:
        display.batch(2, progress)
        assert (display.bar.n, display.bar.total, display.bar.desc) == (7, 20, "epoch 2/5: ")
        assert display.bar.postfix == "BCE 4.00, ToD -2.00, 15 images/s"

"""Tables for the terminal: every cell below its heading."""

import json
from types import SimpleNamespace

import pytest
from pages import Page, curves

from ncf.report import comparison, comparison_page, comparison_text
from ncf.report.run_page import final_metrics, with_error
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


def test_held_out_images_and_the_readers_error_stand_below_the_figures_of_samples():
    beside = {"held_out": 2.0, "held_out_stderr": 0.125, "reader_wrong": 7.071}
    figures = {split: {"ndb": figure(20.0, 3.0, unit="%") | beside} for split in ("validation", "test")}
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in metric_table(figures, "title").splitlines()]
    assert cells[2:] == [
        ["NDB", "20.00 +- 3.00", "20.00 +- 3.00", "%"],
        ["held-out images", "2.00 +- 0.12", "2.00 +- 0.12"],
        ["metrics.reader's error", "7.07", "7.07", "% of test images"],
        ["images", "40", "40"],
    ]
    page = with_error(figures["test"]["ndb"])
    assert "20.00 ± 3.00" in page and "<small>held-out images 2.00 ± 0.12</small></td>" in page
    whole = final_metrics(SimpleNamespace(summary={"metrics": figures, "best_epoch": 3}))
    assert "told by a classifier that errs on 7.07 % of test images" in whole
    older = {"test": {"ndb": figure(20.0, 3.0) | {"held_out": 2.0}}}
    assert "held-out" not in metric_table(older, "title")


@pytest.mark.parametrize("error, shown", [(0.00184, "0.0989 +- 0.0018"), (0.01, "0.10 +- 0.01"), (0.0, "0.10 +- 0.00"), (12.0, "0.10 +- 12.00")])
def test_a_small_error_has_two_digits(error, shown):
    assert shown in metric_table({"test": {"bce": figure(0.09886, error)}}, "title")


def test_jobs_of_a_sweep_have_their_best_epoch_figures_and_seconds():
    jobs = {
        "a=1": {"status": "complete", "best_epoch": 2, "epochs_trained": 5, "seconds": 61.6, "metrics": FIGURES},
        "a=2": {"status": "failed", "reason": "x"},
    }
    lines = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in sweep_table(jobs).splitlines()]
    assert lines[0] == ["job", "status", "epoch", "BCE validation", "BCE test", "M-MSE validation", "M-MSE test", "training s"]
    assert lines[1] == ["a=1", "complete", "2", "12.35", "9.88", "3.00", "4.00", "62"]
    assert lines[2] == ["a=2", "failed", *["-"] * 6]


VALIDATED = {"a0": [9.0, 5.0, 6.0, 7.0], "a1": [4.0, 3.5, 3.0, 8.0], "b": [8.0, 9.0, 9.5, 9.9]}  # the best epoch is the 2nd, the 3rd, the 1st


@pytest.fixture
def compared(tmp_path) -> comparison.Comparison:
    """Two seeds of one config and one of another; validation ToD is minus ten times BCE, training BCE far from both."""
    for i, (name, figures) in enumerate(VALIDATED.items()):
        folder = tmp_path / name
        folder.mkdir()
        rows = [
            {"epoch": k, "validation_bce": bce, "validation_tod": -10 * bce, "train_bce": 500 + bce, "seconds": 10.0 * k}
            for k, bce in enumerate(figures, 1)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "config.yaml").write_text(f"model: {{name: {name[0]}}}\nseed: {i % 2}\n")
        measured = {"validation": {"bce": figure(min(figures), 0.5)}, "test": {"bce": figure(100.5 + i * i, 0.25, 60)}}
        (folder / "summary.json").write_text(json.dumps({"status": "complete", "metrics": measured, "seconds": 1000.0 + i}))
        (folder / "samples.png").write_bytes(bytes(16) + (i + 1).to_bytes(4, "big") + bytes([0, 0, 0, 1]))  # i + 1 wide
    return comparison.compare([reader.read(folder) for folder in reader.find(tmp_path)], "x", tmp_path)


def test_a_comparison_tells_the_epochs_trained_the_best_of_them_and_its_figure(compared):
    header, *rows = (line.split(",") for line in comparison_text.csv_text(compared).splitlines())
    keys = ("run", "epochs_trained", "best_epoch", "validation_bce", "validation.bce", "test.bce", "test.bce.stderr", "test.bce.n", "seconds")
    assert [[row[header.index(key)] for key in keys] for row in rows] == [
        ["a0", "4", "2", "5.0", "5.0", "100.5", "0.25", "60", "1000.0"],
        ["a1", "4", "3", "3.0", "3.0", "101.5", "0.25", "60", "1001.0"],
        ["b", "4", "1", "8.0", "8.0", "104.5", "0.25", "60", "1002.0"],
    ]


def test_the_page_of_a_comparison_has_every_figure_below_its_heading(compared, tmp_path):
    page = Page(comparison_page.page(compared, tmp_path))
    header, *rows = page.table("run")
    found = [dict(zip([head for head, _ in header], (text for text, _ in row), strict=True)) for row in rows]
    for row, (name, figures), i in zip(found, VALIDATED.items(), (0, 1, 2), strict=True):
        assert row == {
            "run": name, "status": "complete", "model": name[0], "seed": str(i % 2), "epochs": "4", "best BCEnats per image": f"{min(figures):.2f}epoch {figures.index(min(figures)) + 1}", "last BCEnats per image": f"{figures[-1]:.2f}",
            "BCE validationnats per image": f"{min(figures):.2f}", "BCE testnats per image": f"{100.5 + i * i:.2f}", "seconds": f"{1000 + i}",
        }  # fmt: skip
    header, first, second = page.table("group")
    heads = [head for head, _ in header]
    assert [first[0][0], second[0][0]] == ["a", "b"]  # the best by validation first
    assert first[heads.index("BCE testnats per image")][0] == "101.00 ± 0.71" and second[heads.index("BCE testnats per image")][0] == "104.50"
    widths = [attributes["width"] for name, attributes in page.elements if name == "img"]
    assert widths == ["2", "3"]  # the samples of the best run of each group


def test_the_curves_of_a_comparison_are_means_of_the_group_with_their_spread(compared):
    lines = comparison_page.group_lines(compared, "validation_bce")
    assert [line.label for line in lines] == ["a", "b"] and lines[0].x == [1, 2, 3, 4]
    assert lines[0].y == [6.5, 4.25, 4.5, 7.5] and lines[1].y == VALIDATED["b"] and lines[1].low is None
    half = [abs(a - b) / 2**0.5 for a, b in zip(VALIDATED["a0"], VALIDATED["a1"])]
    assert lines[0].high == pytest.approx([y + h for y, h in zip(lines[0].y, half)])
    assert lines[0].low == pytest.approx([y - h for y, h in zip(lines[0].y, half)])
    for chart, title, factor in zip(comparison_page.curves(compared).split("</svg>"), ("BCE on", "ToD on"), (1, -10)):
        drawn = curves(chart)
        assert f"<title>{title} validation images</title>" in chart and f"{title[:3]} (" in chart
        for line in lines:
            assert [y for _, y in drawn[line.label]] == pytest.approx([factor * y for y in line.y], rel=0.02)


def test_a_run_without_a_summary_counts_the_seconds_of_its_rows(compared, tmp_path):
    (tmp_path / "b/summary.json").unlink()
    run = reader.read(tmp_path / "b")
    assert (run.best, run.seconds, run.status) == ((8.0, 1), 100.0, "unfinished")


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

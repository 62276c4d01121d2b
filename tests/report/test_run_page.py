"""A run's report: its figures to the last digit, whatever the run has left, and never at the run's cost."""

import hashlib
import json
import resource
from pathlib import Path

import pytest
import yaml
from pages import Page, command, train

import ncf
from ncf.report import run_page
from ncf.runs import checkpoint

SECTIONS = [
    "What was run",
    "Learning curves",
    "Final metrics",
    "Reconstructions",
    "Completions",
    "Samples",
    "Receptive fields",
    "Settling",
    "Activity",
]


def page_of(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def digests(folder: Path) -> dict[str, str]:
    """Every file of a run but its report."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("report.html", "samples.png"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def change_json(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- contents ---------------------------------------------------------------------------------------------------------


def test_training_ends_with_a_report_that_has_every_section(finished):
    page = page_of(finished)
    assert all(title in page.texts for title in SECTIONS) and "not shown" not in page.text and "warning" not in (finished / "run.log").read_text()
    assert (finished / "samples.png").exists() and not list(finished.rglob("*.tmp"))


def test_the_figures_are_those_of_the_summary_to_the_last_digit(finished):
    figures = json.loads((finished / "summary.json").read_text())["metrics"]
    rows = page_of(finished).table("metric")
    assert [cell[0] for cell in rows[0]] == ["metric", "validation", "test", "images"]
    for row, (name, unit) in zip(rows[1:], [("bce", "nats per image"), ("tod", "per image"), ("m_mse", "per image")], strict=True):
        assert row[0][0].endswith(unit)
        for (shown, value), split in zip(row[1:3], ("validation", "test")):
            figure = figures[split][name]
            assert float(value) == figure["value"] and shown.replace("\N{MINUS SIGN}", "-") == f"{figure['value']:.2f} ± {figure['stderr']:.2f}"
        assert row[3][0] == f"{figures['validation'][name]['n']}, {figures['test'][name]['n']}"


def test_the_raw_rows_stand_behind_the_curves(finished):
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    shown = page_of(finished).table("epoch")
    assert [cell[0] for cell in shown[0]] == list(rows[0])
    assert [[float(value) for _, value in row] for row in shown[1:]] == [list(row.values()) for row in rows]


def test_the_config_is_shown_as_what_was_set_and_in_full(finished):
    page = page_of(finished)
    changed = {row[0][0]: (row[1][0], row[2][0]) for row in page.table("key")[1:]}
    assert changed == {
        "epochs": ("3", "15"), "model.layers": ("[12, 12, 12]", "[360, 360, 360]"),
        "model.lateral.columns": ("[6]", "[12, 12, 18]"), "model.settle.steps": ("8", "50"),
    }  # fmt: skip
    assert {"seed", "optimizer.lr", "data_dir", "threads"} <= {row[0][0] for row in page.tables[1][1:]}
    assert "ncf-train model=gncn_pdh dataset=digits" in page.text and "'model.layers=[12,12,12]'" in page.text


def test_the_settling_curve_goes_on_to_twice_k_and_meets_the_test_figure_at_k(finished):
    from ncf.network.discrepancy import bce

    opened = ncf.load(finished)
    network, data = opened.model, opened.data
    rows = page_of(finished).table("k")
    assert [row[0][0] for row in rows[1:]] == [str(k) for k in range(1, 17)]
    network.product_dtype = None  # the curve's products are float32
    assert float(rows[8][1][1]) == pytest.approx(bce(network.settle(data.splits["test"].x[: run_page.N_TEST])).mean().item(), rel=1e-5)


def test_samples_come_from_the_prior_of_log_p_where_it_has_been_fitted(run, ncf_report):
    assert "(2 components, fitted to 500 training images)" in page_of(run).text
    done = command(
        "ncf-eval",
        f"checkpoint='{run}'",
        "metrics=density",
        "metrics.names=[log_p]",
        "metrics.samples=10",
        "metrics.mixture.components=3",
        "split=test",
    )
    assert done.returncode == 0, done.stderr
    assert ncf_report(run)[0] == 0 and "(2 components, fitted to 500" in page_of(run).text, "a prior of other settings is not the run's own"
    content = yaml.safe_load((run / "config.yaml").read_text())
    content["metrics"]["mixture"]["components"] = 3
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    assert ncf_report(run)[0] == 0 and "(3 components, fitted to 1,250 training images)" in page_of(run).text


def test_the_installed_command_gives_the_same_page_and_leaves_the_run_as_it_was(run):
    before, page = digests(run), (run / "report.html").read_bytes()
    done = command("ncf-report", run)
    assert done.returncode == 0 and done.stderr == "" and done.stdout == f"written: {run / 'report.html'}\n"
    assert digests(run) == before and (run / "report.html").read_bytes() == page


# --- whatever the run has left ----------------------------------------------------------------------------------------


def cut_short(run: Path) -> None:
    (run / "summary.json").unlink()
    (run / "checkpoints" / "best.pt").unlink()
    text = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(text[: len(text) - 40])


def test_an_unfinished_run_shows_its_epochs_so_far_and_the_network_of_its_last_checkpoint(run, ncf_report):
    cut_short(run)
    assert ncf_report(run)[0] == 0
    page = page_of(run)
    assert "unfinished" in page.texts and "2 of 3, best 2" in page.texts and "Measured when training is complete." in page.texts
    assert len(page.table("epoch")) == 3 and all(title in page.texts for title in SECTIONS) and "not shown" not in page.text


@pytest.mark.parametrize("status", ["stopped", "failed"])
def test_a_run_that_ended_early_says_why(run, ncf_report, status):
    (run / "summary.json").write_text(json.dumps({"status": status, "reason": "a <b>reason</b>"}))
    assert ncf_report(run)[0] == 0
    assert f"This run is {status}: a <b>reason</b>" in page_of(run).texts


DAMAGES = {
    "no checkpoint yet": (lambda run: [path.unlink() for path in (run / "checkpoints").iterdir()], "there is no checkpoint yet"),
    "damaged checkpoint": (lambda run: (run / "checkpoints" / "best.pt").write_bytes(b"nonsense"), "damaged or not a checkpoint"),
    "no epoch": (lambda run: (run / "metrics.jsonl").unlink(), None),
    "config unreadable": (lambda run: (run / "config.yaml").write_text("model: [}"), None),
    "config of another kind": (lambda run: (run / "config.yaml").write_text("model: 3\nseed: {a: 1}\n"), "What was run"),
    "rows damaged": (lambda run: (run / "metrics.jsonl").write_text('{"epoch": 1, "validation_bce": null}\n{"epo\n[2]\n{"epoch": "x"}\n'), None),
    "summary unreadable": (lambda run: (run / "summary.json").write_text('{"status": "comp'), None),
    "a metric that is no number": (lambda run: change_json(run / "summary.json", metrics={"test": {"new": {"value": "?"}}}), None),
    "only a failed summary": (
        lambda run: [path.unlink() for path in run.rglob("*") if path.is_file() and path.name != "summary.json"],
        "no checkpoint",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_whatever_is_missing_or_damaged_there_is_a_page_that_says_so(run, ncf_report, name):
    damage, line = DAMAGES[name]
    damage(run)
    (run / "report.html").unlink(missing_ok=True)
    status, _, errors = ncf_report(run)
    assert status == 0 and "Traceback" not in errors
    assert (line in page_of(run).text and line in errors) if line else errors == ""


def test_pictures_need_the_images_and_the_page_says_where_they_were_looked_for(run, ncf_report):
    config = yaml.safe_load((run / "config.yaml").read_text())
    content = checkpoint.load(run / "checkpoints" / "best.pt")
    content["config"]["dataset"] |= {"name": "npz", "path": "/nowhere/images.npz"}
    checkpoint.save(run / "checkpoints" / "best.pt", content)
    config["dataset"] |= {"name": "npz", "path": "/nowhere/images.npz"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert ncf_report(run)[0] == 0
    assert "/nowhere/images.npz: no such file" in page_of(run).text and "Learning curves" in page_of(run).texts


@pytest.mark.parametrize("arguments", [[], ["nowhere"], ["."], ["--colour", "red"]])
def test_wrong_arguments_are_one_line(tmp_path, monkeypatch, ncf_report, arguments):
    monkeypatch.chdir(tmp_path)
    status, printed, errors = ncf_report(*arguments)
    assert status == 1 and printed == "" and errors.startswith("error: ") and errors.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written_is_one_line(finished, tmp_path, ncf_report):
    status, _, errors = ncf_report(finished, "--output", tmp_path / "no" / "page.html")
    assert status == 1 and "page.html: cannot be written (No such file or directory)" in errors and errors.count("\n") == 1


# --- never at the run's cost ------------------------------------------------------------------------------------------


def results(folder: Path) -> tuple:
    """What a run is about: weights, and the summary and rows without times."""
    summary = json.loads((folder / "summary.json").read_text())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for timed in (summary, *rows):
        timed.pop("seconds"), timed.pop("images_per_second", None)
    weights = hashlib.sha256((folder / "checkpoints" / "best.pt").read_bytes()).hexdigest()
    return summary, rows, weights


def blocked_and_no_drawing_library(folder: Path) -> dict:
    assert train(folder, "epochs=1").returncode == 0
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    broken = folder.parent / "broken" / "matplotlib"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('no fonts, no backend')\n")
    return {"env": {"PYTHONPATH": str(broken.parent)}}


def disk_full(folder: Path) -> dict:
    size = 60_000  # bytes that a file may have: more than any other file of so small a run, less than its report
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}


@pytest.mark.parametrize("obstacle", [blocked_and_no_drawing_library, disk_full])
def test_a_report_that_cannot_be_written_costs_the_run_nothing(finished, tmp_path, obstacle):
    folder = tmp_path / "run"
    done = train(folder, "epochs=3", **obstacle(folder))
    assert done.returncode == 0 and "warning: report.html could not be written" in done.stdout
    assert not (folder / "report.html").is_file() and not list(folder.rglob("*.tmp"))
    assert results(folder) == results(finished)


def test_the_steps_of_the_gap_are_those_of_the_summary(run):
    assert "Where the nats go" not in page_of(run).texts  # not measured
    figures = json.loads((run / "summary.json").read_text())["metrics"]
    figures["test"] |= {
        "bce_projected": {"value": 7.5, "populations": [5.25, 6.5, 9.0], "final_steps": 3},
        "bce_best_top": {"value": 2.5},
        "posterior_kl": {"value": 8.0, "fit": -4.0, "log_p": -12.0},
    }
    change_json(run / "summary.json", metrics=figures)
    run_page.write(run)
    page = page_of(run)
    assert "Where the nats go" in page.texts and "not shown" not in page.text
    rows = page.table("step")
    assert [float(row[1][1]) for row in rows[1:]] == [figures["test"]["bce"]["value"], 6.5, 9.0, 7.5, 2.5, 4.0, 8.0, 12.0]
    assert "3 last steps" in rows[4][0][0] and "width:240px" in (run / "report.html").read_text()

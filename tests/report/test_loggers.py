"""logger=[csv,wandb,mlflow,tensorboard], each by its real library and without a network."""

import csv
import json
import os

import pytest
from installed import TINY, require_one_line, rows, warm


def in_offline_mode() -> None:
    os.environ["WANDB_MODE"] = "offline"


def without_wandb() -> None:
    import sys

    sys.modules["wandb"] = None


def test_csv_holds_the_rows(tmp_path):
    assert warm("ncf-train", *TINY, "validate_every=2", "epochs=3", "logger=csv", "name=run", cwd=tmp_path).returncode == 0
    run = tmp_path / "outputs/runs/run"
    with open(run / "metrics.csv", newline="") as file:
        found = [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
    assert found == rows(run) and "validation_bce" in found[1]


def test_mlflow_has_the_rows_and_the_config_also_when_the_run_goes_on(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    for epochs in (2, 4):
        done = warm("ncf-train", *TINY, f"epochs={epochs}", "logger=[mlflow]", "name=run", cwd=tmp_path)
        assert done.returncode == 0 and "warning" not in done.stdout, (done.stdout, done.stderr)
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient((tmp_path / "outputs/mlruns").as_uri())
    (found,) = client.search_runs([client.get_experiment_by_name("ncf").experiment_id])
    history = {metric.step: metric.value for metric in client.get_metric_history(found.info.run_id, "validation_bce")}
    assert history == {row["epoch"]: row["validation_bce"] for row in rows(tmp_path / "outputs/runs/run")} and len(history) == 4
    assert found.data.params["model.settle.steps"] == "5" and found.info.run_name == "run"


def test_wandb_has_the_rows(tmp_path):
    pytest.importorskip("wandb")
    done = warm("ncf-train", *TINY, "logger=[csv,wandb]", "name=run", cwd=tmp_path, prepare=in_offline_mode)
    assert done.returncode == 0 and "warning" not in done.stdout, (done.stdout, done.stderr)
    (file,) = (tmp_path / "outputs/runs/run/wandb").glob("offline-run-*/*.wandb")
    written = file.read_bytes()  # a log of records, in which values stand as JSON
    for row in rows(tmp_path / "outputs/runs/run"):
        assert all(json.dumps(value).encode() in written for value in row.values()), row
    assert b"model.settle.steps" in written and b"validation_bce" in written


@pytest.mark.parametrize("given, words", [("logger=wandb", "pip install 'ncf[wandb]'"), ("logger=[csv,wand]", "did you mean 'wandb'?")])
def test_a_logger_that_is_not_there_is_one_line_before_anything_is_made(given, words, tmp_path):
    require_one_line(warm("ncf-train", *TINY, given, cwd=tmp_path, prepare=without_wandb), words)
    assert list(tmp_path.iterdir()) == []

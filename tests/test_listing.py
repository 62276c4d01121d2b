"""ncf-runs and ncf-export, installed: which run is best, the command that repeats it, weights for other programs."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from installed import TINY, require_one_line, summary, warm

from ncf.runs import checkpoint


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three seeds and two learning rates, and a run on another set that was never finished."""
    cwd = tmp_path_factory.mktemp("listed")
    done = warm("ncf-train", *TINY, "--multirun", "seed=0,1,2", "optimizer.lr=0.001,0.01", "name=s", "metrics.names=[bce,tod]", cwd=cwd)
    assert done.returncode == 0, done.stderr
    (cwd / "outputs/runs/unfinished").mkdir(parents=True)
    (cwd / "outputs/runs/unfinished/config.yaml").write_text("model: {name: gncn_t1}\ndataset: {name: mnist}\n")
    return cwd


@pytest.mark.parametrize("metric, pick", [("bce", min), ("tod", max)])
def test_the_best_run_by_a_metric_is_found_and_its_command_repeats_it_bit_for_bit(runs, metric, pick):
    figures = {folder: summary(folder)["metrics"]["test"][metric]["value"] for folder in (runs / "outputs/sweeps/s").glob("*=*")}
    best = pick(figures, key=figures.get)
    done = warm("ncf-runs", "--metric", metric, "--split=test", "--dataset=digits", cwd=runs)
    assert done.returncode == 0 and f"best: {best.relative_to(runs)}\n" in done.stdout and len(figures) == 6, done.stderr
    command = shlex.split(done.stdout.splitlines()[-1])
    alone = warm("ncf-runs", "--best", "--metric", metric, "--split=test", "--dataset=digits", cwd=runs)
    assert shlex.split(alone.stdout) == command and alone.stderr.startswith(f"{best.relative_to(runs)}: ") and f"{figures[best]:.3f}" in alone.stderr
    assert command[0] == "ncf-train" and "threads=1" in command and any(word.startswith("compute.dtype=") for word in command)
    assert warm("ncf-train", *command[1:], f"name=again_{metric}", f"output_dir={runs / 'again'}", cwd=runs).returncode == 0
    weights = [checkpoint.load(run / "checkpoints/best.pt")["weights"] for run in (best, runs / f"again/runs/again_{metric}")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_all_runs_are_listed_the_best_first_and_other_data_are_not_compared(runs):
    done = warm("ncf-runs", cwd=runs)
    lines = done.stdout.split("\n\n")[0].splitlines()
    values = [float(line.split()[-1]) for line in lines[1:-1]]
    assert len(lines) == 8 and values == sorted(values) and lines[-1].split()[-1] == "-" and "unfinished" in lines[-1]
    assert "several data sets (digits, mnist)" in done.stdout and "repeat" not in done.stdout
    told = [json.loads(line) for line in warm("ncf-runs", "outputs/sweeps/s", "--json", cwd=runs).stdout.splitlines()]
    assert [round(item["value"], 3) for item in told] == values and told[0]["metric"] == "bce"


def test_what_stands_in_for_bce_while_training_is_no_bce(tmp_path):
    """A classifier's cross entropy of classes does not make it the best run by BCE, complete or stopped."""
    tiny = [word for word in TINY if not word.startswith("model.")]
    assert warm("ncf-train", "model=relu_classifier", *tiny, "name=reader", cwd=tmp_path).returncode == 0
    assert warm("ncf-train", *TINY, "name=network", cwd=tmp_path).returncode == 0
    done = warm("ncf-runs", "--best", "--dataset", "digits", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr.startswith("outputs/runs/network: "), done.stderr
    for name in ("reader", "network"):
        (tmp_path / "outputs/runs" / name / "summary.json").unlink()  # stopped
    found = {Path(item["run"]).name: item["value"] for item in map(json.loads, warm("ncf-runs", "--json", cwd=tmp_path).stdout.splitlines())}
    assert found["reader"] is None and found["network"] > 0


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nowhere"], "no such folder"),
        (["--metric=bcee"], "did you mean 'bce'?"),
        (["--dataset=x"], "no run below outputs is on it"),
        (["--x"], "--help"),
    ],
)
def test_wrong_arguments_are_one_line(runs, arguments, words):
    require_one_line(warm("ncf-runs", *arguments, cwd=runs), words)


# --- ncf-export ---------------------------------------------------------------------------------------------------------


def test_the_weights_are_exported_as_safetensors(runs):
    safetensors = pytest.importorskip("safetensors")
    run = next((runs / "outputs/sweeps/s").glob("*seed=0*"))
    done = warm("ncf-export", run, f"--output={runs / 'w.safetensors'}", cwd=runs)
    assert done.returncode == 0 and done.stdout == f"written: {runs / 'w.safetensors'}\n", done.stderr
    content = checkpoint.load(run / "checkpoints/best.pt")
    with safetensors.safe_open(runs / "w.safetensors", "pt") as file:
        assert set(file.keys()) == set(content["weights"]) and json.loads(file.metadata()["config"]) == content["config"]
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in content["weights"].items())


@pytest.mark.parametrize("model", ["gncn_pdh", "gncn_t1", "gvae"])
def test_the_projection_is_exported_as_onnx(model, tmp_path):
    runtime, _ = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    keys = ["model.layers=[24,12,6]", "dataset.n_train=100", "epochs=1", "threads=1", "metrics.names=[bce]"]
    keys += ["model.lateral.columns=[6]", "model.settle.steps=3"] if model.startswith("gncn") else []
    assert warm("ncf-train", f"model={model}", *keys, "name=run", cwd=tmp_path).returncode == 0
    done = warm("ncf-export", "outputs/runs/run", "--format", "onnx", "--output=p.onnx", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    weights = checkpoint.load(tmp_path / "outputs/runs/run/checkpoints/best.pt")["weights"]
    f = {3: np.random.default_rng(0).normal(0, 1, (5, 6)).astype(np.float32)}
    (image,) = runtime.InferenceSession(tmp_path / "p.onnx").run(None, {"f_L": f[3]})
    assert image.shape == (5, 8, 8)
    if model == "gvae":
        assert (image >= 0).all() and (image <= 1).all()
        return
    phi = np.tanh if model == "gncn_t1" else lambda a: np.maximum(a, 0)
    for l in (2, 1, 0):
        drive = f[l + 1] @ weights[f"W{l + 1}"].numpy()
        drive = drive + f[l + 2] @ weights[f"M{l + 2}"].numpy() if f"M{l + 2}" in weights else drive
        f[l] = phi(drive) if l else 1 / (1 + np.exp(-drive))
    assert np.allclose(image.reshape(5, -1), f[0], atol=1e-5) and ("M3" in weights) == (model == "gncn_pdh")


def test_what_has_no_projection_is_one_line(tmp_path):
    pytest.importorskip("onnx")
    assert warm("ncf-train", "model=relu_classifier", "model.layers=[8]", "dataset.n_train=50", "epochs=1", "name=c", cwd=tmp_path).returncode == 0
    require_one_line(warm("ncf-export", "outputs/runs/c", "--format=onnx", cwd=tmp_path), "has no projection")
    require_one_line(warm("ncf-export", "nowhere.pt", cwd=tmp_path), "no such file")


@pytest.mark.parametrize("name", ["train", "eval", "sample", "report", "runs", "export"])
def test_every_command_is_also_a_word_of_python_m_ncf(name, tmp_path):
    done = subprocess.run([sys.executable, "-m", "ncf", name, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and f"ncf-{name}" in done.stdout, done.stderr


def test_states_that_swing_are_told_wherever_the_run_is_chosen_by(tmp_path):
    swept = ["--multirun", "model=gncn_t1_sigma", "model.lateral.enabled=false", "model.settle.beta=0.1,0.5", "report=false"]
    done = warm("ncf-train", *TINY, *swept, "name=s", "metrics.names=[bce]", cwd=tmp_path)
    table = done.stdout.split("\njob ")[-1]
    table = re.sub(" +", " ", table)
    assert "beta=0.5 complete! " in table and "beta=0.1 complete " in table and "\n! settling still swings to and fro at K = " in table
    folder = tmp_path / "outputs/sweeps/s/model.settle.beta=0.5"
    assert "lower model.settle.beta" in summary(folder)["warnings"][0] and not (folder / "report.html").exists()
    best = warm("ncf-runs", "--best", "--json", "outputs/sweeps/s/model.settle.beta=0.5", cwd=tmp_path)
    assert json.loads(best.stdout)["warnings"] == summary(folder)["warnings"]
    assert "warning: settling still swings" in warm("ncf-runs", "--best", str(folder), cwd=tmp_path).stderr
    assert warm("ncf-report", str(folder), cwd=tmp_path).returncode == 0 and "lower model.settle.beta" in (folder / "report.html").read_text()
    assert warm("ncf-report", "outputs/sweeps/s", cwd=tmp_path).returncode == 0
    assert "complete!" in (tmp_path / "outputs/sweeps/s/comparison.html").read_text()


def test_a_stopped_run_is_called_so_and_repeated_with_its_threads(tmp_path):
    assert warm("ncf-train", *TINY, "name=r", cwd=tmp_path).returncode == 0
    folder = tmp_path / "outputs/runs/r"
    told = summary(folder)
    (folder / "summary.json").write_text(json.dumps({key: told[key] for key in ("model", "dataset", "seed", "epochs")} | {"status": "stopped"}))
    best = warm("ncf-runs", "--best", cwd=tmp_path)
    assert "threads=1" in shlex.split(best.stdout) and "warning: it is stopped: its metric is that of its best epoch so far" in best.stderr

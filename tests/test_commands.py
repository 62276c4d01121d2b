"""The commands as a user meets them: a run, its evaluation, sweeps, help, bad input, real images, the wheel.

Longer than 300 lines: the commands share the runs that they are tried on.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from installed import TINY, command, require_one_line, rows, summary, warm
from omegaconf import OmegaConf

from ncf.cli import configs_folder
from ncf.config.checks import build
from ncf.config.schema import MODEL_FAMILIES, DatasetConfig, EvalConfig, MetricsConfig, TrainConfig
from ncf.data import datasets
from ncf.runs import checkpoint
from ncf.sweep import planned

ROOT = Path(__file__).resolve().parent.parent
TIMES = ("seconds", "images_per_second")
needs_data = pytest.mark.skipif("NCF_DATA" not in os.environ, reason="NCF_DATA does not name a folder of image sets")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """One run on the digits, seed 0: its folder, and what the command printed."""
    cwd = tmp_path_factory.mktemp("tiny")
    done = command("ncf-train", *TINY, "name=first", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "outputs/runs/first", done


# --- a run and its evaluation -----------------------------------------------------------------------------------------


def test_a_run_folder_holds_what_the_readme_promises(tiny):
    run, done = tiny
    assert done.stderr == ""
    found = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert found == {
        *("config.yaml", "metrics.jsonl", "summary.json", "per_image.npz", "run.log", "reconstructions.png", "report.html", "samples.png", ".lock"),
        *("checkpoints/last.pt", "checkpoints/previous.pt", "checkpoints/best.pt"),
    }
    assert [set(row) for row in rows(run)] == [
        {"epoch", "train_bce", "train_tod", "validation_bce", "validation_tod", "seconds", "images_per_second"}
    ] * 2
    assert [row["epoch"] for row in rows(run)] == [1, 2]
    assert (run / "reconstructions.png").read_bytes().startswith(b"\x89PNG")
    config = build(OmegaConf.load(run / "config.yaml"), TrainConfig)
    assert (config.model.settle.steps, config.epochs, config.dataset.n_train) == (5, 2, 200)


def test_the_summary_and_the_table_say_what_was_measured(tiny):
    run, done = tiny
    content = summary(run)
    assert (content["status"], content["model"], content["dataset"], content["seed"]) == ("complete", "gncn_pdh", "digits", 0)
    best = min(rows(run), key=lambda row: row["validation_bce"])
    assert (content["best_epoch"], content["validation_bce"]) == (best["epoch"], best["validation_bce"])
    assert set(content["metrics"]) == {"validation", "test"}
    for split, figures in content["metrics"].items():
        assert {name: figure["unit"] for name, figure in figures.items()} == {**{"bce": "nats per image", "tod": "per image", "m_mse": "per image"}}
        assert all(figure["n"] == 50 and figure["stderr"] > 0 for figure in figures.values())
    assert content["metrics"]["validation"]["bce"]["value"] == best["validation_bce"]  # all 50 validation images, both times
    for words in ("BCE", "ToD", "M-MSE", "nats per image", "outputs/runs/first/checkpoints/best.pt", "outputs/runs/first/summary.json"):
        assert words in done.stdout
    assert f"{content['metrics']['test']['bce']['value']:.2f}" in done.stdout


def test_evaluation_from_another_folder_repeats_the_report_to_the_last_digit(tiny, tmp_path):
    run, _ = tiny
    best = run / "checkpoints/best.pt"
    done = command("ncf-eval", f"checkpoint={best}", "threads=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = json.loads((best.parent / "eval-best-digits-all.json").read_text())
    assert written["metrics"] == summary(run)["metrics"]
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_of_other_images_and_metrics_goes_where_it_is_told(tiny, tmp_path):
    run, _ = tiny
    np.savez(tmp_path / "mine.npz", x_train=np.eye(64, dtype=np.uint8).reshape(64, 8, 8))
    done = command(
        *("ncf-eval", f"checkpoint={run}", "dataset=npz", "dataset.path=mine.npz", "split=train", "metrics=basic", "threads=1"),
        *("output=mine.json",),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "mine.json").read_text())
    assert (written["dataset"], written["trained_on"], list(written["metrics"]), list(written["metrics"]["train"])) == (
        *("npz", "digits", ["train"], ["bce", "tod"]),
    )
    assert {path.name for path in tmp_path.iterdir()} == {"mine.npz", "mine.json", "mine-per-image.npz"}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tiny, tmp_path):
    first, _ = tiny
    for name, seed in (("again", 0), ("other", 1)):
        done = warm("ncf-train", *TINY, f"name={name}", f"seed={seed}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    again, other = tmp_path / "outputs/runs/again", tmp_path / "outputs/runs/other"
    for file in ("best.pt", "last.pt"):
        assert (again / "checkpoints" / file).read_bytes() == (first / "checkpoints" / file).read_bytes()
    assert rows(again, *TIMES) == rows(first, *TIMES)
    weights = [checkpoint.load(run / "checkpoints/best.pt")["weights"]["W1"] for run in (first, other)]
    assert (weights[0] != weights[1]).all()
    assert all(a["train_bce"] != b["train_bce"] for a, b in zip(rows(first), rows(other)))


# --- sweeps -----------------------------------------------------------------------------------------------------------

SWEEP = ["--multirun", *TINY, "model=gncn_t1,gncn_pdh", "seed=0,1", "metrics=basic"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("sweep")
    done = command("ncf-train", *SWEEP, "name=four", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "outputs/sweeps/four", done


def test_a_sweep_makes_a_folder_per_job_and_one_table(sweep):
    folder, done = sweep
    jobs = {f"model={model},seed={seed}" for model in ("gncn_t1", "gncn_pdh") for seed in (0, 1)}
    assert {path.name for path in folder.iterdir() if path.is_dir()} == jobs
    table = done.stdout[done.stdout.index("\njob  ") :].splitlines()
    assert {line.split()[0] for line in table if "complete" in line} == jobs
    for line in table[2:6]:
        job = summary(folder / line.split()[0])
        assert f"{job['metrics']['test']['bce']['value']:.2f}" in line
    assert len({summary(folder / job)["validation_bce"] for job in jobs}) == 4


def test_a_sweep_job_is_the_run_of_its_overrides(sweep, tiny):
    """Nothing leaks from one job to the next: the third job of the sweep has the weights of a run of its own."""
    one, _ = tiny
    weights = checkpoint.load(sweep[0] / "model=gncn_pdh,seed=0/checkpoints/last.pt")["weights"]
    for name, tensor in checkpoint.load(one / "checkpoints/last.pt")["weights"].items():
        assert torch.equal(tensor, weights[name])


def test_a_failing_job_is_reported_and_the_others_finish(tmp_path):
    done = command("ncf-train", "--multirun", *TINY, "model.settle.steps=0,2", "name=half", "metrics=basic", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "Error executing job" not in done.stderr
    assert done.stderr.splitlines()[-1] == "error: 1 of 2 jobs failed"
    assert "error: model.settle.steps=0: must be at least 1" in done.stderr.splitlines()
    folder = tmp_path / "outputs/sweeps/half"
    assert summary(folder / "model.settle.steps=0") == {"status": "failed", "reason": "model.settle.steps=0: must be at least 1"}
    assert summary(folder / "model.settle.steps=2")["status"] == "complete"
    assert [line.split()[:2] for line in done.stdout[done.stdout.index("\njob  ") :].splitlines()[2:4]] == [
        *(["model.settle.steps=0", "failed"], ["model.settle.steps=2", "complete"]),
    ]


@pytest.mark.parametrize("flag", [["--cfg", "job"], ["-c=job"]])
def test_the_jobs_of_a_sweep_are_shown_before_it_is_run(flag, tmp_path):
    done = warm("ncf-train", "--multirun", *flag, "seed=0,1", "model=gncn_t1,gncn_pdh", "name=four", cwd=tmp_path)
    expected = [f"  seed={seed} model={model}" for seed in (0, 1) for model in ("gncn_t1", "gncn_pdh")]
    assert done.returncode == 0 and done.stdout.splitlines()[:-1] == ["4 jobs in outputs/sweeps/four:", *expected], done.stderr
    assert done.stdout.splitlines()[-1] == "launcher: BasicLauncher" and not (tmp_path / "outputs").exists()
    require_one_line(warm("ncf-train", "--multirun", *flag, "seed=0,1", "epochs=many", cwd=tmp_path), "not a whole number")


def test_what_slurm_is_asked_for_is_shown_with_what_ncf_adds(monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setattr("sys.argv", ["ncf-train"])
    text = planned("train", ["--multirun", "seed=0,1", "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=4"])
    told = text.splitlines()[-1].removeprefix("launcher: SlurmLauncher ").split(", ")
    assert {"timeout_min=4", "max_num_timeout=1000", "signal_delay_s=60", "additional_parameters.requeue=true"} <= set(told)


def test_the_joblib_launcher_gives_the_same_sweep(sweep, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    done = command("ncf-train", *SWEEP, "name=four", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for job in (path for path in sweep[0].iterdir() if path.is_dir()):
        other = tmp_path / "outputs/sweeps/four" / job.name
        assert (other / "checkpoints/best.pt").read_bytes() == (job / "checkpoints/best.pt").read_bytes()
        assert rows(other, *TIMES) == rows(job, *TIMES)
        assert summary(other)["metrics"] == summary(job)["metrics"]


# --- help -------------------------------------------------------------------------------------------------------------


def keys_with_help(schema: type, nested: dict[str, type], prefix: str = "") -> dict[str, str]:
    """Dotted key -> its line of help, walked from the dataclasses alone."""
    found = {}
    for field in dataclasses.fields(schema):
        if field.metadata.get("recorded"):  # by a run, and not to be set
            continue
        inner = nested.get(field.name) or (field.default_factory if dataclasses.is_dataclass(field.default_factory) else None)
        found[prefix + field.name] = field.metadata["help"]
        found |= keys_with_help(inner, {}, f"{prefix}{field.name}.") if inner else {}
    return found


@pytest.mark.parametrize(
    "name, keys",
    [
        ("ncf-train", keys_with_help(TrainConfig, {"model": MODEL_FAMILIES["gncn"]})),
        ("ncf-eval", keys_with_help(EvalConfig, {"dataset": DatasetConfig, "metrics": MetricsConfig})),
    ],
)
def test_help_names_every_key_with_its_line(name, keys, tmp_path):
    done = command(name, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.strip() for line in done.stdout.splitlines()]
    for key, text in keys.items():
        assert text, key
        assert any(line.startswith((f"{key}=", f"{key}: ")) and text in line for line in lines), key
    for group in ("dataset", "metrics"):
        options = sorted(path.stem for path in Path(configs_folder(), group).glob("*.yaml"))
        assert any(line.startswith(f"{group}=") and line.endswith(" | ".join(options)) for line in lines)
    assert list(tmp_path.iterdir()) == []


# --- bad input --------------------------------------------------------------------------------------------------------

BAD_TRAIN = [  # overrides, words of the line
    (["sead=1"], "'sead'", "'seed'"),
    (["model.setle.steps=3"], "'model.setle.steps'", "'model.settle.steps'"),
    (["modle=gncn_t1"], "'modle'", "'model'"),
    (["model=gncn_t3"], "model=gncn_t3", "'gncn_t1'"),
    (["dataset=minst"], "dataset=minst", "'mnist'"),
    (["optimizer=adamm"], "optimizer=adamm", "'adam'"),
    (["metrics=fats"], "metrics=fats", "'fast'"),
    (["experiment=quick_mnits"], "experiment=quick_mnits", "'quick_mnist'"),
    (["model.activation=rellu"], "model.activation=rellu", "'relu'"),
    (["metrics.names=[bec]"], "'bec'", "'bce'"),
    (
        ["+typo=1"],
        "'typo'",
    ),
    (
        ["+model.typo=1"],
        "'model.typo'",
    ),
    (["epochs=many"], "epochs", "'many' is not a whole number"),
    (["epochs=1.5"], "epochs", "'1.5' is not a whole number"),
    (["model.settle.beta=x"], "model.settle.beta", "'x' is not a number"),
    (["model.skips=perhaps"], "model.skips", "'perhaps' is not true or false"),
    (
        ["model.layers=24"],
        "model.layers",
    ),
    (["model.layers=[24"], "cannot read", "'model.layers=[24'"),
    (["model.settle.steps=0"], "model.settle.steps=0", "at least 1"),
    (["model.settle.beta=0"], "model.settle.beta=0", "above 0"),
    (["model.settle.beta=-0.1"], "model.settle.beta=-0.1", "above 0"),
    (["model.settle.beta=nan"], "model.settle.beta=nan", "finite"),
    (["model.layers=[25,24,24]", "model.lateral.columns=[6]"], "layer 1 has 25 units", "column size 6"),
    (["model.lateral.columns=[6,6]"], "3 layers need 3 column sizes"),
    (["seed=1,2"], "seed", "--multirun"),
    (["--multirn"], "'--multirn'", "'--multirun'"),
    (["--multrun", "seed=0,1"], "'--multrun'", "'--multirun'"),
    (["--lr", "0.1", "seed=1"], "'--lr'", "optimizer.lr=VALUE"),
    (["--epochs=5"], "'--epochs'", "epochs=5"),
    (["--config=1"], "'--config'", "config=1"),
    (
        ["--multirun", "seed=0,1", "model=gncn_t1,gncn_t9"],
        "model=gncn_t9",
    ),
    (["dataset=npz"], "dataset.path"),
    (["model=gmm", "model.settle.steps=3"], "model.settle.steps", "the chosen model has no such key"),
    (["name=../escape"], "name=../escape", "run_dir="),
    (["resume=nowhere"], "resume=nowhere", "no run is there"),
    (["--multirun", "seed=0,1", "run_dir=here"], "run_dir=", "name="),
    (["name=a", "run_dir=b"], "name=a and run_dir=b", "give one of them"),
    (["resume=a", "name=b"], "name=b and resume=a", "start_from=a"),
    (["resume=a", "run_dir=b"], "run_dir=b and resume=a", "start_from=a"),
    (["resume=a", "config=b.yaml"], "config=b.yaml and resume=a", "give one of them"),
    (["metrics.names=[bce,fid]"], "'fid'", "known: bce, "),
    (["experiment=published", "model=gvae"], "experiment=published sets model.constraint", "networks of another kind"),
]


@pytest.mark.parametrize("overrides, words", [(o, words) for o, *words in BAD_TRAIN], ids=[" ".join(o) for o, *_ in BAD_TRAIN])
def test_a_wrong_override_is_one_line_and_leaves_nothing(overrides, words, tmp_path):
    require_one_line(warm("ncf-train", *overrides, cwd=tmp_path), *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["device=cuda:99"], ["device=cuda:99"]),
        (["device=gpu"], ["device=gpu", "cuda:N"]),
        (["dataset=npz", "dataset.path=none.npz"], ["none.npz", "no such file"]),
        (["dataset.n_train=100000"], ["dataset.n_train=100000", "training images"]),
        (
            ["dataset=mnist", "data_dir=none", "dataset.mirror=http://127.0.0.1:9"],
            ["none/mnist/train-images-idx3-ubyte.gz", "127.0.0.1:9", "data_dir"],
        ),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_device_or_file_that_is_not_there_is_one_line_and_leaves_nothing(overrides, words, tmp_path):
    require_one_line(warm("ncf-train", *overrides, "threads=1", cwd=tmp_path), *words)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_dataset_file_is_named_with_what_is_wrong_and_what_to_do(tmp_path):
    file = tmp_path / "data/mnist/train-images-idx3-ubyte.gz"
    file.parent.mkdir(parents=True)
    file.write_text("<!DOCTYPE html><title>404</title>")
    done = command("ncf-train", "dataset=mnist", "data_dir=data", "threads=1", cwd=tmp_path)
    require_one_line(done, "data/mnist/train-images-idx3-ubyte.gz is damaged", "<!DO", "delete it")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], ["checkpoint is not set", "checkpoint="]),
        (["checkpoint=none.pt"], ["none.pt", "no such file"]),
        (["checkpoint=RUN", "split=tset"], ["split=tset", "'test'"]),
        (["checkpoint=RUN", "dataset=minst"], ["dataset=minst", "'mnist'"]),
        (["checkpoint=RUN", "model.settle.steps=3"], ["'model.settle.steps'"]),
        (["checkpoint=RUN", "dataset=npz", "dataset.path=SMALL"], ["2 x 2", "8 x 8"]),
        (["checkpoint=RUN", "output=none/eval.json"], ["none/eval.json", "output="]),
        (["checkpoint=RUN", "output=FOLDER"], ["given", "output="]),
        (["checkpoint=DAMAGED"], ["damaged.pt", "damaged"]),
        (["checkpoint=SMALL"], ["small.npz"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_wrong_evaluation_is_one_line_and_leaves_nothing(arguments, words, tiny, tmp_path):
    places = {"RUN": tiny[0], "SMALL": tmp_path / "given/small.npz", "DAMAGED": tmp_path / "given/damaged.pt", "FOLDER": tmp_path / "given"}
    places["SMALL"].parent.mkdir()
    np.savez(places["SMALL"], x_train=np.ones((9, 2, 2), np.uint8))
    whole = (tiny[0] / "checkpoints/best.pt").read_bytes()
    places["DAMAGED"].write_bytes(whole[: len(whole) // 2])
    for name, path in places.items():
        arguments = [argument.replace(f"={name}", f"={path}") for argument in arguments]
    before = sorted(tiny[0].rglob("*"))
    cwd = tmp_path / "empty"
    cwd.mkdir()
    require_one_line(warm("ncf-eval", *arguments, cwd=cwd), *words)
    assert list(cwd.iterdir()) == []
    assert sorted(path.name for path in (tmp_path / "given").iterdir()) == ["damaged.pt", "small.npz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "given"]
    assert sorted(tiny[0].rglob("*")) == before


def test_another_settling_into_an_existing_run_is_refused_with_the_keys(tiny, tmp_path):
    run, _ = tiny
    files = [path for path in run.rglob("*") if path.is_file() and path.name != ".lock"]
    before = {path: path.read_bytes() for path in files}
    done = command("ncf-train", *TINY, f"run_dir={run}", "model.settle.steps=6", "seed=3", cwd=tmp_path)
    require_one_line(done, "model.settle.steps (5 there, 6 now)", "seed (0 there, 3 now)", "name=")
    assert list(tmp_path.iterdir()) == []
    assert {path: path.read_bytes() for path in files} == before


def test_a_run_goes_on_with_its_own_experiment(tiny, tmp_path):
    run, _ = tiny
    require_one_line(
        warm("ncf-train", f"resume={run}", "experiment=quick_mnist", cwd=tmp_path), "experiment=quick_mnist", "its own config", "epochs="
    )
    assert list(tmp_path.iterdir()) == []


def test_a_tolerance_that_is_never_met_is_said_once(tmp_path):
    done = warm("ncf-train", *TINY, "model=gncn_pdh", "model.settle.tolerance=1e-9", "name=run", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.count("model.settle.tolerance was not met in all 5 steps (epoch 1, batch 1)") == 1


# --- every config file, real images, the wheel ------------------------------------------------------------------------

CHOICES = [(path.parent.name, path.stem) for path in sorted((ROOT / "configs").glob("*/*.yaml"))]


@pytest.mark.parametrize("group, option", CHOICES)
def test_every_config_file_composes_and_passes_its_checks(group, option):
    extra = ["dataset.path=mine"] if option in ("npz", "folder", "idx") else ["model.likelihood=gaussian"] if option == "natural_patches" else []
    with initialize_config_dir(config_dir=configs_folder(), version_base="1.3"):
        config = build(compose("train", overrides=[f"{group}={option}", *extra]), TrainConfig)
        if group in ("dataset", "metrics"):
            mine = [word for word in extra if word.startswith("dataset")]
            assert getattr(build(compose("eval", overrides=["checkpoint=x", f"{group}={option}", *mine]), EvalConfig), group) is not None
    if group in ("model", "dataset", "optimizer"):
        assert getattr(config, group).name == {"sgd_slow": "sgd"}.get(option, option)


@needs_data
def test_one_epoch_on_real_digits_beats_the_mean_image(tmp_path):
    settings = ["dataset.n_train=2000", "dataset.n_validation=500", "batch_size=100"]
    done = command(
        *(
            "ncf-train",
            "model=gncn_t1_sigma",
            "dataset=mnist",
            *settings,
            "epochs=1",
            "metrics=basic",
            "metrics.n_images=500",
            "name=real",
            "threads=1",
        ),
        cwd=tmp_path,
        NCF_DATA=os.environ["NCF_DATA"],
    )
    assert done.returncode == 0, done.stderr
    data = datasets.load(DatasetConfig(name="mnist", n_train=2000, n_validation=500), os.environ["NCF_DATA"])
    mean = data.splits["train"].x.mean(0).clamp(1e-7, 1 - 1e-7)
    x = data.splits["test"].x[:500]
    predictor = -(x * mean.log() + (1 - x) * (1 - mean).log()).sum(1).mean().item()
    figures = summary(tmp_path / "outputs/runs/real")["metrics"]["test"]["bce"]
    assert (figures["n"], 150 < predictor < 250) == (500, True)
    assert figures["value"] < 0.7 * predictor


def test_a_wheel_in_an_environment_of_its_own_trains_and_evaluates(tmp_path):
    source, wheels, environment, empty = (tmp_path / name for name in ("source", "wheels", "environment", "empty"))
    for folder in ("ncf", "configs"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / file).exists():
            shutil.copy(ROOT / file, source)
    run = lambda *words: subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True)  # noqa: E731
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, source)
    (wheel,) = wheels.glob("*.whl")
    assert {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".yaml")} == {
        f"ncf/configs/{path.relative_to(ROOT / 'configs')}" for path in (ROOT / "configs").rglob("*.yaml")
    }
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    run(sys.executable, "-m", "pip", "--python", environment / "bin/python", "install", "--no-deps", "--no-index", wheel)
    empty.mkdir()
    place = subprocess.run([environment / "bin/python", "-c", "import ncf; print(ncf.__file__)"], cwd=empty, capture_output=True, text=True)
    assert Path(place.stdout.strip()).is_relative_to(environment)
    for words in ([environment / "bin/ncf-train", *TINY, "name=run"], [environment / "bin/ncf-eval", "checkpoint=outputs/runs/run"]):
        done = subprocess.run(words, cwd=empty, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    run = empty / "outputs/runs/run"
    assert json.loads((run / "checkpoints/eval-best-digits-all.json").read_text())["metrics"] == summary(run)["metrics"]
    assert (run / "report.html").stat().st_size > 10_000  # its style and script are in the wheel
    door = "import ncf; n = ncf.load('outputs/runs/run'); print(ncf.__file__, n.settle(n.images('test', 3)).bce.mean(), n.sample(2).shape)"
    done = subprocess.run([environment / "bin/python", "-c", door], cwd=empty, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(str(environment)) and "(2, 8, 8)" in done.stdout, done.stderr
    assert any(name == "ncf/py.typed" for name in zipfile.ZipFile(wheel).namelist())

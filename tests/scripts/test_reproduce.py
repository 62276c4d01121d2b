"""scripts/reproduce on the digits with tiny settings: what it runs, that it goes on, and that the page says what was measured."""

import argparse
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from installed import of_repository, summary
from installed import rows as epochs_of
from omegaconf import OmegaConf
from table import commands
from table import reproduce as reproduction
from table import rows as table
from table.cells import collect, read_run

from ncf.config.compose import compose_train

TINY = (
    "threads=1 model.layers=[12,12] dataset.n_train=100 dataset.n_validation=40 metrics.n_images=40 metrics.samples=20 "
    "metrics.encoder_samples=2 metrics.annealing.steps=3 metrics.annealing.chains=2 metrics.annealing.images=2 metrics.annealing.check_images=2"
).split()


def reproduce(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return of_repository("table.reproduce", "--datasets", "digits", "--epochs", "1", *arguments, cwd=cwd)


def test_the_table_is_run_once_goes_on_and_is_written(tmp_path):
    further = ["--rows", "gvae", "--seeds", "0", "1", "--annealed", "--samples", "--set", *TINY, "kmnist:dataset.folder=elsewhere"]
    first = reproduce(*further, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "[1/6] ncf-train experiment=table_digits model=relu_classifier seed=0" in first.stdout  # which reads the samples
    assert "[2/6] ncf-train experiment=table_digits model=gvae seed=0" in first.stdout and "elsewhere" not in first.stdout
    table = tmp_path / "outputs/table/digits/gvae"
    assert {path.name for path in table.iterdir()} == {"seed0", "seed1"} and (table / "seed0/density.json").exists()
    assert not list(table.glob("*/checkpoints/*.npz"))

    page = (tmp_path / "docs/results.md").read_text()
    lines = [json.loads(line) for line in (tmp_path / "docs/results.jsonl").read_text().splitlines()]
    by_seed = [summary(table / f"seed{seed}")["metrics"]["test"]["bce"]["value"] for seed in (0, 1)]
    assert f"{sum(by_seed) / 2:.2f} ± {abs(by_seed[0] - by_seed[1]) / 2**0.5:.2f}" in page
    first, second = sorted((line for line in lines if line["row"] == "gvae"), key=lambda line: line["seed"])
    assert set(first["figures"]) - set(second["figures"]) == {"log_p_annealed", "log_p_annealed_own"}
    assert len(first["figures"]["log_p_annealed"]["values"]) == 2 and "| NDB |" in page
    assert all("ndb" in run["figures"] and run["figures"]["frechet_features"]["reader_wrong"] > 0 for run in (first, second))
    assert "The classifier is wrong on" in page
    for line in lines:
        assert {"dataset", "row", "seed", "figures", "command", "versions", "hardware", "seconds"} <= set(line)
        assert all({"value", "unit", "n", "stderr"} <= set(figure) for figure in line["figures"].values())
    assert "ncf-train model=gvae dataset=digits" in first["command"] and "not run" in page

    both = next(cell for cell in collect(tmp_path / "none", tmp_path / "docs/results.jsonl") if cell.row == "gvae" and cell.n_train is None)
    assert both.usual["bce"] == (pytest.approx((by_seed[0] - by_seed[1]) ** 2 / 2), 1)

    again = reproduce(*further, cwd=tmp_path)
    assert again.returncode == 0 and "ncf-train" not in again.stdout and len(epochs_of(table / "seed0")) == 1
    (table / "seed1/summary.json").unlink()
    third = reproduce(*further, cwd=tmp_path)
    assert "[1/1] ncf-train" in third.stdout and "seed=1" in third.stdout and third.returncode == 0

    whole = [(tmp_path / "docs" / name).read_text() for name in ("results.md", "results.jsonl")]
    shutil.rmtree(table / "seed0")  # a table that was made in several places: what is not here stays on the page
    fourth = reproduce("--report-only", cwd=tmp_path)
    assert fourth.returncode == 0
    assert [(tmp_path / "docs" / name).read_text() for name in ("results.md", "results.jsonl")] == whole


@pytest.mark.skipif("NCF_DATA" not in os.environ, reason="NCF_DATA does not name a folder of image sets")
def test_a_row_takes_up_the_run_of_another_and_is_compared_under_refitted_priors(tmp_path):
    settings = [s for s in TINY if not s.startswith("model.")] + ["model.settle.steps=5", "metrics.mixture.rounds=1", "metrics.mixture.latents=60"]
    asked = ["--datasets", "mnist", "--epochs", "1", "--rows", "gncn_pdh_prior", "--seeds", "0", "--refit", "--set", *settings]
    done = of_repository("table.reproduce", *asked, f"data_dir={os.environ['NCF_DATA']}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[1/4] ncf-train experiment=table_mnist model=gncn_pdh seed=0" in done.stdout  # which it takes up, and no row that was asked for
    assert "start_from=outputs/table/mnist/gncn_pdh_last/seed0" in done.stdout and "metrics.mixture.final_steps=30" in done.stdout
    figures = read_run(tmp_path / "outputs/table/mnist/gncn_pdh_prior/seed0")["figures"]
    assert len(figures["log_p_annealed_refit"]["values"]) == 2 and "posterior_kl_refit" in figures and "log_p_annealed" not in figures
    text = (tmp_path / "docs/results.jsonl").read_text()
    assert "start_from=outputs/table/mnist/gncn_pdh_last/seed0" in text and str(tmp_path) not in text
    page = (tmp_path / "docs/results.md").read_text()
    line = next(line for line in page.partition("**Density under refitted priors.**")[2].splitlines() if line.startswith("| GNCN-PDH, with a prior"))
    assert f"| {figures['log_p_annealed_refit']['value']:.2f} ± " in line and f"| {figures['bce']['value']:.2f} ± " in line
    again = of_repository("table.reproduce", *asked, f"data_dir={os.environ['NCF_DATA']}", cwd=tmp_path)
    assert again.returncode == 0 and "ncf-train" not in again.stdout


def test_a_run_whose_base_failed_is_left_out(tmp_path, monkeypatch, capsys):
    asked = [["ncf-train", "model=gvae", "run_dir=base"], ["ncf-train", "model=gvae", f"start_from={tmp_path / 'base'}"], ["ncf-train", "model=rae"]]
    ran = []
    monkeypatch.setattr(reproduction, "planned", lambda arguments, rows: asked)
    monkeypatch.setattr(reproduction, "run", lambda command: ran.append(command) or command is not asked[0])
    monkeypatch.setattr(reproduction.results_page, "write", lambda *arguments: None)
    arguments = argparse.Namespace(rows=None, tune=False, report_only=False, output=tmp_path, page=tmp_path / "results.md")
    assert not reproduction.reproduce(arguments) and ran == [asked[0], asked[2]]
    assert f"left out: {tmp_path / 'base'}, which it goes on from, is not complete" in capsys.readouterr().err
    (tmp_path / "base").mkdir()
    (tmp_path / "base/summary.json").write_text(json.dumps({"status": "complete"}))
    asked[0] = ["ncf-train", "model=gvae", "run_dir=again"]
    ran.clear()
    assert not reproduction.reproduce(arguments) and ran == asked


def test_a_failed_run_does_not_stop_the_others(tmp_path):
    done = reproduce("--rows", "gvae", "rae", "--seeds", "0", "--set", *TINY, "dataset.n_train=1000000", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.count("n_train=1000000") == 2 and (tmp_path / "docs/results.md").exists()


@pytest.mark.parametrize("arguments, words", [(["--rows", "gvea"], "'gvae'"), (["--datasets", "minst"], "'mnist'")])
def test_unknown_names_are_one_line(tmp_path, arguments, words):
    done = of_repository("table.reproduce", *arguments, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and words in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_curve_has_autoencoders_of_as_many_latents_where_they_are_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "training_images", lambda dataset, arguments: 1300)
    asked = argparse.Namespace(datasets=["digits", "mnist"], seeds=[0], output=tmp_path, curve=True, epochs=None, set=[], annealed=None)
    vars(asked).update(samples=False, refit=False, hidden=False, inferred=False)
    told = [shlex.join(command) for command in reproduction.planned(asked, {name: table.read_table()[name] for name in ("rae", "rae_many")})]
    on = {
        (dataset, name): sum(f"{dataset}/{name}/seed0-n" in command for command in told) for dataset in asked.datasets for name in ("rae", "rae_many")
    }
    assert on == {("digits", "rae"): 5, ("digits", "rae_many"): 0, ("mnist", "rae"): 5, ("mnist", "rae_many"): 5}
    asked.inferred = True  # of autoencoders, at every size and of all images
    jobs = reproduction.planned(asked, {name: table.read_table()[name] for name in ("rae", "gncn_pdh_sgd")})
    found = [words[1] for words in jobs if words[0] == "ncf-eval" and "metrics.names=[bce_inferred]" in words]
    assert len(set(found)) == len(found) == 12 and all("/rae/seed0" in checkpoint for checkpoint in found)


def test_few_images_get_more_epochs_and_many_the_usual(tmp_path):
    arguments = argparse.Namespace(epochs=None, set=[])
    cases = (("mnist", 100), ("digits", 100), ("mnist", 10_000))
    few, digits, many = (commands.train_command(dataset, {"model": "gvae"}, 0, tmp_path, arguments, n) for dataset, n in cases)
    assert {"epochs=2000", "validate_every=100", "dataset.n_train=100"} <= set(few)
    assert {"epochs=1000", "validate_every=50"} <= set(digits)  # two batches of 50 an epoch
    cooled = commands.train_command("mnist", table.read_table()["gncn_pdh_cooled"], 0, tmp_path, argparse.Namespace(epochs=2, set=[]))
    assert compose_train(*cooled[1:-1]).epochs == compose_train(*cooled[1:-1]).optimizer.cooldown == 2
    larger = commands.train_command("mnist", {"model": "gvae", "sets": ["batch_size=50"]}, 0, tmp_path, arguments, 100)
    assert "epochs=1000" in larger  # the row's own batches
    assert "dataset.n_train=10000" in many and not [word for word in many if word.startswith(("epochs", "validate_every"))]


def test_a_figure_of_an_earlier_checkpoint_is_measured_again(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"status": "complete", "best_epoch": 30}))
    found = {"metrics": {"test": {"log_p_annealed": {"value": -70.0, "images": 100}}}}
    for epoch, there in ((15, False), (30, True)):
        (tmp_path / "density.json").write_text(json.dumps({"epoch": epoch} | found))
        assert reproduction.measured_already(tmp_path, "density") == reproduction.measured_already(tmp_path, "density", 100) == there
    assert not reproduction.measured_already(tmp_path, "density", 400)  # fewer than asked for
    assert not reproduction.measured_already(tmp_path, "samples")
    asked = argparse.Namespace(set=["metrics.annealing.steps=3"], annealed=400, output=tmp_path)
    told = commands.eval_command("digits", tmp_path, "density", asked, settles=False)
    last = dict(word.split("=", 1) for word in told[1:])  # of a key given twice the last counts
    assert (last["metrics.annealing.images"], last["metrics.annealing.steps"]) == ("400", "3")


def test_a_complete_run_that_was_made_otherwise_stays_and_is_named(tmp_path, capsys):
    asked = argparse.Namespace(epochs=None, set=[], output=tmp_path)
    row = table.read_table()["gvae"]
    folder = tmp_path / "digits/gvae/seed0"
    command = commands.train_command("digits", row, 0, folder, asked)
    assert reproduction.missing(folder, command) == [command]
    folder.mkdir(parents=True)
    OmegaConf.save(OmegaConf.structured(compose_train(*command[1:])), folder / "config.yaml")
    (folder / "summary.json").write_text(json.dumps({"status": "complete"}))
    assert reproduction.missing(folder, command) == [] and not capsys.readouterr().err
    asked = argparse.Namespace(datasets=["digits"], seeds=[0], output=tmp_path, curve=False, epochs=None, set=["optimizer.lr=9"], annealed=None)
    vars(asked).update(samples=False, refit=False, hidden=False, inferred=False)
    taken_up = {"gvae": row} | {name: row | {"after": "gvae"} for name in ("gvae_tuned", "gvae_cv")}
    assert (
        len(reproduction.planned(asked, taken_up)) == 2 and capsys.readouterr().err.count("run otherwise") == 1
    )  # told once, though two start from it
    assert reproduction.missing(folder, commands.train_command("digits", row, 0, folder, asked)) == []
    assert f"{folder} is complete, run otherwise: `optimizer.lr=0.002` without `optimizer.lr=9.0`" in capsys.readouterr().err


def test_a_complete_run_whose_base_is_made_anew_stays_and_is_named(tmp_path, capsys):
    asked = argparse.Namespace(epochs=None, set=[])
    base, folder = tmp_path / "base", tmp_path / "cooled"
    command = [*commands.train_command("digits", {"model": "gvae"}, 0, folder, asked), f"start_from={base}"]
    for at, run in enumerate((base, folder)):
        run.mkdir()
        OmegaConf.save(OmegaConf.structured(compose_train(*command[1:])), run / "config.yaml")
        (run / "summary.json").write_text(json.dumps({"status": "complete"}))
        os.utime(run / "summary.json", (at, at))
    assert reproduction.missing(folder, command) == [] and not capsys.readouterr().err
    os.utime(base / "summary.json", (2, 2))
    assert reproduction.missing(folder, command) == []
    assert f"note: {folder} is complete, but {base}, which it goes on from, is made anew; it stays" in capsys.readouterr().err
    (base / "summary.json").write_text(json.dumps({"status": "running"}))
    assert reproduction.missing(folder, command) == [] and f"{base}, which it goes on from" in capsys.readouterr().err

"""What an evaluation takes from the checkpoint and what from its own command line."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from ncf.config.compose import compose_train
from ncf.config.schema import DatasetConfig, EvalConfig, MetricsConfig, SampleConfig, TrainConfig
from ncf.errors import UserError
from ncf.evaluate import evaluate, file_name, own_dataset
from ncf.runs import checkpoint
from ncf.runs.existing import data_dir_of
from ncf.runs.files import write_whole
from ncf.sample import sample
from ncf.training import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run on grey images that were not binarised, from an .npz."""
    folder = tmp_path_factory.mktemp("evaluate")
    rng = np.random.default_rng(0)
    np.savez(folder / "grey.npz", x_train=rng.random((60, 4, 4)).astype(np.float32), x_test=rng.random((20, 4, 4)).astype(np.float32))
    np.savez(folder / "other.npz", x_train=rng.random((60, 4, 4)).astype(np.float32), x_test=rng.random((20, 4, 4)).astype(np.float32))
    model = compose_train("model=gncn_pdh", "model.layers=[12,12,12]", "model.lateral.columns=[6]", "model.settle.steps=6").model
    dataset = DatasetConfig(name="npz", path=str(folder / "grey.npz"), binarize="none", n_train=30)
    config = TrainConfig(model=model, dataset=dataset, metrics=MetricsConfig(names=["bce", "tod"]), epochs=1, threads=1, progress="off", logger=[])
    train(config, folder / "run", named=True)
    return folder


def measured(run, given=(), **changes) -> dict:
    result = evaluate(EvalConfig(checkpoint=str(run / "run"), threads=1, output=str(run / "eval.json"), **changes), set(given))
    assert json.loads((run / "eval.json").read_text()) == result
    return result


def test_it_repeats_the_report(run):
    summary = json.loads((run / "run" / "summary.json").read_text())
    result = measured(run)
    assert result["metrics"] == summary["metrics"] and result["settle"] == summary["settle"]
    assert {name: result["settle"][name] for name in ("steps", "beta")} == {"steps": 6, "beta": 0.1}


def test_a_setting_of_another_solver_is_told_to_change_nothing(run, capsys):
    assert measured(run, momentum=0.9)["metrics"] == measured(run)["metrics"]
    assert "note: momentum changes nothing beside solver=euler; it needs solver=momentum" in capsys.readouterr().out
    measured(run, solver="momentum", momentum=0.9)
    assert "note: " not in capsys.readouterr().out


def test_other_steps_and_beta_settle_anew(run):
    first = measured(run)
    base, base_multiply_adds = first["metrics"]["test"]["bce"]["value"], first["settle"]["multiply_adds"]
    longer = measured(run, steps=30)
    assert (
        longer["settle"]["steps"] == 30
        and longer["settle"]["multiply_adds"] > 4 * base_multiply_adds
        and longer["metrics"]["test"]["bce"]["value"] != base
    )
    # from rest, the same integrated time in half the steps is near, but not the same
    assert measured(run, steps=3, beta=0.2)["settle"]["beta"] == 0.2
    still = measured(run, solver="momentum", momentum=0.0)  # which is Euler
    assert still["settle"] == first["settle"] | {"solver": "momentum 0"}
    assert still["metrics"]["test"]["bce"]["value"] == pytest.approx(base, rel=1e-5)
    assert abs(measured(run, solver="momentum", momentum=0.9)["metrics"]["test"]["tod"]["value"] - still["metrics"]["test"]["tod"]["value"]) > 1e-3
    assert measured(run, steps=6, beta=0.1)["metrics"]["test"]["bce"]["value"] == base


def test_only_what_the_command_line_gives_departs_from_training(run):
    """Another file: grey stays grey and the splits as they were, unless the command line says otherwise."""
    other = DatasetConfig(name="npz", path=str(run / "other.npz"), binarize="threshold")
    kept = measured(run, {"dataset.path"}, dataset=other)
    assert kept["measured_with"]["dataset"] == measured(run)["measured_with"]["dataset"] | {"path": str(run / "other.npz")}
    assert kept["metrics"]["test"] != measured(run)["metrics"]["test"]
    binary = measured(run, {"dataset.path", "dataset.binarize"}, dataset=other)
    assert binary["metrics"]["test"]["bce"]["value"] != kept["metrics"]["test"]["bce"]["value"]
    assert measured(run, {"dataset.path"}, dataset=other, split="train")["metrics"]["train"]["bce"]["n"] == 30


def test_naming_the_trained_set_changes_nothing(run):
    named = DatasetConfig(name="npz", path="elsewhere.npz")
    assert measured(run, {"dataset"}, dataset=named)["metrics"] == measured(run)["metrics"]


def test_single_metric_keys_go_on_top_of_the_report_s(run):
    fewer = measured(run, {"metrics.n_images"}, metrics=MetricsConfig(names=["m_mse"], n_images=7))
    assert set(fewer["metrics"]["test"]) == {"bce", "tod"} and fewer["metrics"]["test"]["bce"]["n"] == 7
    chosen = measured(run, {"metrics"}, metrics=MetricsConfig(names=["m_mse"]))
    assert set(chosen["metrics"]["test"]) == {"m_mse"}


def test_evaluations_do_not_overwrite_each_other(run):
    path = run / "run" / "checkpoints" / "best.pt"
    config = EvalConfig(checkpoint=str(path), steps=30, split="test", metrics=MetricsConfig(names=["bce", "tod"]))
    dataset = DatasetConfig(name="mnist")
    assert file_name(path, dataset, config, {"checkpoint", "split"}) == "eval-best-mnist-test.json"
    assert file_name(path, dataset, config, {"steps", "metrics"}) == "eval-best-mnist-test-metrics_bce+tod-steps_30.json"
    assert file_name(path.with_name("last.pt"), dataset, config, set()) == "eval-last-mnist-test.json"


def test_a_shape_that_does_not_fit_is_refused(run):
    with pytest.raises(UserError, match="8 x 8, the checkpoint was trained on 4 x 4"):
        measured(run, {"dataset"}, dataset=DatasetConfig(name="digits"))


def test_what_is_written_goes_through_links_and_into_devices(tmp_path):
    """An output= that is a link stays one, and a device is not replaced by a file."""
    (tmp_path / "target.json").write_text("old")
    (tmp_path / "link.json").symlink_to("target.json")
    write_whole(tmp_path / "link.json", b"new")
    assert (tmp_path / "link.json").is_symlink() and (tmp_path / "target.json").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", b"piped")
    assert os.read(reader, 10) == b"piped" and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    os.close(reader)


def test_a_name_of_a_file_fits_a_file_system(run):
    far = DatasetConfig(name="npz", path="/" + "long/" * 60 + "own.npz")
    config = EvalConfig(checkpoint="best.pt", dataset=far)
    assert len(file_name(Path("best.pt"), far, config, {"dataset.path"})) < 130
    assert file_name(Path("best.pt"), far, config, {"dataset.path"}) != file_name(Path("best.pt"), far, config, {"dataset.path", "steps"})


def test_an_evaluation_finds_the_images_where_the_run_found_them(run, monkeypatch):
    best = run / "run" / "checkpoints" / "best.pt"
    config = checkpoint.load(best)["config"]
    assert data_dir_of(best, config) is None
    written = (run / "run/config.yaml").read_text()
    monkeypatch.delenv("NCF_DATA", raising=False)
    (run / "run/config.yaml").write_text(written.replace("data_dir: null", f"data_dir: {run}"))
    assert data_dir_of(best, config) == str(run)
    monkeypatch.setenv("NCF_DATA", "/elsewhere")
    assert data_dir_of(best, config) is None
    (run / "run/config.yaml").write_text(written)


def test_a_mixture_that_cannot_be_fitted_costs_its_own_metrics_alone(tmp_path, monkeypatch):
    def collapse(*_, **__):
        raise ValueError("ill-defined")

    monkeypatch.setattr("ncf.measure.fitting.fit_mixture", collapse)
    words = (
        "model=gncn_t1 model.layers=[8,6] dataset.n_train=60 dataset.n_validation=20 epochs=1 threads=1 progress=off metrics.names=[bce,log_p,ndb]"
    )
    told = train(compose_train(*words.split()), tmp_path / "run", named=True)
    assert told["status"] == "complete" and set(told["metrics"]["test"]) == {"bce"} == set(told["metrics"]["validation"])
    assert len(told["warnings"]) == 1 and told["warnings"][0].startswith("log p(x), NDB not measured: no mixture can be fitted")
    assert "raise metrics.mixture.floor" in told["warnings"][0] and "raise metrics.mixture.floor" in (tmp_path / "run/report.html").read_text()
    again = evaluate(EvalConfig(checkpoint=str(tmp_path / "run"), threads=1))
    assert set(again["metrics"]["test"]) == {"bce"}
    with pytest.raises(UserError, match="raise metrics.mixture.floor"):  # nothing is left to measure
        evaluate(EvalConfig(checkpoint=str(tmp_path / "run"), threads=1, metrics=MetricsConfig(names=["log_p"])), {"metrics.names"})


def test_another_set_by_its_name_alone_does_not_inherit_the_path_of_the_trained_one():
    trained = DatasetConfig(name="npz", path="/there/own.npz")
    assert own_dataset(trained, DatasetConfig(name="digits"), {"dataset.name"}).path is None
    assert own_dataset(trained, DatasetConfig(name="npz"), {"dataset.name"}).path == "/there/own.npz"
    assert own_dataset(trained, DatasetConfig(name="folder", path="pics"), {"dataset.name", "dataset.path"}).path == "pics"


@pytest.mark.parametrize(
    "changes, given, words",
    [
        ({"beta": 5.0, "steps": 60}, (), "settling diverged in evaluation on test images: .*; lower beta or steps of ncf-eval"),
        ({"metrics": MetricsConfig(names=["elbo"])}, ("metrics",), "nothing is left to measure"),
    ],
)
def test_an_evaluation_without_a_figure_to_trust_writes_nothing(run, tmp_path, changes, given, words):
    with pytest.raises(UserError, match=words):
        evaluate(EvalConfig(checkpoint=str(run / "run"), threads=1, split="test", output=str(tmp_path / "eval.json"), **changes), set(given))
    assert not list(tmp_path.iterdir())


def test_classes_of_another_set_are_not_read_as_those_of_training(tmp_path, capsys):
    """A classifier and a circuit with a label, trained on classes 0, 1 and 2, meet classes 1 and 2, or 1, 2 and 3: numbered from 0 they are others."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 80)
    x = (rng.random((80, 4, 4)) < np.where(np.arange(16) % 3 == y[:, None], 0.9, 0.1).reshape(80, 4, 4)).astype(np.float32)
    few = y > 0
    for name, rows, classes in (("own", few | ~few, y), ("fewer", few, y), ("renamed", few | ~few, y + 1)):
        np.savez(tmp_path / f"{name}.npz", x_train=x[rows][:40], y_train=classes[rows][:40], x_test=x[rows][40:], y_test=classes[rows][40:])
    label = "model=image_and_label model.populations.z1={size:6,columns:0} model.populations.z2={size:6,columns:0} model.populations.z3={size:6,columns:0}"
    dataset = dict(name="npz", binarize="none", n_validation=10)
    for model, metric in (("model=relu_classifier model.layers=[6]", "class_err"), (label, "label_err")):
        folder = tmp_path / metric
        own = DatasetConfig(path=str(tmp_path / "own.npz"), **dataset)
        config = compose_train(*model.split(), "epochs=1", "threads=1", "progress=off", "report=false", f"metrics.names=[{metric}]")
        config.dataset = own
        train(config, folder, named=True)
        for name in ("fewer", "renamed"):
            other = DatasetConfig(path=str(tmp_path / f"{name}.npz"), **dataset)
            asked = EvalConfig(checkpoint=str(folder), threads=1, dataset=other, output=str(tmp_path / "eval.json"))
            with pytest.raises(UserError, match="nothing is left to measure"):
                evaluate(asked, {"dataset.path"})
            told = capsys.readouterr().out
            assert "the classes of the images are not those that the model was trained on" in told or "the images have 2 classes" in told
        assert evaluate(EvalConfig(checkpoint=str(folder), threads=1, output=str(tmp_path / "eval.json")))["metrics"]["test"][metric]["n"] == 40
    asked = SampleConfig(checkpoint=str(folder), threads=1, dataset=other, condition="label:3", n=3, output=str(tmp_path / "samples"))
    with pytest.raises(UserError, match="condition=label:3: the classes of dataset=npz are not those"):
        sample(asked, {"dataset.path"})
    assert not (tmp_path / "samples").exists()


def test_what_cannot_be_written_is_refused_before_anything_is_measured(run, tmp_path, monkeypatch):
    def measured(*_, **__):
        raise AssertionError("measured")

    monkeypatch.setattr("ncf.evaluate.measure_splits", measured)
    monkeypatch.setattr("ncf.sample.TrainingLatents", measured)
    (tmp_path / "file").write_text("")
    for output, why in (("none/eval.json", "is no folder"), ("", "it is a folder"), ("file/eval.json", "file is no folder")):
        with pytest.raises(UserError, match=f"cannot be written, .*{why}; give output=FILE"):
            evaluate(EvalConfig(checkpoint=str(run / "run"), threads=1, output=str(tmp_path / output)))
    with pytest.raises(UserError, match="file is no folder; give output=FOLDER"):
        sample(SampleConfig(checkpoint=str(run / "run"), threads=1, output=str(tmp_path / "file/samples")))
    for made, ask in ((evaluate, EvalConfig(output="/dev/stdout")), (sample, SampleConfig(output=str(tmp_path / "a/b")))):
        ask.checkpoint, ask.threads = str(run / "run"), 1
        with pytest.raises(AssertionError, match="measured"):
            made(ask)

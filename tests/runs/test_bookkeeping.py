"""Which epoch, which split, which number a figure is of: a run's figures computed again from its weights by other code."""

import json
import re

import numpy as np
import pytest
import referee
import torch
from installed import rows, summary, warm
from referee import COUNT, figures, weights_of

UNITS = {"bce": "nats per image", "tod": "per image", "m_mse": "per image"}


def best_epoch(run) -> int:
    validated = [row["validation_bce"] for row in run.rows]
    return 1 + validated.index(min(validated))


def require_figures(found: dict, W: list[np.ndarray], x: np.ndarray) -> None:
    """Value, unit, number and standard error of every metric, computed anew."""
    expected = figures(W, x)
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name]["value"] == pytest.approx(values.mean(), rel=2e-5), name
        assert found[name]["stderr"] == pytest.approx(values.std(ddof=1) / len(x) ** 0.5, rel=1e-3), name
        assert (found[name]["n"], found[name]["unit"]) == (len(x), UNITS[name])


# --- the summary ------------------------------------------------------------------------------------------------------


def test_the_summary_measures_the_weights_of_the_best_epoch_on_the_splits_that_it_names(risen):
    W = weights_of(risen.checkpoint("best"))
    assert list(risen.summary["metrics"]) == ["validation", "test"]
    for split, found in risen.summary["metrics"].items():
        require_figures(found, W, risen.images[f"x_{split}"])


def test_the_summary_tells_the_best_epoch_and_its_figure_and_all_of_the_time(risen):
    told, best = risen.summary, best_epoch(risen)
    assert (told["best_epoch"], told["epochs"], told["epochs_trained"]) == (best, 5, 5) and best < 5
    assert told["validation_bce"] == risen.rows[best - 1]["validation_bce"]
    assert told["validation_bce"] == told["metrics"]["validation"]["bce"]["value"]
    assert told["seconds"] == pytest.approx(sum(row["seconds"] for row in risen.rows), rel=1e-12)
    assert f", best epoch {best} of 5\n" in risen.printed


def test_multiply_adds_are_those_of_the_layers_that_have_woken(risen):
    """From rest, layer l first moves in step l + 1; each layer awake takes one product up and one down."""
    one, two, three = 2 * 24 * 10, 2 * 10 * 8, 2 * 8 * 6
    assert risen.summary["settle"] == {
        "steps": 12, "beta": 0.1, "products": "float32", "multiply_adds": 0 + one + (one + two) + 9 * (one + two + three),
    }  # fmt: skip


def test_each_checkpoint_is_of_the_epoch_that_its_name_says(risen):
    epochs = {"best": best_epoch(risen), "last": 5, "previous": 4}
    for name, epoch in epochs.items():
        content = torch.load(risen.checkpoint(name), weights_only=True)
        assert content["progress"]["epoch"] == content["progress"]["rows"] == epoch and content["progress"]["step"] == 0
        assert content["progress"]["best_epoch"] == min(epoch, epochs["best"]), name
        assert content["optimizer"]["t"] == 3 * epoch  # batches of 32, 32 and 6 images
        values = figures(weights_of(risen.checkpoint(name)), risen.images["x_validation"])
        for metric in ("bce", "tod"):
            assert risen.rows[epoch - 1][f"validation_{metric}"] == pytest.approx(values[metric].mean(), rel=2e-5)


def test_the_lines_of_the_epochs_say_what_the_rows_say(risen):
    pattern = r"epoch +(\d+)/5  train BCE ([\d.]+)  ToD (-[\d.]+)  validation BCE ([\d.]+)  ToD (-[\d.]+)  (\d+) images/s"
    keys = ("epoch", "train_bce", "train_tod", "validation_bce", "validation_tod", "images_per_second")
    expected = [tuple(f"{row[key]:.{0 if key in (keys[0], keys[-1]) else 2}f}" for key in keys) for row in risen.rows]
    assert re.findall(pattern, risen.printed) == expected == re.findall(pattern, (risen.folder / "run.log").read_text())


# --- evaluations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, split", [("best", "train"), ("last", "test")])
def test_an_evaluation_is_of_the_checkpoint_and_the_split_that_it_names(risen, tmp_path, name, split):
    path = risen.checkpoint(name)
    done = warm("ncf-eval", f"checkpoint={path}", f"split={split}", "threads=1", "output=found.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    epoch = {"best": best_epoch(risen), "last": 5}[name]
    assert found["epoch"] == epoch and f"gncn_t1 (K = 12, beta = 0.1), epoch {epoch}, trained on npz, measured on npz" in done.stdout
    assert list(found["metrics"]) == [split]
    require_figures(found["metrics"][split], weights_of(path), risen.images[f"x_{split}"])


def test_an_evaluation_settles_as_long_as_it_is_told(risen, tmp_path):
    done = warm("ncf-eval", f"checkpoint={risen.folder}", "steps=30", "split=test", "threads=1", "output=found.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    x = risen.images["x_test"].reshape(40, -1)
    expected = referee.bce(x, referee.settle(weights_of(risen.checkpoint("best")), x, steps=30)["mu"][0]).mean()
    assert json.loads((tmp_path / "found.json").read_text())["metrics"]["test"]["bce"]["value"] == pytest.approx(expected, rel=2e-5)


# --- the rows ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def still(risen, tmp_path_factory):
    """A run that learns nothing: its rate is below the rounding of its synapses."""
    cwd = tmp_path_factory.mktemp("still")
    done = warm("ncf-train", *risen.arguments, "optimizer.lr=1e-12", "model.init_sd=0.4", "patience=2", "epochs=9", "run_dir=run", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "run"


def test_training_figures_are_means_over_the_images_of_the_epoch(still, risen):
    """Without learning they are those of the training images, however they fall into batches."""
    expected = figures(weights_of(still / "checkpoints/last.pt"), risen.images["x_train"])
    for row in rows(still):
        for metric in ("bce", "tod"):
            assert row[f"train_{metric}"] == pytest.approx(expected[metric].mean(), rel=2e-5)
        assert row["images_per_second"] * row["seconds"] == pytest.approx(COUNT["train"])


def test_of_equal_epochs_the_first_is_the_best_and_the_others_try_patience(still):
    assert len({row["validation_bce"] for row in rows(still)}) == 1
    told = summary(still)
    assert (told["best_epoch"], told["epochs_trained"], told["epochs"]) == (1, 3, 9)


# --- when it validates, when it stops ---------------------------------------------------------------------------------


def stops(validated: dict[int, float], patience: int, gain: float, epochs: int) -> int:
    """The last epoch by the words of the help: so many validations in a row without a BCE that is better by the gain."""
    reference, waited = np.inf, 0
    for epoch, figure in validated.items():
        reference, waited = (figure, 0) if figure < reference - gain else (reference, waited + 1)
        if waited == patience:
            return epoch
    return epochs


@pytest.mark.parametrize("patience, gain, every", [(1, 0.0, 1), (2, 0.0, 1), (2, 5.0, 1), (1, 0.0, 2)])
def test_patience_counts_the_validations_without_enough_gain(risen, tmp_path, patience, gain, every):
    given = [f"patience={patience}", f"patience_gain={gain}", f"validate_every={every}", "epochs=5", "metrics=basic", "run_dir=run"]
    assert warm("ncf-train", *risen.arguments, *given, cwd=tmp_path).returncode == 0
    validated = {row["epoch"]: row["validation_bce"] for row in risen.rows if row["epoch"] % every == 0}
    last = stops(validated, patience, gain, 5)
    assert summary(tmp_path / "run")["epochs_trained"] == last and 1 < last <= 5
    seen = {epoch: figure for epoch, figure in validated.items() if epoch <= last}
    assert summary(tmp_path / "run")["best_epoch"] == min(seen, key=seen.get)  # the gain is for patience alone
    same = [row["train_bce"] for row in rows(tmp_path / "run")]
    assert same == [row["train_bce"] for row in risen.rows][:last]


def test_small_gains_count_once_they_have_added_up(risen, tmp_path):
    given = ["optimizer.lr=0.02", "epochs=8", "metrics=basic"]
    for name, more in (("whole", []), ("patient", ["patience=2", "patience_gain=1.0"])):
        assert warm("ncf-train", *risen.arguments, *given, *more, f"run_dir={name}", cwd=tmp_path).returncode == 0
    validated = {row["epoch"]: row["validation_bce"] for row in rows(tmp_path / "whole")}
    assert max(before - after for before, after in zip(validated.values(), list(validated.values())[1:])) < 0.95  # no epoch alone gains enough
    last = stops(validated, 2, 1.0, 8)
    assert summary(tmp_path / "patient")["epochs_trained"] == last and 4 < last < 8


def test_it_validates_after_every_so_many_epochs(risen, tmp_path):
    assert warm("ncf-train", *risen.arguments, "validate_every=2", "metrics=basic", "run_dir=run", cwd=tmp_path).returncode == 0
    found = {row["epoch"]: row.get("validation_bce") for row in rows(tmp_path / "run")}
    assert (found[1], found[3]) == (None, None)
    assert {epoch: found[epoch] for epoch in (2, 4)} == {row["epoch"]: row["validation_bce"] for row in risen.rows if row["epoch"] in (2, 4)}


@pytest.mark.parametrize("every", [0, 9])
def test_a_run_that_was_never_validated_is_measured_at_its_end(risen, tmp_path, every):
    assert warm("ncf-train", *risen.arguments, f"validate_every={every}", "run_dir=run", cwd=tmp_path).returncode == 0
    assert not any("validation_bce" in row for row in rows(tmp_path / "run")[:4])
    told, W = summary(tmp_path / "run"), weights_of(tmp_path / "run/checkpoints/best.pt")
    assert (told["best_epoch"], told["epochs_trained"]) == (5, 5)
    assert all(np.array_equal(best, last) for best, last in zip(W, weights_of(tmp_path / "run/checkpoints/last.pt")))
    assert told["validation_bce"] == pytest.approx(figures(W, risen.images["x_validation"])["bce"].mean(), rel=2e-5)
    require_figures(told["metrics"]["test"], W, risen.images["x_test"])

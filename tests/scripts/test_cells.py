"""What a run left, what is kept of it, and what several seeds of it amount to."""

import json

from omegaconf import OmegaConf
from table import claims
from table import rows as table
from table.cells import Cell, read_run, run_again
from table.text import shown


def test_figures_measured_later_take_the_place_of_the_runs_own(tmp_path):
    config = table.composed("digits", {"model": "gvae"}, [])
    OmegaConf.save(OmegaConf.structured(config), tmp_path / "config.yaml")
    kept = {"seed": 0, "epochs_trained": 1, "best_epoch": 1, "seconds": 1.0, "versions": {}, "hardware": {}}
    own = {"class_err": {"value": 3.0}, "bce": {"value": 50.0}}
    (tmp_path / "summary.json").write_text(json.dumps(kept | {"status": "complete", "metrics": {"test": own}}))
    assert read_run(tmp_path)["figures"] == own
    again = {"class_err": {"value": 2.9, "penalty": 1.0}}
    (tmp_path / "hidden.json").write_text(json.dumps({"epoch": 1, "metrics": {"test": again}}))
    assert read_run(tmp_path)["figures"] == own | again
    (tmp_path / "hidden.json").write_text(json.dumps({"epoch": 7, "metrics": {"test": again}}))  # of another checkpoint
    assert read_run(tmp_path)["figures"] == own


def test_a_rerun_that_comes_out_the_same_keeps_what_was_measured_before(capsys):
    told = {"command": "ncf-train model=gvae", "best_epoch": 3, "folder": None}
    before = told | {"figures": {"bce": {"value": 5.0}, "ndb": {"value": 1.0}}}
    again = told | {"figures": {"bce": {"value": 5.0}, "m_mse": {"value": 2.0}}}
    assert set(run_again(before, again)["figures"]) == {"bce", "ndb", "m_mse"} and not capsys.readouterr().err
    other = told | {"figures": {"bce": {"value": 5.1}}}
    assert run_again(before, other) is other and "dropped from before: ndb" in capsys.readouterr().err
    assert run_again(None, other) is other and not capsys.readouterr().err
    one, two = (told | {"figures": {"class_err": {"value": value}, name: {"value": 1.0}}} for value, name in ((2.7, "ndb"), (5.0, "bits")))
    assert run_again(one, two) is two and "dropped from before: ndb" in capsys.readouterr().err  # a classifier, which has no BCE


def test_the_spread_of_a_method_goes_with_a_figure_under_another_name():
    figures = {"bce": 1.0, "class_err_hidden": 2.0, "log_p_annealed": 3.0, "log_p_annealed_refit": 4.0}
    one = Cell("mnist", "gvae", None, {0: {"figures": {name: {"value": value, "stderr": 0.1} for name, value in figures.items()}}})
    one.usual = {name: (value, 2) for name, value in figures.items()}
    assert one.refit.usual == {"bce": (1.0, 2), "log_p_annealed": (4.0, 2)} and one.refit.values("log_p_annealed") == [4.0]
    units = claims.by_encoder_units({("mnist", "gvae"): one})["mnist", "gvae"]
    assert units.usual == {"class_err": (2.0, 2)} and units.values("class_err") == [2.0] and not units.values("bce")
    del one.runs[0]["figures"]["log_p_annealed_refit"]
    assert not one.refit.runs


def test_a_figure_of_fewer_seeds_than_its_row_has_says_of_how_many():
    figures = [{"bce": {"value": 50.0, "stderr": 0.3}, "ndb": {"value": 7.0, "stderr": 0.5}}, {"bce": {"value": 52.0, "stderr": 0.3}}, {}]
    row = Cell("mnist", "gvae", None, {seed: {"figures": found} for seed, found in enumerate(figures)})
    assert (shown(row, "bce"), shown(row, "ndb"), shown(row, "m_mse")) == ("51.00 ± 1.41 (2)", "7.00 ± 0.50¹", "–")
    del row.runs[2]
    assert shown(row, "bce") == "51.00 ± 1.41"

"""docs/replication.md: the article's figures beside ours, how each stands to what is printed, and the ways to complete an image."""

from math import hypot
from statistics import mean
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from measured import DOCS, cell, columns, of_the_project
from scipy import stats
from small import network
from table import article, masked, replication, standing, switches
from table import rows as table
from table.cells import Cell, read_json

from ncf.config.compose import compose_train
from ncf.config.schema import flatten, science
from ncf.errors import UserError
from ncf.measure.metrics import METRICS


def test_the_replication_page_prints_the_article_beside_ours_and_judges_by_tests():
    rows = {"gncn_pdh": (50.0, 50.2, 50.1), "gncn_pdh_sgd": (40.0, 40.2, 40.1), "gncn_t1_sgd": (60.0, 60.2, 60.1), "rae": (44.0, 44.2, 44.1)}
    full = {("mnist", row): cell(row, *values) for row, values in rows.items()}
    text = replication.page(full)
    assert "| GNCN-PDH | 44.857 ± 0.054 | 50.10 ± 0.10 | 40.10 ± 0.10 |" in text  # Table 1
    assert "| GNCN-PDH | -97.255 ± 0.084 | -114.29 |" in text and "| GMM | -185.37 ± 0.47 | the same |" in text  # 2 ln 5000 = 17.03
    claim = {line.split(" | ")[0]: line.split(" | ")[1] for line in text.splitlines() if line.startswith("| 1a") or line.startswith("| 2a")}
    assert list(claim.values()) == ["reproduced", "not measured"]
    rival = Cell("mnist", "gvae_wide", None, {0: {"figures": {"m_mse": {"value": 26.0, "stderr": 0.5}}}})
    sums = replication.sign_table(article.published(), full | {("mnist", "gncn_pdh"): cell("gncn_pdh", -113.3, -113.5, metric="log_p")})
    assert sums.endswith("| GNCN-PDH | -97.25 | -96.37 | -113.40 |") and sums.count("GNCN") == 1  # of those measured, log S = ln 5000 added twice
    own = cell("gncn_pdh", 27.0, 27.1, 27.2, metric="m_mse")
    found = [replication.page({("mnist", c.row): c for c in cells}) for cells in ((own,), (own, rival))]
    assert "judged is whether at all) | not measured" in found[0]
    assert "1.4 million synapses 26.00 ± 0.50¹, level (-1.10 ± 0.71⁰)" in found[1]
    full["mnist", "gvae_wide"] = cell("gvae_wide", 30.0, 30.2, 30.1)  # one rival ahead is enough
    assert (
        "| opposite | MNIST: GNCN-PDH, default (SGD) 40.10 ± 0.10, GVAE, 1.4 million synapses 30.10 ± 0.10, behind by 10.00 ± 0.08"
        in replication.page(full)
    )


def test_a_row_is_past_level_or_short_of_what_is_printed_by_a_test():
    """Printed: 44.857 ± 0.054 over ten trials."""
    printed = (44.857, 0.054)
    assert standing.standing(cell("gncn_pdh", 44.0, 44.1, 44.2), "bce", *printed)[0] == "past"
    assert standing.standing(cell("gncn_pdh", 44.7, 45.0, 45.3), "bce", *printed)[0] == "level"
    word, lead = standing.standing(cell("gncn_pdh", 45.7, 45.8, 45.9), "bce", *printed)
    assert (word, round(lead, 3)) == ("short", -0.943)
    assert standing.standing(cell("gncn_pdh", -110.0, -110.1, metric="log_p"), "log_p", -114.29, 0.084)[0] == "past"  # here more is better
    single = Cell("mnist", "rae", None, {0: {"figures": {"bce": {"value": 45.1, "stderr": 0.2}}}})
    assert standing.standing(single, "bce", *printed)[0] == "level" and standing.told(single, "bce", *printed) == "level (-0.24¹)"
    assert standing.standing(single, "bce", 46.0, None)[0] == "past"
    trials = standing.verdict(single, "bce", 44.857, 2.0)  # of which ten count, as everywhere
    assert trials.error == pytest.approx(hypot(0.2, 2 / 10**0.5)) and trials.df == pytest.approx((0.2**2 + 0.4) ** 2 / (0.4**2 / 9))
    for spread in (0.054, 2.0):  # of the trials: little and much beside the seeds'
        seeds = (44.7, 45.0, 45.6)
        by_hand = stats.ttest_ind(44.857 + spread * TEN, seeds, equal_var=False)
        verdict = standing.verdict(cell("gncn_pdh", *seeds), "bce", 44.857, spread)
        assert (verdict.p, verdict.df) == pytest.approx((by_hand.pvalue, by_hand.df))

    full = {("mnist", row): cell(row, *values) for row, values in {"gncn_pdh": (50.0, 50.2, 50.1), "gncn_pdh_tuned": (40.0, 40.2, 40.1)}.items()}
    small = Cell("kmnist", "gncn_pdh", None, {0: {"figures": {"bce": {"value": 1.0, "stderr": 0.1}}, "folder": "kmnist_6k"}})
    table = replication.standing_table(article.published(), full | {("kmnist", "gncn_pdh"): small})
    assert table.splitlines()[2:] == ["| MNIST | GNCN-PDH | past by 4.76 (tuned) | – | – |"]


TEN = np.array([-1.0, 1.0] * 5) * (9 / 10) ** 0.5  # ten trials of mean 0 and standard deviation 1


def test_rows_whose_settings_test_images_had_a_part_in_are_marked():
    printed = (44.857, 0.054)
    assert standing.told(cell("gncn_pdh_prior", 40.0, 40.1, 40.2), "bce", *printed) == "past by 4.76†"
    assert "†" in standing.told(cell("gncn_pdh_sgd", 40.0, 40.1, 40.2), "bce", *printed)
    assert all("†" not in standing.told(cell(row, 40.0, 40.1, 40.2), "bce", *printed) for row in ("gncn_pdh_tuned", "gvae_cooled"))
    assert not standing.seen(Cell("kmnist", "gncn_pdh_sgd", None, {})) and all(
        any(row.endswith(end) for row in table.read_table()) for end in standing.SEEN
    )


def test_the_ways_to_fill_in_a_hidden_half_see_what_they_say():
    net, x = network(), torch.rand(20, 9, generator=torch.Generator().manual_seed(0))
    net.config.settle.beta = 0.1
    seen = masked.observed_pixels("right", 0.5, (3, 3))
    found = masked.measure(net, x, (3, 3))
    assert found["zero in every hidden pixel"] == pytest.approx((x.square() * (1 - seen)).sum(1).mean().item(), rel=1e-5)
    changed = x * seen + (1 - x) * (1 - seen)
    first, other = (masked.moving_pixels(net, images, images * seen, seen, 0.1) for images in (x, changed))
    assert torch.equal(first, other) and torch.equal(first * seen, x * seen)  # the hidden half is not looked at, the seen one stays
    one = masked.moving_pixels(net, x, x.clone(), seen, 0.1)
    state = net.rest(x.clone())
    z = x.clone()  # the equation by hand
    for _ in net.trajectory(state):
        z = x * seen + (z - 0.1 * (z - state.mu[0])) * (1 - seen)
        state.z[0].copy_(z)
    torch.testing.assert_close(one, z)


def test_every_switch_is_a_run_of_the_released_settings_with_one_change_and_stands_on_the_page():

    released = flatten(science(compose_train("experiment=released", "model=gncn_pdh")))
    changed = {name: compose_train("experiment=released", "model=gncn_pdh", *switch.split()) for name, switch in switches.SWITCHES.items()}
    apart = {name: {key for key, value in flatten(science(config)).items() if value != released[key]} for name, config in changed.items()}
    assert apart["released settings"] == set() and apart["columns of norm 1"] == {"model.constraint.kind"}
    assert apart["no precision"] == apart["the article's precision"] == {"model.precision.kind"}
    assert apart["plain SGD, norm, lateral synapses and precision"] == set.union(*(apart[name] for name in apart if name != "no precision"))
    published = flatten(science(compose_train("experiment=published", "model=gncn_pdh")))
    alike = flatten(science(changed["plain SGD, norm, lateral synapses and precision"]))
    assert all(alike[key] == published[key] for key in alike if key.startswith(("model.", "optimizer.")))
    found = {name: {metric: {"value": 50.0, "stderr": 0.25} for metric in ("bce", "m_mse", "class_err")} | {"switch": "x=1"} for name in apart}
    rows = columns(replication.switch_table(found))
    assert (
        [row["settings"] for row in rows] == list(apart) and rows[0]["BCE"] == "50.00 ± 0.25" and rows[0]["beside `experiment=released`"] == "`x=1`"
    )


def test_sentences_that_no_code_computes_hold_for_the_figures_beside_them():
    """Remembered images beat every row of MNIST by Monte Carlo; whole reconstructions cost more than twice the printed M-MSE; uncorrected, no log p(x) of a
    network comes near; what GNCN-t1-Σ misses of its targets is less than its spread."""
    printed, full = article.published(), {(c.dataset, c.row): c for c in of_the_project() if c.n_train is None}
    remembered = read_json(DOCS / "without_model.json")["mnist"]["log_p"]["value"]
    assert remembered > max(mean(c.values("log_p")) for (dataset, _), c in full.items() if dataset == "mnist" and c.values("log_p"))
    masked = read_json(DOCS / "masked.json")
    assert masked["m_mse"]["reconstruction of the whole image"] > 2 * printed["mnist", masked["model"], "m_mse"][0]
    for dataset, name, metric in (key for key in printed if key[2] == "log_p" and key[1] in article.NETWORKS):
        cell = article.choose(full, dataset, name, metric, article.KINDS)
        if cell and not any(run["folder"] for run in cell.runs.values()):
            assert standing.standing(cell, metric, *printed[dataset, name, metric])[0] == "short", (dataset, name)
    own = full["mnist", "gncn_t1_sigma"]
    for metric, target in table.read_table()["gncn_t1_sigma"]["targets"]["mnist"].items():
        missed = (target - mean(own.values(metric))) * (1 if METRICS[metric].higher else -1)
        assert missed < own.spread(metric), metric


def test_trials_of_the_class_error_are_runs_of_the_defaults_with_one_setting_beside(tmp_path, monkeypatch):
    usual = flatten(science(compose_train(*switches.DEFAULTS.split())))
    changed = {name: flatten(science(compose_train(*switches.DEFAULTS.split(), *switch.split()))) for name, switch in switches.TRIALS.items()}
    sections = {name: {key.rpartition(".")[0] for key, value in config.items() if value != usual[key]} for name, config in changed.items()}
    assert sections.pop("ncf's defaults") == set() and all(len(found) == 1 for found in sections.values())
    kept = read_json(DOCS / "trials.json")
    assert {name: found["switch"] for name, found in kept.items()} == switches.TRIALS
    assert min((found["class_err"]["value"], name) for name, found in kept.items() if "class_err" in found)[1] == "ncf's defaults"

    def train(*told, name, **others):
        if name == "switch1":
            raise UserError("learning diverged in epoch 1")
        figures = {metric: {"value": float(name[-1]), "stderr": 0.2, "n": 9} for metric in ("bce", "class_err")}
        return SimpleNamespace(summary={"metrics": {"validation": figures}, "measured_with": {"metrics": {"names": list(figures)}}})

    monkeypatch.setattr(switches.ncf, "train", train)
    switches.main(str(tmp_path / "trials.json"), str(tmp_path))
    found = read_json(tmp_path / "trials.json")
    assert list(found) == list(switches.TRIALS) and found["twice the rate"] == {"switch": "optimizer.lr=0.2", "diverged": True}
    with pytest.raises(SystemExit, match="none of the files that this writes: switches.json and trials.json"):
        switches.main(str(tmp_path / "trial.json"), str(tmp_path))
    text = replication.misses({}, dict(list(found.items())[:3]))
    assert "ncf's defaults 0.00, lateral synapses of 0.13 and 0.125 2.00; diverged: twice the rate." in text

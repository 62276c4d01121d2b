"""The results page's columns and its picture show what their headings say."""

from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from table import article, curve, replication, sections, standing, switches
from table import page as results_page
from table.cells import Cell, collect, read_json
from table.rows import read_table
from table.verdicts import comparable

from ncf.config.schema import flatten, science
from ncf.measure.metrics import METRICS


def cell(row: str, values: tuple[float, ...], n_train: int | None = None, metric: str = "bce", **run) -> Cell:
    runs = {seed: {"figures": {metric: {"value": value, "stderr": 0.5}}} | run for seed, value in enumerate(values)}
    return Cell("mnist", row, n_train, runs)


def columns(page: str) -> list[dict[str, str]]:
    """The rows of the first table of a page, by heading."""
    lines = [[text.strip() for text in line.strip().strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_epochs_minutes_seeds_and_settling_stand_below_their_headings():
    made = cell("gncn_pdh", (50.0, 52.0, 57.0), command=None, folder=None, settle={"steps": 50, "beta": 0.1, "products": "float32"})
    for seed, run in made.runs.items():
        run |= {"seconds": (90.0, 150.0, 300.0)[seed], "best_epoch": (4, 10, 16)[seed]}
    (row,) = columns(sections.dataset_table("mnist", {"gncn_pdh": {"model": "gncn_pdh"}}, {("mnist", "gncn_pdh"): made}, {}))
    assert row == {
        "method": "GNCN-PDH, released", "BCE": "53.00 ± 3.61", "settling": "K 50, β 0.1, float32", "synapses": "1,753,920", "multiply-adds": "84.49",
        "seeds": "3", "epochs": "10", "minutes": "2.5",
    }  # fmt: skip


def test_yardsticks_stand_below_the_methods_in_the_column_of_their_metric():
    made = cell("gncn_pdh", (-110.0, -112.0), metric="log_p", command=None, folder=None, settle=None)
    for run in made.runs.values():
        run |= {"seconds": 60.0, "best_epoch": 1}
    told = {"log_p": {"value": -104.5, "stderr": 0.4, "n": 9, "blur": 0.8, "floor": 0.01}, "class_err": {"value": 13.9, "stderr": 0.3, "n": 9}}
    page = sections.dataset_table("mnist", {"gncn_pdh": {"model": "gncn_pdh"}}, {("mnist", "gncn_pdh"): made}, told)
    rows = columns(page)
    assert [row["method"] for row in rows] == ["GNCN-PDH, released", "Remembered training images"]  # no row here has %Err
    assert rows[1]["log p(x)"] == "-104.50 ± 0.40¹" and rows[1]["seeds"] == "–"
    assert "blurred by 0.8 pixels and kept within [0.01, 0.99]" in page and "table.without_model" in page and "Pixels in place" not in page


@pytest.mark.parametrize("metric, values, target, word", [
    ("bce", (50.0, 52.0, 57.0), 52.5, "missed by 0.50"), ("bce", (50.0, 52.0, 57.0), 53.0, "reached"),
    ("log_p", (-110.0, -120.0), -114.0, "missed by 1.00"), ("log_p", (-110.0, -120.0), -115.0, "reached"),
])  # fmt: skip
def test_a_target_is_held_against_the_mean_over_seeds(metric, values, target, word):
    table = {"one": {"model": "gncn_pdh", "targets": {"mnist": {metric: target}}}}
    (row,) = columns(results_page.targets(table, {("mnist", "one"): cell("one", values, metric=metric)}))
    assert row[""] == word and row["measured"].startswith(f"{np.mean(values):.2f} ± ")


def test_the_picture_draws_means_with_their_spread_and_all_images_beyond_the_largest_size(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    kept = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: kept.append(figure))
    cells = [cell("gncn_pdh", values, n) for n, values in ((100, (9.0, 11.0)), (1000, (7.0, 8.0)), (None, (5.0, 5.5)))]
    cells += [cell("gvae", (20.0, 22.0), 100), cell("gvae", (14.0,), None)]  # not run at every size: "all" is at the same place
    curve.section(cells, tmp_path / "curve.png")
    axis = kept[0].axes[0]
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("nats per image", "training images")
    assert axis.get_title() == "MNIST: BCE" and axis.get_xscale() == "log"
    lines = {container.get_label(): container for container in axis.containers}
    assert list(lines["GNCN-PDH, released"][0].get_xdata()) == [100, 1000, 2000] and list(lines["GNCN-PDH, released"][0].get_ydata()) == [
        10.0,
        7.5,
        5.25,
    ]
    assert list(lines["GVAE"][0].get_xdata()) == [100, 2000] and list(lines["GVAE"][0].get_ydata()) == [21.0, 14.0]
    (bars,) = lines["GNCN-PDH, released"][2]
    half = [(segment[1, 1] - segment[0, 1]) / 2 for segment in bars.get_segments()]
    assert half == pytest.approx([np.std(v, ddof=1) for v in ((9, 11), (7, 8), (5, 5.5))])
    ticks = {tick.get_position()[0]: tick.get_text() for tick in axis.get_xticklabels()}
    assert ticks[1000] == "1,000" and ticks[2000] == "all"


def test_a_completion_without_inference_is_compared_with_no_network_s():
    old, new = cell("gvae", (45.0,), 100, "m_mse"), cell("gvae", (25.0,), 100, "m_mse")
    new.runs[0]["figures"]["m_mse"]["completed_by"] = "50 inference steps"
    own = cell("gncn_pdh", (26.0,), 100, "m_mse")  # a network settles on what it sees
    assert not comparable("m_mse", own, old) and comparable("m_mse", own, new) and not comparable("bce", own)
    leads = [columns(curve.network_table({(c.row, c.n_train): c for c in (own, rival)}, "gncn_pdh", ["gvae"], [100])) for rival in (old, new)]
    told = [next(row["100"] for row in rows if row["method"] == "GNCN-PDH, released ahead of GVAE by") for rows in (l[3:6] for l in leads)]
    assert told == ["–", "-1.00 ± 0.71⁰"]


def test_every_switch_is_a_run_of_the_released_settings_with_one_change_and_stands_on_the_page():
    from ncf.config.compose import compose_train

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
    docs = Path(__file__).parents[2] / "docs"
    printed, full = article.published(), {(c.dataset, c.row): c for c in collect(docs / "none", docs / "results.jsonl") if c.n_train is None}
    remembered = read_json(docs / "without_model.json")["mnist"]["log_p"]["value"]
    assert remembered > max(mean(c.values("log_p")) for (dataset, _), c in full.items() if dataset == "mnist" and c.values("log_p"))
    masked = read_json(docs / "masked.json")
    assert masked["m_mse"]["reconstruction of the whole image"] > 2 * printed["mnist", masked["model"], "m_mse"][0]
    for dataset, name, metric in (key for key in printed if key[2] == "log_p" and key[1] in article.NETWORKS):
        cell = article.choose(full, dataset, name, metric, article.KINDS)
        if cell and not any(run["folder"] for run in cell.runs.values()):
            assert standing.standing(cell, metric, *printed[dataset, name, metric])[0] == "short", (dataset, name)
    own = full["mnist", "gncn_t1_sigma"]
    for metric, target in read_table()["gncn_t1_sigma"]["targets"]["mnist"].items():
        missed = (target - mean(own.values(metric))) * (1 if METRICS[metric].higher else -1)
        assert missed < own.spread(metric), metric

"""Comparisons: the keys that differ, figures to the last digit, spread over seeds, forty runs in seconds."""

import copy
import csv
import json
import shutil
import statistics
from itertools import product
from pathlib import Path

import pytest
import yaml
from installed import TINY, warm
from pages import Page

from ncf.report import comparison, comparison_text
from ncf.runs import reader


def summaries(folder: Path) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/summary.json")}


def test_forty_runs_take_less_than_twenty_seconds(compared):
    assert float((compared.parent / "seconds").read_text()) < 20


def test_the_csv_equals_the_summaries_to_the_last_digit(compared):
    with open(compared / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = summaries(compared)
    by_keys = sorted(expected, key=lambda name: (name.split(",")[0], float(name.split("=")[2].split(",")[0]), name[-1]))
    assert [row["run"] for row in rows] == by_keys and len(rows) == 40
    for row in rows:
        summary = expected[row["run"]]
        assert row["status"] == summary["status"]
        for split, metric in product(("validation", "test"), ("bce", "tod", "m_mse")):
            figure = summary.get("metrics", {}).get(split, {}).get(metric, {"value": "", "stderr": "", "n": ""})
            given = [row[f"{split}.{metric}{part}"] for part in ("", ".stderr", ".n")]
            assert given == [f if f == "" else repr(f) for f in (figure["value"], figure["stderr"], figure["n"])]
        if summary["status"] == "complete":
            assert (row["validation_bce"], row["seconds"]) == (repr(summary["validation_bce"]), repr(summary["seconds"]))


def test_the_columns_are_the_keys_that_differ_beyond_what_the_model_implies(compared):
    header = (compared / "comparison.csv").read_text().splitlines()[0].split(",")
    assert header[8] == "last_validation_bce"
    assert header[:5] == ["run", "status", "model", "optimizer.lr", "seed"] and header[5:8] == ["epochs_trained", "best_epoch", "validation_bce"]
    with open(compared / "comparison.csv", newline="") as file:
        for row in csv.DictReader(file):
            assert row["run"] == f"model={row['model']},optimizer.lr={row['optimizer.lr']},seed={row['seed']}"


def test_groups_have_mean_and_standard_deviation_over_the_complete_seeds(compared):
    found = {}
    for name, summary in summaries(compared).items():
        if summary["status"] == "complete":
            found.setdefault(name.rsplit(",", 1)[0], []).append(summary["metrics"]["test"]["bce"]["value"])
    table = Page((compared / "comparison.html").read_text()).table("group")
    with open(compared / "comparison-groups.csv", newline="") as file:
        lines = {row["group"]: row for row in csv.DictReader(file)}
    (heads, *rows) = [line.split("  ") for line in (compared.parent / "printed").read_text().split("\n\n")[0].splitlines()]
    printed = {row[0].strip(): row for row in rows}
    column = [head[0] for head in table[0]].index("BCE testnats per image")
    assert len(table) == 11
    for row in table[1:]:
        cells = {head[0]: cell[0] for head, cell in zip(table[0], row)}
        values = found[f"model={cells['model']},optimizer.lr={cells['lr']}"]
        assert cells["runs"] == ("4" if len(values) == 4 else "2 of 4")
        assert cells["group"] == f"{ {'gncn_pdh': 'GNCN-PDH', 'gncn_t1': 'GNCN-t1'}[cells['model']] } lr={cells['lr']}"
        line = lines[cells["group"]]
        assert float(line["test.bce.mean"]) == pytest.approx(statistics.fmean(values), rel=1e-12)
        assert float(line["test.bce.sd"]) == pytest.approx(statistics.stdev(values), rel=1e-12) and line["complete_runs"] == str(len(values))
        assert cells["BCE testnats per image"] in [cell.strip() for cell in printed[cells["group"]]]
        assert float(row[column][1]) == pytest.approx(statistics.fmean(values), rel=1e-12)
        shown = f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}"
        assert row[column][0].replace("\N{MINUS SIGN}", "-") == shown


def test_the_best_group_by_validation_bce_stands_first(compared):
    runs = [reader.read(folder) for folder in reader.find(compared)]
    groups = comparison.compare(runs, "x", compared).groups
    means = [statistics.fmean(run.best[0] for run in group.complete) for group in groups]
    assert means == sorted(means) and len(groups) == 10
    assert groups[0].best_run.best[0] == min(run.best[0] for run in groups[0].runs)


def test_the_markdown_has_the_same_tables(compared):
    lines = (compared / "comparison.md").read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ") and not line.startswith("| ---")]
    groups, runs = rows[1:11], rows[12:]
    page = Page((compared / "comparison.html").read_text())
    assert [row[0] for row in groups] == [row[0][0] for row in page.table("group")[1:]]
    assert [row[2:] for row in groups] == [[cell[0] for cell in row[1:7]] for row in page.table("group")[1:]]
    shown = [[cell[0] for cell in row] for row in page.table("run")[1:]]
    assert [row[1:7] for row in runs] == [row[1:7] for row in shown] and [row[-1] for row in runs] == [row[9] for row in shown] and len(runs) == 40


def run_record(config: dict, **summary) -> reader.Record:
    return reader.Record(Path("run"), config, {}, [], summary)


def base_config(finished) -> dict:
    return copy.deepcopy(reader.read(finished).config)


def test_a_key_equal_to_one_models_default_still_tells_runs_apart(finished):
    """K = 8 for all but one run: the key is shown although the one run is at its default."""
    first, second = base_config(finished), base_config(finished)
    second["model"]["settle"]["steps"] = 50
    assert comparison.differing_keys([run_record(first), run_record(second)]) == ["model.settle.steps"]
    assert comparison.differing_keys([run_record(first), run_record(first), run_record({})]) == []


def test_only_the_seed_may_differ_within_a_group(finished):
    configs = [base_config(finished) for _ in range(3)]
    configs[1]["seed"], configs[2]["batch_size"] = 7, 50
    groups = comparison.compare([run_record(config) for config in configs], "x", Path(".")).groups
    assert sorted(len(group.runs) for group in groups) == [1, 2]


def test_a_list_of_runs_is_compared_where_one_says(compared, tmp_path, ncf_report):
    runs = sorted(path for path in compared.iterdir() if path.is_dir())[:3]
    status, printed, errors = ncf_report(*runs, runs[0], "--output", tmp_path / "new" / "place")
    assert status == 0 and errors == "" and printed.count("written: ") == 4
    assert len((tmp_path / "new" / "place" / "comparison.csv").read_text().splitlines()) == 4


def test_runs_of_any_kind_can_be_compared(finished, tmp_path, ncf_report):
    """A run that has nothing yet, one that failed before it began, one whose config is of another version, and a real one."""
    (tmp_path / "all" / "empty" / "checkpoints").mkdir(parents=True)
    (tmp_path / "all" / "early").mkdir()
    (tmp_path / "all" / "early" / "summary.json").write_text('{"status": "failed", "reason": "no such dataset"}')
    shutil.copytree(finished, tmp_path / "all" / "real")
    other = shutil.copytree(finished, tmp_path / "all" / "other")
    (other / "config.yaml").write_text("model: {family: elsewhere, name: n, x: 1}\nseed: 1\ndataset: digits\n")
    status, _, errors = ncf_report(tmp_path / "all")
    assert status == 0 and errors == ""
    with open(tmp_path / "all" / "comparison.csv", newline="") as file:
        assert [(row["run"], row["status"]) for row in csv.DictReader(file)] == [
            ("real", "complete"), ("other", "complete"), ("early", "failed"), ("empty", "unfinished"),
        ]  # fmt: skip


def test_markdown_shows_markup_as_text():
    assert comparison_text.markdown_escaped("<b>|*a*`\n[x](y)") == r"&lt;b&gt;\|\*a\*\` \[x\](y)"


# --- mixed runs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(finished, tmp_path):
    """Runs on two data sets, K = 5, 20 and 100 on the first, one of them best in the middle."""
    for dataset, K in (("digits", 100), ("digits", 20), ("digits", 5), ("mnist", 5)):
        run = shutil.copytree(finished, tmp_path / "mixed" / f"{dataset}-{K}")
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["dataset"]["name"], config["model"]["settle"]["steps"] = dataset, K
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for row, value in zip(rows, (30.0 + K, 10.0 + K, 20.0 + K), strict=True):
            row["validation_bce"] = value
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        summary = json.loads((run / "summary.json").read_text())
        summary["metrics"]["test"]["bce"]["value"] = 50.0 + K
        (run / "summary.json").write_text(json.dumps(summary))
    return tmp_path / "mixed"


def test_every_data_set_has_its_own_section_and_numbers_stand_in_their_order(mixed, ncf_report):
    assert ncf_report(mixed)[0] == 0
    page = Page((mixed / "comparison.html").read_text())
    assert [text for text in page.texts if text.endswith((": groups", ": runs"))] == [
        "digits: groups",
        "digits: runs",
        "MNIST: groups",
        "MNIST: runs",
    ]
    runs, alone = [table for table in page.tables if table[0][0][0] == "run"]
    assert [row[0][0] for row in runs[1:]] == ["digits-5", "digits-20", "digits-100"] and [row[0][0] for row in alone[1:]] == ["mnist-5"]
    heads = [head[0] for head in runs[0]]
    assert heads[0] == "run" and heads[1].startswith("BCE") and heads.index("status") > heads.index("best BCEnats per image")
    assert [row[heads.index("best BCEnats per image")][0] for row in runs[1:]] == ["15.00epoch 2", "30.00epoch 2", "110.00epoch 2"]
    assert [row[heads.index("last BCEnats per image")][0] for row in runs[1:]] == ["25.00", "40.00", "120.00"]


def test_two_runs_are_told_apart_on_the_terminal_and_no_earlier_comparison_is_lost(mixed, ncf_report):
    runs = [mixed / "digits-5", mixed / "digits-20"]
    status, printed, _ = ncf_report(*runs)
    assert status == 0 and "from digits-5 to digits-20:\n  model.settle.steps: 5 -> 20\n" in printed
    assert "  BCE test: 55.00 -> 70.00 (+15.00 nats per image)\n" in printed
    first = (mixed / "comparison.csv").read_bytes()
    status, printed, _ = ncf_report(mixed / "digits-5", mixed / "digits-100")
    assert status == 0 and (mixed / "comparison.csv").read_bytes() == first and f"written: {mixed / 'comparison-2.html'}\n" in printed
    assert ncf_report(*runs, mixed / "digits-100")[0] == 0  # a comparison that grew
    assert not (mixed / "comparison-3.csv").exists() and (mixed / "comparison.csv").read_text().count("\n") == 4


def test_a_seed_counts_once_whatever_was_measured_and_however_often(tmp_path):
    """Two runs of seed 0 that differ in what they measured, and one of seed 1: two seeds, one group."""
    for name, seed, metrics in (("a", 0, "bce"), ("b", 0, "bce,tod"), ("c", 1, "bce")):
        done = warm("ncf-train", *TINY, f"seed={seed}", f"metrics.names=[{metrics}]", f"name={name}", "report=false", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    runs = [reader.read(tmp_path / "outputs/runs" / name) for name in "abc"]
    (group,) = comparison.compare(runs, "x", tmp_path).groups
    one, _, other = (run.summary["metrics"]["test"]["bce"]["value"] for run in runs)
    assert len(group.runs) == 3 and group.over_seeds(("test", "bce")) == pytest.approx(((one + other) / 2, abs(one - other) / 2**0.5))
    assert comparison.compare(runs[:2], "x", tmp_path).groups[0].over_seeds(("test", "bce")) == (one, None)

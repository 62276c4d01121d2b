"""ncf-report --figure: a key against a metric, and learning curves, read out of the SVG."""

import re
import shutil

import matplotlib
import numpy as np
import pytest
from installed import TINY, require_one_line, summary, warm

from ncf.report import figures


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("swept")
    keys = ["model.settle.steps=10,5", "model.settle.beta=0.1,0.3", "seed=0,1"]
    done = warm("ncf-train", *TINY, "--multirun", *keys, "metrics.names=[bce]", "name=s", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd


def test_a_key_against_a_metric_has_a_line_for_each_other_setting(swept):
    done = warm("ncf-report", "outputs/sweeps/s", "--figure", "model.settle.steps", "--split=validation", "--output=out", cwd=swept)
    assert done.returncode == 0 and done.stdout.count("written: out/model.settle.steps-bce-validation.") == 2, done.stderr
    svg = (swept / "out/model.settle.steps-bce-validation.svg").read_text()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"K (settling steps)", "BCE validation (nats per image)", "digits", "beta=0.1", "beta=0.3"} <= set(texts)
    assert (swept / "out/model.settle.steps-bce-validation.pdf").read_bytes().startswith(b"%PDF")
    from ncf.report.comparison_page import compared
    from ncf.report.figures import against

    lines = against(compared([swept / "outputs/sweeps/s"])[0], "model.settle.steps", ("validation", "bce"))
    values = [summary(path)["metrics"]["validation"]["bce"]["value"] for path in (swept / "outputs/sweeps/s").glob("*beta=0.3*steps=5*")]
    assert [x for x, *_ in lines["beta=0.3"]] == [5, 10] and len(values) == 2
    assert lines["beta=0.3"][0][1] == pytest.approx(sum(values) / 2) and lines["beta=0.3"][0][2] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)


def test_a_line_has_a_gap_where_a_run_has_no_value(swept, tmp_path):
    from ncf.report.comparison_page import compared

    shutil.copytree(swept / "outputs/sweeps/s", tmp_path / "s")
    for folder in (tmp_path / "s").glob("*beta=0.3*steps=5*"):
        (folder / "summary.json").write_text('{"status": "failed"}')
    lines = figures.against(compared([tmp_path / "s"])[0], "model.settle.steps", ("validation", "bce"))
    assert [x for x, *_ in lines["beta=0.3"]] == [5, 10] and np.isnan(lines["beta=0.3"][0][1]) and np.isfinite(lines["beta=0.3"][1][1])


@pytest.mark.parametrize("typed", ["K", "steps"])
def test_the_words_that_people_type_for_a_key_are_understood(swept, typed):
    done = warm("ncf-report", "outputs/sweeps/s", "--figure", typed, "--output=short", cwd=swept)
    assert done.returncode == 0 and (swept / "short/model.settle.steps-bce-test.svg").exists(), done.stderr


def test_a_figure_has_the_size_and_the_title_that_are_asked_for(swept):
    done = warm("ncf-report", "outputs/sweeps/s", "--figure=steps", "--output=column", "--size=3.4x2.5", "--title=Deeper is better", cwd=swept)
    assert done.returncode == 0, done.stderr
    svg = (swept / "column/model.settle.steps-bce-test.svg").read_text()
    assert 'width="244.8pt" height="180pt"' in svg and ">Deeper is better<" in svg and ">digits<" not in svg


def test_the_size_of_a_column_holds_all_its_texts(swept):
    """The size that the guide names, with the title of a page and a legend of two."""
    lines = {f"beta={beta}": [(5, 9.0, 0.1), (10, 8.0, 0.1), (20, 7.5, 0.2)] for beta in (0.05, 0.1, 0.2)}
    look = figures.Look(figures.size("3.4x2.4"), "")
    with matplotlib.rc_context({"font.size": look.font_size}):
        figure = figures.draw(lines, "K (settling steps)", "BCE test (nats per image)", look, "digits", points=True)
        figure.canvas.draw()
        (axis,), (legend,) = figure.axes, figure.legends
        for text in (axis.xaxis.label, axis.yaxis.label, *legend.get_texts()):
            box = text.get_window_extent()
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, text
        assert look.font_size >= 6


def test_learning_curves_are_drawn(swept):
    done = warm("ncf-report", "outputs/sweeps/s", "--figure=curves", cwd=swept)
    assert done.returncode == 0 and (swept / "outputs/sweeps/s/curves.pdf").exists(), done.stderr
    assert "validation BCE (nats per image)" in (swept / "outputs/sweeps/s/curves.svg").read_text()
    assert not (swept / "outputs/sweeps/s/comparison.html").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--figure=epochs"], "epochs is 2 in all of these runs; known: curves, model.settle.beta"),
        (["--figure=epoch"], "no such key"),
        (["--figure=steps", "--metric=bc"], "did you mean 'bce'?"),
        (["--figure=steps", "--size=3"], "--size=3"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(swept, arguments, words):
    require_one_line(warm("ncf-report", "outputs/sweeps/s", *arguments, cwd=swept), words)


@pytest.mark.parametrize(
    "values, log",
    [
        ([0.001, 0.01, 0.1], True),
        ([0.01, 0.02, 0.05, 0.1], True),
        ([5, 10, 20, 50], True),
        ([5, 10, 20], False),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], False),
        ([0, 0.01, 0.1], False),
        (["a", 1], False),
        ([3], False),
    ],
)
def test_a_key_in_equal_ratios_has_a_logarithmic_axis(values, log):
    assert figures.geometric(values) == log

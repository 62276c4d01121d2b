"""Charts: round ticks, positions in closed form, broken curves."""

import math
import re

import pytest

from ncf.report.charts import BOTTOM, HEIGHT, LEFT, PALE, RIGHT, TOP, WIDTH, Line, line_chart, tick_text, ticks


@pytest.mark.parametrize("low, high", [(0, 1), (-17.7, -3.2), (9.97, 39.9), (1e-7, 3e-7), (-1e9, 1e9), (0.1, 0.1), (0, 0), (50, 51)])
def test_ticks_are_round_evenly_spaced_and_span_the_range(low, high):
    values = ticks(low, high)
    steps = [b - a for a, b in zip(values, values[1:])]
    assert 2 <= len(values) <= 8 and values[0] <= low + 1e-9 * abs(low) and high - 1e-9 * abs(high) <= values[-1]
    assert all(math.isclose(step, steps[0], rel_tol=1e-6) for step in steps)
    assert re.fullmatch(r"[125]\.?0*e[+-]\d+", f"{steps[0]:.6e}")


@pytest.mark.parametrize("n", [1, 2, 3, 7, 50, 1234])
def test_ticks_of_epochs_are_whole_numbers(n):
    assert all(value == int(value) for value in ticks(1, n, whole=True))


def test_tick_texts_have_the_decimals_that_their_step_needs():
    assert [tick_text(v, 0.5) for v in (-0.5, 0, 1.5)] == ["\N{MINUS SIGN}0.5", "0.0", "1.5"]
    assert tick_text(20, 10) == "20" and tick_text(0.02, 0.02) == "0.02"


def paths(markup: str) -> list[str]:
    return re.findall(r'<path d="([^"]*)" stroke="[^"]*" class="line', markup.split('class="legend"')[0])


def test_a_straight_line_runs_from_corner_to_corner():
    chart = line_chart("t", [Line("a", [0, 5, 10], [0, 50, 100])], "x", "y")
    middle = f"{(LEFT + WIDTH - RIGHT) / 2} {(TOP + HEIGHT - BOTTOM) / 2}"
    assert paths(chart) == [f"M{float(LEFT)} {float(HEIGHT - BOTTOM)}L{middle}L{float(WIDTH - RIGHT)} {float(TOP)}"]


def test_a_curve_breaks_where_a_value_is_not_finite_and_a_lone_point_is_a_dot():
    chart = line_chart("t", [Line("a", [1, 2, 3, 4, 5, 6], [1.0, 2.0, math.nan, 3.0, math.inf, 2.0])], "x", "y")
    assert len(paths(chart)) == 1 and paths(chart)[0].count("L") == 1
    assert chart.count("<circle") == 2


def test_nothing_finite_at_all_still_makes_a_chart():
    assert "<svg" in line_chart("t", [Line("a", [1, 2], [math.nan, math.nan]), Line("b", [], [])], "x", "y")


def test_legend_names_the_coloured_curves_and_counts_the_pale_ones():
    lines = [Line("first", [1, 2], [1, 2]), Line("x", [1, 2], [1, 2], PALE), Line("y", [1, 2], [1, 2], PALE)]
    legend = line_chart("t", lines, "x", "y").split('class="legend"')[1]
    assert re.sub("<[^>]*>", "|", legend).count("first") == 1 and "2 more" in legend and ">x<" not in legend

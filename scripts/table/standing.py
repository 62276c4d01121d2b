"""Where ncf's rows stand beside the figures that the article prints: past, level or short, by a test over trials and seeds."""

from math import hypot, sqrt
from statistics import mean, stdev

from scipy import stats
from table.cells import Cell
from table.verdicts import LEVEL, welch

from ncf.measure.metrics import METRICS

TRIALS = 10  # of a printed mean and standard deviation


def standing(cell: Cell, metric: str, printed: float, spread: float | None) -> tuple[str, float]:
    """Past, level or short, and by how much the cell is better (negative: worse) than what is printed, mean and standard deviation of TRIALS.

    Level: not different at 5 % by Welch's test over seeds and trials, or, of a single seed, by its standard error over images.
    """
    values, spread = cell.values(metric), spread or 0.0
    lead = (mean(values) - printed) * (1 if METRICS[metric].higher else -1)
    if len(values) > 1:
        p = welch((mean(values), stdev(values), len(values)), (printed, spread, TRIALS))
    else:
        p = 2 * stats.norm.sf(abs(lead) / hypot(cell.image_error(metric), spread / sqrt(TRIALS)))
    return ("level" if p >= LEVEL else "past" if lead > 0 else "short"), lead


def told(cell: Cell, metric: str, printed: float, spread: float | None) -> str:
    """E.g. ``past, +2.37``; ¹ marks a single seed."""
    word, lead = standing(cell, metric, printed, spread)
    return f"{word}, {lead:+.2f}" + "¹" * (len(cell.values(metric)) == 1)

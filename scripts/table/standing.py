"""Where ncf's rows stand beside the figures that the article prints: past, level or short, by a test over trials and seeds."""

from math import inf
from statistics import mean

from table.cells import Cell
from table.verdicts import Verdict, over_the_seeds

from ncf.measure.metrics import METRICS

TRIALS = 10  # of a printed mean and standard deviation
WORDS = {"ahead": "past", "behind": "short"}
SEEN = (
    "_sgd",
    "_cooled",
    "_last",
    "_prior",
)  # rows of networks whose settings were compared on test images of MNIST, or set after test figures, and those that go on from them


def standing(cell: Cell, metric: str, printed: float, spread: float | None) -> tuple[str, float]:
    """Past, level, undecided or short, and by how much the cell is better (negative: worse) than what is printed."""
    found = verdict(cell, metric, printed, spread)
    return WORDS.get(found.word, found.word), found.lead


def verdict(cell: Cell, metric: str, printed: float, spread: float | None) -> Verdict:
    """A row against a printed mean and standard deviation of TRIALS: Welch's test over seeds and trials, or, of a single seed, its standard error over
    images with the spread over seeds that is usual."""
    values, of_trials = cell.values(metric), (spread or 0.0) ** 2 / TRIALS
    lead = (mean(values) - printed) * (1 if METRICS[metric].higher else -1)
    parts = [*over_the_seeds(cell, metric, values), (of_trials, TRIALS - 1)]
    if len(values) == 1:
        parts.append((cell.image_error(metric) ** 2, inf))
    return Verdict.of(lead, parts, over_seeds=len(values) > 1, blind=len(values) == 1 and metric not in cell.usual)


def told(cell: Cell, metric: str, printed: float, spread: float | None) -> str:
    """E.g. ``past by 2.37`` or ``level (-0.10)``; ¹ marks a single seed, † a row whose settings were compared on test images."""
    found = verdict(cell, metric, printed, spread)
    word, lead = WORDS.get(found.word, found.word), found.lead
    marks = "¹" * (len(cell.values(metric)) == 1) + "†" * seen(cell) + (f", {found.narrow}" if found.narrow else "")
    return f"{word} by {abs(lead):.2f}{marks}" if word in WORDS.values() else f"{word} ({lead:+.2f}{marks})"


def seen(cell: Cell) -> bool:
    return cell.dataset == "mnist" and cell.row.startswith("gncn") and cell.row.endswith(SEEN)

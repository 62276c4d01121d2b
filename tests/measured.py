"""Rows of the comparison, with figures made by hand or those of the project, and tables read back, for the tests of scripts/table."""

from functools import cache
from pathlib import Path

from table.cells import Cell, collect

DOCS = Path(__file__).parents[1] / "docs"


@cache
def of_the_project() -> list[Cell]:
    """The rows as docs/results.jsonl has them."""
    return collect(DOCS / "none", DOCS / "results.jsonl")


def cell(row: str, *values: float, metric: str = "bce", n_train: int | None = None, **run) -> Cell:
    """A row with one figure, each seed's; `run` is what else is told of every run."""
    runs = {seed: {"figures": {metric: {"value": value, "stderr": 0.5}}} | run for seed, value in enumerate(values)}
    return Cell("mnist", row, n_train, runs)


def columns(page: str) -> list[dict[str, str]]:
    """The rows of the first table of a page, by heading."""
    lines = [[text.strip() for text in line.strip().strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]

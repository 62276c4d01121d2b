"""Rows of the comparison with figures made by hand, and tables read back, for the tests of scripts/table."""

from table.cells import Cell


def cell(row: str, *values: float, metric: str = "bce", n_train: int | None = None, **run) -> Cell:
    """A row with one figure, each seed's; `run` is what else is told of every run."""
    runs = {seed: {"figures": {metric: {"value": value, "stderr": 0.5}}} | run for seed, value in enumerate(values)}
    return Cell("mnist", row, n_train, runs)


def columns(page: str) -> list[dict[str, str]]:
    """The rows of the first table of a page, by heading."""
    lines = [[text.strip() for text in line.strip().strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]

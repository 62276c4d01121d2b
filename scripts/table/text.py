"""How the pages of the comparison are written."""

from statistics import mean

from table.cells import Cell

MARKS = "¹: a single seed. A number in brackets: the figure is of so many of the row's seeds."


def shown(cell: Cell, metric: str) -> str:
    values = cell.values(metric)
    if not values:
        return "–"
    some = f" ({len(values)})" if 1 < len(values) < len(cell.runs) else ""
    return f"{mean(values):.2f} ± {cell.spread(metric):.2f}" + "¹" * (len(values) == 1) + some


def image_error(figure: dict) -> str:
    """A value with its standard error over images."""
    return f"{figure['value']:.2f} ± {figure['stderr']:.2f}¹"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    every = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in every)

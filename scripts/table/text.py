"""How the pages of the comparison are written."""

from statistics import mean

from table.cells import Cell
from table.rows import AUTOENCODERS, REGRESSED

MARKS = (
    "¹: a single seed (of M-MSE also: a single one whose latents were inferred). ²: measured before ncf completed images by inferring an autoencoder's latents; zero filling or refilling, whichever was better on "
    "validation images. ³: measured, in one seed at least, before validation images chose the regression's penalty; with a penalty of 1. "
    "A number in brackets: the figure is of so many of the row's seeds."
)


def shown(cell: Cell, metric: str) -> str:
    values = cell.values(metric)
    if not values:
        return "–"
    older = metric == "m_mse" and cell.row.startswith(AUTOENCODERS) and not cell.inferred
    fixed = metric in ("class_err", "class_err_hidden") and cell.row.startswith(REGRESSED) and not cell.chosen(metric)
    some = f" ({len(values)})" if 1 < len(values) < len(cell.runs) else ""
    return f"{mean(values):.2f} ± {cell.spread(metric):.2f}" + "¹" * (len(values) == 1) + "²" * older + "³" * fixed + some


def image_error(figure: dict) -> str:
    """A value with its standard error over images."""
    return f"{figure['value']:.2f} ± {figure['stderr']:.2f}¹"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    every = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in every)

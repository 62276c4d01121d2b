"""What the article prints, and the rows of ours that are held against it.

Ororbia and Kifer, Nature Communications 13:2064 (2022). `published.csv` holds the figures of its Tables 1 and 2, Figure 6b and
Supplementary Table 2; ours are those of results.jsonl.
"""

import csv
from collections.abc import Iterable
from math import log
from pathlib import Path

from table.cells import Cell
from table.rows import SUFFIXES
from table.verdicts import best

OWN_TITLES = {"": "released settings", "sgd": "ncf's defaults"}  # the others are titled as everywhere
ORDER = ("published", "", "sgd", "cooled", "prior", "tuned", "wide", "narrow", "many", "dropout", "850")
KINDS = {kind: OWN_TITLES.get(kind) or SUFFIXES[kind] for kind in ORDER}
LOCAL = tuple(kind for kind in KINDS if kind != "prior")  # whose networks learn by the local rule alone
NETWORKS = ("gncn_t1", "gncn_t1_sigma", "gncn_t2_l_sigma", "gncn_pdh")
CORRECTION = 2 * log(5000)  # nats: the released script adds log S of its 5,000 draws where the mean subtracts it
Cells = dict[tuple[str, str], Cell]
NOT_MEASURED = ("not measured", "")


def published() -> dict[tuple[str, str, str], tuple[float, float | None]]:
    """(dataset, method, metric) -> mean and standard deviation over ten trials, as printed."""
    with open(Path(__file__).with_name("published.csv"), newline="", encoding="utf-8") as file:
        return {
            (line["dataset"], line["method"], line["metric"]): (float(line["mean"]), float(line["sd"]) if line["sd"] else None)
            for line in csv.DictReader(file)
        }


def corrected(method: str, metric: str, value: float) -> float | None:
    """log p(x) with the sign of log S mended; a mixture over pixels needs no draws, and keeps its figure. None: printed figures as they are."""
    return value - CORRECTION if metric == "log_p" and method != "gmm" else None


def rows_of(method: str) -> dict[str, str]:
    """Kind -> row."""
    return {kind: f"{method}_{kind}" if kind else method for kind in KINDS}


def measured(full: Cells, dataset: str, row: str, metric: str) -> bool:
    return (dataset, row) in full and bool(full[dataset, row].values(metric))


def choose(full: Cells, dataset: str, name: str, metric: str, kinds: Iterable[str]) -> Cell | None:
    """Of a method's rows of these kinds the one with the best figure."""
    return best(candidates(full, dataset, name, metric, kinds), metric)


def candidates(full: Cells, dataset: str, name: str, metric: str, kinds: Iterable[str]) -> list[Cell]:
    """A method's rows of these kinds that have a figure which can be compared."""
    return [cell for kind in kinds if (cell := full.get((dataset, rows_of(name)[kind]))) and cell.values(metric)]

"""Whether two rows of the comparison differ, by a test that a reader can repeat."""

from dataclasses import dataclass
from math import hypot, sqrt
from statistics import mean, stdev, variance

from scipy import stats
from table.cells import Cell

from ncf.measure.metrics import METRICS

LEVEL = 0.05  # of the tests


@dataclass(frozen=True)
class Verdict:
    """`lead` is positive where the first row is better; `error` is the standard error of that difference."""

    lead: float
    error: float
    p: float
    over_seeds: bool
    paired: bool = False  # over images, of which both rows have the values

    @property
    def word(self) -> str:
        return "level" if self.p >= LEVEL else "ahead" if self.lead > 0 else "behind"

    @property
    def told(self) -> str:
        """The lead, the word, and whether images were compared unpaired."""
        return f"{self}, {self.word}" + ("" if self.over_seeds or self.paired else ", unpaired")

    def __str__(self) -> str:
        return f"{self.lead:+.2f} ± {self.error:.2f}" + ("" if self.over_seeds else "¹")


def compare(one: Cell, other: Cell, metric: str) -> Verdict:
    """Welch's test over seeds. With a single seed on either side, over images: paired where both rows have the values of the same images, else a
    normal test by the two standard errors. Images say nothing about other seeds."""
    a, b = one.values(metric), other.values(metric)
    sign = 1 if METRICS[metric].higher else -1
    lead = (mean(a) - mean(b)) * sign
    over_seeds = len(a) > 1 and len(b) > 1
    kept = [cell.found(metric)[0].get("values", ()) for cell in (one, other)]
    paired = not over_seeds and len(kept[0]) == len(kept[1]) > 1
    if over_seeds:
        error = sqrt(variance(a) / len(a) + variance(b) / len(b))
        p = welch((mean(a), stdev(a), len(a)), (mean(b), stdev(b), len(b))) if error else None
    elif paired:
        differences = [(x - y) * sign for x, y in zip(*kept, strict=True)]
        lead, error = mean(differences), stdev(differences) / sqrt(len(differences))
        p = 2 * stats.t.sf(abs(lead) / error, len(differences) - 1) if error else None
    else:
        error = hypot(one.image_error(metric), other.image_error(metric))
        p = 2 * stats.norm.sf(abs(lead) / error) if error else None
    p = float(lead == 0) if p is None else p  # no spread to test by
    return Verdict(lead, error, float(p), over_seeds, paired)


def welch(one: tuple[float, float, int], other: tuple[float, float, int]) -> float:
    """p of Welch's test of two means that are equal, each side its mean, standard deviation and number."""
    return float(stats.ttest_ind_from_stats(*one, *other, equal_var=False).pvalue)


def measured(metric: str, *cells: Cell | None) -> bool:
    return all(cell and cell.values(metric) for cell in cells)

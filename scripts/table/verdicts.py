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

    @property
    def word(self) -> str:
        return "level" if self.p >= LEVEL else "ahead" if self.lead > 0 else "behind"

    def __str__(self) -> str:
        return f"{self.lead:+.2f} ± {self.error:.2f}" + ("" if self.over_seeds else "¹")


def compare(one: Cell, other: Cell, metric: str) -> Verdict:
    """Welch's test over seeds; with a single seed on either side, a normal test by the standard errors over images, unpaired.

    The latter says nothing about other seeds, and too little about images: two models err on the same ones.
    """
    a, b = one.values(metric), other.values(metric)
    lead = (mean(a) - mean(b)) * (1 if METRICS[metric].higher else -1)
    over_seeds = len(a) > 1 and len(b) > 1
    if not over_seeds:
        error = hypot(one.image_error(metric), other.image_error(metric))
        p = 2 * stats.norm.sf(abs(lead) / error) if error else float(lead == 0)
    else:
        error = sqrt(variance(a) / len(a) + variance(b) / len(b))
        p = (
            stats.ttest_ind_from_stats(mean(a), stdev(a), len(a), mean(b), stdev(b), len(b), equal_var=False).pvalue if error else float(lead == 0)
        )  # no spread to test by
    return Verdict(lead, error, float(p), over_seeds)


def measured(metric: str, *cells: Cell | None) -> bool:
    return all(cell and cell.values(metric) for cell in cells)

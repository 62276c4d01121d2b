"""Whether two rows of the comparison differ, by a test that a reader can repeat."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import mean, variance

from scipy import stats
from table.cells import Cell

from ncf.measure.metrics import METRICS

LEVEL = 0.05  # of the tests
NEAR = 2  # standard errors: what lies further apart than that is not called level, however few the seeds
Part = tuple[float, float]  # a variance of a mean, and its degrees of freedom


@dataclass(frozen=True)
class Verdict:
    """`lead` is positive where the first row is better; `error` is the standard error of that difference, of `df` degrees of freedom. `over_seeds`: both sides
    have several; `blind`: of a side that has not, nothing tells how much it varies with the seed."""

    lead: float
    error: float
    df: float
    over_seeds: bool
    paired: bool = False  # over images, of which both rows have the values
    blind: bool = False

    @classmethod
    def of(cls, lead: float, parts: Sequence[Part], over_seeds: bool, paired: bool = False, blind: bool = False) -> "Verdict":
        """From the variances that the difference is made of, by Welch and Satterthwaite: df = (sum of v)^2 / sum of v^2 / df_v."""
        squared = sum(v for v, _ in parts)
        spread = sum(v**2 / df for v, df in parts)
        return cls(lead, sqrt(squared), squared**2 / spread if spread else inf, over_seeds, paired, blind)

    @property
    def p(self) -> float:
        """That the two are equal, by Student's t; without any spread to test by 1 or 0."""
        return float(2 * stats.t.sf(abs(self.lead) / self.error, self.df)) if self.error else float(not self.lead)

    @property
    def word(self) -> str:
        if self.p < LEVEL:
            return "ahead" if self.lead > 0 else "behind"
        return "level" if abs(self.lead) <= NEAR * self.error else "undecided"

    @property
    def told(self) -> str:
        """The lead, the word, and whether images were compared unpaired."""
        return f"{self}, {self.word}{f' ({self.narrow})' if self.narrow else ''}" + ("" if self.over_seeds or self.paired else ", unpaired")

    @property
    def narrow(self) -> str:
        """The p-value of what is significant by a little, or by a little not."""
        return f"p = {self.p:.3f}" if 0.01 <= self.p < 2 * LEVEL else ""

    @property
    def phrase(self) -> str:
        """In a sentence: ``behind by 3.10 ± 0.20``, or, of what is neither ahead nor behind, ``level (+0.10 ± 0.20)``."""
        signed, narrow = str(self), self.narrow
        if self.word in ("ahead", "behind"):
            return f"{self.word} by {signed[1:]}" + (f" ({narrow})" if narrow else "")
        return f"{self.word} ({signed}{f', {narrow}' if narrow else ''})"

    def __str__(self) -> str:
        return f"{self.lead:+.2f} ± {self.error:.2f}" + ("⁰" if self.blind else "" if self.over_seeds else "¹")


def compare(one: Cell, other: Cell, metric: str) -> Verdict:
    """Two rows by what both have: several seeds, the values of the same images (few of the test images), or both.

    The variance over seeds (of a row that has a single one, that of the set's other rows of its method, if there are such), over images paired (each
    image's mean over a row's seeds; the first test images, which both have), of draws that serve all images: what is at hand adds up, as in Welch's test.
    Two single seeds of one method borrow the same estimate, which counts as one. What is measured on all test images keeps no values, and is compared on
    these images over seeds alone; where a row has a single seed, by the two standard errors over images too. The value of one image alone is not paired.
    """
    first, sign = shared([one, other], metric), 1 if METRICS[metric].higher else -1
    a, b = one.values(metric, first), other.values(metric, first)
    over_seeds, paired = min(len(a), len(b)) > 1, first > 0
    seeds = [over_the_seeds(cell, metric, values) for cell, values in ((one, a), (other, b))]
    blind, parts = not all(seeds), [part for found in seeds for part in found]
    if len(a) == len(b) == 1 and seeds[0] and seeds[0] == seeds[1]:
        parts = [(2 * parts[0][0], parts[0][1])]
    if paired:
        differences = [x - y for x, y in zip(one.by_image(metric), other.by_image(metric))]
        parts.append((variance(differences) / len(differences), len(differences) - 1))
        parts += [(cell.draws_error(metric) ** 2, inf) for cell, values in ((one, a), (other, b)) if len(values) == 1]
    elif not over_seeds:
        parts += [(cell.image_error(metric) ** 2, inf) for cell in (one, other)]
    return Verdict.of((mean(a) - mean(b)) * sign, parts, over_seeds, paired, blind)


def over_the_seeds(cell: Cell, metric: str, values: list[float]) -> list[Part]:
    """The variance of the mean of a row's seeds; of a single one what is usual."""
    if len(values) > 1:
        return [(variance(values) / len(values), len(values) - 1)]
    return [cell.usual[metric]] if metric in cell.usual else []


def measured(metric: str, *cells: Cell | None) -> bool:
    return all(cell and cell.values(metric) for cell in cells)


def best(cells: Iterable[Cell], metric: str) -> Cell | None:
    """The row with the best figure, by the images that all have which keep values; one with several seeds, unless one with a single seed is significantly
    better. None of none."""
    cells, sign = [*cells], 1 if METRICS[metric].higher else -1
    first = shared([cell for cell in cells if cell.shared(metric)], metric)
    ranked = sorted(cells, key=lambda cell: -sign * mean(cell.values(metric, first)))
    several = next((cell for cell in ranked if len(cell.values(metric)) > 1), None)
    return several if several and compare(ranked[0], several, metric).word != "ahead" else next(iter(ranked), None)


def shared(cells: Iterable[Cell], metric: str) -> int:
    """How many images, the first ones, all rows have the values of; 0 where that is a single one."""
    n = min((cell.shared(metric) for cell in cells), default=0)
    return n if n > 1 else 0

"""Whether two rows of the comparison differ, by a test that a reader can repeat."""

from collections.abc import Sequence
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
    """`lead` is positive where the first row is better; `error` is the standard error of that difference, of `df` degrees of freedom."""

    lead: float
    error: float
    df: float
    over_seeds: bool
    paired: bool = False  # over images, of which both rows have the values

    @classmethod
    def of(cls, lead: float, parts: Sequence[Part], over_seeds: bool, paired: bool = False) -> "Verdict":
        """From the variances that the difference is made of, by Welch and Satterthwaite: df = (sum of v)^2 / sum of v^2 / df_v."""
        squared = sum(v for v, _ in parts)
        spread = sum(v**2 / df for v, df in parts)
        return cls(lead, sqrt(squared), squared**2 / spread if spread else inf, over_seeds, paired)

    @property
    def p(self) -> float:
        """That the two are equal, by Student's t; without any spread to test by 1 or 0."""
        return self.p_beyond(0.0)

    def p_beyond(self, lead: float) -> float:
        """Two-sided, that the difference is `lead`."""
        apart = abs(self.lead - lead)
        return float(2 * stats.t.sf(apart / self.error, self.df)) if self.error else float(not apart)

    @property
    def word(self) -> str:
        if self.p < LEVEL:
            return "ahead" if self.lead > 0 else "behind"
        return "level" if abs(self.lead) <= NEAR * self.error else "undecided"

    @property
    def told(self) -> str:
        """The lead, the word, and whether images were compared unpaired."""
        return f"{self}, {self.word}" + ("" if self.over_seeds or self.paired else ", unpaired")

    @property
    def phrase(self) -> str:
        """In a sentence: ``behind by 3.10 ± 0.20``, or, of what is neither ahead nor behind, ``level (+0.10 ± 0.20)``."""
        signed = str(self)
        return f"{self.word} by {signed[1:]}" if self.word in ("ahead", "behind") else f"{self.word} ({signed})"

    def __str__(self) -> str:
        return f"{self.lead:+.2f} ± {self.error:.2f}" + ("" if self.over_seeds else "¹")


def compare(one: Cell, other: Cell, metric: str) -> Verdict:
    """Two rows by what both have: several seeds, the values of the same images (few of the test images), or both.

    The variance over seeds of every row that has several, over images paired (each image's mean over a row's seeds; the first test images, which both
    have), of draws that serve all images: what is at hand adds up, as in Welch's test. What is measured on all test images keeps no values, and is
    compared on these images over seeds alone; where a row has a single seed, by the two standard errors over images too.
    """
    first, sign = min(one.shared(metric), other.shared(metric)), 1 if METRICS[metric].higher else -1
    a, b = one.values(metric, first), other.values(metric, first)
    over_seeds, paired = min(len(a), len(b)) > 1, first > 1
    parts: list[Part] = [(variance(values) / len(values), len(values) - 1) for values in (a, b) if len(values) > 1]
    if paired:
        differences = [x - y for x, y in zip(one.by_image(metric), other.by_image(metric))]
        parts.append((variance(differences) / len(differences), len(differences) - 1))
        parts += [(cell.draws_error(metric) ** 2, inf) for cell, values in ((one, a), (other, b)) if len(values) == 1]
    elif not over_seeds:
        parts += [(cell.image_error(metric) ** 2, inf) for cell in (one, other)]
    return Verdict.of((mean(a) - mean(b)) * sign, parts, over_seeds, paired)


def measured(metric: str, *cells: Cell | None) -> bool:
    return all(cell and cell.values(metric) for cell in cells)

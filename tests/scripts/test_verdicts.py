"""Whether two rows differ: by seeds, by images, by both, against scipy's tests and against draws of which the truth is known."""

from math import hypot, inf

import numpy as np
import pytest
from measured import cell
from scipy import stats
from table import claims, standing
from table.cells import Cell, usual_variance
from table.verdicts import Verdict, best, compare


@pytest.mark.parametrize(
    "metric, network, rival, by, word",
    [
        ("bce", (50, 51, 52), (60, 61, 62), "+10.00 ± 0.82", "ahead"),  # lower is better
        ("bce", (60, 61, 62), (50, 51, 52), "-10.00 ± 0.82", "behind"),
        ("bce", (50, 51, 52), (51, 52, 53), "+1.00 ± 0.82", "level"),
        ("bce", (50, 51, 52), (52.2, 53.2, 54.2), "+2.20 ± 0.82", "undecided"),  # Welch: t = 2.69 at 4 degrees of freedom, p = 0.0545
        ("bce", (50, 51, 52), (52.4, 53.4, 54.4), "+2.40 ± 0.82", "ahead"),  # t = 2.94, p = 0.042
        ("log_p", (-110,), (-130,), "+20.00 ± 0.71⁰", "ahead"),  # higher is better; of one seed, the error over images
        ("log_p", (-130,), (-110,), "-20.00 ± 0.71⁰", "behind"),
        ("log_p", (-110,), (-111.3,), "+1.30 ± 0.71⁰", "level"),  # 1.84 errors
        ("log_p", (-110,), (-111.5, -111.5), "+1.50 ± 0.71⁰", "ahead"),  # 2.12 errors
    ],
)
def test_claims_are_judged_in_the_direction_of_the_figure(metric, network, rival, by, word):
    verdict = compare(cell("gncn_pdh", *network, metric=metric), cell("gvae", *rival, metric=metric), metric)
    assert (verdict.word, str(verdict)) == (word, by)


def test_two_rows_without_any_spread_are_level_only_where_they_agree():
    assert compare(cell("gncn_pdh", 5, 5), cell("gvae", 5, 5), "bce").word == "level"
    assert compare(cell("gncn_pdh", 5, 5), cell("gvae", 6, 6), "bce").word == "ahead"


def test_single_seeds_are_compared_image_by_image_where_the_values_are_kept():
    """Two rows whose images differ far more than they do: level by their own errors, apart image by image."""
    images = [-90.0, -60.0, -120.0, -75.0]

    def row(name: str, gains: list[float]) -> Cell:
        values = [value + gain for value, gain in zip(images, gains)]
        figure = {"value": sum(values) / 4, "stderr": 12.5, "values": values}
        return Cell("mnist", name, None, {0: {"figures": {"log_p_annealed": figure}}})

    one, other = row("gncn_pdh", [1.0, 1.5, 0.5, 1.0]), row("gvae", [0.0] * 4)
    verdict = compare(one, other, "log_p_annealed")
    assert (verdict.word, verdict.lead, verdict.over_seeds) == ("ahead", 1.0, False)
    assert verdict.error == pytest.approx(np.std([1, 1.5, 0.5, 1], ddof=1) / 2)
    assert verdict.p == pytest.approx(stats.ttest_rel([-89, -58.5, -119.5, -74], images).pvalue)
    assert compare(other, one, "log_p_annealed").word == "behind"
    del other.runs[0]["figures"]["log_p_annealed"]["values"]
    assert compare(one, other, "log_p_annealed").word == "level"


def seeds_and_images(row: str, values: np.ndarray) -> Cell:
    """A row with `values` (seeds, images) of log p(x), annealed."""
    figures = [{"value": line.mean(), "stderr": 1.0, "values": [float(value) for value in line]} for line in values]
    return Cell("mnist", row, None, {seed: {"figures": {"log_p_annealed": figure}} for seed, figure in enumerate(figures)})


def test_several_seeds_on_the_same_few_images_count_the_images_too():
    """Of two-way draws, seed + image + both, the error over seeds alone is far too small; the one of `compare` covers zero as often as it says."""
    rng = np.random.default_rng(0)
    wrong, missed = [], 0
    for _ in range(400):
        image = rng.normal(0, 20, 40)
        own, other = (image + rng.normal(0, 5, 40) + rng.normal(0, 0.3, (3, 1)) + rng.normal(0, 1, (3, 40)) for _ in range(2))
        verdict = compare(seeds_and_images("gncn_pdh", own), seeds_and_images("gvae", other), "log_p_annealed")
        wrong.append(verdict.p < 0.05)
        missed += stats.ttest_ind(own.mean(1), other.mean(1), equal_var=False).pvalue < 0.05
    assert 0.02 < np.mean(wrong) < 0.085 and missed > 150
    apart = own.mean(0) - other.mean(0)
    parts = [own.mean(1).var(ddof=1) / 3, other.mean(1).var(ddof=1) / 3, apart.var(ddof=1) / 40]
    assert verdict.over_seeds and verdict.paired and verdict.error == pytest.approx(sum(parts) ** 0.5)
    assert verdict.df == pytest.approx(sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 2 + parts[2] ** 2 / 39))


def test_a_single_seed_is_held_against_the_mean_over_the_others_seeds_image_by_image():
    one = seeds_and_images("gncn_pdh", np.array([[-10.0, -20.0, -31.0]]))
    other = seeds_and_images("gvae", np.array([[-11.0, -22.0, -30.0], [-13.0, -20.0, -32.0]]))
    verdict = compare(one, other, "log_p_annealed")
    assert not verdict.over_seeds and verdict.paired and verdict.lead == pytest.approx(1.0)
    assert verdict.error**2 == pytest.approx(np.var([2.0, 1.0, 0.0], ddof=1) / 3 + np.var([-21.0, -65 / 3], ddof=1) / 2)  # its seeds count


def test_seeds_that_are_at_hand_count_even_where_the_other_row_has_one():
    """A row of three seeds, far apart, against one of a single seed with a small error over images: no difference that the images alone would see."""
    rng, wrong = np.random.default_rng(0), []
    for _ in range(300):
        single = Cell("mnist", "gan_ae", None, {0: {"figures": {"gaussian_kl": {"value": rng.normal(100, 0.3), "stderr": 0.3}}}})
        seeds = {s: {"figures": {"gaussian_kl": {"value": rng.normal(100, 5.0), "stderr": 0.3}}} for s in range(3)}
        verdict = compare(single, Cell("mnist", "gvae_cooled", None, seeds), "gaussian_kl")
        wrong.append(verdict.p < 0.05)
    assert 0.02 < np.mean(wrong) < 0.09 and not verdict.over_seeds
    values = [seeds[s]["figures"]["gaussian_kl"]["value"] for s in range(3)]
    assert verdict.error**2 == pytest.approx(np.var(values, ddof=1) / 3 + 2 * 0.3**2)


def test_seeds_measured_on_different_numbers_of_images_count_by_those_that_all_have():
    rng = np.random.default_rng(0)
    images = rng.normal(-90, 20, 12)
    own, other = (images + rng.normal(0, 1, (3, 12)) + gain for gain in (1.0, 0.0))

    def mixed(row: str, values: np.ndarray, counts: tuple[int, ...]) -> Cell:
        figures = [{"value": line[:n].mean(), "stderr": 1.0, "values": list(map(float, line[:n]))} for line, n in zip(values, counts)]
        return Cell("mnist", row, None, {seed: {"figures": {"log_p_annealed": figure}} for seed, figure in enumerate(figures)})

    few = compare(mixed("gncn_pdh", own, (8, 8, 8)), mixed("gvae", other, (8, 8, 8)), "log_p_annealed")
    more = compare(mixed("gncn_pdh", own, (12, 8, 8)), mixed("gvae", other, (12, 12, 12)), "log_p_annealed")
    assert (more.lead, more.error, more.df) == pytest.approx((few.lead, few.error, few.df))
    cell = mixed("gncn_pdh", own, (12, 8, 8))
    assert cell.values("log_p_annealed") == pytest.approx(own[:, :8].mean(1)) and cell.spread("log_p_annealed") < 2


def test_draws_that_serve_all_images_are_part_of_a_single_seed_s_error():
    def row(name: str, metric: str, error: float, **more: list) -> Cell:
        return Cell("mnist", name, None, {0: {"figures": {metric: {"value": -100.0, "stderr": 3.0, "sampling_stderr": error} | more}}})

    one, other = row("gncn_pdh", "log_p", 4.0), row("gvae", "log_p", 0.0)
    assert one.image_error("log_p") == 5.0 and compare(one, other, "log_p").error == pytest.approx(34**0.5)
    assert row("gvae", "log_p_annealed", 4.0).image_error("log_p_annealed") == 3.0  # chains of each image's own: the images' spread shows them
    assert row("gvae", "log_p", None).image_error("log_p") == 3.0
    one, other = row("gncn_pdh", "log_p", 4.0, values=[-99.0, -101.0]), row("gvae", "log_p", 3.0, values=[-99.0, -101.0])
    assert compare(one, other, "log_p").paired and compare(one, other, "log_p").error == pytest.approx(5.0)


def test_without_kept_values_seeds_are_compared_by_welch_s_test():
    a, b = (50.0, 51.5, 52.0), (52.0, 53.1)
    found = compare(cell("gncn_pdh", *a), cell("gvae", *b), "bce")
    assert found.p == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue)


def test_what_is_more_than_two_errors_apart_is_undecided_where_seeds_are_too_few_to_tell():
    apart = {gap: compare(cell("gncn_pdh", 50.0, 51.0), cell("gvae", 50.0 + gap, 51.0 + gap), "bce") for gap in (1.0, 1.6, 4.0)}
    assert all(verdict.error == pytest.approx(0.5**0.5) for verdict in apart.values())
    assert [verdict.word for verdict in apart.values()] == ["level", "undecided", "ahead"] and apart[1.6].p > 0.05
    rival = {("mnist", "rae"): cell("rae", 51.6, 52.6)}
    told = [
        claims.judged(rival | {("mnist", "gncn_pdh"): cell("gncn_pdh", *own)}, "gncn_pdh", ["rae"], "bce", ("ahead", "level"))
        for own in ((50.0, 51.0), (53.2, 54.2))
    ]
    assert [verdict for verdict, _ in told] == ["reproduced", "undecided"]  # better, it is level at least; worse, it is not


def test_a_single_seed_borrows_the_spread_of_its_method():
    """GVAEs of two rows vary over seeds by variances 1 and 4 of 2 and 1 degrees of freedom, 2 of 3 together; other methods have nothing to do with that."""
    others = [cell("gvae_cv", 1.0, 9.0), cell("gvae_many", 1.0, 9.0), cell("gncn_pdh", 20.0)]
    cells = [cell("gvae", 10.0, 11.0, 12.0), cell("gvae_wide", 10.0, 10.0 + 8**0.5), cell("gvae_tuned", 15.0), *others]
    usual = usual_variance(cells)
    assert usual["mnist", "gvae"]["bce"] == (pytest.approx(2.0), 3) and ("mnist", "gncn_pdh") not in usual
    few = cell("gvae", 1.0, 100.0)
    few.n_train = 100  # fewer images spread otherwise
    assert usual_variance([*cells, few]) == usual

    lone, own = cells[2], cells[-1]
    before = compare(own, lone, "bce")
    lone.usual = usual["mnist", "gvae"]
    after = compare(own, lone, "bce")
    assert before.error == pytest.approx(hypot(0.5, 0.5)) and after.error == pytest.approx(hypot(0.5, 0.5, 2**0.5))
    assert after.df == pytest.approx(2.5**2 / (2.0**2 / 3)) and before.word == "behind" and after.lead == before.lead == -5.0
    assert str(before).endswith("⁰") and str(after).endswith("⁰")  # nothing tells how much GNCN-PDH varies
    own.usual = {"bce": (3.0, 5)}
    assert compare(own, lone, "bce").error == pytest.approx(hypot(0.5, 0.5, 5**0.5)) and str(compare(own, lone, "bce")).endswith("¹")
    twin = cell("gvae_narrow", 16.0)
    twin.usual = lone.usual  # the same estimate counts as one
    assert compare(twin, lone, "bce").df == pytest.approx(4.5**2 / (4.0**2 / 3))
    assert standing.verdict(lone, "bce", 15.0, 0.0).error == pytest.approx(hypot(0.5, 2**0.5))


def test_several_seeds_come_before_one_that_is_no_better_as_far_as_a_test_can_tell():
    several, level, better = cell("gvae", -70.0, -70.4, metric="log_p"), cell("rae", -69.9, metric="log_p"), cell("rae_wide", -50.0, metric="log_p")
    assert best([several, level], "log_p") is several and best([several, level, better], "log_p") is better and best([], "log_p") is None
    assert best([cell("rae", 5.0), cell("gvae", 4.0)], "bce").row == "gvae"  # one seed each


def test_one_image_is_not_paired_and_a_narrow_verdict_tells_its_p():
    def at(row: str, value: float, *values: float) -> Cell:
        return Cell("mnist", row, None, {0: {"figures": {"log_p_annealed": {"value": value, "stderr": 1.0, "values": list(values)}}}})

    verdict = compare(at("gncn_pdh", -50.0, -50.0), at("gvae", -80.0, -51.0, -109.0), "log_p_annealed")
    assert verdict.lead == 30.0 and not verdict.paired
    found = {lead: Verdict(lead, 1.0, inf, over_seeds=True) for lead in (1.0, 2.1, 5.0)}
    assert [v.phrase for v in found.values()] == ["level (+1.00 ± 1.00)", "ahead by 2.10 ± 1.00 (p = 0.036)", "ahead by 5.00 ± 1.00"]
    assert found[2.1].told == "+2.10 ± 1.00, ahead (p = 0.036)"

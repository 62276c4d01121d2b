"""The article's claims, each with a verdict and the figures that decide."""

from collections.abc import Iterable
from itertools import zip_longest

from table.article import CORRECTION, KINDS, NETWORKS, NOT_MEASURED, Cells, candidates, measured, published, rows_of
from table.cells import Cell
from table.rows import AUTOENCODERS, DATASETS, is_for, read_table, row_title
from table.standing import TRIALS, standing
from table.text import shown
from table.verdicts import Part, Verdict, best, compare

from ncf.measure.metrics import METRICS

HEAD = """- **Who enters.** A network, rival or not, by one row, by a rule fixed beforehand: the published protocol where that figure was measured by it, else ncf's defaults, else the released
  settings, all networks of a claim alike. (The settings of the published rows were chosen anew after test figures had been seen, as said above.) Samples are as many as training images, so their figures are of
  ncf's defaults first, which train on as many as the autoencoders. An autoencoder or a classifier enters by its best row on the test images, which favours it; a row of one seed does so only where it is
  significantly better than the best of several seeds. The article's autoencoders have 20
  latents, chosen from 5 to 30: those of 360 enter 1c, 1d, 2e, 5b, 5c, 6b and 6c alone, which it does not claim. Its BCE of an autoencoder is by one pass of the encoder, for which a network has K = 50 steps; in 1d and 6c autoencoders
  may infer their latents in 50 steps (`bce_inferred`), and enter by the better of the two.
- **Ahead** and **behind**, of the network, which is named first, are significant at 5 %. Where both sides have several seeds: by Welch's test over these, which holds for these test images; others
  could turn 2a (of the digits, which are 297, and of KMNIST), 4 and 5c (of the digits) to level. Where a side has one seed, the images count too, and rows of its method on that set (those of 360 latents apart) lend it their spread over seeds (marked ¹); where none of them has several seeds, the
  test says nothing about other seeds (marked ⁰). Annealed figures are compared image by image; of most others single images' values are not kept, and a single seed's errors over images add up as if each side had
  its own images, so that "level" comes too often.
- **Level** is within two standard errors, **undecided** beyond them with too few seeds to tell. No test is corrected for their number; where one is significant by a little, or by a little not, p stands beside it.
- **Reproduced** asks for every dataset that is judged; **opposite** is significantly wrong. "Competitive" (2c, 2d, 2e) and "nearly" (5d) allow the article's own distance on that set (that of its Monte Carlo
  estimate, for 2d and 2e too), as far as a test can tell; a set for which it prints none is not judged. 5d is
  easier where ncf's classifier is short of its printed figure, harder where it is past it (the table above). 8 asks every autoencoder to be ahead of GNCN-PDH, but those to be behind that the article's own table, tested over its trials, has
  behind. 10 rewards blur: training images, which are sharp, come less near to test images than most samples do ([Results](results.md#mnist)).

The article's log p(x) is a Monte Carlo estimate, which rewards coarse codes: training images, remembered and blurred, beat every row of MNIST by it with no model at all
([Results](results.md#mnist)). Annealed importance sampling comes far closer, so claim 2 is judged by both."""


SAMPLED = ("ndb", "gaussian_kl", "fantasy_mse")  # by as many samples as training images, of which the published protocol has more or fewer


def networks(full: Cells, dataset: str, names: list[str], metric: str) -> dict[str, Cell]:
    """The first of these networks and the others by the article's protocol, else by ncf's defaults, else by the released settings: one row each, not the best
    of several, all of the kind that most of them have; the figures of samples by ncf's defaults first."""
    kinds = ("sgd", "published", "") if metric in SAMPLED else ("published", "sgd", "")
    found = [{name: full[dataset, row] for name in names if measured(full, dataset, row := rows_of(name)[kind], metric)} for kind in kinds]
    return max((cells for cells in found if names[0] in cells), key=len, default={})


def against(full: Cells, dataset: str, name: str, rivals: Iterable[str], metric: str, accept: tuple[str, ...]) -> tuple[str, str, str] | None:
    """A network against the strongest rival (of networks the row of `networks`, of others the `best` on test images): word, its figure, the rival's and the lead.

    Where "near" is accepted, it stands for behind by no more than in the article, as far as a test at 5 % can tell (without a printed distance
    there is no judging); where "level" is, a lead that is undecided is level at least.
    """
    alike = networks(full, dataset, [name, *(rival for rival in rivals if rival in NETWORKS)], metric)
    others = [cell for rival in rivals if rival not in NETWORKS for cell in candidates(full, dataset, rival, metric, KINDS)]
    own, rival = alike.pop(name, None), best([*alike.values(), *others], metric)
    if not own or not rival:
        return None
    verdict = compare(own, rival, metric)
    word, gap = verdict.word, printed_lead(dataset, name, rivals, metric) if "near" in accept else None
    told = f"{row_title(rival.row)} {shown(rival, metric)}, {verdict.phrase}{over_images(own, rival, metric)}"
    if "near" in accept and gap is None:
        word, told = "not judged", f"{told}; no distance printed"
    elif "near" in accept and verdict.lead < 0 and word != "level":
        told += f", in the article {'ahead' if gap[0] > 0 else 'behind'} by {abs(gap[0]):.2f}"
        word = "near" if no_further(verdict, gap) else word
    if word == "undecided" and verdict.lead > 0 and "level" in accept:
        word = "level"
    return word, f"{row_title(own.row)} {shown(own, metric)}", told


def over_images(one: Cell, other: Cell, metric: str) -> str:
    """Of how many images a difference is, where a row has more."""
    counts = one.shared(metric), other.shared(metric)
    return f" over the first {min(counts)} images" if 1 < min(counts) < max(counts) else ""


def printed_lead(dataset: str, name: str, rivals: Iterable[str], metric: str) -> tuple[float, list[Part]] | None:
    """By how much the article's figure of a network is better than that of the best rival, and its variances over trials; of log p(x) it has one estimate
    alone."""
    metric = metric.removesuffix("_annealed")
    printed, sign = published(), 1 if METRICS[metric].higher else -1
    others = [printed[key] for rival in rivals if (key := (dataset, rival, metric)) in printed]
    own = printed.get((dataset, name, metric))
    if not own or not others:
        return None
    rival = max(others, key=lambda figure: sign * figure[0])
    return sign * (own[0] - rival[0]), [((spread or 0.0) ** 2 / TRIALS, TRIALS - 1) for _, spread in (own, rival)]


def no_further(verdict: Verdict, gap: tuple[float, list[Part]]) -> bool:
    """Whether a lead is not significantly less than the printed one."""
    beyond = Verdict.of(verdict.lead - gap[0], [(verdict.error**2, verdict.df), *gap[1]], verdict.over_seeds)
    return beyond.word != "behind"


def judged(full: Cells, name: str, rivals: Iterable[str], metric: str, accept: tuple[str, ...] = ("ahead",)) -> list[str]:
    """Verdict over all measured datasets and what decides: reproduced, not reproduced (level somewhere), undecided (too few seeds somewhere to tell), or
    opposite (significantly so somewhere)."""
    found = {dataset: [against(full, dataset, name, rivals, metric, accept)] for dataset in DATASETS}
    return verdict_of(found, accept, "ahead" if "behind" in accept else "behind")


def judged_as_printed(full: Cells, name: str, rivals: Iterable[str], metric: str) -> list[str]:
    """The same of a claim that each rival is ahead of the network, unless by the article's own table that rival is behind it on that set."""
    found: dict[str, list] = {dataset: [] for dataset in DATASETS}
    for dataset, results in found.items():
        for rival in rivals:
            result, there = against(full, dataset, name, [rival], metric, ("behind",)), printed_word(dataset, name, rival, metric)
            if result and there:
                word, own, told = result
                result = (MIRROR.get(word, word) if there == "ahead" else word, own, f"{told} (article: {there})")
            results.append(result)
    return verdict_of(found, ("behind",), "ahead")


def printed_word(dataset: str, name: str, rival: str, metric: str) -> str | None:
    """Whether the article's figure of a network is ahead of that of a rival, behind or level, by Welch's test over its trials; None where it prints none."""
    own, other = (published().get((dataset, which, metric)) for which in (name, rival))
    if own is None or other is None:
        return None
    parts = [((spread or 0.0) ** 2 / TRIALS, TRIALS - 1) for _, spread in (own, other)]
    word = Verdict.of((own[0] - other[0]) * (1 if METRICS[metric].higher else -1), parts, over_seeds=True).word
    return word if word in MIRROR else "level"


MIRROR = {"ahead": "behind", "behind": "ahead"}


def verdict_of(found: dict[str, list[tuple[str, str, str] | None]], accept: tuple[str, ...], contrary: str) -> list[str]:
    tested = {dataset: kept for dataset, results in found.items() if (kept := [result for result in results if result])}
    told = [f"{DATASETS[dataset]}: {kept[0][1]}, {'; '.join(text for _, _, text in kept)}" for dataset, kept in tested.items()]
    if not told:
        return [*NOT_MEASURED]
    words = {word for kept in tested.values() for word, _, _ in kept} - {"not judged"}
    if not words:
        verdict = "cannot be compared"
    elif words <= set(accept):
        verdict = "reproduced"
    elif contrary in words:
        verdict = "opposite" if words == {contrary} else "opposite in part"
    else:
        verdict = "undecided" if words - set(accept) == {"undecided"} else "not reproduced"
    return [verdict, "<br>".join(told)]


def by_encoder_units(full: Cells) -> Cells:
    """The cells with %Err of the autoencoders by the last hidden units of their encoders; those without that figure have none."""
    cells = dict(full)
    for (dataset, row), cell in full.items():
        if row.startswith(AUTOENCODERS):
            cells[dataset, row] = cell.renamed({"class_err": "class_err_hidden"})
    return cells


COMPETITIVE = ("ahead", "level", "near")
OTHERS = ("gncn_t1", "gncn_t2_l_sigma")  # of the networks, beside the two that claims are made of


def as_printed(row: str) -> bool:
    """Whether the article has such a row: not autoencoders of 360 latents."""
    return not row.endswith("_many")


def few(every: Cells) -> Cells:
    return {(dataset, row): cell for (dataset, row), cell in every.items() if as_printed(row)}


def judged_many(every: Cells, name: str, metric: str, accept: tuple[str, ...] = ("ahead",)) -> list[str]:
    """The verdict over the sets where autoencoders of 360 latents have the figure, against all autoencoders; which of 360 latents lack it is told."""
    table = read_table()
    many = [(dataset, row) for dataset in DATASETS for row in table if not as_printed(row) and is_for(table[row], dataset)]
    sets = {dataset for dataset, row in many if measured(every, dataset, row, metric)}
    verdict, told = judged({key: cell for key, cell in every.items() if key[0] in sets}, name, AUTOENCODERS, metric, accept)
    absent = [f"{DATASETS[dataset]}, {row_title(row)}" for dataset, row in many if not measured(every, dataset, row, metric)]
    return [f"{verdict}, measured in part", f"{told}<br>Not run: {'; '.join(absent)}"] if sets and absent else [verdict, told]


def judged_inferring(every: Cells, name: str) -> list[str]:
    """The verdict on BCE against autoencoders whose latents were inferred, and which of those that were measured were not."""
    seen = inferring(every)
    verdict, told = judged(seen, name, AUTOENCODERS, "bce")
    rows = {
        dataset: [row for of, row in every if of == dataset and measured(every, dataset, row, "bce") and not measured(seen, dataset, row, "bce")]
        for dataset in DATASETS
    }
    absent = [f"{title}, {', '.join(map(row_title, rows[dataset]))}" for dataset, title in DATASETS.items() if rows[dataset]]
    return [verdict, f"{told}<br>Not inferred: {'; '.join(absent)}"] if absent and verdict != NOT_MEASURED[0] else [verdict, told]


def inferring(every: Cells) -> Cells:
    """The cells with the BCE of autoencoders by the better of one pass of the encoder and inferred latents; those where it was not measured have none."""
    return {key: cell.inferring for key, cell in every.items()}


def claims(every: Cells, *fewer: Iterable[str]) -> list[list[str]]:
    """Claim, verdict and what decides, against the article's kind of autoencoders where no other is named; `fewer` are the last two of 6a, 6b and 6c."""
    full = few(every)
    return [*of_images(every, full), *of_densities(every, full), *of_codes(every, full), *of_few_images(fewer), *of_units_and_samples(full)]


def of_images(every: Cells, full: Cells) -> list[list[str]]:
    others = [*OTHERS, *AUTOENCODERS]
    return [
        ["1a. GNCN-PDH reconstructs better (BCE) than t1, t2-LΣ and the autoencoders", *judged(full, "gncn_pdh", others, "bce")],
        ["1b. So does GNCN-t1-Σ", *judged(full, "gncn_t1_sigma", others, "bce")],
        ["1c. GNCN-PDH better than autoencoders of 360 latents too", *judged_many(every, "gncn_pdh", "bce")],
        [
            "1d. than autoencoders that may infer their latents in as many steps as a network settles, where measured",
            *judged_inferring(every, "gncn_pdh"),
        ],
    ]


def of_densities(every: Cells, full: Cells) -> list[list[str]]:
    others = [*OTHERS, "gncn_t1_sigma"]
    return [
        ["2a. GNCN-PDH has the best log p(x) of the networks, by the article's estimate", *judged(full, "gncn_pdh", others, "log_p")],
        ["2b. by annealed importance sampling", *judged(full, "gncn_pdh", others, "log_p_annealed")],
        ["2c. and is competitive with the autoencoders, by the article's estimate", *judged(full, "gncn_pdh", AUTOENCODERS, "log_p", COMPETITIVE)],
        ["2d. by annealed importance sampling", *judged(full, "gncn_pdh", AUTOENCODERS, "log_p_annealed", COMPETITIVE)],
        ["2e. with those of 360 latents too, likewise", *judged_many(every, "gncn_pdh", "log_p_annealed", COMPETITIVE)],
        ["3. On MNIST its log p(x) beats an RBM (-112), a denoising autoencoder (-142) and its walk-back version (-116)", *literature(full)],
    ]


def of_codes(every: Cells, full: Cells) -> list[list[str]]:
    return [
        [
            "4. Networks complete images better than autoencoders, which may infer their latents from the seen pixels as the networks do (in print by a factor of 2.5 to 10.7; judged is whether at all)",
            *judged(full, "gncn_pdh", AUTOENCODERS, "m_mse"),
        ],
        [
            "5a. The codes of GNCN-PDH (360 units) classify better than the autoencoders' latents",
            *judged(full, "gncn_pdh", AUTOENCODERS, "class_err"),
        ],
        ["5b. than 360 latents", *judged_many(every, "gncn_pdh", "class_err")],
        [
            "5c. than the last hidden units of the encoders (360 or 520, where measured)",
            *judged(by_encoder_units(every), "gncn_pdh", AUTOENCODERS, "class_err"),
        ],
        ["5d. and nearly as well as a discriminative network", *judged(full, "gncn_pdh", ["relu_classifier"], "class_err", COMPETITIVE)],
    ]


def of_few_images(verdicts: Iterable[Iterable[str]]) -> list[list[str]]:
    titles = (
        "6a. Networks need fewer training images: GNCN-PDH, by ncf's defaults, against GVAE and RAE with the settings of all images, at the article's shares, 2 to 75 %",
        "6b. than those of 360 latents too, where measured",
        "6c. than those of 6b that may infer their latents, likewise",
    )
    return [[title, *(found or NOT_MEASURED)] for title, found in zip_longest(titles, verdicts)]


def of_units_and_samples(full: Cells) -> list[list[str]]:
    return [
        [
            "7a. Lateral competition makes codes sparse: fewer active units in t2-LΣ than in t1-Σ",
            *judged(full, "gncn_t2_l_sigma", ["gncn_t1_sigma"], "active"),
        ],
        [
            "7b. The t-SNE plane of GNCN-PDH's codes separates the classes better than that of GAN-AE's",
            *judged(full, "gncn_pdh", ["gan_ae"], "tsne_err"),
        ],
        [
            "8a. Samples of autoencoders match the data better than those of GNCN-PDH: fewer different bins",
            *judged_as_printed(full, "gncn_pdh", AUTOENCODERS, "ndb"),
        ],
        ["8b. and a smaller Gaussian divergence", *judged_as_printed(full, "gncn_pdh", AUTOENCODERS, "gaussian_kl")],
        [
            "9. Features compose: an image is the sum of the fields of its 30 most active units",
            "shown, not measured",
            "the section Composition of every run's report",
        ],
        [
            "10. Nearest fantasies: samples of GNCN-PDH come as near to test images as those of the autoencoders",
            *judged(full, "gncn_pdh", AUTOENCODERS, "fantasy_mse", ("ahead", "level")),
        ],
    ]


def literature(full: Cells) -> list[str]:
    own = networks(full, "mnist", ["gncn_pdh"], "log_p").get("gncn_pdh")
    if own is None:
        return [*NOT_MEASURED]
    others = (("RBM", -112), ("denoising autoencoder", -142), ("walk-back", -116))
    words = {name: standing(own, "log_p", figure, None)[0] for name, figure in others}
    told = [f"{word}: {', '.join(name for name in words if words[name] == word)}" for word in dict.fromkeys(words.values())]
    fixed = published()["mnist", "gncn_pdh", "log_p"][0] - CORRECTION
    verdict = "reproduced" if set(words.values()) == {"past"} else "opposite in part" if "short" in words.values() else "not reproduced"
    return [
        verdict,
        f"{row_title(own.row)} {shown(own, 'log_p')}, {'; '.join(told)}; the article's own figure, corrected, is {fixed:.2f}, past the last two",
    ]

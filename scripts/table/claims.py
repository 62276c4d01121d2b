"""The article's claims, each with a verdict and the figures that decide."""

from collections.abc import Iterable
from statistics import mean

from table.article import CORRECTION, KINDS, NETWORKS, NOT_MEASURED, Cells, choose, measured, published, rows_of
from table.cells import Cell
from table.rows import AUTOENCODERS, DATASETS, row_title
from table.standing import standing
from table.text import shown
from table.verdicts import LEVEL, Verdict, compare

from ncf.measure.metrics import METRICS

HEAD = """A network, rival or not, enters by one row fixed beforehand: the published protocol where it was run, else ncf's defaults, else the released settings. An autoencoder or a
classifier enters by its best row on the test images, which favours it. "Ahead" and "behind" are significant at 5 %: by Welch's test over seeds, or, where a side has one seed (marked ¹), by what is
at hand, the other side's seeds and the standard errors over images, which says nothing about that side's other seeds. Level is within two standard errors, undecided beyond them with too few seeds to tell. Leads are positive where the network
is better. *Reproduced* asks for every dataset measured, of the claims about samples (8) for every autoencoder too; *opposite* is a claim that is significantly wrong. "Competitive" (2b) and "nearly" (5b)
allow the article's own distance on that set, where it prints one. log p(x) here is the article's Monte Carlo estimate, which rewards coarse codes; [annealed estimates](results.md) tell more."""


def network(full: Cells, dataset: str, name: str, metric: str) -> Cell | None:
    """A network by the article's protocol, else by ncf's defaults, else by the released settings: one row, not the best of several."""
    return next((full[dataset, row] for kind in ("published", "sgd", "") if measured(full, dataset, row := rows_of(name)[kind], metric)), None)


def against(full: Cells, dataset: str, name: str, rivals: Iterable[str], metric: str, accept: tuple[str, ...]) -> tuple[str, str, str] | None:
    """A network against the strongest rival (`rival_cell`): word, its figure, the rival's and the lead.

    Where "near" is accepted, it stands for behind by no more than in the article, as far as a test at 5 % can tell; where "level" is, a lead that is
    undecided is level at least.
    """
    own = network(full, dataset, name, metric)
    found = [cell for rival in rivals if (cell := rival_cell(full, dataset, rival, metric))]
    if not own or not found:
        return None
    sign = 1 if METRICS[metric].higher else -1
    best = max(found, key=lambda cell: sign * mean(cell.values(metric)))
    verdict = compare(own, best, metric)
    word, gap = verdict.word, printed_lead(dataset, name, rivals, metric) if "near" in accept else None
    told = f"{row_title(best.row)} {shown(best, metric)}, {word} by {verdict}"
    if gap is not None and verdict.lead < 0 and word != "level":
        told += f", in the article by {gap:+.2f}"
        word = "near" if no_further(verdict, gap) else word
    if word == "undecided" and verdict.lead > 0 and "level" in accept:
        word = "level"
    return word, f"{row_title(own.row)} {shown(own, metric)}", told


def printed_lead(dataset: str, name: str, rivals: Iterable[str], metric: str) -> float | None:
    """By how much the article's figure of a network is better than that of the best rival."""
    printed, sign = published(), 1 if METRICS[metric].higher else -1
    others = [sign * printed[key][0] for rival in rivals if (key := (dataset, rival, metric)) in printed]
    own = printed.get((dataset, name, metric))
    return sign * own[0] - max(others) if own and others else None


def no_further(verdict: Verdict, gap: float) -> bool:
    """Whether a lead is not significantly less than `gap`."""
    return verdict.lead >= gap or verdict.p_beyond(gap) >= LEVEL


def rival_cell(full: Cells, dataset: str, name: str, metric: str) -> Cell | None:
    """A network by its fixed row; others by their best on test images, which favours them."""
    return network(full, dataset, name, metric) if name in NETWORKS else choose(full, dataset, name, metric, KINDS)


def judged(full: Cells, name: str, rivals: Iterable[str], metric: str, accept: tuple[str, ...] = ("ahead",), each: bool = False) -> list[str]:
    """Verdict over all measured datasets and what decides: reproduced, not reproduced (level somewhere), undecided (too few seeds somewhere to tell), or
    opposite (significantly so somewhere). `each`: a claim about all rivals is held against every one of them, not the strongest alone."""
    groups = [[rival] for rival in rivals] if each else [list(rivals)]
    tested = {dataset: [result for group in groups if (result := against(full, dataset, name, group, metric, accept))] for dataset in DATASETS}
    told = [f"{DATASETS[dataset]}: {found[0][1]}, {'; '.join(text for _, _, text in found)}" for dataset, found in tested.items() if found]
    if not told:
        return [*NOT_MEASURED]
    words, contrary = {word for found in tested.values() for word, _, _ in found}, "ahead" if "behind" in accept else "behind"
    if words <= set(accept):
        verdict = "reproduced"
    elif contrary in words:
        verdict = "opposite" if words == {contrary} else "opposite in part"
    else:
        verdict = "undecided" if words - set(accept) == {"undecided"} else "not reproduced"
    return [verdict, "<br>".join(told)]


def claims(full: Cells, fewer: Iterable[str]) -> list[list[str]]:
    """Claim, verdict and what decides; `fewer` are the last two of the sixth."""
    others = [name for name in NETWORKS if name not in ("gncn_pdh", "gncn_t1_sigma")]
    rows = [
        ["1a. GNCN-PDH reconstructs better (BCE) than t1, t2-LΣ and the autoencoders", *judged(full, "gncn_pdh", [*others, *AUTOENCODERS], "bce")],
        ["1b. So does GNCN-t1-Σ", *judged(full, "gncn_t1_sigma", [*others, *AUTOENCODERS], "bce")],
        ["2a. GNCN-PDH has the best log p(x) of the networks", *judged(full, "gncn_pdh", [n for n in NETWORKS if n != "gncn_pdh"], "log_p")],
        ["2b. and is competitive with the autoencoders", *judged(full, "gncn_pdh", AUTOENCODERS, "log_p", ("ahead", "level", "near"))],
        ["3. On MNIST its log p(x) beats an RBM (-112), a denoising autoencoder (-142) and its walk-back version (-116)", *literature(full)],
        [
            "4. Networks complete images far better than autoencoders, which infer their latents from the seen pixels as the networks do",
            *judged(full, "gncn_pdh", AUTOENCODERS, "m_mse"),
        ],
        ["5a. The codes of GNCN-PDH classify better than the autoencoders' codes", *judged(full, "gncn_pdh", AUTOENCODERS, "class_err")],
        [
            "5b. and nearly as well as a discriminative network",
            *judged(full, "gncn_pdh", ["relu_classifier"], "class_err", ("ahead", "level", "near")),
        ],
        ["6. Networks need fewer training images: GNCN-PDH, by ncf's defaults, at the article's shares, 2 to 75 %", *fewer],
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
            *judged(full, "gncn_pdh", AUTOENCODERS, "ndb", ("behind",), each=True),
        ],
        ["8b. and a smaller Gaussian divergence", *judged(full, "gncn_pdh", AUTOENCODERS, "gaussian_kl", ("behind",), each=True)],
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
    return rows


def literature(full: Cells) -> list[str]:
    own = network(full, "mnist", "gncn_pdh", "log_p")
    if own is None:
        return [*NOT_MEASURED]
    others = (("RBM", -112), ("denoising autoencoder", -142), ("walk-back", -116))
    beaten = [name for name, figure in others if standing(own, "log_p", figure, None)[0] == "past"]
    fixed = published()["mnist", "gncn_pdh", "log_p"][0] - CORRECTION
    verdict = "reproduced" if len(beaten) == 3 else "not reproduced"
    return [
        verdict,
        f"{row_title(own.row)} {shown(own, 'log_p')} is past: {', '.join(beaten) or 'none'}; the article's own figure, corrected, is {fixed:.2f}, past the last two",
    ]

"""docs/replication.md: what the article prints beside what ncf measured, figure by figure and claim by claim.

Ororbia and Kifer, Nature Communications 13:2064 (2022). `published.csv` holds the figures of its Tables 1 and 2, Figure 6b and
Supplementary Table 2; ours are those of results.jsonl.
"""

import csv
import itertools
from collections.abc import Iterable
from math import log
from pathlib import Path
from statistics import mean

from table import standing
from table.cells import Cell
from table.rows import AUTOENCODERS, DATASETS, row_title
from table.text import MARKS, markdown, shown
from table.verdicts import LEVEL, Verdict, compare

from ncf.measure.metrics import METRICS
from ncf.report.names import method

KINDS = {
    "published": "published protocol",
    "": "released settings",
    "sgd": "ncf's defaults",
    "cooled": "cooled down",
    "prior": "with a prior that learns",
    "tuned": "tuned",
    "wide": "1.4 million synapses",
    "narrow": "few latents",
    "dropout": "with dropout",
}
NETWORKS = ("gncn_t1", "gncn_t1_sigma", "gncn_t2_l_sigma", "gncn_pdh")
STOOD = ("bce", "log_p", "class_err")  # figures that can be compared with what is printed
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


def page(full: Cells, fewer: Iterable[str] = NOT_MEASURED, masked: dict | None = None, switches: dict | None = None) -> str:
    """The page; `fewer` is the verdict of table.curve on training images, `masked` is what table.masked measured, `switches` what table.switches did."""
    printed = published()
    parts = [HEAD]
    for dataset in dict.fromkeys(dataset for dataset, _, _ in printed):
        parts.append(f"## {DATASETS.get(dataset, 'CalTech-101 Silhouettes, 16 x 16')}")
        parts += [figure_table(printed, full, dataset, metric) for metric in ("bce", "log_p", "m_mse", "class_err")]
        if dataset not in DATASETS:
            parts.append("The 16 x 16 images are not at hand here; [Results](results.md) has the 28 x 28 set, whose figures cannot be compared.")
    parts += [MARKS, "## Past, level or short", STANDING, standing_table(printed, full), misses(full)]
    parts += ["## The claims", CLAIMS_HEAD, markdown(["claim", "verdict", "what decides"], claims(full, fewer))]
    if switches:
        parts += ["## From the released settings to the article's", SWITCHES, switch_table(switches)]
    parts += ["## Masked mean squared error", M_MSE, masked_table(masked), M_MSE_VERDICT]
    return "\n\n".join(parts) + "\n"


def standing_table(printed: dict, full: Cells) -> str:
    """A row per method of the sets at hand: its best row of ours against what is printed (of log p(x), as corrected). Rows of other images, from a
    folder of their own, stay out."""
    rows = []
    sets, methods = (dict.fromkeys(names) for names in list(zip(*printed))[:2])
    for dataset, name in itertools.product(filter(DATASETS.__contains__, sets), methods):
        told = []
        for metric in STOOD:
            value, spread = printed.get((dataset, name, metric), (None, None))
            cell = choose(full, dataset, name, metric, KINDS)
            if value is None or cell is None or any(run.get("folder") for run in cell.runs.values()):
                told.append("–")
                continue
            fixed = corrected(name, metric, value)
            kind = next(kind for kind, row in rows_of(name).items() if row == cell.row)
            told.append(f"{standing.told(cell, metric, value if fixed is None else fixed, spread)} ({KINDS[kind]})")
        if set(told) != {"–"}:
            rows.append([DATASETS[dataset], method(name), *told])
    return markdown(["images", "method", *(METRICS[metric].label for metric in STOOD)], rows)


def misses(full: Cells) -> str:
    """What was tried for the baselines' figures on MNIST that are short."""

    def figure(row: str, metric: str) -> str:
        return shown(full["mnist", row], metric) if measured(full, "mnist", row, metric) else "not measured"

    return f"""What is short on MNIST, and what was tried ([choices](results.md#choices)):

- GVAE, %Err: fewer latents classify better (20 latents {figure("gvae", "class_err")}, 8 latents {figure("gvae_narrow", "class_err")}); the encoder's 360 units
  of the latter, which the article does not ask, have {figure("gvae_narrow", "class_err_hidden")}.
- GAN-AE, log p(x): six weights of the adversary from 0.1 to 30 and three rates with 20 latents ({figure("gan_ae", "log_p")}), and 6 latents ({figure("gan_ae_narrow", "log_p")})."""


def switch_table(switches: dict) -> str:
    metrics = ("bce", "m_mse", "class_err")
    rows = [
        [name, *(f"{found[metric]['value']:.2f} ± {found[metric]['stderr']:.2f}" for metric in metrics), f"`{found['switch'] or '–'}`"]
        for name, found in switches.items()
    ]
    return markdown(["settings", *(METRICS[metric].label for metric in metrics), "beside `experiment=released`"], rows)


def masked_table(masked: dict | None) -> str:
    if masked is None:
        return "Not measured."
    what = f"{method(masked['model'])}, ncf's defaults, seed {masked['seed']}; the first {masked['images']:,} test images: `python -m table.masked RUN docs/masked.json`"
    return what + "\n\n" + markdown(["completion", "M-MSE"], [[words, f"{value:.1f}"] for words, value in masked["m_mse"].items()])


def figure_table(printed: dict, full: Cells, dataset: str, metric: str) -> str:
    """A row per method: printed, corrected, and ours of every kind."""
    names = [name for data, name, figure in printed if data == dataset and figure == metric]
    used = [kind for kind in KINDS if any(measured(full, dataset, rows_of(name)[kind], metric) for name in names)]
    head = ["method", "published", *(["corrected"] if metric == "log_p" else []), *(f"ours, {KINDS[kind]}" for kind in used)]
    rows = []
    for name in names:
        value, spread = printed[dataset, name, metric]
        better = corrected(name, metric, value)
        ours = [shown(full[dataset, row], metric) if measured(full, dataset, row := rows_of(name)[kind], metric) else "–" for kind in used]
        rows.append(
            [
                method(name),
                f"{value:g}" + (f" ± {spread:g}" if spread is not None else ""),
                *([f"{better:.2f}" if better is not None else "the same"] if metric == "log_p" else []),
                *ours,
            ]
        )
    return f"**{METRICS[metric].label}**, {METRICS[metric].unit}\n\n{markdown(head, rows)}"


def measured(full: Cells, dataset: str, row: str, metric: str) -> bool:
    return (dataset, row) in full and bool(full[dataset, row].values(metric))


# --- the claims -------------------------------------------------------------------------------------------------------


def choose(full: Cells, dataset: str, name: str, metric: str, kinds: Iterable[str]) -> Cell | None:
    """Of a method's rows of these kinds the one with the best figure."""
    cells = [full[dataset, row] for kind in kinds if measured(full, dataset, row := rows_of(name)[kind], metric)]
    if metric == "m_mse":
        cells = [cell for cell in cells if cell.inferred]
    sign = 1 if METRICS[metric].higher else -1
    return max(cells, key=lambda cell: sign * mean(cell.values(metric)), default=None)


def network(full: Cells, dataset: str, name: str, metric: str) -> Cell | None:
    """A network by the article's protocol, else by ncf's defaults, else by the released settings: one row, not the best of several."""
    return next((full[dataset, row] for kind in ("published", "sgd", "") if measured(full, dataset, row := rows_of(name)[kind], metric)), None)


def against(full: Cells, dataset: str, name: str, rivals: Iterable[str], metric: str, accept: tuple[str, ...]) -> tuple[str, str, str] | None:
    """A network against the strongest rival (each by its best row on test images, which favours the rival): word, its figure, the rival's and the lead.

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
    return (
        network(full, dataset, name, metric)
        if name in NETWORKS
        else choose(full, dataset, name, metric, ("", "tuned", "wide", "cooled", "narrow", "dropout"))
    )


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
    value = mean(own.values("log_p"))
    beaten = [name for name, figure in (("RBM", -112), ("denoising autoencoder", -142), ("walk-back", -116)) if value > figure]
    fixed = published()["mnist", "gncn_pdh", "log_p"][0] - CORRECTION
    verdict = "reproduced" if len(beaten) == 3 else "not reproduced"
    return [
        verdict,
        f"{row_title(own.row)} {shown(own, 'log_p')} is past: {', '.join(beaten) or 'none'}; the article's own figure, corrected, is {fixed:.2f}, past the last two",
    ]


HEAD = f"""# Replication

Written by `scripts/reproduce` from `results.jsonl`. What the article prints (A. Ororbia and D. Kifer, "The neural coding framework for learning generative models",
Nature Communications 13:2064, 2022; Tables 1 and 2; mean ± standard deviation of ten trials) beside what ncf measured on the same test images: mean ± standard
deviation over seeds, or, of a single seed (marked ¹), the value ± its standard error over images.

- **corrected**: the authors' released script adds log S, for its S = 5,000 draws, to log p(x) where averaging subtracts it, and what it prints is close to the
  figures of the article. Less 2 ln 5000 = {CORRECTION:.2f} nats they are what the definition gives. The mixture over pixels needs no draws.
- **published protocol**: SGD, columns of norm 1, lateral synapses of 0.13 and 0.125, the article's precision, 2,000 validation images drawn per class. That leaves 58,000 to
  train on; all other rows, the autoencoders' among them, have 50,000.
- **released settings**: those of the authors' code (Adam, columns of norm at most 1); of the autoencoders, ncf's own.
- **ncf's defaults**: SGD, columns of norm 1, the rest as released. *Cooled down*: five epochs more, in which the learning rate falls to zero; of
  the GVAE ten epochs more of its row of 1.4 million synapses.
- **with a prior that learns**: ncf's defaults, then fifteen epochs in which synapses learn in a last phase, twelve of them with a prior over the top
  ([density](guides/density.md)).
- **tuned**: chosen on validation images ([the choices](results.md#choices)). *Few latents*: autoencoders chosen for log p(x) alone.
- **M-MSE** cannot be compared: see the end of this page."""

STANDING = """The best of ncf's rows on the test images against what is printed, by how much it is better (of log p(x), than the corrected figure). *Past* and *short* differ
at 5 % by Welch's test over seeds and the article's ten trials, of a single seed (¹) by its standard error over images; *undecided* is more than two standard errors away all the
same, with too few seeds to tell. The best of several rows on test images flatters ours: the tables above have them all. KMNIST stays out: it has 5,237 training images here, 60,000 in the article."""

CLAIMS_HEAD = """A network enters by one row fixed beforehand: the published protocol where it was run, else ncf's defaults, else the released settings. A rival enters by its best row on
the test images, which favours it. "Ahead" and "behind" are significant at 5 %: by Welch's test over seeds, or, where a side has one seed (marked ¹), by the standard errors
over images, which says nothing about other seeds. Level is within two standard errors, undecided beyond them with too few seeds to tell. Leads are positive where the network
is better. *Reproduced* asks for every dataset measured, of the claims about samples (8) for every autoencoder too; *opposite* is a claim that is significantly wrong. "Competitive" (2b) and "nearly" (5b)
allow the article's own distance on that set, where it prints one. log p(x) here is the article's Monte Carlo estimate, which rewards coarse codes; [annealed estimates](results.md) tell more."""

SWITCHES = """GNCN-PDH on MNIST, 15,000 training images, 6 epochs, seed 0; value ± standard error over 10,000 validation images, which says nothing about other seeds
(`python -m table.switches docs/switches.json outputs/switches`). Each line is the released settings with what its last column sets."""

M_MSE = """The article prints M-MSE of 3 to 4.5 on MNIST for the networks. This is what one trained network gives when the right half of test images is filled in in
several ways; the last four see the hidden half."""

M_MSE_VERDICT = """No way of completing gives the printed figures. They cannot be those of a completion of the same pixels in the same units, and ncf compares completions among its own rows
only: every autoencoder completes in the best of three ways on validation images (zero filling, refilling, 50 steps of inference on the seen pixels), since a network has
its K steps of inference. Rows marked ² had only the first two ways, and decide nothing above."""

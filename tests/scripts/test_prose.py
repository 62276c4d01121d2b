"""Sentences with figures of the comparison, on pages written by hand, say what its runs say."""

from math import hypot
from statistics import mean, stdev

import pytest
from measured import DOCS, of_the_project
from scipy.stats import ttest_ind
from table import article, claims, standing
from table.cells import Cell, read_json
from table.rows import AUTOENCODERS
from table.verdicts import best, compare

from ncf.measure.metrics import METRICS

FULL = {(cell.dataset, cell.row): cell for cell in of_the_project() if cell.n_train is None}
FEW = {(cell.row, cell.n_train): cell for cell in of_the_project() if cell.dataset == "mnist" and cell.n_train}
UNITS = claims.by_encoder_units(FULL)  # in which class_err is that of the encoders' units

SPELT = {2: "two", 3: "three", 7: "seven"}
PEERS = ("fabricpc", "pcx", "ngclearn", "pcn_torch")
CIRCUITS = read_json(DOCS / "circuits.json")
SEEDS = [row for dataset, row in FULL if dataset == "mnist" and row.startswith("gncn_pdh")]


def value(dataset: str, row: str, metric: str) -> float:
    return mean(FULL[dataset, row].values(metric))


def mark(*cells: Cell, metric: str = "bce") -> str:
    return "¹" * any(len(cell.values(metric)) == 1 for cell in cells)


def lead(dataset: str, one: str, other: str, metric: str = "log_p_annealed") -> str:
    """By how many nats the first is ahead, as README has it, if a test carries that."""
    a, b = FULL[dataset, one], FULL[dataset, other]
    verdict = compare(a, b, metric)
    assert verdict.word == "ahead", (dataset, one, other, str(verdict))
    return f"{verdict.lead:.1f} ± {verdict.error:.1f}" + mark(a, b, metric=metric)


def least_wrong(dataset: str, cells: dict[tuple[str, str], Cell], ending: str = "") -> Cell:
    """The row of autoencoders whose name ends so with the least %Err."""
    rows = [
        cell
        for (of, row), cell in cells.items()
        if of == dataset and row.startswith(AUTOENCODERS) and row.endswith(ending) and cell.values("class_err")
    ]
    return best(rows, "class_err")


def against_print(dataset: str, names: tuple[str, ...], word: str) -> list[str]:
    """How far the published rows' BCE is from what is printed, if a test at 5 % calls them all `word`."""
    found = [standing.standing(FULL[dataset, f"{name}_published"], "bce", *article.published()[dataset, name, "bce"]) for name in names]
    assert {said for said, _ in found} == {word}, (dataset, names, found)
    return [f"{abs(gap):.1f}" for _, gap in found]


def rivals(dataset: str) -> list[Cell]:
    return [cell for (of, row), cell in FULL.items() if of == dataset and row.startswith(AUTOENCODERS) and cell.values("m_mse")]


def of_the_best_rows(metric: str) -> list[tuple[str, float]]:
    """How each network's best row on MNIST stands to what is printed, of log p(x) corrected, and by how much it is better than what is printed as it is."""
    found = []
    for name in article.NETWORKS:
        cell, (value, spread) = article.choose(FULL, "mnist", name, metric, article.LOCAL), article.published()["mnist", name, metric]
        fixed = article.corrected(name, metric, value)
        sign = 1 if METRICS[metric].higher else -1
        found.append((standing.standing(cell, metric, value if fixed is None else fixed, spread)[0], sign * (mean(cell.values(metric)) - value)))
    return found


def of_the_front_page() -> dict[str, str]:
    for metric, last in (("bce", "level"), ("log_p", "past"), ("class_err", "level")):
        words = [word for word, _ in of_the_best_rows(metric)]
        assert words[-1] == last and set(words[:-1]) <= {"past", "level"}, (metric, words)
    completed, own = best(rivals("mnist"), "m_mse"), FULL["mnist", "gncn_pdh_sgd"]
    inferred = [
        best([cell.inferring for cell in rivals("mnist") if cell.row.endswith("_many") == many and cell.inferring.values("bce")], "bce")
        for many in (True, False)
    ]
    assert all(compare(own, cell, metric).word == "behind" for cell, metric in ((completed, "m_mse"), *((cell, "bce") for cell in inferred)))
    codes = [least_wrong("mnist", FULL, "_many"), least_wrong("mnist", UNITS)]
    short = abs(standing.standing(FULL["mnist", "gncn_pdh_published"], "bce", *article.published()["mnist", "gncn_pdh", "bce"])[1])
    wrong = value("mnist", "gncn_pdh_published", "class_err"), article.published()["mnist", "gncn_pdh", "class_err"][0]
    few = [FEW[row, 1000] for row in ("gncn_pdh_sgd", "rae_many")]
    passes = [value("mnist", cell.row, "bce") for cell in inferred]
    n_inferred = SPELT[len(inferred[1].values("bce"))]
    return {
        "the article": f"by its own protocol GNCN-PDH is {short:.1f} nats short. Classification: past or level, of GNCN-PDH by our usual penalties, undecided by finer ones ({wrong[0]:.1f} % wrong, printed {wrong[1]:.1f})",
        "reconstruction": f"BCE {mean(own.values('bce')):.1f} against {mean(inferred[0].values('bce')):.1f} from 360 latents and {mean(inferred[1].values('bce')):.1f} from 20 ({n_inferred} seeds); of networks that saw 1,000 images "
        f"{mean(few[0].values('bce')):.1f} against {mean(few[1].inferring.values('bce')):.1f} (one seed)",
        "one pass": f"By one pass of their encoder these three have {passes[0]:.1f}, {passes[1]:.1f} and {mean(few[1].values('bce')):.1f}",
        "completion": f"M-MSE {mean(own.values('m_mse')):.1f} against {mean(completed.values('m_mse')):.1f}",
        "codes": f"{value('mnist', 'gncn_pdh_sgd', 'class_err'):.1f} % wrong from 360 units against {mean(codes[0].values('class_err')):.1f} % from 360 latents and "
        f"{mean(codes[1].values('class_err')):.1f} % from 360 units of an encoder ({SPELT[len(codes[1].values('class_err'))]} seeds). A classifier by backpropagation has {value('mnist', 'relu_classifier_850', 'class_err'):.1f} %",
        "density": f"a variational autoencoder (GVAE) leads by {lead('mnist', 'gvae_cooled', 'gncn_pdh_cooled').strip('¹')} nats where the rates of both fall over some epochs more",
    }


def of_its_speed() -> dict[str, str]:
    """README's paragraph on speed says what the tables of the page on performance say, which benchmarks printed."""
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" *") for cell in line.strip("| \n").split(" | ")] for line in page.splitlines() if line.startswith("| ")]
    batches = [row for row in rows if len(row) == 13 and row[2] in ("float32", "bf16")]
    peers = {
        row[0]: [float(found.split()[0]) for found in row[1:5]] for row in rows if len(row) in (5, 6) and row[0].startswith((*PEERS, "ncf, float32"))
    }
    ours = peers.pop("ncf, float32")
    fastest = [min(found) for found in zip(*peers.values())]  # over the limit, over ncf in bfloat16, of 200 images and of 1,000
    assert len(batches) == 16 and len({name.split()[0] for name in peers}) == len(PEERS) == 4 and min(fastest[1::2]) > 2
    alike = sorted(peer / own for peer, own in zip(fastest[::2], ours[::2]))
    raced = {row[0]: float(row[3]) for row in rows if len(row) == 7 and row[0].endswith("GNCN-t1")}
    images = [int(row[4]) for row in batches]
    most = 1 / min(float(row[6].split()[0].strip("*")) for row in batches)
    return {
        "limit": f"to {most:.2f} of the speed of its matrix products alone",
        "float32": f"by float32 on both sides ncf is {alike[0]:.1f} to {alike[1]:.1f} times as fast. Two cores train {round(min(images), -2):,} to {round(max(images), -2):,} images",
        "race": "{:.0f} and {:.0f} where ncf's has {:.0f}".format(*(found for name, found in sorted(raced.items(), key=lambda pair: pair[1]))),
    }


def of_the_comparison() -> dict[str, str]:
    gaps = [-gap for _, gap in of_the_best_rows("log_p")]
    wrong = value("mnist", "gncn_pdh_published", "class_err"), article.published()["mnist", "gncn_pdh", "class_err"][0]
    assert [word for word, _ in of_the_best_rows("class_err")] == ["past", "past", "level", "level"]
    (sigma,) = against_print("mnist", ("gncn_t1_sigma",), "past")
    t1, t2, pdh = against_print("mnist", ("gncn_t1", "gncn_t2_l_sigma", "gncn_pdh"), "short")
    past = against_print("fashion_mnist", ("gncn_t1_sigma", "gncn_t2_l_sigma", "gncn_pdh"), "past")
    (behind,) = against_print("fashion_mnist", ("gncn_t1",), "short")
    pixels = read_json(DOCS / "without_model.json")["mnist"]["class_err"]["value"]
    density = [lead("mnist", "gvae_cooled", name) for name in ("gncn_pdh_sgd", "gncn_pdh_cooled")]
    own = lead("mnist", "gncn_pdh_prior", "gvae_cooled", "log_p_annealed_own")
    alike = compare(FULL["mnist", "gncn_pdh_prior"].refit, FULL["mnist", "gvae_cooled"].refit, "log_p_annealed")
    assert alike.word == "level" and compare(FULL["mnist", "gvae_many"], FULL["mnist", "gvae_cooled"], "log_p_annealed").word == "level"
    assert all(len(FULL["fashion_mnist", f"{name}_published"].values("bce")) == 3 for name in article.NETWORKS)
    usual = [kind for kind in article.LOCAL if kind != "cooled"]
    rows = {name: article.choose(FULL, "mnist", name, "bce", usual) for name in article.NETWORKS}
    words = {name: standing.standing(cell, "bce", *article.published()["mnist", name, "bce"])[0] for name, cell in rows.items()}
    assert words == {"gncn_t1": "short", "gncn_t1_sigma": "past", "gncn_t2_l_sigma": "undecided", "gncn_pdh": "short"}
    stopped = SPELT[sorted(run["epochs_trained"] for run in FULL["mnist", "gan_ae_many"].runs.values())[1]]
    few = {row: [mean(FEW[row, n].values(metric)) for n in (1000, 5000)] for row, metric in (("gncn_pdh_sgd", "bce"), ("rae_many", "bce"))}
    inferred = [mean(FEW["rae_many", n].values("bce_inferred")) for n in (1000, 5000)]
    return {
        "printed": f"GNCN-PDH level ({wrong[0]:.1f} and {wrong[1]:.1f}), by a finer choice of the regression's penalty [undecided]",
        "as printed": f"all four are short by {min(gaps):.0f} to {max(gaps):.0f}",
        "the article": f"for GNCN-t1-Σ, by {sigma} nats, and short of it for t1, t2-LΣ and PDH, by {t1}, {t2} and {pdh}",
        "Fashion-MNIST": f"on Fashion-MNIST past for t1-Σ, t2-LΣ and PDH, by {past[0]}, {past[1]} and {past[2]}, and short of it for t1, by {behind}",
        "codes": f"{pixels:.1f} % wrong from the pixels, {value('mnist', 'relu_classifier_850', 'class_err'):.1f} % by a classifier",
        "few images": "GNCN-PDH has a BCE of {:.1f} from 1,000 images and {:.1f} from 5,000; an RAE of 360 latents {:.1f} and {:.1f} by one pass of its encoder, {:.1f} and {:.1f} by inferred latents".format(
            *few["gncn_pdh_sgd"], *few["rae_many"], *inferred
        ),
        "cooled down": f"the network comes to a BCE of {value('mnist', 'gncn_pdh_cooled', 'bce'):.1f}; over ten, a GVAE of 20 latents and 1.4 million synapses to {value('mnist', 'gvae_cooled', 'bce'):.1f}",
        "GAN-AE": f"a BCE of {min(FULL['mnist', 'gan_ae_many'].values('bce')):.1f} by one pass of its encoder in one seed; two seeds of three stop after {stopped} epochs",
        "density": f"leads by {density[0]} nats; one of 360 latents ({SPELT[len(FULL['mnist', 'gvae_many'].values('log_p_annealed'))]} seeds) is level with it. Where the network's rate falls too it leads by {density[1]}",
        "a prior that learns": f"| mixtures fitted to one code per image | {lead('mnist', 'gvae_cooled', 'gncn_pdh_prior')} behind | | refitted alike | level ({alike.lead:.1f} ± {alike.error:.1f} ahead) | "
        f"| of each one's own | {own} ahead |",
    }


def of_the_density_guide() -> dict[str, str]:
    assert all(len(FULL["mnist", name].values("log_p_annealed")) == 3 for name in ("gvae", "gncn_pdh_sgd"))
    found = {
        "MNIST": f"denser than the network at its defaults by {lead('mnist', 'gvae', 'gncn_pdh_sgd')} nats (three seeds each)",
        "KMNIST": f"of 360 latents by {lead('kmnist', 'rae_many', 'gncn_pdh_sgd')} nats, behind the GVAE of as many by {lead('kmnist', 'gvae_many', 'gncn_pdh_sgd')}.",
        "CalTech": f"behind the GVAE of 20 latents by {lead('caltech101_silhouettes', 'gvae', 'gncn_pdh_sgd')} and the RAE of 360 by "
        f"{lead('caltech101_silhouettes', 'rae_many', 'gncn_pdh_sgd')}, on MNIST behind that RAE by {lead('mnist', 'rae_many', 'gncn_pdh_sgd')}, "
        f"on Fashion-MNIST's 50,000 behind the GVAE by {lead('fashion_mnist', 'gvae', 'gncn_pdh_sgd')}",
    }
    second, third, wide, cooled = (FULL["mnist", row] for row in ("gncn_pdh_last", "gncn_pdh_prior", "gvae_wide", "gvae_cooled"))
    metrics = ("bce", "m_mse", "class_err", "posterior_kl_refit", "log_p_annealed_refit")
    alone = [[cell.runs[0]["figures"][metric]["value"] for metric in metrics] for cell in (second, third, wide)]
    image = [cell.runs[0]["figures"]["log_p_annealed_refit"]["values"][:100] for cell in (second, third, wide)]
    over = [[own - other for own, other in zip(values, image[2], strict=True)] for values in image[:2]]
    spread = [f"{mean(cell.values('m_mse')):.1f} ± {stdev(cell.values('m_mse')):.1f}" for cell in (third, wide)]
    both = {metric: [mean(cell.values(metric)) for cell in (third, wide)] for metric in ("bce", "class_err")}
    refit, last = (compare(one.refit, wide.refit, "log_p_annealed") for one in (third, cooled))
    own = [mean(cell.values("log_p_annealed_own", 100)) for cell in (third, wide, cooled)]
    assert refit.word == "ahead" and refit.p < 0.001 and compare(third, wide, "m_mse").word == "level"
    rounds = [mean(cell.refit.values("log_p_annealed")) - value for cell, value in zip((wide, cooled), own[1:])]
    found |= {
        "the second": "| {:.1f} | {:.1f} | **{:.1f}** | {:.1f} | {:.2f} | {:.1f} ± {:.1f} |".format(*alone[0], mean(over[0]), stdev(over[0]) / 10),
        "the third": "**{:.1f}** | **{:.1f}** | {:.1f} | {:.1f} | **{:.2f}** | **{:+.1f} ± {:.1f}** |".format(
            *alone[1], mean(over[1]), stdev(over[1]) / 10
        ),
        "its GVAE": "| GVAE, 1.4 million synapses | {:.1f} | {:.1f} | {:.1f} | {:.1f} | {:.2f} | |".format(*alone[2]),
        "refitted": f"the lead is **{refit.lead:.1f} ± {refit.error:.1f}** (p < 0.001)",
        "completion": f"is level ({spread[0]} and {spread[1]}), BCE {both['bce'][0]:.1f} against {both['bce'][1]:.1f}, %Err {both['class_err'][0]:.1f} against {both['class_err'][1]:.1f}.",
        "ten epochs": f"are worth {last.lead:.1f} ± {last.error:.1f} nats over three seeds",
        "own priors": f"the network has **{own[0]:.1f}** and the GVAE {own[1]:.1f} over three seeds, cooled down {own[2]:.1f}, a lead of "
        f"{lead('mnist', 'gncn_pdh_prior', 'gvae_wide', 'log_p_annealed_own')} and **{lead('mnist', 'gncn_pdh_prior', 'gvae_cooled', 'log_p_annealed_own')}**",
        "rounds": f"and gains {mean(rounds):.1f} by the rounds",
    }
    return {name: sentence.replace("¹", "") for name, sentence in found.items()}  # the guide says in words where it is one seed


def of_the_concepts() -> dict[str, str]:
    rows = {
        dataset: [FULL[dataset, name] for name in ("gncn_t1_sigma_sgd", "gncn_t1_sigma")]
        for dataset in ("fashion_mnist", "kmnist", "caltech101_silhouettes")
    }
    worse = [compare(*pair, "bce") for pair in rows.values()]
    assert {verdict.word for verdict in worse} == {"behind"}
    better = [
        f"{value('digits', name, 'bce'):.2f} to {value('digits', f'{name}_sgd', 'bce'):.2f}"
        for name in ("gncn_t1_sigma", "gncn_t2_l_sigma", "gncn_pdh")
    ]
    one, two, three = (f"{-verdict.lead:.1f}" for verdict in worse)
    return {
        "digits": f"BCE falls from {better[0]} (t1-Sigma), {better[1]} (t2-L-Sigma) and {better[2]} (PDH)",
        "the exception": f"on Fashion-MNIST, KMNIST and CalTech it reconstructs worse by SGD, by {one}, {two} and {three} nats",
    }


def seeds(dataset: str, circuit: str, metric: str) -> list[float]:
    return [run["figures"][metric]["value"] for run in CIRCUITS[dataset][circuit].values()]


def average(dataset: str, circuit: str, metric: str) -> float:
    return mean(seeds(dataset, circuit, metric))


def welch(dataset: str, one: str, other: str, metric: str, others: str = "") -> float:
    """That the seeds of two circuits do not differ; of the other's figure of another name, if it has one."""
    return float(ttest_ind(seeds(dataset, one, metric), seeds(dataset, other, others or metric), equal_var=False).pvalue)


def apart(one: str, other: str, metric: str, others: str = "") -> str:
    """How far two single runs on MNIST are apart, with the error over its test images."""
    a, b = (CIRCUITS["mnist"][circuit]["0"]["figures"][name] for circuit, name in ((one, metric), (other, others or metric)))
    return f"{abs(a['value'] - b['value']):.1f} ± {hypot(a['stderr'], b['stderr']):.1f}"


def of_the_circuits() -> dict[str, str]:
    alike = {"gncn_pdeh": "gncn_pdh_limit", "gncn_pdeh_skip": "gncn_pdh_limit", "gncn_pdh_skip": "gncn_pdh"}
    assert all(
        welch("digits", *pair, "bce") < 1e-4 and average("digits", pair[0], "bce") < average("digits", pair[1], "bce") for pair in alike.items()
    )
    level = [("gncn_pdeh_skip", metric) for metric in ("class_err", "log_p")] + [
        ("gncn_pdh_skip", metric) for metric in ("m_mse", "class_err", "log_p")
    ]
    assert all(welch("digits", name, alike[name], metric) > 0.05 for name, metric in level)
    assert average("digits", "gncn_pdeh_skip", "m_mse") > average("digits", "gncn_pdh_limit", "m_mse")
    p = {(name, metric): welch("digits", name, alike[name], metric) for name in alike for metric in ("m_mse", "class_err", "log_p")}
    cost = {
        metric: " and ".join(apart(name, "gncn_pdh_limit", metric) for name in ("gncn_pdeh", "gncn_pdeh_skip"))
        for metric in ("m_mse", "class_err", "log_p")
    }
    skip = [apart("gncn_pdh_skip", "gncn_pdh", metric) for metric in ("m_mse", "class_err", "log_p")]
    ranges = {
        metric: [max(found) - min(found) for row in SEEDS if (found := FULL["mnist", row].values(metric))]
        for metric in ("class_err", "m_mse", "log_p")
    }
    lost = {metric: [average("mnist", name, metric) - average("mnist", pair, metric) for name, pair in alike.items()] for metric in ranges}
    within = {(metric, name) for metric, found in lost.items() for name, loss in zip(alike, found) if abs(loss) <= max(ranges[metric])}
    assert within == {("class_err", "gncn_pdh_skip"), ("m_mse", "gncn_pdh_skip")}
    assert all(welch(data, "image_and_label", "gncn_pdh_label", metric) < 0.01 for data in CIRCUITS for metric in ("label_err", "label_err_half"))
    images = [welch(data, "image_and_label", "gncn_pdh_label", "label_image") for data in CIRCUITS]
    prices = [average(data, "image_and_label", "bce") - average(data, "gncn_pdh_label", "bce") for data in CIRCUITS]
    regressed = welch("digits", "image_and_label_few", "image_and_label_few", "class_err", "label_err")
    given = [average(data, name, "bce") - average(data, name, "bce_label") for data in CIRCUITS for name in ("gncn_pdh_label", "image_and_label")]
    few = [
        welch("digits", "image_and_label_few", "gvae_few", "label_err", "class_err_hidden"),
        welch("digits", "image_and_label_few", "relu_classifier_few", "label_err", "class_err"),
    ]
    told = [average("digits", "image_and_label_few", "label_err"), average("digits", "gvae_few", "class_err_hidden")]
    codes = [average("mnist", name, metric) for name in ("image_and_label_few", "image_and_label") for metric in ("class_err", "label_err")]
    assert welch("digits", "discriminative_t1", "relu_classifier", "label_err", "class_err") > 0.05
    right = 100 - average("mnist", "discriminative_t1", "label_err"), 100 - average("mnist", "relu_classifier", "class_err")
    lost = [average("mnist", "gncn_pdh_rest16", "bce") - average("mnist", name, "bce") for name in ("gncn_pdh_start16", "gncn_pdh")]
    noise = {
        metric: [
            average(data, name, metric) - average(data, "langevin_0", metric)
            for data, name in (("digits", "langevin_0.01"), ("digits", "langevin_1"), ("mnist", "langevin_1"))
        ]
        for metric in ("bce", "log_p")
    }
    assert all(welch("digits", "langevin_0.01", "langevin_0", metric) > 0.05 for metric in ("m_mse", "ndb", "log_p")) and noise["bce"][0] < 0
    error = hypot(*(stdev(seeds("digits", name, "log_p")) / 3**0.5 for name in ("langevin_0", "langevin_0.01")))
    epochs, (later,) = ([run["best_epoch"] for run in CIRCUITS[data]["gru"].values()] for data in CIRCUITS)
    more = [average(data, "recurrent", "next_frame") - average(data, "gru", "next_frame") for data in CIRCUITS]
    past = [average(data, "not_recurrent", "next_frame") - average(data, "recurrent", "next_frame") for data in CIRCUITS]
    return {
        "PDEH": f"PDEH gains half a nat of Monte Carlo log p(x) (p = {p['gncn_pdeh', 'log_p']:.2f}); completion is undecided, classification level "
        f"(p = {p['gncn_pdeh', 'm_mse']:.2f} and {p['gncn_pdeh', 'class_err']:.2f})",
        "PDEH, at the usual rate": f"completes and classifies worse (p = {welch('digits', 'gncn_pdeh', 'gncn_pdh', 'm_mse'):.3f} and {welch('digits', 'gncn_pdeh', 'gncn_pdh', 'class_err'):.2f})",
        "both": f"With both paths completion becomes worse (p = {p['gncn_pdeh_skip', 'm_mse']:.2f})",
        "MNIST": f"PDEH gains {apart('gncn_pdeh', 'gncn_pdh_limit', 'bce')} nats of BCE and both paths {apart('gncn_pdeh_skip', 'gncn_pdh_limit', 'bce')}, at a cost: "
        f"M-MSE by {cost['m_mse']}, %Err by {cost['class_err']}, log p(x) by {cost['log_p']}",
        "top's skip": f"The top's skip gains {apart('gncn_pdh_skip', 'gncn_pdh', 'bce')} nats of BCE and loses {skip[0]} of M-MSE, {skip[1]} of %Err and {skip[2]} of log p(x)",
        "seeds": f"%Err varies by up to {max(ranges['class_err']):.1f}, M-MSE by {max(ranges['m_mse']):.1f}, log p(x) by {max(ranges['log_p']):.1f}",
        "labels beside": f"(p = {images[0]:.4f} on the digits, {images[1]:.3f} on MNIST). The price is reconstruction: {prices[0]:.1f} nats of BCE on the digits, {prices[1]:.1f} on MNIST",
        "a label given": f"by at most {max(map(abs, given)):.1f} of {average('mnist', 'image_and_label', 'bce'):.1f} nats",
        "few labels": f"is level with that ({told[0]:.1f} % and {told[1]:.1f} %, Welch, p = {few[0]:.2f}), with 1,000 among 50,000 images of MNIST it is ahead (one seed, by "
        f"{apart('image_and_label_few', 'gvae_few', 'label_err', 'class_err_hidden')} points over 10,000 images; GVAE untuned)",
        "labels alone": f"(p = {few[1]:.3f}; by {apart('image_and_label_few', 'relu_classifier_few', 'label_err', 'class_err')})",
        "codes": f"({codes[0]:.1f} % and {codes[1]:.1f} %, one seed; with all labels {codes[2]:.1f} % and {codes[3]:.1f} %), the digits' with few labels worse "
        f"({average('digits', 'image_and_label_few', 'class_err'):.1f} % and {told[0]:.1f} %, p = {regressed:.2f})",
        "image on top": f"(Welch, p = {welch('mnist', 'discriminative_t1', 'relu_classifier', 'label_err', 'class_err'):.2f}), and neither it ({right[0]:.1f} % right) nor "
        f"backpropagation at that size ({right[1]:.1f} %)",
        "recogniser": f"on MNIST {lost[0]:.1f} of {lost[1]:.1f} nats for GNCN-PDH",
        "a little noise": f"lowers the BCE (Welch, p = {welch('digits', 'langevin_0.01', 'langevin_0', 'bce'):.2f}) and leaves completion and samples level, log p(x) undecided "
        f"({noise['log_p'][0]:+.1f} ± {error:.1f})",
        "T = 1": f"costs {noise['bce'][1]:.0f} nats of BCE and {-noise['log_p'][1]:.1f} of log p(x) there, {noise['bce'][2]:.0f} and {-noise['log_p'][2]:.0f} on MNIST",
        "frames": f"By its past the circuit gains {past[0]:.0f} nats on the digits and {past[1]:.0f} on MNIST; a GRU trained long enough (best epochs {min(epochs)} to {max(epochs)}, and {later}), "
        f"of four times the synapses on MNIST, gains {more[0]:.0f} and {more[1]:.0f} more",
        "frames seen": f"(by {average('digits', 'recurrent', 'bce') - average('digits', 'not_recurrent', 'bce'):.1f} nats, p = {welch('digits', 'recurrent', 'not_recurrent', 'bce'):.3f})",
    }


def of_the_questions() -> dict[str, str]:
    def gained(name: str) -> list[float]:
        """Nats of BCE by cooling down, seed by seed."""
        before, after = (FULL["mnist", f"{name}_{kind}"].runs for kind in ("sgd", "cooled"))
        return [before[seed]["figures"]["bce"]["value"] - run["figures"]["bce"]["value"] for seed, run in after.items()]

    others = [gain for name in article.NETWORKS[1:] for gain in gained(name)]
    return {
        "cooled down": f"BCE by {min(others):.1f} to {max(others):.1f} nats, of GNCN-t1 by {min(gained('gncn_t1')):.1f} to {max(gained('gncn_t1')):.1f}"
    }


PAGES = {
    "docs/faq.md": of_the_questions,
    "README.md": lambda: of_the_front_page() | of_its_speed(),
    "docs/comparison.md": of_the_comparison,
    "docs/guides/density.md": of_the_density_guide,
    "docs/concepts.md": of_the_concepts,
    "docs/circuits.md": of_the_circuits,
}


@pytest.mark.parametrize("page", PAGES)
def test_the_figures_of_a_page_are_those_of_the_runs(page):
    text = " ".join((DOCS.parent / page).read_text(encoding="utf-8").split())
    assert {name: sentence for name, sentence in PAGES[page]().items() if sentence not in text} == {}

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

FULL = {(cell.dataset, cell.row): cell for cell in of_the_project() if cell.n_train is None}
FEW = {(cell.row, cell.n_train): cell for cell in of_the_project() if cell.dataset == "mnist" and cell.n_train}
UNITS = claims.by_encoder_units(FULL)  # in which class_err is that of the encoders' units

CIRCUITS = read_json(DOCS / "circuits.json")


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


def least_wrong(dataset: str, cells: dict[tuple[str, str], Cell], *endings: str) -> float:
    """%Err of the best row of autoencoders; of those alone whose names end so, or, told none, of those that do not have 360 latents or few."""
    rows = [cell for (of, row), cell in cells.items() if of == dataset and row.startswith(AUTOENCODERS) and cell.values("class_err")]
    kept = [cell for cell in rows if (cell.row.endswith(endings) if endings else not cell.row.endswith(("_many", "_narrow")))]
    return mean(best(kept, "class_err").values("class_err"))


def against_print(dataset: str, names: tuple[str, ...], word: str) -> list[str]:
    """How far the published rows' BCE is from what is printed, if a test at 5 % calls them all `word`."""
    found = [standing.standing(FULL[dataset, f"{name}_published"], "bce", *article.published()[dataset, name, "bce"]) for name in names]
    assert {said for said, _ in found} == {word}, (dataset, names, found)
    return [f"{abs(gap):.1f}" for _, gap in found]


def of_the_front_page() -> dict[str, str]:
    (sigma,) = against_print("mnist", ("gncn_t1_sigma",), "past")
    t1, t2, pdh = against_print("mnist", ("gncn_t1", "gncn_t2_l_sigma", "gncn_pdh"), "short")
    past = against_print("fashion_mnist", ("gncn_t1_sigma", "gncn_t2_l_sigma", "gncn_pdh"), "past")
    against_print("fashion_mnist", ("gncn_t1",), "level")
    at = {(row, n): f"{mean(cell.values('bce')):.1f}{mark(cell)}" for (row, n), cell in FEW.items()}
    pixels = read_json(DOCS / "without_model.json")["mnist"]["class_err"]["value"]
    density = [lead("mnist", "gvae_cooled", name) for name in ("gncn_pdh_sgd", "gncn_pdh_cooled")]
    own = lead("mnist", "gncn_pdh_prior", "gvae_cooled", "log_p_annealed_own")
    alike = compare(FULL["mnist", "gncn_pdh_prior"].refit, FULL["mnist", "gvae_cooled"].refit, "log_p_annealed")
    level = f"{alike.word} under priors refitted alike ({alike.lead:.1f} ± {alike.error:.1f} ahead)"
    assert compare(FULL["mnist", "gvae_many"], FULL["mnist", "gvae_cooled"], "log_p_annealed").word == "level"
    return {
        "the article": f"for GNCN-t1-Σ, by {sigma} nats, and short of it for t1, t2-LΣ and PDH, by {t1}, {t2} and {pdh}",
        "Fashion-MNIST": f"past for t1-Σ, t2-LΣ and PDH, by {past[0]}, {past[1]} and {past[2]}, level for t1",
        "completion": f"M-MSE {value('mnist', 'gncn_pdh_sgd', 'm_mse'):.1f}; autoencoders that infer their latents from the seen pixels have "
        f"{value('mnist', 'gvae', 'm_mse'):.1f} (GVAE) and {value('mnist', 'gvae_cv', 'm_mse'):.1f} (GVAE-CV)",
        "codes": f"{value('mnist', 'gncn_pdh_sgd', 'class_err'):.1f} % wrong from 360 units; autoencoders {least_wrong('mnist', FULL):.1f} % from 20 latents, "
        f"{least_wrong('mnist', FULL, '_many'):.1f} % from 360, {least_wrong('mnist', UNITS, ''):.1f} % from 360 units of an encoder; pixels {pixels:.1f} %, "
        f"a classifier by backpropagation {value('mnist', 'relu_classifier_850', 'class_err'):.1f} %",
        "few images": f"BCE {at['gncn_pdh_sgd', 1000]} from 1,000 images, the best autoencoder (RAE, 360 latents) {at['rae_many', 1000]}; from 5,000 it is "
        f"{at['gncn_pdh_sgd', 5000]} and {at['rae_many', 5000]}, from all 50,000 {value('mnist', 'gncn_pdh_sgd', 'bce'):.1f} and {value('mnist', 'rae_many', 'bce'):.1f} "
        f"(20 latents: {value('mnist', 'rae', 'bce'):.1f})",
        "cooled down": f"over five more epochs the network has {value('mnist', 'gncn_pdh_cooled', 'bce'):.1f}; a GVAE of 20 latents and 1.4 million synapses, over ten, "
        f"{value('mnist', 'gvae_cooled', 'bce'):.1f}",
        "density": f"leads by {density[0]} nats (one of 360 latents is level with it), and by {density[1]} where the network's rate falls too",
        "a prior that learns": f"to {lead('mnist', 'gvae_cooled', 'gncn_pdh_prior')} behind under mixtures fitted to one code per image, {level}, {own} ahead under each",
        "KMNIST": f"yes by codes ({value('kmnist', 'gncn_pdh_sgd', 'class_err'):.0f} % wrong; 360 latents {least_wrong('kmnist', FULL, '_many'):.0f} %, "
        f"encoder units {least_wrong('kmnist', UNITS, ''):.0f} %)",
        "KMNIST, completion and BCE": f"no by completion ({value('kmnist', 'gncn_pdh_sgd', 'm_mse'):.1f}, GVAE-CV {value('kmnist', 'gvae_cv', 'm_mse'):.1f}), "
        f"BCE ({value('kmnist', 'gncn_pdh_sgd', 'bce'):.0f}; an RAE of 360 latents {value('kmnist', 'rae_many', 'bce'):.0f})",
        "KMNIST, density": f"that RAE leads by {lead('kmnist', 'rae_many', 'gncn_pdh_sgd')} nats, a GVAE of 360 latents by {lead('kmnist', 'gvae_many', 'gncn_pdh_sgd')}, "
        f"and the network one of 20 by {lead('kmnist', 'gncn_pdh_sgd', 'gvae')}",
        "CalTech and Fashion-MNIST": f"the RAE leads by {lead('caltech101_silhouettes', 'rae_many', 'gncn_pdh_sgd')}, on Fashion-MNIST the GVAE by "
        f"{lead('fashion_mnist', 'gvae', 'gncn_pdh_sgd')}",
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


def apart(one: str, other: str, metric: str, others: str = "", digits: int = 1) -> str:
    """How far two single runs on MNIST are apart, with the error over its test images."""
    a, b = (CIRCUITS["mnist"][circuit]["0"]["figures"][name] for circuit, name in ((one, metric), (other, others or metric)))
    return f"{abs(a['value'] - b['value']):.{digits}f} ± {hypot(a['stderr'], b['stderr']):.1f}"


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
    skip = [apart("gncn_pdh_skip", "gncn_pdh", metric).split()[0] for metric in ("m_mse", "class_err", "log_p")]
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
    past = [average(data, "not_recurrent", "next_frame") - average(data, "recurrent", "next_frame") for data in CIRCUITS]
    return {
        "PDEH": f"PDEH gains half a nat of Monte Carlo log p(x) (p = {p['gncn_pdeh', 'log_p']:.2f}); completion and classification are level "
        f"(p = {p['gncn_pdeh', 'm_mse']:.2f} and {p['gncn_pdeh', 'class_err']:.2f})",
        "both": f"With both paths completion becomes worse (p = {p['gncn_pdeh_skip', 'm_mse']:.2f})",
        "MNIST": f"PDEH gains {apart('gncn_pdeh', 'gncn_pdh_limit', 'bce')} nats of BCE and both paths {apart('gncn_pdeh_skip', 'gncn_pdh_limit', 'bce')}, at a cost: "
        f"M-MSE by {cost['m_mse']}, %Err by {cost['class_err']}, log p(x) by {cost['log_p']}",
        "top's skip": f"The top's skip gains {apart('gncn_pdh_skip', 'gncn_pdh', 'bce')} nats of BCE. Its losses (M-MSE {skip[0]}, %Err {skip[1]}, log p(x) {skip[2]})",
        "a label given": f"by at most {max(map(abs, given)):.1f} of {average('mnist', 'image_and_label', 'bce'):.1f} nats",
        "few labels": f"is level with that ({told[0]:.1f} % and {told[1]:.1f} %, Welch, p = {few[0]:.2f}), with 1,000 among 50,000 images of MNIST it is ahead (one seed, by "
        f"{apart('image_and_label_few', 'gvae_few', 'label_err', 'class_err_hidden')} points over 10,000 images; GVAE untuned)",
        "labels alone": f"(p = {few[1]:.3f}; by {apart('image_and_label_few', 'relu_classifier_few', 'label_err', 'class_err')})",
        "codes": f"({codes[0]:.1f} % and {codes[1]:.1f} %; with all labels {codes[2]:.1f} % and {codes[3]:.1f} %)",
        "image on top": f"(Welch, p = {welch('mnist', 'discriminative_t1', 'relu_classifier', 'label_err', 'class_err'):.2f}), and neither it ({right[0]:.1f} % right) nor "
        f"backpropagation at that size ({right[1]:.1f} %)",
        "recogniser": f"on MNIST {lost[0]:.1f} of {lost[1]:.1f} nats for GNCN-PDH",
        "a little noise": f"lowers the BCE (Welch, p = {welch('digits', 'langevin_0.01', 'langevin_0', 'bce'):.2f}) and leaves completion and samples level, log p(x) undecided "
        f"({noise['log_p'][0]:+.1f} ± {error:.1f})",
        "T = 1": f"costs {noise['bce'][1]:.0f} nats of BCE and {-noise['log_p'][1]:.1f} of log p(x) there, {noise['bce'][2]:.0f} and {-noise['log_p'][2]:.0f} on MNIST",
        "frames": f"By its past the circuit gains {past[0]:.0f} nats on the digits and {past[1]:.0f} on MNIST",
    }


PAGES = {
    "README.md": of_the_front_page,
    "docs/guides/density.md": of_the_density_guide,
    "docs/concepts.md": of_the_concepts,
    "docs/circuits.md": of_the_circuits,
}


@pytest.mark.parametrize("page", PAGES)
def test_the_figures_of_a_page_are_those_of_the_runs(page):
    text = " ".join((DOCS.parent / page).read_text(encoding="utf-8").split())
    assert {name: sentence for name, sentence in PAGES[page]().items() if sentence not in text} == {}

"""Sentences with figures of the comparison, on pages written by hand, say what its runs say."""

from statistics import mean

import pytest
from measured import DOCS, of_the_project
from table import article, claims, standing
from table.cells import Cell, read_json
from table.rows import AUTOENCODERS
from table.verdicts import best, compare

FULL = {(cell.dataset, cell.row): cell for cell in of_the_project() if cell.n_train is None}
FEW = {(cell.row, cell.n_train): cell for cell in of_the_project() if cell.dataset == "mnist" and cell.n_train}
UNITS = claims.by_encoder_units(FULL)  # in which class_err is that of the encoders' units


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


PAGES = {"README.md": of_the_front_page, "docs/guides/density.md": of_the_density_guide, "docs/concepts.md": of_the_concepts}


@pytest.mark.parametrize("page", PAGES)
def test_the_figures_of_a_page_are_those_of_the_runs(page):
    text = " ".join((DOCS.parent / page).read_text(encoding="utf-8").split())
    assert {name: sentence for name, sentence in PAGES[page]().items() if sentence not in text} == {}

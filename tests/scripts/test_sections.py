"""The tables of a dataset: every figure in its column, and what is missing told apart."""

from measured import cell, columns
from table import rows as table
from table import sections
from table.cells import Cell, command_of

MODELS = {name: {"model": name} for name in ("gncn_pdh", "gvae", "gvae_tuned", "gmm", "relu_classifier")} | {"gvae_tuned": {"model": "gvae"}}


def with_figures(row: str, *seeds: dict[str, dict]) -> Cell:
    shared = {"settle": None, "best_epoch": 1, "seconds": 60.0, "folder": None, "command": None}
    return Cell("mnist", row, None, {seed: {"figures": figures} | shared for seed, figures in enumerate(seeds)})


def annealed(*values: float) -> dict:
    """log p(x) of these images, annealed."""
    return {"log_p_annealed": {"value": sum(values) / len(values), "stderr": 9.0, "values": list(values)}}


def lines_of(page: str) -> dict[str, list[str]]:
    lines = [[text.strip() for text in line.strip("|").split(" | ")] for line in page.splitlines() if line.startswith("| ")]
    return {line[0]: line[1:] for line in lines}


def test_epochs_minutes_seeds_and_settling_stand_below_their_headings():
    made = cell("gncn_pdh", 50.0, 52.0, 57.0, command=None, folder=None, settle={"steps": 50, "beta": 0.1, "products": "float32"})
    for seed, run in made.runs.items():
        run |= {"seconds": (90.0, 150.0, 300.0)[seed], "best_epoch": (4, 10, 16)[seed]}
    (row,) = columns(sections.dataset_table("mnist", {"gncn_pdh": {"model": "gncn_pdh"}}, {("mnist", "gncn_pdh"): made}, {}))
    assert row == {
        "method": "GNCN-PDH, released", "BCE": "53.00 ± 3.61", "settling": "K 50, β 0.1, float32", "synapses": "1,753,920", "multiply-adds": "84.49",
        "seeds": "3", "epochs": "10", "minutes": "2.5",
    }  # fmt: skip


def test_yardsticks_stand_below_the_methods_in_the_column_of_their_metric():
    made = cell("gncn_pdh", -110.0, -112.0, metric="log_p", command=None, folder=None, settle=None)
    for run in made.runs.values():
        run |= {"seconds": 60.0, "best_epoch": 1}
    told = {"log_p": {"value": -104.5, "stderr": 0.4, "n": 9, "blur": 0.8, "floor": 0.01}, "class_err": {"value": 13.9, "stderr": 0.3, "n": 9}}
    page = sections.dataset_table("mnist", {"gncn_pdh": {"model": "gncn_pdh"}}, {("mnist", "gncn_pdh"): made}, told)
    rows = columns(page)
    assert [row["method"] for row in rows] == ["GNCN-PDH, released", "Remembered training images"]  # no row here has %Err
    assert rows[1]["log p(x)"] == "-104.50 ± 0.40¹" and rows[1]["seeds"] == "–"
    assert "blurred by 0.8 pixels and kept within [0.01, 0.99]" in page and "table.without_model" in page and "Pixels in place" not in page


def test_what_was_not_run_is_told_from_what_does_not_apply():
    figures = {
        "bce": {"value": 50.0, "stderr": 0.5},
        "class_err": {"value": 3.0, "stderr": 0.2, "penalty": 1.0},
        "elbo": {"value": -90.0, "stderr": 0.5},
    }
    full = {("mnist", "gvae"): with_figures("gvae", figures)}
    first, densities = (lines_of(page) for page in (sections.dataset_table("mnist", MODELS, full, {}), sections.density_table("mnist", MODELS, full)))
    assert first["GNCN-PDH, released"][:2] == ["not run", "not run"]
    assert first["ReLU classifier"][:2] == ["–", "not run"]  # makes no images, tells classes
    assert densities["GVAE"] == ["-90.00 ± 0.50¹"] and "GNCN-PDH, released" not in densities and densities["GVAE, tuned"] == ["not run"]


def test_runs_that_are_not_what_their_row_sets_are_named():
    """A row that changed since, a seed with more given, products of another precision: none of them passes for the others."""
    row = {"model": "gncn_pdh", "sets": ["optimizer.lr=0.002"]}
    budget = {"steps": 50, "beta": 0.1}

    def ran(*overrides: str, products: str | None = None) -> dict:
        config = table.composed("digits", {"model": "gncn_pdh"}, list(overrides))
        measured = {"bce": {"value": 5.0, "stderr": 0.1}}
        made = {"command": command_of(config), "folder": None, "settle": budget | {"products": products}}
        return {"figures": measured, "best_epoch": 1, "seconds": 60.0, **made}

    as_set, short = ran("optimizer.lr=0.002", "seed=1"), ran("optimizer.lr=0.002", "epochs=3", products="bf16")
    same, mixed, old = ({0: as_set}, {0: short, 1: as_set}, {0: ran()})
    runs = {"same": same, "mixed": mixed, "old": old}
    page = sections.dataset_table(
        "digits", dict.fromkeys(runs, row), {("digits", name): Cell("digits", name, None, found) for name, found in runs.items()}, {}
    )
    assert "| K 50, β 0.1 / K 50, β 0.1, bf16 |" in page and "same:" not in page
    assert page.endswith(" Run otherwise than the row says: mixed (seed 0): `epochs=3` without `epochs=60`; old: without `optimizer.lr=0.002`.")


def test_annealed_figures_are_held_against_a_gvae_image_by_image():
    full = {
        ("mnist", "gncn_pdh"): with_figures("gncn_pdh", annealed(-90.0, -61.0, -118.0)),
        ("mnist", "gvae"): with_figures("gvae", annealed(-80.0, -50.0, -110.0)),
    }
    found = lines_of(sections.density_table("mnist", MODELS, full))
    assert found["GNCN-PDH, released"][-1] == "-9.67 ± 0.88⁰, behind" and found["GVAE"][-1] == "–" and found["GVAE, tuned"][-1] == "not run"
    assert "GMM" not in found  # whose log p(x) is exact
    del full["mnist", "gncn_pdh"].runs[0]["figures"]["log_p_annealed"]["values"]
    assert lines_of(sections.density_table("mnist", MODELS, full))["GNCN-PDH, released"][-1] == "-9.67 ± 12.73⁰, level, unpaired"
    full["mnist", "gncn_pdh"] = with_figures("gncn_pdh", annealed(-90.0, -61.0, -118.0))
    full["mnist", "gvae_tuned"] = with_figures("gvae_tuned", annealed(-78.0, -49.0, -107.0))
    page = sections.density_table("mnist", MODELS, full)
    assert lines_of(page)["GNCN-PDH, released"][-1] == "-11.67 ± 0.33⁰, behind" and "annealed, less that of GVAE, tuned |" in page  # the densest
    for row, values in (("gncn_pdh", (-80.0, -50.0, -108.0)), ("gvae", (-81.0, -51.0, -111.0)), ("gvae_tuned", (-90.0, -60.0, -119.0))):
        full["mnist", row].runs[0]["figures"]["log_p_annealed_own"] = annealed(*values)["log_p_annealed"]
    full["mnist", "gncn_t1"] = with_figures("gncn_t1", annealed(-91.0, -62.0, -119.0))
    page = sections.density_table("mnist", MODELS | {"gncn_t1": {"model": "gncn_t1"}}, full)  # the densest under its own prior is another
    assert "| annealed, less that of GVAE, tuned | annealed, own prior, less that of GVAE |" in page
    found = lines_of(page)
    assert found["GNCN-PDH, released"][-2:] == ["-11.67 ± 0.33⁰, behind", "+1.67 ± 0.67⁰, undecided"] and found["GNCN-t1, released"][-1] == "–"


def test_the_bracket_stands_beside_the_densities_that_have_one():
    figures = annealed(-80.0, -50.0, -110.0)
    full = {("mnist", "gncn_pdh"): with_figures("gncn_pdh", annealed(-90.0, -61.0, -118.0)), ("mnist", "gvae"): with_figures("gvae", figures)}
    assert "bracket" not in sections.density_table("mnist", MODELS, full)
    figures["log_p_annealed"]["simulated"] = {"lower": -72.2, "upper": -68.4}
    page = sections.density_table("mnist", MODELS, full)
    assert "| bracket |" in page and lines_of(page)["GVAE"][1:] == ["3.8", "–"] and lines_of(page)["GNCN-PDH, released"][1] == "–"


def test_rows_annealed_on_more_images_are_compared_on_those_that_both_have():
    """The fourth image is a hard one: it makes a row look worse, beside those that leave it out, than it is."""

    full = {
        ("mnist", "gncn_pdh"): with_figures("gncn_pdh", annealed(-90.0, -61.0, -118.0)),
        ("mnist", "gvae"): with_figures("gvae", annealed(-81.0, -51.0, -111.0)),
        ("mnist", "gvae_tuned"): with_figures("gvae_tuned", annealed(-80.0, -50.0, -110.0, -400.0)),
        ("mnist", "gncn_t1"): with_figures("gncn_t1", annealed(-81.0, -50.0, -112.0, -401.0)),
    }
    page = sections.density_table("mnist", MODELS | {"gncn_t1": {"model": "gncn_t1"}}, full)
    found = lines_of(page)
    assert "annealed, less that of GVAE, tuned |" in page and "of the first 3 test images (4 of GVAE, tuned; GNCN-t1, released), and" in page
    assert found["GNCN-PDH, released"][-1] == "-9.67 ± 0.88⁰, behind" and found["GVAE"][-1].startswith("-1.00 ± 0.00")
    assert found["GNCN-t1, released"][-1].startswith("-1.00 ± 0.41")  # over all four


def test_refitted_densities_are_paired_with_those_of_the_gvae():
    def figures(*values: float) -> dict:
        return {"log_p_annealed_refit": annealed(*values)["log_p_annealed"], "log_p_annealed": {"value": -1.0}}

    full = {
        ("mnist", "gncn_pdh"): with_figures("gncn_pdh", figures(-90.0, -61.0, -118.0)),
        ("mnist", "gvae"): with_figures("gvae", figures(-80.0, -50.0, -110.0)),
        ("mnist", "gvae_tuned"): with_figures("gvae_tuned", {"log_p_annealed": {"value": -1.0}}),
    }
    found = lines_of(sections.refit_table("mnist", MODELS, full))
    assert found["GNCN-PDH, released"][0] == "-89.67 ± 9.00¹" and found["GNCN-PDH, released"][-1] == "-9.67 ± 0.88⁰, behind"
    assert "GVAE, tuned" not in found
    assert sections.refit_table("mnist", MODELS, {}) == ""


def test_samples_stand_above_the_figures_of_held_out_images():
    def figure(value: float, **more: float) -> dict:
        return {"value": value, "stderr": 1.0, **more}

    figures = {
        "ndb": figure(40.0, n=50, held_out=20.0, held_out_n=10),
        "gaussian_kl": figure(9.0, held_out=5.0),
        "fantasy_mse": figure(29.0, nearest_training_image=36.0),
        "frechet_features": figure(7.0, held_out=0.5, reader_wrong=2.25),
    }
    full = {("mnist", "gvae"): with_figures("gvae", figures), ("mnist", "gmm"): with_figures("gmm", {"gaussian_kl": figure(3.0, held_out=7.0)})}
    article, _, features = (sections.sample_table("mnist", MODELS, full, *group) for group in sections.OF_SAMPLES.items())
    assert lines_of(article)["method"] == ["NDB", "Gaussian KL", "nearest fantasy"]
    assert lines_of(article)["GVAE"] == ["40.00 ± 1.00¹", "9.00 ± 1.00¹", "29.00 ± 1.00¹"]
    assert lines_of(article)["Held-out images"] == ["20.00", "6.00", "–"] and lines_of(article)["Training images"] == ["–", "–", "36.00"]
    assert "The classifier" not in article and "They are fewer than the samples" in article
    figures["ndb"]["held_out_n"] = 60  # as of KMNIST
    assert "fewer" not in sections.sample_table("mnist", MODELS, full, *next(iter(sections.OF_SAMPLES.items())))
    assert lines_of(features)["Held-out images"] == ["0.50"] and "The classifier is wrong on 2.25 % of the test images." in features
    assert "ReLU classifier" not in lines_of(features) and lines_of(features)["GMM"] == ["not run"]


def test_what_reading_and_completing_an_image_costs():
    completed = {"bce": {"value": 50.0, "stderr": 0.5}, "m_mse": {"value": 25.0, "stderr": 0.1, "completed_by": "x", "multiply_adds": 42_749_280}}
    told = {
        ("mnist", name): with_figures(name, completed if name == "gvae" else {"bce": {"value": 50.0, "stderr": 0.5}}) for name in ("gvae", "gncn_pdh")
    }
    found = {name: line[-4] for name, line in lines_of(sections.dataset_table("mnist", MODELS, told, {})).items()}
    encoder_and_decoder = 784 * 360 + 360 * 360 + 360 * 40 + 20 * 360 + 360 * 360 + 360 * 784
    assert found["GVAE"] == f"{encoder_and_decoder / 1e6:.2f} / 42.75" and found["GVAE, tuned"] == f"{encoder_and_decoder / 1e6:.2f}"
    assert found["ReLU classifier"] == "0.55" and found["GNCN-PDH, released"] == "84.49"

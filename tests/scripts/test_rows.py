"""The rows of the comparison: their names, and that every one of them can be run."""

from table import rows as table

from ncf.config.compose import compose_train
from ncf.config.schema import flatten, science
from ncf.measure.metrics import METRICS


def test_rows_are_named_as_people_write_them():
    names = {
        "gncn_pdh": "GNCN-PDH, released",
        "gncn_t1_sigma_tuned": "GNCN-t1-Σ, tuned",
        "gncn_t1_sgd": "GNCN-t1, default (SGD)",
        "gvae_cv": "GVAE-CV",
        "mine": "mine",
    }
    assert {name: table.row_title(name) for name in names} == names


def test_rows_of_the_table_are_composable():
    rows = table.read_table()
    assert {"gncn_t1", "gncn_t1_sigma", "gncn_t2_l_sigma", "gncn_pdh", "rae", "gvae", "gvae_cv", "gan_ae", "gmm", "relu_classifier"} <= set(rows)
    assert {dataset for row in rows.values() for key in ("sets_for", "targets") for dataset in row.get(key, {})} <= set(table.DATASETS)
    for dataset in table.DATASETS:
        for row in [row for row in rows.values() if dataset == "digits" or dataset in row.get("sets_for", {})]:
            grid = row.get("grid", {}) if dataset == "digits" else {}
            trials = range(max(map(len, grid.values()), default=0))
            tried = [[*row.get("fixed", []), *(f"{key}={values[n % len(values)]}" for key, values in grid.items())] for n in trials]
            for keys in (table.settings(row, dataset), *tried):
                config = table.composed(dataset, row, keys)
                assert config.dataset.name == dataset and "log_p" in config.metrics.names and not config.metrics.cache
            assert {metric for wanted in row.get("targets", {}).values() for metric in wanted} <= set(METRICS)
            if "grid" in row:
                assert {*table.deciders(row["choose_by"]), *row.get("aim", ())} <= set(METRICS)
    rae = {"model": "rae", "sets": ["model.l2=0.01"], "sets_for": {"digits": ["model.l2=0.1"]}}
    assert table.is_set(["optimizer.lr=0.001", "model.l2=0.1"], rae, "digits")  # a default may be named or not
    assert not table.is_set(["model.l2=0.1"], rae, "mnist") and not table.is_set(["model.gone=1"], rae, "digits")


def test_the_published_rows_are_the_published_experiment():
    rows = {name: row for name, row in table.read_table().items() if name.endswith("_published")}
    assert len(rows) == 4
    for name, row in rows.items():
        config = table.composed("mnist", row, table.settings(row, "mnist"))
        assert (config.epochs, config.patience, config.dataset.n_validation, config.dataset.stratified) == (50, None, 2000, True)
        assert (config.model.lateral.self_excitation, config.model.lateral.inhibition, config.model.constraint.kind) == (0.13, 0.125, "unit")
        assert config.model.precision.kind == ("none" if name == "gncn_t1_published" else "published")
        assert (config.optimizer.name, config.optimizer.beta1) == ("sgd", 0)  # plain
        for dataset in row["only"]:  # which says as much by itself, but for a prior
            bare = flatten(science(compose_train(f"experiment=published_{dataset}", f"model={row['model']}")))
            of_row = flatten(science(table.composed(dataset, row, table.settings(row, dataset))))
            apart = {key for key, value in of_row.items() if key.startswith(("model.", "optimizer.")) and value != bare[key]}
            assert apart == ({"model.prior.strength"} if name == "gncn_t1_published" else set()), dataset

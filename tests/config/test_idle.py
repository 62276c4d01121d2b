"""Keys that change nothing beside what another is: told where they are given, and really without effect."""

from dataclasses import fields, is_dataclass

import pytest
from installed import TINY, warm

from ncf.config.compose import compose_train
from ncf.config.idle import idle
from ncf.config.schema import MODEL_FAMILIES, TrainConfig


@pytest.mark.parametrize(
    "overrides, key, needs",
    [
        ("", "model.settle.momentum", "model.settle.solver=momentum"),
        ("model.settle.solver=momentum", "model.settle.momentum", None),
        ("", "model.settle.growth", None),
        ("model.settle.solver=chebyshev", "model.settle.growth", "model.settle.solver=euler or momentum"),
        ("", "model.prior.strength", "model.prior.kind=laplace or gaussian or cauchy"),
        ("model=gncn_t1", "model.prior.strength", None),
        ("model=gncn_t1", "model.lateral.columns", "model.lateral.enabled=true"),
        ("model=gncn_pdh", "model.lateral.columns", None),
        ("model.constraint.kind=none", "model.constraint.radius", "model.constraint.kind=limit or unit"),
        ("", "model.precision.floor", "model.precision.kind=published"),
        ("", "patience_gain", "another patience"),
        ("patience=3", "patience_gain", None),
        ("", "optimizer.beta2", "optimizer.name=adam"),
        ("optimizer=adam", "optimizer.beta2", None),
        ("", "dataset.size", "dataset.name=folder"),
        ("model=gvae", "model.variance", "model.code=constant"),
        ("model=gvae_cv", "model.variance", None),
        ("model=two_streams", "model.prior.strength", None),  # a population may have a prior of its own
        ("", "model", None),
        ("", "model.nothing.of_that_name", None),
    ],
)
def test_a_key_that_changes_nothing_is_told_with_what_it_needs(overrides, key, needs):
    config = compose_train(*overrides.split())
    assert idle(config, [key, "seed"]) == ([] if needs is None else idle(config, [key])) and len(idle(config, [key])) == (needs is not None)
    assert (
        needs is None
        or idle(config, [key])[0].startswith(f"{key} changes nothing beside ")
        and idle(config, [key])[0].endswith(f"; it needs {needs}")
    )


def test_every_condition_of_the_schema_names_a_key_beside_it():
    def conditions(schema: type, path: str = "") -> list[str]:
        found = []
        for f in fields(schema):
            if when := f.metadata.get("when"):
                other = when.replace("!", "").split("=")[0]
                beside = {g.name: g for g in fields(schema)}
                assert other in beside, f"{path}{f.name}: {when}"
                choices = beside[other].metadata.get("choices")
                assert choices is None or set(when.split("=")[1].split("|")) <= set(choices), f"{path}{f.name}: {when}"
                found.append(path + f.name)
            if is_dataclass(f.default_factory):
                found += conditions(f.default_factory, f"{path}{f.name}.")
        return found

    assert sum(len(conditions(schema)) for schema in (TrainConfig, *MODEL_FAMILIES.values())) > 20


@pytest.mark.parametrize("key", ["model.settle.momentum=0.9", "model.prior.strength=0.5", "model.settle.share=0.1", "model.precision.floor=2.0"])
def test_what_is_told_to_change_nothing_changes_nothing(key, tmp_path):
    plain = warm("ncf-train", *TINY, "name=plain", cwd=tmp_path)
    given = warm("ncf-train", *TINY, key, "name=given", cwd=tmp_path)
    told = f"note: {key.split('=')[0]} changes nothing beside "
    assert plain.returncode == given.returncode == 0 and told in given.stdout and "note: " not in plain.stdout
    rows = [(tmp_path / "outputs/runs" / name / "metrics.jsonl").read_text().splitlines() for name in ("plain", "given")]
    figures = [[part for part in line.split(",") if "bce" in part or "tod" in part] for lines in rows for line in lines]
    assert figures[: len(rows[0])] == figures[len(rows[0]) :] != []

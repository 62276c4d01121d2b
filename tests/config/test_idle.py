"""Keys that change nothing beside what another is: told where they are given, and really without effect."""

import json
from dataclasses import fields, is_dataclass

import pytest
from installed import TINY, warm

from ncf import plugins
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
        ("", "patience_gain", "patience other than null"),
        ("patience=3", "patience_gain", None),
        ("", "optimizer.beta2", "optimizer.name=adam"),
        ("optimizer=adam", "optimizer.beta2", None),
        ("", "dataset.size", "dataset.name=folder"),
        ("model=gvae", "model.variance", "model.code=constant"),
        ("model=gvae_cv", "model.variance", None),
        ("", "model.threshold", "model.activation=threshold or model.prediction=threshold"),
        ("model=gncn_t1 model.prediction=threshold", "model.threshold", None),
        ("model=gncn_t1 model.activation=threshold model.derivative=false", "model.threshold", None),
        ("", "model.last_phase.temperature", "model.last_phase.steps other than 0"),
        ("model=two_streams", "model.prior.strength", None),  # a population may have a prior of its own
        ("", "model", None),
        ("", "model.nothing.of_that_name", None),
    ],
)
def test_a_key_that_changes_nothing_is_told_with_what_it_needs(overrides, key, needs):
    config = compose_train(*overrides.split())
    found = idle(config, ["seed", key, key])
    if needs is None:
        assert found == []
    else:
        (line,) = found
        assert line.startswith(f"{key} changes nothing beside ") and line.endswith(f"; it needs {needs}")


def test_of_a_plugin_s_dataset_every_key_may_matter(monkeypatch):
    config = compose_train()
    assert idle(config, ["dataset.size"]) != []
    monkeypatch.setitem(plugins.DATASETS, "stripes", None)
    config.dataset.name = "stripes"
    assert idle(config, ["dataset.size"]) == []


def test_every_condition_of_the_schema_names_a_key_beside_it():
    def conditions(schema: type, path: str = "") -> list[str]:
        found = []
        for f in fields(schema):
            if when := f.metadata.get("when"):
                beside = {g.name: g for g in fields(schema)}
                for condition in when.split(" or "):
                    other, wanted = condition.replace("!", "").split("=")
                    assert other in beside, f"{path}{f.name}: {when}"
                    choices = beside[other].metadata.get("choices")
                    assert choices is None or set(wanted.split("|")) <= set(choices), f"{path}{f.name}: {when}"
                found.append(path + f.name)
            if is_dataclass(f.default_factory):
                found += conditions(f.default_factory, f"{path}{f.name}.")
        return found

    assert sum(len(conditions(schema)) for schema in (TrainConfig, *MODEL_FAMILIES.values())) > 20


IDLE = {  # values apart from the defaults, and the model that all are given to
    "model=gncn_pdh": "settle.momentum=0.9 settle.damping=3.0 settle.rounds=2 settle.share=0.1 prior.strength=0.5 precision.rate=0.5 precision.shrinkage=0.9 "
    "precision.floor=2.0 threshold=0.1 last_phase.beta=0.3 last_phase.temperature=0.2 last_phase.moves=7",
    "model=gncn_t1 model.settle.solver=chebyshev": "settle.growth=0.5 settle.momentum=0.9 lateral.columns=[6] lateral.self_excitation=0.3 lateral.inhibition=0.4",
    "model=gncn_t1_sigma model.constraint.kind=none": "constraint.radius=0.3 constraint.axis=out_of",
    "model=rae": "divergence=0.3 variance=0.7 adversary=20 deception=4.0",
}


@pytest.mark.parametrize("model", IDLE)
def test_what_is_told_to_change_nothing_changes_nothing(model, tmp_path):
    small = [word for word in TINY if not word.startswith("model.")] + [*model.split(), "model.layers=[24,24]", "metrics=basic"]
    small += ["model.lateral.columns=[6]"] * ("pdh" in model)
    keys = [f"model.{key}" for key in IDLE[model].split()] + ["optimizer.beta2=0.5" if "gncn" in model else "patience_gain=0.5"]
    plain = warm("ncf-train", *small, "name=plain", cwd=tmp_path)
    given = warm("ncf-train", *small, *keys, "name=given", cwd=tmp_path)
    assert plain.returncode == given.returncode == 0, plain.stderr + given.stderr
    assert "note: " not in plain.stdout and given.stdout.count("note: ") == len(keys)
    rows = [[json.loads(line) for line in (tmp_path / f"outputs/runs/{name}/metrics.jsonl").read_text().splitlines()] for name in ("plain", "given")]
    figures = [[(row["train_bce"], row["validation_bce"], row["validation_tod"]) for row in run] for run in rows]
    assert figures[0] == figures[1] and len(figures[0]) == 2

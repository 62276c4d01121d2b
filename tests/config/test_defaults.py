"""The defaults against Hydra's own composition, and the command that repeats a run against Hydra's parser."""

import copy
import shlex

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ncf.config.checks import build
from ncf.config.defaults import command, configs_folder, departures, flat_defaults, flatten, options, override_text
from ncf.config.schema import TrainConfig, science


def composed(*overrides: str) -> dict:
    with initialize_config_dir(config_dir=configs_folder(), version_base="1.3"):
        return OmegaConf.to_container(compose("train", overrides=list(overrides)), resolve=True)


@pytest.mark.parametrize("model", sorted(options("model")))
@pytest.mark.parametrize("dataset, optimizer", [("digits", "adam"), ("mnist", "sgd"), ("npz", "adam")])
def test_defaults_are_what_hydra_composes(model, dataset, optimizer):
    plain = composed(f"model={model}", f"dataset={dataset}", f"optimizer={optimizer}", *(["dataset.path=x.npz"] if dataset == "npz" else []))
    expected = flatten(science(build(plain, TrainConfig))) | {"dataset.path": None}
    assert flat_defaults(plain["model"]["family"], model, dataset, optimizer) == expected


def test_a_run_departs_from_its_defaults_where_it_was_told_to():
    config = science(build(composed("model=gncn_t1", "optimizer=sgd", "optimizer.lr=0.5", "patience=3", "model.layers=[8]"), TrainConfig))
    assert departures(config) == {"optimizer.lr": (0.5, 0.02), "patience": (3, None), "model.layers": ([8], [360, 360, 360])}
    assert departures(science(build(composed("model=gncn_t1"), TrainConfig))) == {}


OVERRIDES = [
    ["model=gncn_t1"],
    ["model=gncn_t1", "optimizer=sgd"],
    ["optimizer=adam", "model.constraint.kind=limit"],
    ["model=gvae", "dataset=mnist"],
    ["model=gvae", "optimizer=sgd"],
    ["model=gncn_t1_sigma", "dataset=mnist", "optimizer=sgd", "optimizer.lr=1e-7", "dataset.n_train=10", "seed=3"],
    ["model.layers=[24,12]", "model.lateral.columns=[6]", "model.skips=false", "patience=2", "metrics.names=[bce]"],
    ["dataset=npz", "dataset.path='my \"own\" $images.npz'", "dataset.mirror='null'", "dataset.folder=''"],
]


@pytest.mark.parametrize("overrides", OVERRIDES)
def test_the_command_on_the_page_composes_to_the_same_science(overrides):
    config = science(build(composed(*overrides), TrainConfig))
    again = shlex.split(command(copy.deepcopy(config)))
    assert again[0] == "ncf-train" and science(build(composed(*again[1:]), TrainConfig)) == config


def test_a_model_of_the_users_own_has_no_command():
    config = science(build(composed("model.name=../mine"), TrainConfig))
    assert command(config) is None and departures(config)["model.skips"] == (True, False)


@pytest.mark.parametrize("value", [None, True, -3, 1e-7, "plain", "with space", "true", "1", "a,b", "[x]", "${epochs}", "", [1, [2.5, "a b"]]])
def test_values_survive_hydras_grammar(value):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    read = OverridesParser.create().parse_override(f"key={override_text(value)}").value()
    assert read == value and type(read) is type(value)

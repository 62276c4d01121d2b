"""What the shipped YAML files set, held to the article's and the released values as literals; and the four networks they make, held to the oracle's vectors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ncf.config.compose import compose_train
from ncf.config.schema import flatten, science
from ncf.data.datasets import Dataset, Split
from ncf.models import build_model, seen_of

GOLDEN = Path(__file__).resolve().parent.parent / "network/golden"

SHARED = {
    "family": "gncn", "layers": [360, 360, 360], "likelihood": "bernoulli", "init_sd": 0.05, "error_rate": 1.0,
    "settle.steps": 50, "settle.beta": 0.1, "settle.gamma": 0.001, "settle.solver": "euler", "settle.growth": 0.0, "settle.tolerance": 0.0,
    "constraint.kind": "unit", "constraint.axis": "into", "constraint.radius": 1.0, "lateral.columns": [12, 12, 18], "lateral.self_excitation": 0.15, "lateral.inhibition": 0.1,
    "prior.strength": 0.01,
}  # fmt: skip
T1 = {
    "prediction": "identity", "target": "state", "error_synapses": "tied", "derivative": True, "skips": False,
    "prior.kind": "laplace", "lateral.enabled": False,
}  # fmt: skip
T2 = {
    "activation": "relu", "prediction": "relu", "target": "activity", "error_synapses": "learned", "derivative": False,
    "prior.kind": "none", "lateral.enabled": True, "precision.kind": "whitened",
}  # fmt: skip
NETWORKS = {
    "gncn_t1": T1 | {"activation": "tanh", "precision.kind": "none"},
    "gncn_t1_sigma": T1 | {"activation": "relu", "precision.kind": "whitened"},
    "gncn_t2_l_sigma": T2 | {"skips": False},
    "gncn_pdh": T2 | {"skips": True},
}
SPARSE = {
    "family": "gncn", "layers": [300], "likelihood": "gaussian", "target": "state", "error_synapses": "tied", "derivative": False, "skips": False,
    "constraint.kind": "unit", "constraint.radius": 1.0, "constraint.axis": "out_of", "lateral.enabled": False, "precision.kind": "none",
    "settle.steps": 100, "settle.beta": 0.05, "settle.solver": "euler",
}  # fmt: skip
SPARSE_MODELS = {
    "sparse_cauchy": SPARSE | {"activation": "identity", "prior.kind": "cauchy", "prior.strength": 1.0, "settle.gamma": 0.0},
    "sparse_threshold": SPARSE | {"activation": "threshold", "threshold": 5.0, "prior.kind": "none", "settle.gamma": 0.1},
}
AUTOENCODER = {"family": "autoencoder", "layers": [360, 360, 20]}
BASELINES = {
    "rae": AUTOENCODER | {"code": "plain", "l2": 0.01},
    "gvae": AUTOENCODER | {"code": "gaussian"},
    "gvae_cv": AUTOENCODER | {"code": "constant", "variance": 0.1},
    "gan_ae": AUTOENCODER | {"code": "adversarial", "adversary": 360, "deception": 1.0},
    "gmm": {"family": "pixel_mixture", "components": 75, "floor": 0.01},
    "relu_classifier": {"family": "classifier", "layers": [360, 360, 360], "l2": 0.0},
}


def require(found: dict, expected: dict, prefix: str = "") -> None:
    assert {key: found.get(prefix + key, "not there") for key in expected} == expected


@pytest.mark.parametrize("model", [*NETWORKS, *SPARSE_MODELS, *BASELINES])
def test_a_model_is_what_its_name_says(model):
    expected = {"name": model} | (SHARED | NETWORKS[model] if model in NETWORKS else (SPARSE_MODELS | BASELINES)[model])
    require(flatten(science(compose_train(f"model={model}"))), expected, "model.")


ADAM = {"name": "adam", "lr": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-7}
SGD = {"name": "sgd", "lr": 0.1, "beta1": 0.9}


@pytest.mark.parametrize("model", [*NETWORKS, "gncn_pdeh", "two_streams", *BASELINES])
def test_networks_start_from_sgd_and_baselines_from_adam(model):
    slow = {"lr": 0.02} if model in ("gncn_t1", "two_streams", "gncn_pdeh") else {}  # they swing, or run away, at more
    usual, other = (ADAM, SGD) if model in BASELINES else (SGD | slow, ADAM)
    require(flatten(science(compose_train(f"model={model}"))), usual, "optimizer.")
    require(flatten(science(compose_train(f"model={model}", f"optimizer={other['name']}"))), other, "optimizer.")


def test_the_released_settings_are_an_experiment():
    released = flatten(science(compose_train("experiment=released", "model=gncn_t1")))
    require(released, ADAM, "optimizer.")
    assert released["model.name"] == "gncn_t1" and released["model.constraint.kind"] == "limit"


def test_the_published_protocol_is_an_experiment_per_dataset():
    for dataset in ("digits", "mnist", "fashion_mnist", "kmnist", "caltech101_silhouettes", "caltech101_silhouettes_16"):
        config = flatten(science(compose_train(f"experiment=published_{dataset}", "model=gncn_pdh")))
        require(config, SGD | {"lr": 0.2 if dataset in ("digits", "kmnist") else 0.05, "beta1": 0.0}, "optimizer.")
        require(
            config,
            {"dataset.name": dataset, "dataset.stratified": True, "epochs": 50, "model.constraint.kind": "unit", "model.precision.kind": "published"}
            | {"model.lateral.self_excitation": 0.13, "model.lateral.inhibition": 0.125},
        )
    require(config, {"batch_size": 100, "dataset.n_validation": 500})  # 4,100 images
    require(flatten(science(compose_train("experiment=published_mnist"))), {"batch_size": 200, "dataset.n_validation": 2000})


def test_the_published_protocol_leaves_gncn_t1_without_the_precision_that_it_has_not():
    """GNCN-t1 is the network without Sigma; the rates were chosen on validation images."""
    small = {"gncn_t1": 0.2, "gncn_t1_sigma": 0.05, "gncn_t2_l_sigma": 0.2, "gncn_pdh": 0.2}
    rates = {
        "published": small,
        "published_kmnist": small,
        "published_mnist": dict.fromkeys(small, 0.05),
        "published_fashion_mnist": dict.fromkeys(small, 0.05),
    }
    rates["published_caltech101_silhouettes"] = dict.fromkeys(small, 0.05) | {"gncn_t1": 0.2}
    for experiment, of_model in rates.items():
        for model, rate in of_model.items():
            config = compose_train(f"experiment={experiment}", f"model={model}")
            assert (config.model.precision.kind, config.optimizer.lr) == ("none" if model == "gncn_t1" else "published", rate), (experiment, model)
    changed = compose_train("experiment=published", "model=gncn_t1", "model.precision.kind=whitened", "optimizer.lr=0.3")
    assert (changed.model.precision.kind, changed.optimizer.lr) == ("whitened", 0.3)


def test_training_starts_from_these():
    usual = {
        "model.name": "gncn_pdh", "dataset.name": "digits", "epochs": 15, "batch_size": 200, "seed": 0, "validate_every": 1, "patience": None,
        "patience_gain": 0.0, "compute.dtype": "auto", "dataset.binarize": "threshold", "dataset.n_train": None, "dataset.n_validation": None,
        "dataset.split_seed": 0, "metrics.names": ["bce", "tod", "m_mse"], "metrics.mask": "right", "metrics.mask_fraction": 0.5,
        "metrics.n_images": None, "metrics.samples": 5000, "metrics.encoder_samples": 200, "metrics.mixture.components": 75,
        "metrics.mixture.latents": 18000, "metrics.mixture.floor": 1e-6, "metrics.annealing.images": 20, "metrics.annealing.chains": 8,
        "metrics.annealing.steps": 1000, "metrics.annealing.leapfrogs": 5,
    }  # fmt: skip
    require(flatten(science(compose_train())), usual)


def test_groups_of_metrics_name_what_their_first_line_promises():
    names = {
        "basic": ["bce", "tod"],
        "fast": ["bce", "tod", "m_mse"],
        "paper": ["bce", "tod", "m_mse", "class_err", "log_p", "log_p_own", "elbo", "log_p_encoder"],
        "density": ["log_p", "log_p_own", "elbo", "log_p_encoder", "log_p_annealed", "log_p_annealed_own"],
    }
    assert {group: compose_train(f"metrics={group}").metrics.names for group in names} == names


PATIENT = {"epochs": 100, "patience": 3, "patience_gain": 0.1, "batch_size": 200}
EXPERIMENTS = {
    "quick_mnist": {"model.name": "gncn_t1_sigma", "dataset.name": "mnist", "dataset.n_train": 10000, "epochs": 2, "batch_size": 200},
    "table_digits": {"dataset.name": "digits", "epochs": 60, "patience": 15, "patience_gain": 0.0, "batch_size": 50},
    "table_caltech101_silhouettes": PATIENT | {"dataset.name": "caltech101_silhouettes", "batch_size": 100},
    **{f"table_{name}": PATIENT | {"dataset.name": name} for name in ("mnist", "fashion_mnist", "kmnist")},
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_sets_what_the_results_page_says_of_it(name):
    config = compose_train(f"experiment={name}")
    require(flatten(science(config)), EXPERIMENTS[name])
    if name.startswith("table_"):
        assert config.metrics.names == compose_train("metrics=paper").metrics.names and not config.metrics.cache


@pytest.mark.parametrize("model, vectors", [("gncn_t1", "t1"), ("gncn_t1_sigma", "t1_sigma"), ("gncn_t2_l_sigma", "t2_lsigma"), ("gncn_pdh", "pdh")])
def test_a_shipped_network_settles_to_the_oracles_vectors(model, vectors):
    """Sizes and K alone are those of the vectors; everything else is from the YAML file."""
    v = dict(np.load(GOLDEN / f"{vectors}_rect.npz"))
    config = compose_train(
        f"model={model}",
        f"model.layers=[{v['cfg_z_dim']},{v['cfg_z_dim']},{v['cfg_z_top_dim']}]",
        f"model.lateral.columns=[{v['cfg_n_group']},{v['cfg_n_group']},{v['cfg_n_top_group']}]",
        f"model.settle.steps={v['cfg_K']}",
        "compute.dtype=float32",
    )
    x = torch.from_numpy(v["x"]).float()
    data = Dataset("vectors", (1, x.shape[1]), 0, {name: Split(x, None) for name in ("train", "validation", "test")}, False)
    network = build_model(config, seen_of(data), np.random.default_rng(0), torch.device("cpu"))
    own = {"Q": "Prec", "M": "S"}  # the vectors' names for what is not called the same
    network.load_tensors({name: torch.from_numpy(v[own[name[0]] + name[1:] if name[0] in own else name]) for name in network.tensors()})
    state = network.settle(x)
    for l in (1, 2, 3):
        np.testing.assert_allclose(state.z[l], v[f"z{l}"], atol=1e-5)
        np.testing.assert_allclose(state.mu[l - 1], v[f"mu{l - 1}"], atol=1e-5)
        np.testing.assert_allclose(state.e[l - 1], v[f"e{l - 1}"], atol=1e-5)

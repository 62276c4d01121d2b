"""What relates several keys is checked, at its exact bound; so are the ends of ranges."""

import copy

import pytest
from omegaconf import OmegaConf

from ncf.config.checks import build
from ncf.config.compose import composed
from ncf.config.schema import TrainConfig
from ncf.errors import UserError


@pytest.fixture(scope="module")
def plain() -> dict:
    """What ncf-train composes, as plain dicts."""
    return OmegaConf.to_container(composed("train"), resolve=True)


def built(plain: dict, changes: dict) -> TrainConfig:
    config = copy.deepcopy(plain)
    for key, value in changes.items():
        *path, name = key.split(".")
        node = config
        for part in path:
            node = node[part] if isinstance(node.get(part), dict) else node.setdefault(part, {})
        node[name] = value
    return build(config, TrainConfig)


BOUNDS = [(0.1, 0.1, 1.0, True), (0.1, 0.1, 0.51, True), (0.1, 0.1, 0.5, False), (0.1, 0.05, 1.0, False), (0.2, 0.1, 1.0, False)]


@pytest.mark.parametrize("beta, shrinkage, floor, fits", BOUNDS)
def test_a_published_precision_whose_step_may_overshoot_is_refused(plain, beta, shrinkage, floor, fits):
    """No eigenvalue of Sigma falls below shrinkage * floor, which must be above beta / 2."""
    keys = {"model.settle.beta": beta, "model.precision.shrinkage": shrinkage, "model.precision.floor": floor}
    published = keys | {"model.precision.kind": "published"}
    built(plain, keys)  # another precision has no such bound
    built(plain, published | {"model.layers": [360], "model.lateral.columns": [12]})  # and a single layer no precision
    if fits:
        built(plain, published)
        return
    with pytest.raises(UserError, match=rf"model.precision: shrinkage \* floor is {shrinkage * floor:g}; it must be above beta / 2 = {beta / 2:g}"):
        built(plain, published)


@pytest.mark.parametrize(
    "key, last, beyond",
    [
        ("model.settle.momentum", 0.999, 1.0), ("model.settle.steps", 1, 0), ("model.precision.shrinkage", 1.0, 1.01), ("model.precision.rate", 1.0, 1.01),
        ("model.settle.gamma", 0.0, -0.1), ("model.prior.strength", 0.0, -0.1), ("model.settle.tolerance", 0.0, -0.1), ("model.settle.growth", 0.999, 1.0),
        ("optimizer.beta1", 0.0, -0.1), ("optimizer.beta2", 0.999999, 1.0), ("metrics.mask_fraction", 0.99, 1.0), ("metrics.samples", 2, 1),
        ("patience", 1, 0), ("patience_gain", 0.0, -0.1), ("validate_every", 0, -1), ("epochs", 1, 0), ("batch_size", 1, 0),
        ("checkpoint.every_minutes", 0.0, -1.0), ("checkpoint.every_steps", 0, -1), ("dataset.n_train", 1, 0), ("seed", 0, -1),
    ],
)  # fmt: skip
def test_the_last_value_of_a_range_is_taken_and_the_next_is_not(plain, key, last, beyond):
    built(plain, {key: last})
    with pytest.raises(UserError, match=f"{key}={beyond}: must be at"):
        built(plain, {key: beyond})


@pytest.mark.parametrize(
    "key", ["model.settle.beta", "optimizer.lr", "optimizer.epsilon", "model.precision.floor", "model.init_sd", "metrics.mixture.floor"]
)
def test_what_must_be_above_zero_is_not_zero(plain, key):
    built(plain, {key: 1e-9, "model.settle.beta": 1e-9})
    with pytest.raises(UserError, match=f"{key}=0.0: must be above 0"):
        built(plain, {key: 0.0})

"""The optimizers against their rules written out in float64, step by step on updates that change sign and size."""

import numpy as np
import pytest
import torch

from ncf.config.schema import OptimizerConfig
from ncf.network.optimizer import Optimizer

START = np.array([[0.3, -0.2, 0.0], [1.0, -1.5, 0.7]])
UPDATES = np.random.default_rng(0).normal(0, 1, (6, 2, 3)) * np.geomspace(1e-8, 1, 6)[::-1, None, None]


def adam(config: OptimizerConfig, updates) -> list[np.ndarray]:
    """As released: the way up, epsilon beside the root of the uncorrected second moment."""
    theta, m, v, found = START.copy(), 0.0, 0.0, []
    for t, update in enumerate(updates, start=1):
        m = config.beta1 * m + (1 - config.beta1) * update
        v = config.beta2 * v + (1 - config.beta2) * update**2
        theta = theta + config.lr * np.sqrt(1 - config.beta2**t) / (1 - config.beta1**t) * m / (np.sqrt(v) + config.epsilon)
        found.append(theta)
    return found


def sgd(config: OptimizerConfig, updates) -> list[np.ndarray]:
    """Gradient ascent with a velocity: v <- beta1 v + update, theta <- theta + lr v."""
    theta, velocity, found = START.copy(), 0.0, []
    for update in updates:
        velocity = config.beta1 * velocity + update
        theta = theta + config.lr * velocity
        found.append(theta)
    return found


CASES = [
    (adam, OptimizerConfig()),
    (adam, OptimizerConfig(lr=0.02, beta1=0.5, beta2=0.7, epsilon=1e-3)),
    (adam, OptimizerConfig(beta1=0.0, beta2=0.0, epsilon=1e-5)),
    (sgd, OptimizerConfig(name="sgd", lr=0.1)),
    (sgd, OptimizerConfig(name="sgd", lr=0.03, beta1=0.4, beta2=0.1, epsilon=10)),
    (sgd, OptimizerConfig(name="sgd", lr=0.03, beta1=0.0)),
]


@pytest.mark.parametrize("rule, config", CASES)
@pytest.mark.parametrize("cut", [None, 3], ids=["at once", "in two parts"])
def test_every_step_is_that_of_the_rule(rule, config, cut):
    """Also where another optimizer goes on with the moments of the first; a second parameter gets steps of its own."""
    parameters = {name: torch.from_numpy(START.copy()) for name in ("W1", "W10")}
    optimizer = Optimizer(config, parameters)
    for t, (update, expected, other) in enumerate(zip(UPDATES, rule(config, UPDATES), rule(config, -3 * UPDATES))):
        if t == cut:
            moments, steps = {name: value.clone() for name, value in optimizer.tensors().items()}, optimizer.t
            optimizer = Optimizer(config, parameters)
            optimizer.load(steps, moments)
        optimizer.step({"W1": torch.from_numpy(update), "W10": torch.from_numpy(-3 * update)})
        np.testing.assert_allclose(parameters["W1"].numpy(), expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(parameters["W10"].numpy(), other, rtol=1e-9, atol=1e-12)
    assert optimizer.t == 6


def test_long_updates_are_shortened_together_and_short_ones_are_not():
    """The norm is that of all synapses' updates as one vector: (3, 4, 12) has 13."""
    for clip, factor in ((6.5, 0.5), (13.5, 1.0), (None, 1.0)):
        parameters = {"W1": torch.zeros(1, 2, dtype=torch.float64), "W2": torch.zeros(1, 1, dtype=torch.float64)}
        Optimizer(OptimizerConfig(name="sgd", lr=1.0, beta1=0.0, clip=clip), parameters).step(
            {"W1": torch.tensor([[3.0, 4.0]], dtype=torch.float64), "W2": torch.tensor([[-12.0]], dtype=torch.float64)}
        )
        np.testing.assert_allclose(parameters["W1"].numpy(), [[3 * factor, 4 * factor]], rtol=1e-6)
        np.testing.assert_allclose(parameters["W2"].numpy(), [[-12 * factor]], rtol=1e-6)


def test_a_share_of_the_learning_rate_scales_the_steps_and_leaves_the_moments():
    found = {}
    for share in (1.0, 0.25):
        for config in (OptimizerConfig(), OptimizerConfig(name="sgd", lr=0.1)):
            parameters = {"W1": torch.from_numpy(START.copy())}
            optimizer = Optimizer(config, parameters)
            optimizer.step({"W1": torch.from_numpy(UPDATES[0])})
            before = parameters["W1"].clone()
            optimizer.slow_to(share)
            optimizer.step({"W1": torch.from_numpy(UPDATES[1])})
            moments = torch.cat([value.double().flatten() for value in optimizer.tensors().values()])
            found[config.name, share] = parameters["W1"] - before, moments
    for name in ("adam", "sgd"):
        torch.testing.assert_close(found[name, 0.25][0], found[name, 1.0][0] / 4, atol=1e-12, rtol=1e-9)
        assert torch.equal(found[name, 0.25][1], found[name, 1.0][1])

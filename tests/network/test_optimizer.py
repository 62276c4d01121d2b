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

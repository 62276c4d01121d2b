"""Settling under noise: the posterior of a linear Gaussian network in closed form, and noise that depends on nothing but the image."""

import numpy as np
import pytest
import torch
from small import double, require_same

from ncf.config.compose import compose_train
from ncf.config.schema import GNCNConfig, LateralConfig, PrecisionConfig, SettleConfig
from ncf.errors import UserError
from ncf.network.gncn import GNCN
from ncf.network.langevin import Noise, noise_for

LINEAR = dict(activation="identity", prediction="identity", target="state", error_synapses="tied", likelihood="gaussian", derivative=True)


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_a_linear_gaussian_network_draws_from_its_posterior(temperature):
    """x = z W + N(0, 1), z ~ N(0, 1 / gamma): z given x is N(x W^T A, A), A = (W W^T + gamma)^-1; of Euler's steps the covariance
    is T A (1 - beta A^-1 / 2)^-1."""
    config = GNCNConfig(layers=[3], init_sd=0.6, settle=SettleConfig(steps=300, beta=0.1, gamma=0.5, temperature=temperature), **LINEAR)
    network = double(GNCN(config, 5, np.random.default_rng(0)))
    x = torch.from_numpy(np.random.default_rng(2).standard_normal((1, 5)))
    n = 8000
    z = network.settle_plainly(x.expand(n, 5), noise=Noise(np.arange(n), temperature)).z[1]
    W = network.parameters["W1"]
    inverse = W @ W.T + 0.5 * torch.eye(3)
    mean = x @ W.T @ torch.linalg.inv(inverse)
    covariance = temperature * torch.linalg.inv(inverse @ (torch.eye(3) - 0.05 * inverse))
    deviation = covariance.diagonal().sqrt()
    assert ((z.mean(0) - mean[0]).abs() < 4 * deviation / n**0.5).all()
    assert ((z.T.cov() - covariance).abs() < 5 * torch.outer(deviation, deviation) / n**0.5).all()


@pytest.mark.parametrize(
    "terms", [{}, dict(skips=True, lateral=LateralConfig(enabled=True, columns=[3, 4, 4]), precision=PrecisionConfig("whitened"))]
)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_fast_settling_under_noise_is_the_plain_one_whatever_the_threads(terms, steps):
    network = double(GNCN(GNCNConfig(layers=[12, 8, 16], init_sd=0.3, settle=SettleConfig(temperature=0.3), **terms), 10, np.random.default_rng(0)))
    x = torch.from_numpy((np.random.default_rng(1).random((37, 10)) < 0.4).astype(np.float64))
    seeds = np.arange(37)
    whole = network.settle(x, steps=steps, noise=Noise(seeds, 0.3))
    require_same(whole, network.settle_plainly(x, steps=steps, noise=Noise(seeds, 0.3)), 1e-11, 1e-9)
    part = network.settle(x[20:], steps=steps, noise=Noise(seeds, 0.3).of(slice(20, None)))
    for one, other in zip(part.z, whole.z):
        torch.testing.assert_close(one, other[20:])
    assert (whole.z[3] != 0).any() and (network.settle(x, steps=steps).z[1] - whole.z[1]).abs().max() > 0.01


def test_a_batchs_noise_is_a_function_of_its_stream_and_of_the_row():
    network = double(GNCN(GNCNConfig(layers=[4], settle=SettleConfig(temperature=2.0)), 5, np.random.default_rng(0)))
    whole = noise_for(network, np.random.default_rng(3), 10, slice(None))
    rank = noise_for(network, np.random.default_rng(3), 10, slice(6, None))
    assert np.array_equal(whole.seeds[6:], rank.seeds) and len(set(whole.seeds.tolist())) == 10 and whole.temperature == 2.0
    network.config.settle.temperature = 0.0
    assert noise_for(network, np.random.default_rng(3), 10, slice(None)) is None


@pytest.mark.parametrize("settle", [SettleConfig(temperature=1.0, solver="momentum"), SettleConfig(temperature=1.0, tolerance=0.1)])
def test_noise_is_for_steps_that_can_bear_it(settle):
    with pytest.raises(UserError, match="temperature=1"):
        GNCN(GNCNConfig(layers=[4], settle=settle), 5, np.random.default_rng(0))


@pytest.mark.parametrize("target", ["state", "activity"])
def test_samples_with_noise_at_every_layer_vary_as_the_precision_says(target):
    """z_1 = f_2 W_2 + N(0, Sigma_1) on an identity network: images have the covariance W_1^T Sigma_1 W_1."""
    terms = LINEAR | dict(target=target, precision=PrecisionConfig("whitened"))
    network = GNCN(GNCNConfig(layers=[4, 3], init_sd=0.6, **terms), 5, np.random.default_rng(0))
    network.sigma[1].copy_(torch.eye(4) * 0.5 + 0.3)
    code, n = torch.tensor([[1.0, -1.0, 0.5]]), 20000
    images = network.project(code.expand(n, 3), rng=np.random.default_rng(1))
    W = network.parameters["W1"]
    expected = W.T @ network.sigma[1] @ W
    deviation = expected.diagonal().sqrt()
    assert ((images.mean(0) - network.project(code)[0]).abs() < 4.5 * deviation / n**0.5).all()
    assert ((images.T.cov() - expected).abs() < 5 * torch.outer(deviation, deviation) / n**0.5).all()


def test_noise_of_a_sample_is_around_the_prediction():
    """z_1 = relu(f_2 W_2) + N(0, 1), and the activity is tanh of that, where the errors compare states; of activities relu(z_1) + N(0, 1)."""
    code, n, drawn = torch.tensor([[1.0, -1.0, 0.5]]), 4, []
    for target in ("state", "activity"):
        terms = dict(activation="tanh", prediction="relu", target=target, error_synapses="tied")
        network = GNCN(GNCNConfig(layers=[4, 3], init_sd=0.6, **terms), 5, np.random.default_rng(0))
        drive = code @ network.parameters["W2"]
        assert (drive < 0).any()
        noise = torch.from_numpy(np.random.default_rng(1).standard_normal((n, 4), dtype=np.float32))
        z, f = network.descend(code.expand(n, 3), rng=np.random.default_rng(1))
        expected = (drive.relu() + noise).tanh() if target == "state" else drive.relu() + noise
        torch.testing.assert_close(f[1], expected)
        drawn.append(f[1])
    assert not torch.equal(*drawn)


def test_what_is_seen_of_a_root_stays_as_it_is_given():
    """A label on top, known for some images only: noise moves the unknown ones alone."""
    layers = [f"model.populations.{z}={{size:6,columns:0}}" for z in ("z1", "z2", "z3")]
    config = compose_train("model=gncn_pdh_label", "model.settle.temperature=0.1", *layers).model
    network = GNCN(config, 9, np.random.default_rng(0), n_classes=3)
    x = torch.from_numpy((np.random.default_rng(1).random((4, 9)) < 0.5).astype(np.float32))
    y = torch.tensor([1, -1, 2, -1])
    for settled in (network.settle, network.settle_plainly):
        label = settled(x, y=y, steps=9, noise=Noise(np.arange(4), 0.1)).z[network.names.index("label")]
        assert torch.equal(label[y >= 0], torch.eye(3)[[1, 2]]) and (label[y < 0].abs() > 0.01).all()

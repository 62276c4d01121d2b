"""Sparse coding as shipped: its steps against autograd on the energy it descends, what it settles to against closed forms and a second implementation."""

import numpy as np
import pytest
import torch
from small import double

from ncf.config.compose import compose_train
from ncf.network.gncn import GNCN

PIXELS, UNITS = 12, 20


def sparse(name: str, *changes: str, units: int = UNITS) -> tuple[GNCN, torch.Tensor]:
    """The shipped model with few units, in float64, and real-valued images (8, 12)."""
    config = compose_train(f"model={name}", "dataset=natural_patches", f"model.layers=[{units}]", *changes)
    rng = np.random.default_rng(5)
    return double(GNCN(config.model, PIXELS, rng)), torch.from_numpy(3 * rng.standard_normal((8, PIXELS)))


def soft(a: torch.Tensor, threshold: float) -> torch.Tensor:
    """S(a) as the article writes it."""
    return (a - threshold).clamp(min=0) - (-a - threshold).clamp(min=0)


def energy(network: GNCN, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """|x - z W|^2 / 2 + strength log(1 + z^2) + gamma z^2 / 2, summed."""
    config = network.config
    fit = (x - z @ network.parameters["W1"]).square().sum() / 2
    return fit + config.prior.strength * torch.log1p(z.square()).sum() + config.settle.gamma * z.square().sum() / 2


def test_a_step_under_a_cauchy_prior_descends_its_energy():
    network, x = sparse("sparse_cauchy", "model.prior.strength=0.7", "model.settle.gamma=0.01")
    state = network.settle_plainly(x, steps=5)
    before, updates = state.z[1].clone(), network.local_updates(state)
    with torch.enable_grad():
        z, W = before.clone().requires_grad_(), network.parameters["W1"].requires_grad_()
        slope, slope_of_synapses = torch.autograd.grad(energy(network, x, z), (z, W))
        W.requires_grad_(False)
    network.step(state, beta=0.05)
    torch.testing.assert_close(state.z[1], before - 0.05 * slope)
    torch.testing.assert_close(updates["W1"], -slope_of_synapses / len(x))


def test_a_cauchy_network_settles_where_its_energy_has_no_slope():
    network, x = sparse("sparse_cauchy")
    z = network.settle(x, steps=20000).z[1]
    with torch.enable_grad():
        free = z.clone().requires_grad_()
        (slope,) = torch.autograd.grad(energy(network, x, free), free)
    assert slope.abs().max() < 1e-9 and z.abs().max() > 1


def test_a_step_with_a_soft_threshold():
    network, x = sparse("sparse_threshold", "model.threshold=0.4", "model.settle.gamma=0.2")
    W, z = network.parameters["W1"], torch.zeros(len(x), UNITS, dtype=x.dtype)
    state = network.settle(x, steps=40)
    for _ in range(39):  # the first moves nothing: at rest there is no error yet
        z = z + 0.05 * ((x - soft(z, 0.4) @ W) @ W.T - 0.2 * z)
    torch.testing.assert_close(state.z[1], z)
    torch.testing.assert_close(state.mu[0], soft(z, 0.4) @ W)
    assert 0 < (state.f[1] != 0).double().mean() < 1 and (state.f[1] < 0).any()


def test_a_thresholded_network_settles_to_the_elastic_net():
    """min over f of |x - f W|^2 / 2 + gamma lambda |f|_1 + gamma |f|^2 / 2, as scikit-learn finds it."""
    from sklearn.linear_model import ElasticNet

    network, x = sparse("sparse_threshold", "model.threshold=3", "model.settle.gamma=0.3")
    f = network.settle(x, steps=20000).f[1].numpy()
    l1, l2 = 0.3 * 3, 0.3
    net = ElasticNet(alpha=(l1 + l2) / PIXELS, l1_ratio=l1 / (l1 + l2), fit_intercept=False, tol=1e-14, max_iter=100_000)
    expected = np.stack([net.fit(network.parameters["W1"].numpy().T, row).coef_ for row in x.numpy()])
    np.testing.assert_allclose(f, expected, atol=1e-7)
    assert 0.1 < (expected != 0).mean() < 0.6


def test_one_unit_with_a_soft_threshold_in_closed_form():
    """w of norm 1: f = S(w . x) / (1 + gamma), with threshold gamma lambda."""
    network, x = sparse("sparse_threshold", "model.threshold=4", "model.settle.gamma=0.5", units=1)
    f = network.settle(x, steps=2000).f[1]
    torch.testing.assert_close(f, soft(x @ network.parameters["W1"].T, 0.5 * 4) / 1.5)
    assert (f == 0).any() and (f != 0).any()


@pytest.mark.parametrize("name", ["sparse_cauchy", "sparse_threshold"])
def test_every_field_keeps_norm_one(name):
    network, x = sparse(name)
    for _ in range(2):
        for synapses, update in zip(network.parameters.values(), network.local_updates(network.settle(x)).values()):
            synapses.add_(update)
        network.limit_norms()
    torch.testing.assert_close(network.fields.norm(dim=1), torch.ones(UNITS, dtype=x.dtype))
    assert (network.fields.norm(dim=0) - 1).abs().max() > 0.1

"""The equations against referees that are not vectors: autograd, closed forms, dense matrices, explicit inverses.

Longer than 300 lines, as the equations that it referees stand in one file.
"""

import numpy as np
import pytest
import torch
from small import double

from ncf.config.schema import ConstraintConfig, GNCNConfig, LateralConfig, PrecisionConfig, PriorConfig, SettleConfig
from ncf.network.activations import ACTIVATIONS
from ncf.network.gncn import GNCN, lateral
from ncf.network.precision import move_covariance, prepare_covariance, whitening
from ncf.network.priors import PRIOR_SLOPES
from ncf.network.state import State


def t1(**changes) -> GNCNConfig:
    base = dict(layers=[7, 6, 5], activation="tanh", prediction="identity", target="state", error_synapses="tied", derivative=True, init_sd=0.4)
    return GNCNConfig(**(base | changes))


def depth_of(network: GNCN) -> int:
    return len(network.config.layers)


def network_and_images(config: GNCNConfig, n_pixels: int = 9, batch: int = 4) -> tuple[GNCN, torch.Tensor]:
    rng = np.random.default_rng(3)
    network = double(GNCN(config, n_pixels, rng))
    return network, torch.from_numpy((rng.random((batch, n_pixels)) < 0.5).astype(np.float64))


def energy(network: GNCN, z: list[torch.Tensor], observed=None) -> torch.Tensor:
    """F = -log p(x | mu_0) + sum of r_l^T Sigma_l^-1 r_l / 2 - log prior, written from the model, not from the code under test."""
    config = network.config
    phi = {"tanh": torch.tanh, "relu": torch.relu, "identity": lambda v: v, "sigmoid": torch.sigmoid}[config.activation]
    drive = phi(z[1]) @ network.parameters["W1"]
    weight = 1.0 if observed is None else observed
    if config.likelihood == "bernoulli":
        total = (weight * torch.nn.functional.binary_cross_entropy_with_logits(drive, z[0], reduction="none")).sum()
    else:
        total = (weight * (z[0] - drive) ** 2).sum() / 2
    for l in range(1, depth_of(network)):
        r = z[l] - phi(z[l + 1]) @ network.parameters[f"W{l + 1}"]
        inverse = torch.linalg.inv(network.sigma[l]) if l in network.sigma else torch.eye(r.shape[1], dtype=r.dtype)
        total = total + ((r @ inverse) * r).sum() / 2
    for z_l in z[1:]:
        total = total + config.settle.gamma * (z_l**2).sum() / 2
        if config.prior.kind == "laplace":
            total = total + config.prior.strength * z_l.abs().sum()
        if config.prior.kind == "gaussian":
            total = total + config.prior.strength * (z_l**2).sum() / 2
        if config.prior.kind == "cauchy":
            total = total + config.prior.strength * torch.log1p(z_l**2).sum()
    return total


T1_VARIANTS = {
    "plain": t1(),
    "gaussian likelihood": t1(likelihood="gaussian"),
    "laplace prior": t1(prior=PriorConfig(kind="laplace", strength=0.3)),
    "gaussian prior": t1(prior=PriorConfig(kind="gaussian", strength=0.3)),
    "cauchy prior": t1(prior=PriorConfig(kind="cauchy", strength=0.3)),
    "published precision": t1(precision=PrecisionConfig(kind="published", rate=0.5)),
    "sigmoid": t1(activation="sigmoid"),
    "one layer": t1(layers=[7]),
    "five layers": t1(layers=[7, 6, 5, 4, 3]),
}


@pytest.mark.parametrize("config", T1_VARIANTS.values(), ids=T1_VARIANTS)
@pytest.mark.parametrize("masked", [False, True], ids=["seen", "masked"])
def test_tied_networks_descend_their_energy(config, masked):
    """State change = -beta dF/dz, weight change = -dF/dW, both by autograd; with unseen pixels left out of F."""
    network, x = network_and_images(config)
    observed = (torch.arange(9) % 3 > 0).double() if masked else None
    if network.sigma:  # a covariance that is no identity
        network.adapt_precision(network.local_updates(network.settle(x)))
    state = network.settle(x, observed, steps=6)
    before = [z.clone() for z in state.z]
    with torch.enable_grad():
        leaves = [before[0]] + [z.clone().requires_grad_() for z in before[1:]]
        weights = {name: w.requires_grad_() for name, w in network.parameters.items()}
        F = energy(network, leaves, observed)
        slopes = torch.autograd.grad(F, leaves[1:] + list(weights.values()))
    for w in weights.values():
        w.requires_grad_(False)
    updates = network.local_updates(state)
    network.move(state, config.settle.beta)
    for l in range(1, depth_of(network) + 1):
        change = (state.z[l] - before[l]) / config.settle.beta
        torch.testing.assert_close(change, -slopes[l - 1], atol=1e-12, rtol=1e-9)
    for name, slope in zip(weights, slopes[depth_of(network) :]):
        torch.testing.assert_close(updates[name], -slope / len(x), atol=1e-12, rtol=1e-9)


def test_one_linear_layer_settles_by_its_closed_form():
    """Linear-Gaussian, one layer: z_K = sum over k < K-1 of (I - beta (W W^T + gamma))^k beta W x, from rest."""
    config = t1(layers=[5], activation="identity", likelihood="gaussian", settle=SettleConfig(steps=30, beta=0.05, gamma=0.02))
    network, x = network_and_images(config)
    W = network.parameters["W1"]
    beta, gamma = 0.05, 0.02
    A = torch.eye(5, dtype=torch.float64) - beta * (W @ W.T + gamma * torch.eye(5, dtype=torch.float64))
    # the first step sees no error, the others e_0 = x - z W
    expected = sum(beta * (x @ W.T) @ torch.linalg.matrix_power(A, k) for k in range(29))
    torch.testing.assert_close(network.settle(x).z[1], expected, atol=1e-12, rtol=1e-9)


def test_one_linear_layer_converges_to_the_ridge_solution():
    config = t1(layers=[5], activation="identity", likelihood="gaussian", settle=SettleConfig(steps=4000, beta=0.2, gamma=0.1))
    network, x = network_and_images(config)
    W = network.parameters["W1"]
    expected = x @ W.T @ torch.linalg.inv(W @ W.T + 0.1 * torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(network.settle(x).z[1], expected, atol=1e-10, rtol=1e-8)


def test_first_step_moves_only_the_image_prediction():
    network, x = network_and_images(t1())
    state = network.settle(x, steps=1)
    assert all((z == 0).all() for z in state.z[1:])
    assert (state.mu[0] == 0.5).all()
    for k in (2, 3, 4):
        moved = [bool((z != 0).any()) for z in network.settle(x, steps=k).z[1:]]
        assert moved == [l < k for l in (1, 2, 3)]


@pytest.mark.parametrize("column", [1, 2, 3, 6])
def test_lateral_is_the_dense_block_matrix(column):
    rng = np.random.default_rng(0)
    f = torch.from_numpy(rng.random((5, 6)))
    V = torch.zeros(6, 6, dtype=torch.float64)
    for i in range(6):
        for j in range(6):
            if i == j:
                V[i, j] = -0.15
            elif i // column == j // column:
                V[i, j] = 0.1
    torch.testing.assert_close(lateral(f, column, 0.15, 0.1), f @ V, atol=1e-15, rtol=1e-12)


def test_lateral_inhibits_the_neighbours_and_excites_the_unit_itself():
    config = GNCNConfig(layers=[6], error_synapses="learned", lateral=LateralConfig(enabled=True, columns=[3]))
    network, x = network_and_images(config)
    network.parameters["E1"].zero_()
    state = network.rest(x)
    state.z[1][:, 1] = state.f[1][:, 1] = 1.0
    network.move(state, config.settle.beta)
    beta, gamma = config.settle.beta, config.settle.gamma
    expected = torch.tensor([-0.1 * beta, 1 + beta * (0.15 - gamma), -0.1 * beta, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(state.z[1], expected.expand(4, 6), atol=1e-15, rtol=1e-12)


def test_whitening_equals_an_explicit_inverse():
    """|r Q|^2 = r^T Sigma^-1 r with Sigma the symmetric matrix of the lower triangle, after diagonal and jitter."""
    rng = np.random.default_rng(1)
    sigma = torch.from_numpy(np.eye(6) * 0.9 + rng.uniform(-0.1, 0.1, (6, 6)))
    given = sigma.clone()
    prepare_covariance(sigma)
    q = whitening(torch.linalg.cholesky(sigma))
    given.diagonal().clamp_(min=1.0)
    torch.testing.assert_close(sigma, given + 0.00025)
    symmetric = sigma.tril() + sigma.tril(-1).T
    r = torch.from_numpy(rng.normal(size=(3, 6)))
    torch.testing.assert_close((r @ q).square().sum(1), ((r @ torch.linalg.inv(symmetric)) * r).sum(1), atol=1e-12, rtol=1e-9)
    assert (q.tril(-1) == 0).all()


def test_published_precision_is_the_inverse_and_learns_the_variances():
    """Sigma tends to the residuals' covariance, off its diagonal shrunk, and stays positive definite; Q = Sigma^-1."""
    rng = np.random.default_rng(2)
    mix = rng.normal(size=(6, 6))
    r = torch.from_numpy(rng.normal(size=(4000, 6)) @ mix)
    sigma = torch.eye(6, dtype=torch.float64)
    for _ in range(400):
        move_covariance(sigma, r.T @ r / len(r), rate=0.05, shrinkage=0.25, floor=0.1)
        assert torch.linalg.eigvalsh(sigma).min() > 0
    sample = r.T @ r / len(r)
    expected = 0.75 * sample + 0.25 * torch.diag(sample.diagonal())
    torch.testing.assert_close(sigma, expected, atol=1e-6, rtol=1e-6)

    network, x = network_and_images(t1(precision=PrecisionConfig(kind="published", rate=0.5)))
    network.adapt_precision(network.local_updates(network.settle(x)))
    for l in (1, 2):
        torch.testing.assert_close(network.q[l] @ network.sigma[l], torch.eye(network.sizes[l], dtype=torch.float64), atol=1e-9, rtol=0)


def test_published_precision_moves_along_the_likelihood_gradient():
    """The first-order change of the mean Gaussian log likelihood under the rule is not negative (natural gradient)."""
    rng = np.random.default_rng(5)
    r = torch.from_numpy(rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)))
    sigma = torch.eye(4, dtype=torch.float64) * 2
    with torch.enable_grad():
        leaf = sigma.clone().requires_grad_()
        likelihood = -(((r @ torch.linalg.inv(leaf)) * r).sum() / len(r) + torch.logdet(leaf)) / 2
        (slope,) = torch.autograd.grad(likelihood, leaf)
    moved = sigma.clone()
    move_covariance(moved, r.T @ r / len(r), rate=1e-3, shrinkage=0.0, floor=1e-6)
    assert ((moved - sigma) * slope).sum() > 0
    torch.testing.assert_close(moved - sigma, 1e-3 * 2 * sigma @ slope @ sigma, atol=1e-9, rtol=1e-6)


def test_floor_holds_the_variances_up():
    sigma = torch.eye(3, dtype=torch.float64)
    r = torch.full((10, 3), 1e-3, dtype=torch.float64)
    for _ in range(500):
        move_covariance(sigma, r.T @ r / len(r), rate=0.05, shrinkage=0.1, floor=0.5)
    torch.testing.assert_close(sigma.diagonal(), torch.full((3,), 0.5, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["laplace", "gaussian", "cauchy"])
def test_priors_are_slopes_of_their_log_densities(kind):
    density = {"laplace": lambda z: -z.abs(), "gaussian": lambda z: -z * z / 2, "cauchy": lambda z: -torch.log1p(z * z)}[kind]
    with torch.enable_grad():
        z = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(density(z).sum(), z)
    torch.testing.assert_close(PRIOR_SLOPES[kind](z.detach(), out=torch.empty_like(z.detach())), -slope)


def soft(z: torch.Tensor) -> torch.Tensor:
    return (z - 1).clamp(min=0) - (-z - 1).clamp(min=0)


@pytest.mark.parametrize("name", [name for name, phi in ACTIVATIONS.items() if phi.slope])
def test_activation_slopes_are_their_derivatives(name):
    with torch.enable_grad():
        z = torch.tensor([-2.0, -0.5, 0.25, 3.0], dtype=torch.float64, requires_grad=True)
        f = {"identity": lambda v: v * 1, "relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "threshold": soft}[name](z)
        (slope,) = torch.autograd.grad(f.sum(), z)
    value = ACTIVATIONS[name].value(z.detach(), out=torch.empty_like(z))
    torch.testing.assert_close(value, f.detach())
    torch.testing.assert_close(ACTIVATIONS[name].slope(z.detach(), value), slope)


def test_relu_has_slope_one_at_rest():
    zero = torch.zeros(1)
    assert ACTIVATIONS["relu"].slope(zero, zero).item() == 1


def test_learned_error_synapses_get_the_transposed_update():
    config = GNCNConfig(layers=[7, 6], skips=True, error_synapses="learned", error_rate=0.5)
    network, x = network_and_images(config)
    state = network.settle(x, steps=8)
    updates = network.local_updates(state)
    for l in (1, 2):
        torch.testing.assert_close(updates[f"W{l}"], torch.einsum("bi,bj->ij", state.f[l], state.e[l - 1]) / 4)
        torch.testing.assert_close(updates[f"E{l}"], 0.5 * updates[f"W{l}"].T)
    torch.testing.assert_close(updates["M2"], torch.einsum("bi,bj->ij", state.f[2], state.e[0]) / 4)


def test_skips_reach_two_layers_down_in_prediction_and_projection():
    network, x = network_and_images(GNCNConfig(layers=[7, 6, 5], skips=True, activation="tanh", prediction="tanh", init_sd=0.4))
    P = network.parameters
    f3 = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 5)))
    f2 = torch.tanh(f3 @ P["W3"])
    f1 = torch.tanh(f2 @ P["W2"] + f3 @ P["M3"])
    torch.testing.assert_close(network.project(f3), torch.sigmoid(f1 @ P["W1"] + f2 @ P["M2"]))
    state = network.settle(x)
    torch.testing.assert_close(state.mu[1], torch.tanh(state.f[2] @ P["W2"] + state.f[3] @ P["M3"]))
    torch.testing.assert_close(state.mu[2], torch.tanh(state.f[3] @ P["W3"]))


def test_unseen_pixels_do_not_matter():
    network, x = network_and_images(t1())
    observed = torch.ones(9, dtype=torch.float64)
    observed[4:] = 0
    other = x.clone()
    other[:, 4:] = 1 - other[:, 4:]
    torch.testing.assert_close(network.settle(x, observed).mu[0], network.settle(other, observed).mu[0], atol=0, rtol=0)
    assert not torch.equal(network.settle(x).mu[0], network.settle(other).mu[0])


@pytest.mark.parametrize("axis", ["into", "out_of"])
@pytest.mark.parametrize("kind", ["limit", "unit", "none"])
def test_norms_of_columns(kind, axis):
    config = t1(init_sd=0.4, constraint=ConstraintConfig(kind="none"))
    network, _ = network_and_images(config)
    network.config.constraint = ConstraintConfig(kind=kind, radius=0.9, axis=axis)
    network.parameters["W1"][:, 0] *= 5
    network.parameters["W1"][1] *= 0.01
    before = {name: w.clone() for name, w in network.parameters.items()}
    network.limit_norms()
    for name, w in network.parameters.items():
        dim = 0 if axis == "into" else 1
        was, now = before[name].norm(dim=dim), w.norm(dim=dim)
        expected = {"limit": was.clamp(max=0.9), "unit": torch.full_like(was, 0.9), "none": was}[kind]
        torch.testing.assert_close(now, expected)


@pytest.mark.parametrize("kind", ["limit", "unit", "none"])
def test_whitened_sigma_is_limited_to_one_whatever_the_synapses_are(kind):
    network, _ = network_and_images(t1(precision=PrecisionConfig("whitened"), constraint=ConstraintConfig(kind=kind, radius=0.5, axis="out_of")))
    for _ in range(3):
        network.adapt_precision()
        network.limit_norms()
        assert network.parameters["Sigma1"].norm(dim=0).max() == pytest.approx(1.0)


@pytest.mark.parametrize("variances", [[0.2, 3.0, 1.0], [0.01, 0.01, 0.01], [5.0, 5.0, 5.0]])
def test_no_eigenvalue_of_the_published_covariance_falls_below_shrinkage_times_floor(variances):
    rng = np.random.default_rng(0)
    common = rng.normal(size=(500, 1))  # residuals in nearly full correlation: the worst case
    r = torch.from_numpy((common + 1e-3 * rng.normal(size=(500, 3))) * np.sqrt(variances))
    sigma = torch.eye(3, dtype=torch.float64)
    for _ in range(300):
        move_covariance(sigma, r.T @ r / len(r), rate=0.1, shrinkage=0.2, floor=0.6)
    assert torch.linalg.eigvalsh(sigma).min() >= 0.2 * 0.6 * 0.999


def test_settling_leaves_images_synapses_and_other_samples_alone():
    network, x = network_and_images(
        GNCNConfig(layers=[6, 6], skips=True, lateral=LateralConfig(enabled=True, columns=[3]), precision=PrecisionConfig("whitened"))
    )
    image, weights = x.clone(), {name: w.clone() for name, w in network.tensors().items()}
    state = network.settle(x)
    assert torch.equal(x, image) and isinstance(state, State)
    for name, w in network.tensors().items():
        assert torch.equal(w, weights[name])
    torch.testing.assert_close(network.settle(x[:1]).z[2], state.z[2][:1], atol=1e-12, rtol=1e-9)
    assert not any(t.requires_grad for t in (*state.z, *state.f, *state.mu, *state.e))


def test_state_round_trips_through_tensors():
    config = GNCNConfig(layers=[6, 6], skips=True, precision=PrecisionConfig("whitened"))
    one, x = network_and_images(config)
    other = double(GNCN(config, 9, np.random.default_rng(99)))
    other.load_tensors(one.tensors())
    assert torch.equal(one.settle(x).z[2], other.settle(x).z[2])
    with pytest.raises(ValueError, match="W1 has shape"):
        other.load_tensors(one.tensors() | {"W1": torch.zeros(2, 2)})
    with pytest.raises(ValueError, match="holds"):
        other.load_tensors({})

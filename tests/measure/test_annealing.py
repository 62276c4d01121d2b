"""Annealed importance sampling against exact sums and closed forms, its moves against the densities they must keep."""

import numpy as np
import pytest
import torch
from small import atoms, exact_over_atoms, images, linear_gaussian, tiny_network

from ncf.config.schema import AnnealingConfig, GNCNConfig
from ncf.measure import annealing
from ncf.measure.annealing import Chains, Sampler, anneal, estimate, temperatures
from ncf.measure.density import base, likelihood_terms, monte_carlo
from ncf.network.gncn import GNCN
from ncf.network.likelihoods import LIKELIHOODS
from ncf.network.mixture import Mixture


def test_temperatures_rise_from_prior_to_posterior():
    betas = temperatures(50)
    assert betas[0] == 0 and betas[-1] == 1 and all(a < b for a, b in zip(betas, betas[1:]))
    assert betas[25] == pytest.approx(0.5) and betas[1] < 0.01


def test_annealing_finds_the_exact_sum_over_atoms():
    """Without any spread in the components, only the jumps between them can find the posterior."""
    network, prior, x = tiny_network(), atoms(), images()
    found, bracket = anneal(network, prior, x, AnnealingConfig(chains=200, steps=50, leapfrogs=1))
    torch.testing.assert_close(found.log_p, exact_over_atoms(network, prior, x), atol=0.15, rtol=0)
    assert abs((found.log_p - exact_over_atoms(network, prior, x)).mean()) < 4 * found.sampling_stderr
    assert bracket.upper == pytest.approx(bracket.lower, abs=0.1) and bracket.images == 20
    assert 0 < bracket.lower_stderr < 0.05 and 0 < bracket.upper_stderr < 0.05
    assert abs(bracket.upper - bracket.lower) < 4 * (bracket.lower_stderr**2 + bracket.upper_stderr**2) ** 0.5


def test_annealing_finds_the_closed_form_of_a_linear_gaussian_decoder():
    network, prior, x, exact = linear_gaussian()
    x, exact = 2 * x, closed_form(network, prior, 2 * x)  # far from the prior, where plain draws miss
    found, bracket = anneal(network, prior, x, AnnealingConfig(chains=50, steps=40, leapfrogs=3))
    plain = monte_carlo(network, prior, x, 50, np.random.default_rng(0))
    assert abs((found.log_p - exact).mean()) < 4 * found.sampling_stderr < 0.2
    assert (plain.log_p - exact).abs().mean() > 2 * (found.log_p - exact).abs().mean()
    assert found.effective_samples.median() > 20


def test_annealing_finds_the_integral_over_a_plane():
    """Two top units under two components, relu on the way down, binary pixels: log p(x), and the posterior's divergence from the prior, by the sum over
    a fine grid of the plane."""
    network = GNCN(GNCNConfig(layers=[5, 2], activation="relu"), 6, np.random.default_rng(2))
    for name in ("W1", "W2"):
        network.parameters[name].mul_(2.5)  # so that images say something of the top
    factors = torch.tensor([[[0.8, 0.0], [0.5, 0.4]], [[1.2, 0.0], [-0.6, 0.7]]])
    prior = Mixture(torch.tensor([0.35, 0.65]), torch.tensor([[-1.0, 0.5], [1.5, -0.5]]), factors)
    x = (torch.rand(8, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    side = torch.linspace(-8, 8, 801)
    plane = torch.cartesian_prod(side, side)
    a, b = likelihood_terms(network, plane)
    fits = (x @ a.T + b).double() + base(network, x)[:, None]
    joint = fits + prior.log_density(plane) + 2 * np.log(16 / 800)
    exact = joint.logsumexp(1)
    divergence = ((joint - exact[:, None]).exp() * fits).sum(1) - exact
    found, bracket = anneal(network, prior, x, AnnealingConfig(chains=200, steps=60, leapfrogs=3))
    torch.testing.assert_close(prior.log_density(plane).logsumexp(0) + 2 * np.log(16 / 800), torch.zeros(()).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.log_p, exact, atol=0.1, rtol=0)
    torch.testing.assert_close(found.divergence, divergence, atol=0.15, rtol=0)
    assert abs((found.log_p - exact).mean()) < 4 * found.sampling_stderr < 0.1 and divergence.max() > 0.5
    assert bracket.upper - bracket.lower < 0.1


def closed_form(network, prior: Mixture, x: torch.Tensor) -> torch.Tensor:
    W = network.parameters["W1"].double()
    parts = []
    for weight, mean, factor in zip(prior.weights.double(), prior.means.double(), prior.factors.double()):
        covariance = W.T @ factor @ factor.T @ W + torch.eye(6, dtype=torch.float64)
        parts.append(weight.log() + torch.distributions.MultivariateNormal(mean @ W, covariance).log_prob(x.double()))
    return torch.stack(parts).logsumexp(0)


@pytest.mark.parametrize("half", [False, True])
def test_weights_are_right_on_average_on_the_way_up_and_down(half):
    """E[w] = p(x) from the prior, E[1 / w] = 1 / p(x) from exact draws of the posterior, however few the temperatures and rough the forces."""
    network, prior, _, _ = linear_gaussian()
    sampler = Sampler(network, prior, 3, np.random.default_rng(0), half)
    drawn = sampler.simulate(5)
    exact = closed_form(network, prior, drawn.x) - base(network, drawn.x)
    betas, steps = temperatures(8), [0.4] * 8
    up = sampler.forward(sampler.from_prior(drawn.x.repeat_interleave(10_000, 0)), betas, steps).view(5, -1)
    torch.testing.assert_close(up.logsumexp(1) - np.log(10_000), exact, atol=0.1, rtol=0)
    assert (up.mean(1) < exact).all()  # from below for a single chain

    fresh = sampler.simulate(10_000)  # the posterior of many images, each with its own exact draw
    exact = closed_form(network, prior, fresh.x) - base(network, fresh.x)
    down = sampler.backward(fresh, betas, steps)
    assert (exact - down).exp().mean().item() == pytest.approx(1, abs=0.1)
    assert down.mean() > exact.mean()  # from above


@pytest.mark.parametrize(("kind", "half"), [("glide", False), ("glide", True), ("jump", False), ("move", False), ("move", True)])
@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_moves_keep_the_density_they_are_for(kind, half, beta):
    """Exact draws of p_beta, moved ten times, have the same moments; for a linear-Gaussian decoder p_beta is known."""
    network, prior, _, _ = linear_gaussian()
    x = torch.full((1, 6), 0.8)
    n = 20_000
    component, noise, weights = exact_draws(network, prior, x, beta, n)
    sampler = Sampler(network, prior, 3, np.random.default_rng(1), half)
    chains = Chains(x.expand(n, -1), component, noise, sampler.fit(x.expand(n, -1), component, noise))
    for _ in range(10):
        getattr(sampler, kind)(chains, beta, *(() if kind == "jump" else (0.6,)))
    torch.testing.assert_close(chains.fit, sampler.fit(chains.x, chains.component, chains.noise), atol=1e-3, rtol=0)
    assert (chains.component == 0).double().mean().item() == pytest.approx(weights[0].item(), abs=0.03)
    for c in range(2):
        was, now = noise[component == c], chains.noise[chains.component == c]
        chance = 5 * (1 / len(was) + 1 / len(now)) ** 0.5  # five standard errors of a mean; variances here are below 1
        torch.testing.assert_close(now.mean(0), was.mean(0), atol=chance, rtol=0)
        torch.testing.assert_close(now.T.cov(), was.T.cov(), atol=chance * 2**0.5, rtol=0)
    if kind != "jump":
        assert (chains.noise != noise).any(1).double().mean() > 0.9
    if kind != "glide":
        assert (chains.component != component).double().mean() > 0.05


def exact_draws(network, prior: Mixture, x: torch.Tensor, beta: float, n: int):
    """p_beta(c, u | x) of a linear-Gaussian decoder: u is Gaussian given c, with precision I + beta G G^T, G = A_c^T W."""
    W = network.parameters["W1"].double()
    logs, posteriors = [], []
    for weight, mean, factor in zip(prior.weights.double(), prior.means.double(), prior.factors.double()):
        G, r = factor.T @ W, (x.double() - mean @ W)[0]
        precision = torch.eye(3, dtype=torch.float64) + beta * G @ G.T
        centre = torch.linalg.solve(precision, beta * G @ r)
        logs.append(weight.log() - beta * r @ r / 2 + centre @ precision @ centre / 2 - torch.logdet(precision) / 2)
        posteriors.append((centre, torch.linalg.inv(precision)))
    weights = torch.stack(logs).softmax(0)
    rng = np.random.default_rng(9)
    component = torch.from_numpy(rng.choice(2, size=n, p=weights.numpy()))
    draws = [torch.from_numpy(rng.multivariate_normal(m.numpy(), C.numpy(), n)) for m, C in posteriors]
    noise = torch.where((component == 0)[:, None], draws[0], draws[1]).float()
    return component, noise, weights


@pytest.mark.parametrize(("half", "close"), [(False, 1e-5), (True, 0.03)])
def test_the_force_is_the_gradient_of_the_fit_by_autograd(half, close):
    network, x = tiny_network(), images(40)
    prior = Mixture(torch.ones(2) / 2, torch.ones(2, 3), torch.randn(2, 3, 3, generator=torch.manual_seed(0)))
    sampler = Sampler(network, prior, 1, np.random.default_rng(0), half)
    component, noise = prior.draw(40, np.random.default_rng(0))
    u = noise.clone().requires_grad_()
    with torch.enable_grad():
        f_top = prior.means[component] + (prior.factors[component] @ u[:, :, None])[:, :, 0]
        a, b = likelihood_terms(network, f_top)
        (expected,) = torch.autograd.grad(((x * a).sum(1) + b).sum(), u)
    found = sampler.force(x, component, noise)
    assert found.dtype == torch.float32 and (found - expected).norm() < close * expected.norm()
    assert torch.equal(found, sampler.force(x, component, noise))  # by the noise alone, whatever was calculated before


def test_what_is_accepted_is_decided_in_full_precision_however_rough_the_forces():
    network, x = tiny_network(), images(40)
    prior = Mixture(torch.ones(2) / 2, torch.ones(2, 3), torch.randn(2, 3, 3, generator=torch.manual_seed(0)))
    exact, rough = (Sampler(network, prior, 1, np.random.default_rng(0), half) for half in (False, True))
    component, noise = prior.draw(40, np.random.default_rng(0))
    assert torch.equal(rough.fit(x, component, noise), exact.fit(x, component, noise))
    assert not torch.equal(rough.force(x, component, noise), exact.force(x, component, noise))
    assert rough.prior is prior


@pytest.mark.parametrize("dtype, worth_it, half", [("float32", 0, False), ("bf16", 0, True), ("bf16", 10**12, False)])
def test_the_models_type_of_products_and_their_number_choose_that_of_the_forces(dtype, worth_it, half, monkeypatch):
    """And the estimate is right by either."""
    asked = []

    class Watched(Sampler):
        def __init__(self, network, prior, leapfrogs, rng, half):
            asked.append((half, prior.factors.dtype))
            super().__init__(network, prior, leapfrogs, rng, half)

    monkeypatch.setattr(annealing, "Sampler", Watched)
    monkeypatch.setattr(annealing, "WORTH_IT", worth_it)
    network, prior, x, exact = linear_gaussian()
    network.force_dtype = {"float32": torch.float32, "bf16": torch.bfloat16}[dtype]
    found, _ = anneal(network, prior, x, AnnealingConfig(chains=50, steps=40, leapfrogs=3))
    assert asked == [(half, torch.float32)] and found.forces == ("bf16" if half else "float32")
    assert abs((found.log_p - exact).mean()) < 4 * found.sampling_stderr < 0.2


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "categorical"])
def test_a_likelihoods_slope_is_that_of_its_terms(likelihood):
    """Where Bernoulli probabilities are clipped, the slope is none, as the clipped likelihood's."""
    drive = torch.randn(5, 4, generator=torch.manual_seed(1)) * 8
    drive[0, 0], drive[1, 1], drive[2, 0] = 40.0, -40.0, 40.0
    x = torch.eye(4)[torch.tensor([0, 1, 2, 3, 1])]
    drive.requires_grad_()
    a, b = LIKELIHOODS[likelihood].terms(drive)
    (expected,) = torch.autograd.grad((x * a).sum() + b.sum(), drive)
    torch.testing.assert_close(LIKELIHOODS[likelihood].slope(x, drive.detach()), expected, atol=1e-6, rtol=1e-5)
    assert likelihood != "bernoulli" or expected[1, 1] == expected[2, 0] == 0


def test_the_force_climbs_the_fit():
    network, prior, x = tiny_network(), Mixture(torch.ones(1), torch.ones(1, 3), torch.eye(3)[None] * 0.7), images(2)
    sampler = Sampler(network, prior, 1, np.random.default_rng(0))
    component, noise = prior.draw(2, np.random.default_rng(0))
    slope = sampler.force(x, component, noise)
    for j in range(3):
        step = torch.zeros(1, 3)
        step[0, j] = 1e-2
        rise = (sampler.fit(x, component, noise + step) - sampler.fit(x, component, noise - step)) / 2e-2
        torch.testing.assert_close(slope[:, j], rise, atol=2e-2, rtol=2e-2)


def test_few_temperatures_leave_a_gap_that_more_close():
    network, prior, x, _ = linear_gaussian()
    network.parameters["W1"] *= 4
    gaps = []
    for steps in (2, 20, 200):
        _, bracket = anneal(network, prior, x, AnnealingConfig(chains=4, steps=steps, leapfrogs=3))
        gaps.append(bracket.upper - bracket.lower)
    assert gaps[0] > gaps[1] > 2 * gaps[2] and -0.1 < gaps[2] < 1.5


def test_the_chains_standard_error_and_effective_number():
    same = estimate(torch.full((3, 4), -2.0, dtype=torch.float64), torch.zeros(3))
    assert same.log_p.tolist() == pytest.approx([-2.0] * 3) and same.effective_samples.tolist() == pytest.approx([4.0] * 3)
    assert same.sampling_stderr == pytest.approx(0, abs=1e-7)
    one = estimate(torch.tensor([[0.0, -800, -800, -800]], dtype=torch.float64), torch.zeros(1))
    assert one.effective_samples.item() == pytest.approx(1) and one.sampling_stderr == pytest.approx(1)
    alone = estimate(torch.tensor([[-3.0], [-2.0]], dtype=torch.float64), torch.zeros(2))
    assert alone.log_p.tolist() == [-3.0, -2.0] and np.isnan(alone.sampling_stderr)  # a single chain tells nothing of its spread
    rng = np.random.default_rng(0)
    runs = [estimate(torch.from_numpy(rng.normal(0, 0.3, (5, 16))), torch.zeros(5)) for _ in range(400)]
    spread = np.std([run.log_p.mean().item() for run in runs])
    assert np.mean([run.sampling_stderr for run in runs]) == pytest.approx(spread, rel=0.15)


def test_the_same_seed_gives_the_same_figure():
    network, prior, x, _ = linear_gaussian()
    config = AnnealingConfig(chains=3, steps=5, leapfrogs=2)
    one, other = anneal(network, prior, x, config), anneal(network, prior, x, config)
    assert torch.equal(one[0].log_p, other[0].log_p) and one[1] == other[1]

"""log p(x): the mixture and Monte Carlo against exact sums, closed forms and the released recipe written out."""

from math import log, pi

import numpy as np
import pytest
import torch
from small import atoms, exact_over_atoms, images, linear_gaussian, tiny_network

from ncf.measure.density import base, likelihood_terms, monte_carlo
from ncf.network.likelihoods import CLIP
from ncf.network.mixture import Mixture, by_group, fit_mixture

# --- the mixture ------------------------------------------------------------------------------------------------------


def test_draws_have_the_mixtures_weights_means_and_covariances():
    _, prior, _, _ = linear_gaussian()
    component, noise = prior.draw(200_000, np.random.default_rng(0))
    f = prior.place(component, noise).double()
    for c in range(2):
        mine = f[component == c]
        assert len(mine) / len(f) == pytest.approx(prior.weights[c].item(), abs=0.005)  # the released sampler's would be near 1/2
        torch.testing.assert_close(mine.mean(0), prior.means[c].double(), atol=0.02, rtol=0)
        torch.testing.assert_close(mine.T.cov(), (prior.factors[c] @ prior.factors[c].T).double(), atol=0.03, rtol=0.03)


def test_products_by_group_are_the_products_row_by_row():
    rng = np.random.default_rng(0)
    rows, matrices = torch.from_numpy(rng.normal(size=(20, 3))), torch.from_numpy(rng.normal(size=(6, 3, 3)))
    group = torch.from_numpy(rng.integers(0, 5, 20))
    expected = torch.stack([row @ matrices[g] for row, g in zip(rows, group)])
    torch.testing.assert_close(by_group(group, rows, matrices), expected)


def test_the_noise_gradient_is_pulled_back_through_the_placement():
    _, prior, _, _ = linear_gaussian()
    component, noise = prior.draw(7, np.random.default_rng(0))
    slope = torch.from_numpy(np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32))
    noise.requires_grad_()
    with torch.enable_grad():
        (expected,) = torch.autograd.grad((prior.place(component, noise) * slope).sum(), noise)
    torch.testing.assert_close(prior.pull(component, slope), expected)


def test_a_fitted_mixture_finds_separated_groups_with_their_weights():
    rng = np.random.default_rng(0)
    groups = [rng.normal(0, 0.3, (n, 2)) + at for n, at in ((600, (-3, 0)), (300, (3, 0)), (100, (0, 4)))]
    latents = torch.from_numpy(np.concatenate(groups).astype(np.float32))
    mixture = fit_mixture(latents, most_components=3, floor=1e-6, seed=0)
    order = mixture.weights.argsort(descending=True)
    torch.testing.assert_close(mixture.weights[order], torch.tensor([0.6, 0.3, 0.1]), atol=1e-3, rtol=0)
    torch.testing.assert_close(mixture.means[order], torch.tensor([[-3.0, 0], [3, 0], [0, 4]]), atol=0.1, rtol=0)
    torch.testing.assert_close(mixture.factors[order[0]] @ mixture.factors[order[0]].T, 0.09 * torch.eye(2), atol=0.02, rtol=0)


@pytest.mark.parametrize("n, expected", [(1_250, 5), (480, 2), (479, 1), (30, 1)])
def test_components_keep_the_released_recipes_latents_each(n, expected):
    latents = torch.from_numpy(np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32))
    assert len(fit_mixture(latents, most_components=75, floor=1e-6, seed=0).weights) == expected


# --- the likelihood ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_likelihood_terms_are_the_log_likelihood(likelihood):
    network, x = tiny_network(likelihood), images()
    f = torch.from_numpy(np.random.default_rng(0).normal(0, 3, (8, 3)).astype(np.float32))
    a, b = likelihood_terms(network, f)
    mu = network.project(f).double()
    if likelihood == "bernoulli":
        expected = torch.distributions.Bernoulli(mu.clamp(CLIP, 1 - CLIP)).log_prob(x.double()).sum(1)
    else:
        expected = torch.distributions.Normal(mu, 1.0).log_prob(x.double()).sum(1)
    torch.testing.assert_close((x * a).sum(1) + b + base(network, x), expected, atol=1e-4, rtol=1e-5)


def test_probabilities_are_clipped():
    """A drive far beyond the clip counts as probability 1 - 1e-6, so a wrong pixel costs ln 1e-6."""
    network = tiny_network()
    network.drive = lambda f: torch.full((len(f), 6), 500.0)
    a, b = likelihood_terms(network, torch.zeros(1, 3))
    assert (torch.zeros(1, 6) * a).sum() + b == pytest.approx(6 * log(CLIP), rel=1e-5)
    assert (torch.ones(1, 6) * a).sum() + b == pytest.approx(6 * log(1 - CLIP), abs=1e-5)


# --- Monte Carlo ------------------------------------------------------------------------------------------------------


def test_monte_carlo_tends_to_the_exact_sum_over_atoms():
    network, prior, x = tiny_network(), atoms(), images()
    estimate = monte_carlo(network, prior, x, 200_000, np.random.default_rng(0))
    torch.testing.assert_close(estimate.log_p, exact_over_atoms(network, prior, x), atol=0.03, rtol=0)


def test_monte_carlo_tends_to_the_closed_form_of_a_linear_gaussian_decoder():
    network, prior, x, exact = linear_gaussian()
    estimate = monte_carlo(network, prior, x, 200_000, np.random.default_rng(0))
    assert (estimate.log_p - exact).abs().max() < 0.1
    assert abs((estimate.log_p - exact).mean()) < 4 * estimate.sampling_stderr


def test_monte_carlo_converges_from_below_in_expectation():
    """E[log p-hat] < log p by Jensen, rising with S; and E[p-hat] = p, which a wrong sign of log S would break by S^2."""
    network, prior, x = tiny_network(), atoms(), images()
    exact = exact_over_atoms(network, prior, x).mean().item()
    rng = np.random.default_rng(0)
    repeated = {
        S: torch.stack([monte_carlo(network, prior, x, S, rng, blocks=1).log_p for _ in range(n)]) for S, n in ((2, 1500), (8, 500), (64, 300))
    }
    means = [repeated[S].mean().item() for S in (2, 8, 64)]
    assert means[0] < means[1] - 0.05 and means[1] < means[2] - 0.005 and means[2] < exact
    torch.testing.assert_close(repeated[2].exp().mean(0), exact_over_atoms(network, prior, x).exp(), atol=0, rtol=0.15)


def test_the_released_recipe_is_too_good_by_two_log_s():
    """The released script: per image, log of the sum over samples plus log S. Ours plus 2 log S gives its figure."""
    network, prior, x, S = tiny_network(), atoms(), images(), 500
    drawn = []
    ours = monte_carlo(network, Recording(prior, drawn), x, S, np.random.default_rng(0)).log_p.mean().item()
    mu = network.project(torch.cat(drawn)).double().clamp(CLIP, 1 - CLIP)
    released = np.mean([np.logaddexp.reduce(torch.where(row > 0, mu.log(), (1 - mu).log()).sum(1).numpy()) + log(S) for row in x])
    assert released == pytest.approx(ours + 2 * log(S), abs=1e-4)


class Recording:
    def __init__(self, prior, drawn: list):
        self.prior, self.drawn = prior, drawn

    def sample(self, n, rng):
        self.drawn.append(self.prior.sample(n, rng))
        return self.drawn[-1]


def test_the_sampling_error_is_the_spread_over_repetitions():
    network, prior, x, _ = linear_gaussian()
    rng = np.random.default_rng(0)
    runs = [monte_carlo(network, prior, x, 1000, rng) for _ in range(100)]
    spread = np.std([run.log_p.mean().item() for run in runs])
    assert np.mean([run.sampling_stderr for run in runs]) == pytest.approx(spread, rel=0.25)


def test_effective_samples_count_the_samples_that_matter():
    """One atom: all weights are equal, so all S count. Atoms of which one explains the image: about its share of S."""
    network, x = tiny_network(), images()
    one = Mixture(torch.ones(1), torch.zeros(1, 3), torch.zeros(1, 3, 3))
    torch.testing.assert_close(
        monte_carlo(network, one, x, 100, np.random.default_rng(0)).effective_samples, torch.full((8,), 100.0).double(), atol=0.1, rtol=0
    )
    network.drive = lambda f: 40 * torch.sign(f[:, :1]).expand(-1, 6)
    two = Mixture(torch.tensor([0.25, 0.75]), torch.tensor([[1.0, 0, 0], [-1, 0, 0]]), torch.zeros(2, 3, 3))
    estimate = monte_carlo(network, two, torch.ones(1, 6), 4000, np.random.default_rng(0))
    assert estimate.effective_samples.item() == pytest.approx(1000, rel=0.1)
    assert estimate.log_p.item() == pytest.approx(log(0.25), abs=0.1)


def test_one_block_or_many_make_no_difference():
    network, prior, x, _ = linear_gaussian()
    one = monte_carlo(network, prior, x, 100, np.random.default_rng(0), blocks=1)
    f = prior.sample(100, np.random.default_rng(0))
    mu = network.project(f).double()
    fits = -((x.double()[:, None] - mu) ** 2).sum(2) / 2 - 3 * log(2 * pi)
    torch.testing.assert_close(one.log_p, fits.logsumexp(1) - log(100), atol=1e-4, rtol=1e-5)
    assert np.isnan(one.sampling_stderr)
    assert monte_carlo(network, prior, x, 3, np.random.default_rng(0), blocks=20).log_p.shape == (10,)

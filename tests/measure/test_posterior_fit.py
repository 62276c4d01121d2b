"""Priors that fit the top: shrinkage, its choice on held-out latents, and Monte Carlo EM against closed forms."""

import numpy as np
import pytest
import torch
from small import dataset, linear_gaussian, network

from ncf.config.schema import GNCNConfig, MetricsConfig, MixtureConfig
from ncf.errors import UserError
from ncf.measure import posterior_fit
from ncf.measure.latents import TrainingLatents
from ncf.measure.metrics import require_measurable
from ncf.measure.posterior_fit import fit_to_posterior, groups_of
from ncf.network.gncn import GNCN
from ncf.network.mixture import Groups, Mixture, find_groups, fit_mixture

# --- shrinkage --------------------------------------------------------------------------------------------------------


def test_shrinkage_takes_from_what_lies_between_units_alone():
    S = torch.tensor([[[4.0, 2.0], [2.0, 4.0]], [[1.0, -0.5], [-0.5, 1.0]]]).double()
    groups = Groups(torch.tensor([0.8, 0.2]).double(), torch.zeros(2, 2).double(), S)
    expected = S.clone()
    expected[:, [0, 1], [1, 0]] *= 0.75
    for shrinkage, covariances in ((0.25, expected), (0.0, S)):
        mixture = groups.mixture(shrinkage)
        torch.testing.assert_close((mixture.factors @ mixture.factors.mT).double(), covariances, atol=1e-6, rtol=1e-6)
        assert mixture.shrinkage.item() == shrinkage


@pytest.mark.parametrize("correlation, least, most", [(0.0, 0.5, 0.7), (0.99, 0.0, 0.05)])
def test_held_out_latents_choose_the_shrinkage(correlation, least, most):
    """Few latents of independent units: what they say between units is chance. Many of units that go together: all of it is so."""
    rng, n, J = np.random.default_rng(0), 300 if not correlation else 3000, 40
    common = rng.normal(size=(n, 1))
    latents = torch.from_numpy((correlation**0.5 * common + (1 - correlation) ** 0.5 * rng.normal(size=(n, J))).astype(np.float32))
    chosen = fit_mixture(latents, 1, 1e-6, 0, shrinkage=None)
    assert least <= chosen.shrinkage.item() <= most
    fresh = torch.from_numpy((correlation**0.5 * rng.normal(size=(500, 1)) + (1 - correlation) ** 0.5 * rng.normal(size=(500, J))).astype(np.float32))
    others = [fit_mixture(latents, 1, 1e-6, 0, shrinkage=s).log_density(fresh).mean() for s in (0.0, 0.5)]
    assert chosen.log_density(fresh).mean() >= max(others) - 0.3


def test_the_chosen_mixture_is_fitted_to_all_latents():
    latents = torch.from_numpy(np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32))
    chosen = fit_mixture(latents, 1, 1e-6, 0, shrinkage=None)
    torch.testing.assert_close(chosen.means[0], latents.mean(0), atol=1e-6, rtol=1e-5)


def test_a_covariance_too_narrow_for_float32_is_fitted_in_float64():
    rng = np.random.default_rng(0)
    latents = torch.from_numpy((300 * rng.normal(size=(500, 3)) @ rng.normal(size=(3, 40))).astype(np.float32))
    with pytest.raises(ValueError):  # what float32 alone says
        from sklearn.mixture import GaussianMixture

        GaussianMixture(1, reg_covar=1e-2).fit(latents.numpy())
    groups = find_groups(latents, 1, 1e-2, 0)
    expected = latents.double().T.cov(correction=0) + 1e-2 * torch.eye(40).double()
    torch.testing.assert_close(groups.covariances[0], expected, atol=1e-6, rtol=1e-9)
    assert torch.isfinite(groups.mixture().log_density(latents)).all()


# --- Monte Carlo EM ---------------------------------------------------------------------------------------------------


def test_noise_is_what_place_makes_activities_of():
    _, prior, _, _ = linear_gaussian()
    component, noise = prior.draw(50, np.random.default_rng(0))
    torch.testing.assert_close(prior.noise(component, prior.place(component, noise)), noise, atol=1e-4, rtol=1e-3)


def test_the_step_of_the_draws_adapts_from_one_that_is_far_too_large(monkeypatch):
    """Moves of ten times the posterior's width are all refused; the step shrinks until most are taken, or the mixture would stay where it began."""
    network, prior, x, _ = linear_gaussian()
    taken = []

    class Counting(posterior_fit.Sampler):
        def glide(self, chains, temperature, step):
            taken.append(super().glide(chains, temperature, step))
            return taken[-1]

    monkeypatch.setattr(posterior_fit, "Sampler", Counting)
    monkeypatch.setattr(posterior_fit, "FIRST_STEP", 20.0)
    x = x.repeat(20, 1)
    fit_to_posterior(network, prior, x, prior.sample(len(x), np.random.default_rng(0)), MixtureConfig(rounds=60, components=2))
    assert max(taken[:5]) < 0.1 and min(taken[-10:]) > 0.4, taken


def test_components_are_drawn_by_their_share_in_what_is_there():
    prior = Mixture(torch.tensor([0.3, 0.7]), torch.tensor([[0.0], [1.0]]), torch.ones(2, 1, 1))
    f = torch.full((40_000, 1), 0.8)
    odds = 0.7 / 0.3 * np.exp((0.8**2 - 0.2**2) / 2)
    share = prior.component_of(f, torch.from_numpy(np.random.default_rng(0).random((len(f), 1)))).double().mean().item()
    assert share == pytest.approx(odds / (1 + odds), abs=0.01)


def test_groups_are_the_moments_of_their_members():
    rng = np.random.default_rng(0)
    f, component = torch.from_numpy(rng.normal(size=(90, 3)).astype(np.float32)), torch.from_numpy(np.repeat([0, 2], [60, 30]))
    groups = groups_of(f, component, 3, 0.1)
    assert groups.weights.tolist() == pytest.approx([2 / 3, 0, 1 / 3])
    torch.testing.assert_close(groups.means[2], f[60:].double().mean(0))
    torch.testing.assert_close(groups.covariances[0], f[:60].double().T.cov(correction=0))
    flat = f * torch.tensor([1.0, 0.0, 0.0])  # no variance in two directions
    torch.testing.assert_close(groups_of(flat, component, 3, 0.1).covariances[0].diagonal()[1:], torch.full((2,), 0.1).double())
    assert torch.isfinite(groups.mixture(0.2).log_density(f)).all()  # nobody is in the second


def test_the_prior_that_makes_linear_gaussian_images_most_probable():
    """x = f + noise: the most probable prior over f has the mean of x, and its covariance less that of the noise; that of the points x itself
    is wider by as much."""
    net = GNCN(GNCNConfig(layers=[2], activation="identity", error_synapses="tied", likelihood="gaussian"), 2, np.random.default_rng(0))
    net.parameters["W1"].copy_(torch.eye(2))
    rng = np.random.default_rng(1)
    f = rng.normal(size=(3000, 2)) @ np.array([[1.5, 0.8], [0.0, 1.0]]) + [1.0, -2.0]
    x = torch.from_numpy((f + rng.normal(size=f.shape)).astype(np.float32))
    start = fit_mixture(x, 1, 1e-6, 0)
    wanted = MixtureConfig(components=1, rounds=60)
    found = fit_to_posterior(net, start, x, x, wanted)
    best = x.double().T.cov(correction=0) - torch.eye(2).double()
    torch.testing.assert_close((found.factors[0] @ found.factors[0].T).double(), best, atol=0.25, rtol=0)
    torch.testing.assert_close(found.means[0], x.mean(0), atol=0.1, rtol=0)

    def log_p(prior: Mixture) -> float:
        spread = (prior.factors[0] @ prior.factors[0].T).double() + torch.eye(2).double()
        return torch.distributions.MultivariateNormal(prior.means[0].double(), spread).log_prob(x.double()).mean().item()

    most = torch.distributions.MultivariateNormal(x.double().mean(0), x.double().T.cov(correction=0)).log_prob(x.double()).mean().item()
    assert log_p(start) < most - 0.05 and most - 0.01 < log_p(found) <= most + 1e-6


def test_a_component_gets_the_images_that_its_posterior_says():
    """x = f + noise under two components: after rounds the prior is the mixture that the images were drawn from, weights, means and spreads."""
    net = GNCN(GNCNConfig(layers=[1], activation="identity", error_synapses="tied", likelihood="gaussian"), 1, np.random.default_rng(0))
    net.parameters["W1"].fill_(1.0)
    rng = np.random.default_rng(1)
    component = rng.random(4000) < 0.7
    f = np.where(component, rng.normal(3.0, 0.5, 4000), rng.normal(-1.0, 1.0, 4000))
    x = torch.from_numpy((f + rng.normal(size=4000))[:, None].astype(np.float32))
    truth = Mixture(torch.tensor([0.3, 0.7]), torch.tensor([[-1.0], [3.0]]), torch.tensor([[[1.0]], [[0.5]]]))
    found = fit_to_posterior(net, truth, x, x, MixtureConfig(components=2, rounds=60))
    torch.testing.assert_close(found.weights, truth.weights, atol=0.06, rtol=0)
    torch.testing.assert_close(found.means, truth.means, atol=0.2, rtol=0)
    torch.testing.assert_close(found.factors, truth.factors, atol=0.2, rtol=0)


def test_a_prior_that_no_image_bears_on_stays_as_it_is():
    """A decoder of zeros: the posterior is the prior, and neither floor nor rounds move it but for the draws."""
    net = GNCN(GNCNConfig(layers=[2], activation="identity", error_synapses="tied", likelihood="gaussian"), 2, np.random.default_rng(0))
    net.parameters["W1"].zero_()
    f = torch.from_numpy((np.random.default_rng(1).normal(size=(4000, 2)) @ np.linalg.cholesky([[1, 0.9], [0.9, 1]]).T).astype(np.float32))
    found = fit_to_posterior(net, fit_mixture(f, 1, 0.05, 0), f, f, MixtureConfig(components=1, rounds=20, floor=0.05))
    torch.testing.assert_close((found.factors[0] @ found.factors[0].T).double(), f.double().T.cov() + 0.05 * torch.eye(2).double(), atol=0.25, rtol=0)


def test_rounds_are_taken_from_the_config_and_need_a_decoder():
    net, data = network(), dataset()
    plain, refitted = (
        TrainingLatents(net, data, MetricsConfig(mixture=MixtureConfig(components=1, latents=200, rounds=rounds, shrinkage=0.1))).prior
        for rounds in (0, 2)
    )
    assert refitted.shrinkage.item() == pytest.approx(0.1) and (plain.factors - refitted.factors).abs().max() > 1e-3

    class Reader:
        abilities = frozenset({"settle"})

    with pytest.raises(UserError, match="metrics.mixture.rounds=2: the model has no decoder"):
        require_measurable(Reader(), dataset(), MetricsConfig(names=["bce"], mixture=MixtureConfig(rounds=2)))

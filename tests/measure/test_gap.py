"""Where the nats of log p(x) go: each figure against exact sums, closed forms or plain loops."""

from math import log, pi
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import atoms, dataset, exact_over_atoms, images, linear_gaussian, network, tiny_network

from ncf.config.compose import compose_train
from ncf.config.schema import AnnealingConfig, MetricsConfig, MixtureConfig
from ncf.measure.annealing import anneal
from ncf.measure.density import base, likelihood_terms
from ncf.measure.latents import TrainingLatents
from ncf.measure.measures import best_top_bce
from ncf.measure.metrics import measure
from ncf.measure.subject import Subject
from ncf.network.discrepancy import bce_of
from ncf.network.gncn import GNCN
from ncf.network.mixture import Mixture

# --- BCE on the way up ------------------------------------------------------------------------------------------------


def test_each_population_is_projected_from_with_those_above_it_as_settled():
    net, data = tiny_network(), dataset()
    for split in data.splits.values():
        split.x = split.x[:, :6].contiguous()
    x, P = data.splits["test"].x, net.parameters
    f = [f.double() for f in net.settle(x).f]
    W = {name: tensor.double() for name, tensor in P.items()}
    two = (f[3] @ W["W3"]).tanh() if net.phi[2].name == "tanh" else (f[3] @ W["W3"]).clamp(min=0)
    phi = torch.tanh if net.phi[1].name == "tanh" else torch.relu
    drives = [
        f[1] @ W["W1"] + f[2] @ W["M2"],
        phi(f[2] @ W["W2"] + f[3] @ W["M3"]) @ W["W1"] + f[2] @ W["M2"],
        phi(two @ W["W2"] + f[3] @ W["M3"]) @ W["W1"] + two @ W["M2"],
    ]
    figure = measure(net, data, "test", MetricsConfig(names=["bce", "bce_projected"], batch_size=17))
    expected = [bce_of(x.double(), drive.sigmoid()).mean().item() for drive in drives]
    assert figure["bce_projected"]["populations"] == pytest.approx(expected, rel=1e-5)
    assert figure["bce_projected"]["value"] == pytest.approx(expected[-1], rel=1e-5)  # without a last phase
    assert min(abs(a - b) for a, b in zip(expected, expected[1:])) > 0.01


def test_the_best_top_of_a_linear_gaussian_decoder_is_the_least_squares_one():
    net, _, _, _ = linear_gaussian()
    x = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (10, 6)).astype(np.float32))
    data = dataset()
    data.splits["test"].x, data.splits["test"].y = x, None
    config = MetricsConfig(names=[], best_steps=600, batch_size=4)
    subject = Subject(net, data, "test", config, TrainingLatents(net, data, config))
    mu = x @ torch.linalg.pinv(net.parameters["W1"]) @ net.parameters["W1"]
    assert best_top_bce(subject)["value"] == pytest.approx(bce_of(x, mu).mean().item(), rel=1e-3)


def test_the_best_top_explains_the_image_better_the_more_steps_it_takes():
    net, data = network(), dataset()
    found = [measure(net, data, "test", MetricsConfig(names=["bce_best_top"], best_steps=steps))["bce_best_top"]["value"] for steps in (0, 20, 200)]
    settled = measure(net, data, "test", MetricsConfig(names=["bce_projected"]))["bce_projected"]["value"]
    assert found[0] == pytest.approx(settled, rel=1e-6) and found[0] > found[1] + 0.05 and found[1] > found[2] + 0.05


# --- density of the top -----------------------------------------------------------------------------------------------


def test_log_density_of_a_mixture_is_the_sum_over_its_gaussians():
    _, prior, _, _ = linear_gaussian()
    f = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (9, 3)))
    normals = [torch.distributions.MultivariateNormal(m.double(), (A @ A.T).double()) for m, A in zip(prior.means, prior.factors)]
    exact = torch.stack([w.double().log() + normal.log_prob(f) for w, normal in zip(prior.weights, normals)]).logsumexp(0)
    torch.testing.assert_close(prior.log_density(f), exact, atol=1e-5, rtol=1e-6)
    assert Mixture.standard(3).log_density(torch.zeros(1, 3)).item() == pytest.approx(-1.5 * log(2 * pi))


def test_the_density_of_a_known_gaussian_is_minus_its_entropy(monkeypatch):
    """Codes from N(0, 4 I) in two dimensions, fitted and held out alike: -(1 + ln 2 pi + ln 4) on average."""
    net, data = network(), dataset()
    rng = np.random.default_rng(0)
    codes = {len(split): torch.from_numpy(rng.normal(0, 2, (len(split), 2)).astype(np.float32)) for split in data.splits.values()}
    training = TrainingLatents(net, data, MetricsConfig(mixture=MixtureConfig(components=1)))
    monkeypatch.setattr(Subject, "codes", property(lambda subject: codes[len(subject.x)]))
    training.activities = codes[600]
    figure = measure(net, data, "test", MetricsConfig(names=["top_density"]), training)["top_density"]
    exact = -(1 + log(2 * pi) + log(4))
    assert figure["training"] == pytest.approx(exact, abs=0.1) and figure["value"] == pytest.approx(exact, abs=0.5)
    assert figure["units"] == 2 and figure["per_unit"] == pytest.approx(figure["value"] / 2) and figure["n"] == 60
    assert figure["training_per_unit"] == pytest.approx(figure["training"] / 2)


# --- the posterior ----------------------------------------------------------------------------------------------------


def test_the_posteriors_divergence_over_atoms_is_the_exact_sum():
    net, prior, x = tiny_network(), atoms(), images()
    a, b = likelihood_terms(net, prior.means)
    fits = (x @ a.T + b).double()
    posterior = (fits + prior.weights.double().log()).softmax(1)
    exact = (posterior * (posterior.log() - prior.weights.double().log())).sum(1)
    found, _ = anneal(net, prior, x, AnnealingConfig(chains=200, steps=50, leapfrogs=1))
    torch.testing.assert_close(found.divergence, exact, atol=0.2, rtol=0)
    assert abs((found.divergence - exact).mean()) < 0.05 < exact.mean()
    torch.testing.assert_close(found.fit, (posterior * fits).sum(1) + base(net, x), atol=0.3, rtol=0)
    torch.testing.assert_close(found.fit - found.divergence, exact_over_atoms(net, prior, x), atol=0.15, rtol=0)


def test_the_posteriors_divergence_of_a_linear_gaussian_decoder_is_the_closed_form():
    """One component: the posterior of the noise u is N(m, S), S = (I + G G^T)^-1, and KL = (tr S + |m|^2 - J - ln det S) / 2."""
    net, both, x, _ = linear_gaussian()
    prior = Mixture(torch.ones(1), both.means[:1], both.factors[:1])
    W, factor, mean = net.parameters["W1"].double(), both.factors[0].double(), both.means[0].double()
    G = factor.T @ W
    S = torch.linalg.inv(torch.eye(3).double() + G @ G.T)
    m = (2 * x.double() - mean @ W) @ G.T @ S
    exact = (S.trace() + m.square().sum(1) - 3 - torch.logdet(S)) / 2
    found, _ = anneal(net, prior, 2 * x, AnnealingConfig(chains=100, steps=40, leapfrogs=3))
    torch.testing.assert_close(found.divergence, exact, atol=0.5, rtol=0)
    assert abs((found.divergence - exact).mean()) < 0.15 < exact.mean()


def test_chains_count_by_their_weights():
    """So few temperatures that the chains alone are far from the posterior: weighted they find the better of two atoms."""
    net = SimpleNamespace(likelihood="bernoulli", force_dtype=torch.float32, drive=lambda f: 3 * torch.sign(f[:, :1]).expand(-1, 6))
    two = Mixture(torch.tensor([0.5, 0.5]), torch.tensor([[1.0, 0, 0], [-1, 0, 0]]), torch.zeros(2, 3, 3))
    found, _ = anneal(net, two, torch.ones(1, 6), AnnealingConfig(chains=400, steps=1, leapfrogs=1))
    assert found.divergence.item() == pytest.approx(log(2), abs=0.05)


def test_annealing_serves_both_metrics_once(monkeypatch):
    net, data = network(), dataset()
    calls = []
    monkeypatch.setattr("ncf.measure.subject.anneal", lambda *arguments: calls.append(1) or anneal(*arguments))
    config = MetricsConfig(
        names=["posterior_kl", "log_p_annealed"],
        mixture=MixtureConfig(components=1),
        annealing=AnnealingConfig(images=3, check_images=2, chains=2, steps=5),
    )
    figures = measure(net, data, "test", config)
    assert len(calls) == 1 and figures["posterior_kl"]["n"] == 3
    assert figures["posterior_kl"]["fit"] - figures["posterior_kl"]["value"] == pytest.approx(figures["log_p_annealed"]["value"])
    assert figures["log_p_annealed"]["posterior_kl"] == figures["posterior_kl"]["value"]


def test_populations_of_a_circuit_with_a_label_on_top_are_its_hidden_ones():
    layers = [f"model.populations.z{i}={{size:6,columns:0}}" for i in (1, 2, 3)]
    net = GNCN(compose_train("model=gncn_pdh_label", "model.settle.steps=9", *layers).model, 9, np.random.default_rng(0), n_classes=3)
    figure = measure(net, dataset(), "test", MetricsConfig(names=["bce_projected"]))["bce_projected"]
    assert len(figure["populations"]) == 3 and figure["populations"][-1] == pytest.approx(figure["value"], rel=1e-5)

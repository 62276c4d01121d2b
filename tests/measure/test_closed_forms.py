"""Clips, units, numbers of draws, standard errors and floors, each against a figure worked out by hand or by plain loops."""

from dataclasses import replace
from math import log
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import dataset, network

from ncf.config.schema import AnnealingConfig, MetricsConfig, MixtureConfig
from ncf.measure.completion import observed_pixels
from ncf.measure.density import Estimate, encoder_estimates, jackknife_stderr
from ncf.measure.latents import TrainingLatents
from ncf.measure.measures import reliability
from ncf.measure.metrics import METRICS, measure
from ncf.network.discrepancy import bce, tod
from ncf.network.mixture import Mixture, fit_mixture
from ncf.network.state import State

# --- figures of an image ----------------------------------------------------------------------------------------------


def test_a_pixel_that_is_certainly_wrong_costs_the_clip_and_a_right_one_nothing():
    x, mu = torch.tensor([[1.0, 0.0, 1.0, 0.5]]).double(), torch.tensor([[0.0, 0.0, 1.0, 0.5]]).double()
    state = State([x], [x], [mu], [x - mu], [7 * (x - mu)])  # (e is after precision, and no part of either)
    assert bce(state).item() == pytest.approx(-log(1e-7) - 2 * log(1 - 1e-7) + log(2), rel=1e-12)
    assert tod(state).item() == -1.0


def test_labels_units_and_directions():
    nats, image = "nats per image", "per image"
    assert {name: (metric.label, metric.unit, metric.higher) for name, metric in METRICS.items()} == {
        "bce": ("BCE", nats, False),
        "bce_inferred": ("BCE, inferred", nats, False),
        "bce_projected": ("BCE, projected", nats, False),
        "bce_best_top": ("BCE, best top", nats, False),
        "top_density": ("log density of the top", nats, True),
        "posterior_kl": ("KL(posterior, prior)", nats, False),
        "tod": ("ToD", image, True),
        "mse": ("squared error", image, False),
        "in_use": ("units in use", "%", False),
        "m_mse": ("M-MSE", image, False),
        "class_err": ("%Err", "%", False),
        "log_p": ("log p(x)", nats, True),
        "log_p_own": ("log p(x), own prior", nats, True),
        "elbo": ("ELBO", nats, True),
        "log_p_encoder": ("log p(x), encoder", nats, True),
        "log_p_annealed": ("log p(x), annealed", nats, True),
        "log_p_annealed_own": ("log p(x), annealed, own prior", nats, True),
        "label_err": ("label error", "%", False),
        "label_err_half": ("label error, half seen", "%", False),
        "bce_label": ("BCE, label given", nats, False),
        "m_mse_label": ("M-MSE, label given", image, False),
        "label_image": ("image of a label", image, False),
        "class_err_hidden": ("%Err, encoder's units", "%", False),
        "active": ("active units", "%", False),
        "ndb": ("NDB", "%", False),
        "gaussian_kl": ("Gaussian KL", "nats", False),
        "fantasy_mse": ("nearest fantasy", "per image", False),
        "next_frame": ("next frame", nats, False),
        "tsne_err": ("%Err in the t-SNE plane", "%", False),
        "class_entropy": ("class entropy", "nats", True),
        **{
            f"{name}_{of}": (f"{label} ({of})", unit, higher)
            for of in ("features", "pixels")
            for name, label, unit, higher in (
                ("frechet", "Frechet distance", "squared distance", False),
                *((name, name, "%", True) for name in ("precision", "recall", "density", "coverage")),
                ("two_sample", "two-sample", "%", False),
            )
        },
    }


@pytest.mark.parametrize("mask, unseen", [("top", [0, 1, 2]), ("bottom", [6, 7, 8]), ("left", [0, 3, 6]), ("right", [2, 5, 8])])
def test_completion_is_judged_on_the_part_that_the_mask_names(mask, unseen):
    net, data = network(), dataset()
    figure = measure(net, data, "validation", MetricsConfig(names=["m_mse"], mask=mask, mask_fraction=0.34, batch_size=7))["m_mse"]
    x, observed = data.splits["validation"].x, torch.ones(9)
    observed[unseen] = 0
    error = (x - net.settle_plainly(x, observed).mu[0]).square()[:, unseen].sum(1).double()
    assert figure["value"] == pytest.approx(error.mean().item(), rel=1e-5)
    assert figure["stderr"] == pytest.approx(error.std().item() / 50**0.5, rel=1e-4)
    assert (figure["mask"], figure["mask_fraction"], figure["n"]) == (mask, 0.34, 50)


def test_masks_count_lines_of_the_right_axis():
    for mask, seen in (("top", (slice(1, None), slice(None))), ("left", (slice(None), slice(2, None)))):
        expected = torch.zeros(4, 8)
        expected[seen] = 1
        assert torch.equal(observed_pixels(mask, 0.25, (4, 8)).view(4, 8), expected)
    one = observed_pixels("random", 0.25, (4, 8))
    assert one.sum() == 24 and torch.equal(one, observed_pixels("random", 0.25, (4, 8))) and one.view(4, 8)[:, :6].sum() < 24


# --- which images -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_images", [None, 20])
def test_resampled_training_images_are_measured_as_one_draw_of_them(n_images):
    net, data = network(), dataset(resample=True)  # kept as pixels of one half
    figure = measure(net, data, "train", MetricsConfig(names=["bce"], n_images=n_images))["bce"]
    drawn = TrainingLatents(net, data, MetricsConfig()).images[:n_images]
    assert figure["n"] == len(drawn) and drawn.unique().tolist() == [0, 1]
    mu = net.settle_plainly(drawn).mu[0].double()
    assert figure["value"] == pytest.approx(-torch.where(drawn > 0, mu, 1 - mu).log().sum(1).mean().item(), rel=1e-5)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_split_is_measured_on_its_own_first_images(split):
    net, data = network(), dataset()
    figure = measure(net, data, split, MetricsConfig(names=["bce"], n_images=13, batch_size=5))["bce"]
    x = data.splits[split].x[:13]
    mu = net.settle_plainly(x).mu[0].double()
    assert figure["n"] == 13 and figure["value"] == pytest.approx(-torch.where(x > 0, mu, 1 - mu).log().sum(1).mean().item(), rel=1e-5)


def test_the_classifier_learns_from_all_training_images():
    """The third class stands among the last training images alone, and is told all the same."""
    data = dataset()
    order = data.splits["train"].y.argsort(stable=True)
    data.splits["train"].x, data.splits["train"].y = data.splits["train"].x[order], data.splits["train"].y[order]
    for split in data.splits.values():
        split.x[:, :3] = torch.eye(3)[split.y]
    net = network()
    net.settle = lambda x, *_, **__: State([x, x[:, :3]], [x, x[:, :3]], [x], [0 * x], [0 * x])
    training = TrainingLatents(net, data, MetricsConfig())
    assert training.classifier(training.activities, training.settled_codes).model.classes_.tolist() == [0, 1, 2]
    assert measure(net, data, "test", MetricsConfig(names=["class_err"]), training)["class_err"]["value"] == 0


# --- how many draws ---------------------------------------------------------------------------------------------------


class Counted:
    """x = f + noise in two dimensions, with encoder and prior; counts what it decodes."""

    likelihood, own_prior, abilities = "gaussian", Mixture.standard(2), frozenset({"project", "own_prior", "posterior"})
    force_dtype = torch.float32

    def __init__(self, spread: float = 0.5):
        self.decoded, self.spread = 0, spread

    def drive(self, f):
        self.decoded += len(f)
        return f

    project = drive

    def posterior(self, x):  # the exact one has variance 1/2
        return x / 2, torch.full_like(x, log(self.spread))


@pytest.mark.parametrize("name, decoded", [("log_p_own", 40), ("elbo", 3 * 60), ("log_p_encoder", 3 * 60)])
def test_each_estimate_takes_the_draws_that_its_own_key_asks_for(name, decoded):
    model = Counted()
    data = dataset()
    for split in data.splits.values():
        split.x = split.x[:, :2]
    figure = measure(model, data, "test", MetricsConfig(names=[name], samples=40, encoder_samples=3))[name]
    assert model.decoded == decoded
    assert figure.get("samples", 3) == (40 if name == "log_p_own" else 3) and figure["n"] == 60


def test_each_density_is_under_the_prior_that_its_name_says():
    """x = f + noise, f from N(0, I) by the model's own prior and from N(2, I) by the fitted one: x has that mean and variance 2."""
    eye = torch.eye(2)
    training = SimpleNamespace(prior=Mixture(torch.ones(1), torch.full((1, 2), 2.0), eye[None]))
    data = dataset()
    x = torch.from_numpy(np.random.default_rng(1).normal(-1, 1, (5, 2)).astype(np.float32))
    data.splits["test"].x, data.splits["test"].y = x, None
    config = MetricsConfig(
        names=["log_p", "log_p_own", "log_p_annealed", "log_p_annealed_own"], samples=4000, annealing=AnnealingConfig(images=5, steps=20, leapfrogs=3)
    )
    figures = measure(Counted(), data, "test", config, training)
    for name, figure in figures.items():
        mean = torch.zeros(2) if name.endswith("own") else torch.full((2,), 2.0)
        exact = torch.distributions.MultivariateNormal(mean, 2 * eye).log_prob(x)
        assert figure["value"] == pytest.approx(exact.mean().item(), abs=0.4) and figure["n"] == 5
        assert abs(exact.mean().item() - figures["log_p" if name.endswith("own") else "log_p_own"]["value"]) > 1.5


def test_the_effective_number_told_is_that_of_the_image_in_the_middle():
    estimate = Estimate(torch.zeros(3), torch.tensor([9.0, 1.0, 2.0]), 0.5)
    assert reliability(estimate) == {"sampling_stderr": 0.5, "effective_samples": 2.0}
    assert reliability(replace(estimate, sampling_stderr=float("nan"))) == {"sampling_stderr": None, "effective_samples": 2.0}  # JSON has no NaN


# --- standard errors and effective numbers ----------------------------------------------------------------------------


def test_the_jackknife_of_two_blocks_is_half_their_difference():
    sums = torch.tensor([[log(3.0)], [log(5.0)]]).double()
    assert jackknife_stderr(sums, [1, 1]) == pytest.approx(log(5 / 3) / 2)
    assert jackknife_stderr(torch.cat([sums, sums.flip(0)], dim=1), [1, 1]) == pytest.approx(0, abs=1e-12)  # of the mean over images
    assert np.isnan(jackknife_stderr(sums[:1], [1]))


def test_the_jackknife_leaves_out_one_block_at_a_time():
    rng = np.random.default_rng(0)
    sizes, blocks = [3, 3, 2, 2], [rng.random((n, 5)) for n in (3, 3, 2, 2)]  # likelihoods of 5 images
    left = [np.log(np.concatenate(blocks[:b] + blocks[b + 1 :]).mean(0)).mean() for b in range(4)]
    expected = np.sqrt(3 / 4 * ((np.array(left) - np.mean(left)) ** 2).sum())
    sums = torch.from_numpy(np.log(np.stack([block.sum(0) for block in blocks])))
    assert jackknife_stderr(sums - 800, sizes) == pytest.approx(expected, rel=1e-9)  # likelihoods far below what exp can hold


def test_the_encoders_standard_error_is_its_spread_over_repetitions():
    x = torch.from_numpy(np.random.default_rng(1).normal(0, 1.4, (7, 2)).astype(np.float32))
    exact = torch.distributions.MultivariateNormal(torch.zeros(2).double(), 2 * torch.eye(2).double()).log_prob(x.double())
    rng = np.random.default_rng(0)
    runs = [encoder_estimates(Counted(spread=0.8), x, 50, rng)[1] for _ in range(200)]
    means = [run.log_p.mean().item() for run in runs]
    assert np.mean([run.sampling_stderr for run in runs]) == pytest.approx(np.std(means), rel=0.15)
    assert np.mean(means) == pytest.approx(exact.mean().item(), abs=0.02)
    # with variance q in place of p = 1/2, E[w^2] / E[w]^2 = a / sqrt(2 a - 1) per dimension, a = q / p
    a = 0.8 / 0.5
    expected = 1 / (a / (2 * a - 1) ** 0.5) ** 2
    many = encoder_estimates(Counted(spread=0.8), x, 5_000, rng)[1]
    assert (many.effective_samples / 5_000).mean().item() == pytest.approx(expected, rel=0.05)


# --- floors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("floor", [1e-6, 0.04])
def test_the_floor_is_added_to_every_variance(floor):
    rng = np.random.default_rng(0)
    latents = torch.from_numpy(np.stack([rng.normal(0, 2, 500), np.full(500, 3.0)], axis=1).astype(np.float32))
    mixture = fit_mixture(latents, most_components=1, floor=floor, seed=0)
    covariance = (mixture.factors[0] @ mixture.factors[0].T).double()
    assert covariance[1, 1].item() == pytest.approx(floor, rel=1e-2, abs=1e-9) and abs(covariance[0, 1].item()) < 1e-6
    assert covariance[0, 0].item() == pytest.approx(latents[:, 0].var(correction=0).item() + floor, rel=1e-5)


def test_the_prior_takes_its_floor_and_its_latents_from_the_config():
    net, data = network(), dataset()
    config = MetricsConfig(mixture=MixtureConfig(components=1, latents=100, floor=0.3))
    prior = TrainingLatents(net, data, config).prior
    tops = net.settle(data.splits["train"].x[:100]).f[2].double()
    expected = tops.T.cov(correction=0) + 0.3 * torch.eye(4)
    torch.testing.assert_close((prior.factors[0] @ prior.factors[0].T).double(), expected, atol=1e-5, rtol=1e-4)
    assert prior.weights.item() == 1

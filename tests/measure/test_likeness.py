"""Samples against training images: closed forms, a test written out, and distributions that are the same or not."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from small import dataset, network

from ncf.config.schema import MetricsConfig
from ncf.data.datasets import Split
from ncf.data.streams import stream
from ncf.measure.fitting import CannotFit
from ncf.measure.gaussians import gaussian_kl, gaussian_of, in_parts
from ncf.measure.latents import TrainingLatents
from ncf.measure.likeness import Bins, different_bins, embedded, neighbour_error
from ncf.measure.metrics import measure

RNG = np.random.default_rng(0)


def gaussian(n: int, mean: float = 0.0, spread: float = 1.0, pixels: int = 3) -> torch.Tensor:
    return torch.from_numpy(mean + spread * RNG.standard_normal((n, pixels)))


def test_bins_differ_by_the_two_proportion_test():
    bins = Bins(gaussian(3000), bins=4)
    counts = np.array([300, 200, 100, 400])
    for i, different in enumerate(bins.different(counts)):
        a, b = round(bins.share[i] * 3000), counts[i]
        pooled = (a + b) / 4000
        z = (a / 3000 - b / 1000) / np.sqrt(pooled * (1 - pooled) * (1 / 3000 + 1 / 1000))
        assert different == (2 * stats.norm.sf(abs(z)) < 0.05)
    assert bins.counts(bins.centres).tolist() == [1, 1, 1, 1]


def test_images_of_the_same_kind_differ_in_few_bins_and_a_single_image_in_all():
    bins = Bins(gaussian(10_000, pixels=6))
    same, one = different_bins(gaussian(10_000, pixels=6), bins), different_bins(gaussian(1, pixels=6).repeat(10_000, 1), bins)
    assert same["value"] < 25 and one["value"] == 100 and same["stderr"] > 0 == one["stderr"]
    assert len(bins.share) == 100 and len(Bins(gaussian(35)).share) == 3


def test_the_error_of_the_bins_is_the_spread_over_draws():
    bins = Bins(gaussian(4000))
    found = [different_bins(gaussian(1500, spread=1.15), bins) for _ in range(60)]
    assert np.mean([figure["stderr"] for figure in found]) == pytest.approx(np.std([figure["value"] for figure in found]), rel=0.5)


def test_the_error_of_held_out_images_is_that_of_parts_at_random():
    net, data = network(), dataset()
    test = data.splits["test"]
    ordered = replace(data, splits=data.splits | {"test": Split(test.x[test.x.sum(1).argsort()], None)})
    training = TrainingLatents(net, ordered, MetricsConfig())
    found = measure(net, ordered, "test", MetricsConfig(names=["gaussian_kl"]), training)["gaussian_kl"]
    kl = partial(gaussian_kl, gaussian_of(training.images))
    x = ordered.splits["test"].x
    shuffled, in_order = in_parts(kl, x[stream(0, "compared").permutation(len(x))]), in_parts(kl, x)
    assert found["held_out_stderr"] == pytest.approx(shuffled["stderr"]) and found["held_out_n"] == len(x)
    assert abs(in_order["stderr"] / shuffled["stderr"] - 1) > 0.05


def test_as_many_samples_as_training_images_are_held_against_them_and_held_out_images_too():
    net, data = network(), dataset()
    training = TrainingLatents(net, data, MetricsConfig())
    figures = measure(net, data, "test", MetricsConfig(names=["ndb", "gaussian_kl", "active"]), training)
    n = len(data.splits["train"].x)
    assert figures["ndb"]["n"] == figures["gaussian_kl"]["n"] == n == len(training.drawn)
    assert figures["gaussian_kl"]["value"] == pytest.approx(gaussian_kl(gaussian_of(training.images), gaussian_of(training.drawn)))
    assert figures["gaussian_kl"]["held_out"] == pytest.approx(gaussian_kl(gaussian_of(training.images), gaussian_of(data.splits["test"].x)))
    state = net.settle(data.splits["test"].x)
    shares = [100 * (state.f[i] > 1e-6).float().mean().item() for i in state.free]
    assert figures["active"]["populations"] == pytest.approx(shares) and figures["active"]["value"] == pytest.approx(np.mean(shares))


def test_the_nearest_fantasy_is_the_least_squared_error_over_all_samples():
    net, data = network(), dataset()
    training = TrainingLatents(net, data, MetricsConfig())
    per_image: dict = {}
    found = measure(net, data, "test", MetricsConfig(names=["fantasy_mse"]), training, per_image)["fantasy_mse"]
    x = data.splits["test"].x
    by_hand = [((image - training.drawn) ** 2).sum(1).min().item() for image in x]
    assert per_image["test_fantasy_mse"] == pytest.approx(by_hand, rel=1e-3, abs=1e-3) and found["value"] == pytest.approx(np.mean(by_hand), rel=1e-3)
    assert found["nearest_training_image"] == pytest.approx(np.mean([((image - training.images) ** 2).sum(1).min().item() for image in x]), abs=1e-3)


def test_classes_that_lie_apart_are_apart_in_the_plane_and_mixed_ones_are_not():
    y = torch.arange(3).repeat_interleave(40)
    apart = 10 * torch.eye(3)[y].repeat(1, 4) + 0.3 * torch.from_numpy(RNG.standard_normal((120, 12)))
    assert neighbour_error(apart, y).mean() == 0
    order = torch.from_numpy(RNG.permutation(120))
    assert neighbour_error(apart, y[order]).mean().item() == pytest.approx(2 / 3, abs=0.15)
    assert torch.equal(neighbour_error(apart, y), neighbour_error(apart, y)) and embedded(apart).shape == (120, 2)
    assert neighbour_error(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([0, 0, 1])).tolist() == [0, 0, 1]


@pytest.mark.parametrize("codes", [torch.zeros(40, 5), torch.full((40, 5), torch.nan), torch.zeros(1, 5)])
def test_codes_that_do_not_differ_have_no_plane(codes):
    """Scikit-learn would crash the process."""
    with pytest.raises(CannotFit):
        neighbour_error(codes, torch.zeros(len(codes)).long())

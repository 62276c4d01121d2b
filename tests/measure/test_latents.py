"""Training latents and the prior fitted to them: what is kept beside a checkpoint, and when it is recomputed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small import dataset, network

from ncf.config.schema import MetricsConfig, MixtureConfig
from ncf.errors import UserError
from ncf.measure.latents import TrainingLatents
from ncf.measure.metrics import measure, require_measurable
from ncf.network.discrepancy import bce_of
from ncf.network.top_inference import infer_top

CONFIG = MetricsConfig(mixture=MixtureConfig(components=2, latents=500))


def made(tmp_path, net, data=None, config=CONFIG) -> TrainingLatents:
    return TrainingLatents(net, data or dataset(), config, tmp_path / "best.pt")


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "best.pt"
    path.write_bytes(b"the weights")
    return path


def test_activities_are_the_settled_tops_of_all_training_images():
    net, data = network(), dataset()
    found = TrainingLatents(net, data, MetricsConfig(batch_size=77)).activities
    torch.testing.assert_close(found, net.settle(data.splits["train"].x).f[2], atol=1e-6, rtol=1e-4)


def test_the_prior_is_fitted_to_the_first_latents():
    net, data = network(), dataset()
    prior = TrainingLatents(net, data, CONFIG).prior
    first = net.settle(data.splits["train"].x[:500]).f[2].double()
    assert len(prior.weights) == 2  # 500 latents, 240 each
    torch.testing.assert_close((prior.weights.double() @ prior.means.double()), first.mean(0), atol=1e-4, rtol=1e-3)


def test_what_is_kept_is_read_and_not_made_again(tmp_path, checkpoint):
    net = network()
    first = made(tmp_path, net)
    prior, activities = first.prior, first.activities
    assert net.settled == 600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best-three-latents.npz", "best-three-prior.npz", "best.pt"]
    again = made(tmp_path, net)
    assert torch.equal(again.activities, activities) and torch.equal(again.prior.factors, prior.factors) and net.settled == 600
    assert torch.equal(again.prior.weights, prior.weights) and torch.equal(again.prior.means, prior.means)


@pytest.mark.parametrize("change", ["checkpoint", "images", "batch_size", "steps"])
def test_what_was_made_from_something_else_is_made_anew(tmp_path, checkpoint, change):
    net = network()
    made(tmp_path, net).prior
    data, config = dataset(), MetricsConfig(mixture=CONFIG.mixture)
    if change == "checkpoint":
        checkpoint.write_bytes(b"other weights")
        for name in net.parameters:
            net.parameters[name] *= 1.5
    if change == "images":
        data = dataset(seed=1)
    if change == "steps":  # ncf-eval steps=30
        net.config.settle.steps = 30
    if change == "batch_size":
        config.batch_size = 100
    found = made(tmp_path, net, data, config).activities
    assert net.settled == 1200
    torch.testing.assert_close(found, net.settle(data.splits["train"].x).f[2], atol=1e-6, rtol=1e-4)


def test_other_settings_of_the_prior_refit_it_without_settling(tmp_path, checkpoint):
    net = network()
    assert len(made(tmp_path, net).prior.weights) == 2
    assert len(made(tmp_path, net, config=MetricsConfig(mixture=MixtureConfig(components=1))).prior.weights) == 1
    assert net.settled == 600


def test_damaged_files_are_made_anew(tmp_path, checkpoint):
    """Bit flips and truncations of either file: read as they were, or made anew; never different, never an error."""
    net = network()
    first = made(tmp_path, net)
    prior, activities = first.prior, first.activities
    rng = np.random.default_rng(0)
    for path in sorted(tmp_path.glob("*.npz")):
        whole = path.read_bytes()
        damages = [whole[: int(len(whole) * share)] for share in (0, 0.3, 0.9)] + [b"<html>"]
        for at in rng.integers(0, len(whole), 25):
            damages.append(whole[:at] + bytes([whole[at] ^ (1 << int(rng.integers(8)))]) + whole[at + 1 :])
        for damage in damages:
            path.write_bytes(damage)
            again = made(tmp_path, net)
            assert torch.equal(again.activities, activities) and torch.equal(again.prior.factors, prior.factors)
            assert torch.equal(again.prior.means, prior.means) and torch.equal(again.prior.weights, prior.weights)
    assert not list(tmp_path.glob("*.tmp"))


def test_the_prior_may_be_of_codes_after_a_last_phase_and_shrunk():
    net, data = network(), dataset()
    config = MetricsConfig(mixture=MixtureConfig(components=1, latents=500, final_steps=7, final_beta=0.05, shrinkage=0.3), batch_size=120)
    training = TrainingLatents(net, data, config)
    codes = infer_top(net, net.settle(data.splits["train"].x[:500]), 7, 0.05)
    torch.testing.assert_close(training.codes(training.images[:500]), codes, atol=1e-6, rtol=1e-4)
    prior, expected = training.prior, codes.double().T.cov(correction=0)
    expected = expected * (1 - 0.3 * (1 - torch.eye(4, dtype=torch.float64)))
    covariance = (prior.factors[0] @ prior.factors[0].T).double()
    torch.testing.assert_close(covariance, expected + 1e-6 * torch.eye(4, dtype=torch.float64), atol=1e-5, rtol=1e-3)
    assert (codes - training.activities[:500]).abs().max() > 0.01  # classes are told by the settled activities, as ever
    figure = measure(net, data, "test", replace(config, names=["bce_projected"]), training)["bce_projected"]
    x = data.splits["test"].x
    assert figure["value"] == pytest.approx(bce_of(x, net.project(infer_top(net, net.settle(x), 7, 0.05))).mean().item(), rel=1e-5)
    assert figure["final_steps"] == 7


def test_a_last_phase_of_what_does_not_settle_is_refused_before_anything_is_trained():
    class Encoder:
        abilities, likelihood = frozenset({"project", "complete"}), "bernoulli"

    with pytest.raises(UserError, match="metrics.mixture.final_steps=3: the model does not settle"):
        require_measurable(Encoder(), dataset(), MetricsConfig(names=["bce"], mixture=MixtureConfig(final_steps=3)))


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path, checkpoint):
    (tmp_path / "best-three-latents.npz").mkdir()
    (tmp_path / "best-three-prior.npz").mkdir()
    net = network()
    assert made(tmp_path, net).prior.means.shape == (2, 4)
    assert not list(tmp_path.glob("*.tmp"))


def test_keeping_can_be_turned_off(tmp_path, checkpoint):
    made(tmp_path, network(), config=MetricsConfig(mixture=CONFIG.mixture, cache=False)).prior
    assert [p.name for p in tmp_path.iterdir()] == ["best.pt"]


def test_resampled_images_are_drawn_once():
    one = TrainingLatents(network(), dataset(resample=True), CONFIG).images
    assert set(one.unique().tolist()) == {0, 1} and 0.45 < one.mean() < 0.55
    assert torch.equal(one, TrainingLatents(network(), dataset(resample=True), CONFIG).images)
    data = dataset(resample=True)
    data.splits["train"].x.fill_(0.2)
    assert TrainingLatents(network(), data, CONFIG).images.mean().item() == pytest.approx(0.2, abs=0.03)


def test_what_cannot_be_fitted_is_one_line():
    data = dataset()
    data.splits["train"].y.zero_()
    with pytest.raises(UserError, match="cannot be fitted"):
        training = TrainingLatents(network(), data, CONFIG)
        training.classifier(training.activities, training.settled_codes)
    net = network()
    net.parameters["W1"] *= float("nan")
    with pytest.raises(UserError, match="not finite"):
        TrainingLatents(net, dataset(), CONFIG).prior

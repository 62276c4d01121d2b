"""The yardsticks that need no model, against sums over all images and a regression written out."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from small import dataset
from table import without_model

from ncf.config.schema import MetricsConfig
from ncf.measure.latents import TrainingLatents


def test_what_is_remembered_is_a_distribution_over_all_images():
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (5, 9)).astype(np.float32))
    q = without_model.blurred(images, (3, 3), 0.6, 0.02)
    assert q.min() >= 0.02 and q.max() <= 0.98 and ((q > 0.5) == (images > 0)).float().mean() > 0.8
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=9)))
    assert without_model.log_p(every, q, block=100).exp().sum().item() == pytest.approx(1, rel=1e-4)
    x = images[:2]
    exact = torch.stack([torch.distributions.Bernoulli(chance).log_prob(x).sum(1) for chance in q]).double().exp().mean(0).log()
    torch.testing.assert_close(without_model.log_p(x, q).double(), exact, rtol=1e-5, atol=1e-5)


def test_blur_goes_to_the_neighbours_alone_and_not_to_other_images():
    images = torch.zeros(2, 25)
    images[0, 12] = 1
    q = without_model.blurred(images, (5, 5), 0.5, 0.001)
    assert q[0, 12] > q[0, 11] == q[0, 7] > q[0, 0] and (q[1] == 0.001).all()


def test_the_blur_is_chosen_on_validation_images_and_pixels_are_read_as_codes_are(monkeypatch):
    data = dataset()
    monkeypatch.setattr(without_model, "BLURS", (0.2, 5.0))
    monkeypatch.setattr(without_model, "FLOORS", (0.01, 0.4))
    found = without_model.memorised(data)
    train, validation, test = (data.splits[split].x for split in ("train", "validation", "test"))
    tried = {
        pair: without_model.log_p(validation, without_model.blurred(train, data.image_shape, *pair)).mean().item()
        for pair in itertools.product((0.2, 5.0), (0.01, 0.4))
    }
    chosen = max(tried, key=tried.get)
    assert (found["blur"], found["floor"]) == chosen and found["n"] == len(test)
    assert found["value"] == pytest.approx(without_model.log_p(test, without_model.blurred(train, data.image_shape, *chosen)).mean().item(), rel=1e-5)
    at = without_model.pixels(data, TrainingLatents(None, data, MetricsConfig()))
    read = LogisticRegression(C=1 / at["penalty"], max_iter=1000).fit(train.double().numpy(), data.splits["train"].y.numpy())
    wrong = 100 * (read.predict(test.double().numpy()) != data.splits["test"].y.numpy()).mean()
    assert at["value"] == pytest.approx(wrong)

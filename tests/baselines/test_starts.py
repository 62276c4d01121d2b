"""What the baselines start from."""

import numpy as np
import pytest
import torch
from small import dataset

from ncf.baselines.autoencoders import Autoencoder
from ncf.baselines.classifier import Classifier
from ncf.baselines.pixel_mixture import PixelMixture
from ncf.config.schema import AutoencoderConfig, ClassifierConfig, PixelMixtureConfig


def test_synapses_keep_the_variance_through_relu_layers():
    """N(0, 2 / fan-in): on layers of very different widths the mean square of the drives stays that of the input."""
    data = dataset()
    data.splits["train"].x = torch.from_numpy(np.random.default_rng(0).normal(size=(2000, 900)).astype(np.float32))
    model = Classifier(ClassifierConfig(layers=[100, 1600]), 900, 3, np.random.default_rng(1))
    h = data.splits["train"].x
    for l, below in ((1, 900), (2, 100), (3, 1600)):
        W = model.parameters[f"W{l}"]
        assert W.shape[0] == below and W.std().item() == pytest.approx((2 / below) ** 0.5, rel=0.03 if l < 3 else 0.1)
        assert (model.parameters[f"b{l}"] == 0).all()
        if l < 3:
            h = torch.relu(h @ W)
            assert h.square().mean().item() == pytest.approx(1, rel=0.3)
    encoder = Autoencoder(AutoencoderConfig(layers=[400, 100], code="plain"), 900, np.random.default_rng(0)).parameters
    for name, below in (("E1", 900), ("E2", 400), ("W2", 100), ("W1", 400)):
        assert encoder[name].std().item() == pytest.approx((2 / below) ** 0.5, rel=0.03), name


def test_the_mixtures_means_start_a_third_of_the_way_to_training_images_of_the_seeds_choice():
    data = dataset()
    x = data.splits["train"].x
    chosen = {}
    for seed in (0, 1):
        model = PixelMixture(PixelMixtureConfig(components=7), data.splits["train"].x, np.random.default_rng(seed))
        start = 3 * model.parameters["W1"] - 2 * x.mean(0)
        distances = torch.cdist(start, x)
        assert distances.min(1).values.max() < 1e-2  # each is a training image
        chosen[seed] = start
        assert torch.equal(model.parameters["logits"], torch.zeros(7)) and (model.parameters["spreads"] == 0.4).all()
    assert not torch.equal(chosen[0], chosen[1]) and (torch.cdist(chosen[0], x[:7]).min(1).values > 0.5).any()

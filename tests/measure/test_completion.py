"""Completions: which pixels a mask hides, whose errors count."""

import pytest
import torch
from small import dataset, network

from ncf.config.schema import MetricsConfig
from ncf.errors import UserError
from ncf.measure.completion import masked_mse, observed_pixels
from ncf.measure.metrics import measure


def test_masked_error_counts_unseen_pixels_only():
    net, data = network(), dataset()
    x = data.splits["test"].x
    observed = observed_pixels("right", 0.34, (3, 3))
    mu = net.settle(x, observed=observed).mu[0]
    torch.testing.assert_close(masked_mse(net, x, observed), ((x - mu) ** 2)[:, [2, 5, 8]].sum(1))
    figure = measure(net, data, "test", MetricsConfig(names=["m_mse"], mask_fraction=0.34))["m_mse"]
    assert figure["value"] == pytest.approx(((x - mu) ** 2)[:, [2, 5, 8]].sum(1).mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    "kind, unseen", [("left", [[0, 0], [1, 0]]), ("right", [[0, 1], [1, 1]]), ("top", [[0, 0], [0, 1]]), ("bottom", [[1, 0], [1, 1]])]
)
def test_masks_are_where_their_name_says(kind, unseen):
    observed = observed_pixels(kind, 0.5, (2, 2)).view(2, 2)
    assert (observed == 0).nonzero().tolist() == unseen
    assert observed_pixels("random", 0.3, (10, 10)).sum() == 70


@pytest.mark.parametrize("kind, fraction", [("left", 0.05), ("random", 0.001), ("top", 0.98)])
def test_a_mask_that_hides_nothing_or_everything_is_refused(kind, fraction):
    with pytest.raises(UserError, match="hide some, not all"):
        observed_pixels(kind, fraction, (8, 8))

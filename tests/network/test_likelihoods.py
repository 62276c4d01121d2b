"""What a likelihood draws, and how far it lets a probability go."""

from math import log, pi

import numpy as np
import pytest
import torch

from ncf.network.likelihoods import LIKELIHOODS

DRIVE = torch.tensor([[-2.0, 0.0, 0.5, 3.0]]).expand(40_000, -1)


def drawn(kind: str) -> torch.Tensor:
    return LIKELIHOODS[kind].draw(DRIVE, np.random.default_rng(0)).double()


def test_bernoulli_images_are_drawn_with_the_chance_of_their_drive():
    x = drawn("bernoulli")
    assert x.unique().tolist() == [0, 1]
    torch.testing.assert_close(x.mean(0), DRIVE[0].double().sigmoid(), atol=0.012, rtol=0)  # five standard errors


def test_gaussian_images_have_the_mean_of_their_drive_and_unit_variance():
    x = drawn("gaussian")
    torch.testing.assert_close(x.mean(0), DRIVE[0].double(), atol=0.025, rtol=0)
    torch.testing.assert_close(x.T.cov(), torch.eye(4).double(), atol=0.04, rtol=0)


def test_one_category_is_drawn_with_its_share():
    x = drawn("categorical")
    assert (x.sum(1) == 1).all() and x.unique().tolist() == [0, 1]
    torch.testing.assert_close(x.mean(0), DRIVE[0].double().softmax(0), atol=0.012, rtol=0)


def test_a_probability_is_kept_a_millionth_from_0_and_1():
    a, b = LIKELIHOODS["bernoulli"].terms(torch.tensor([[40.0], [-40.0]]).double())
    assert b.tolist() == pytest.approx([log(1e-6), log(1 - 1e-6)], rel=1e-9) and (a[:, 0] + b).tolist() == pytest.approx([log(1 - 1e-6), log(1e-6)])


def test_one_category_has_the_log_of_its_share():
    drive = DRIVE[:1].double()
    a, b = LIKELIHOODS["categorical"].terms(drive)
    assert a[0].exp().tolist() == pytest.approx(drive[0].softmax(0).tolist()) and b.item() == 0
    assert LIKELIHOODS["categorical"].base(torch.eye(4)).tolist() == [0] * 4


def test_gaussian_images_have_the_density_of_unit_variance():
    x, drive = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 3.0]])
    a, b = LIKELIHOODS["gaussian"].terms(drive)
    total = (x * a).sum() + b + LIKELIHOODS["gaussian"].base(x)
    assert total.item() == pytest.approx(-(0.25 + 25) / 2 - log(2 * pi))

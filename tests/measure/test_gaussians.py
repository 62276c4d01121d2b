"""The Gaussians of points: their two distances against closed forms, the jackknife against draws."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from ncf.measure.gaussians import frechet_distance, gaussian_kl, gaussian_of, in_parts, joined

RNG = np.random.default_rng(0)


def points(n: int, mean: float = 0.0, spread: float = 1.0, size: int = 2) -> torch.Tensor:
    return torch.from_numpy(mean + spread * RNG.standard_normal((n, size)))


def distance(real: torch.Tensor, other: torch.Tensor) -> float:
    return frechet_distance(gaussian_of(real), gaussian_of(other))


def kl(data: torch.Tensor, other: torch.Tensor, *ridge: float) -> float:
    return gaussian_kl(gaussian_of(data), gaussian_of(other), *ridge)


def exactly(mean: np.ndarray, factor: np.ndarray, n: int = 50) -> torch.Tensor:
    """Points whose mean and covariance, factor factor^T, are these to the last digit."""
    z = RNG.standard_normal((n, len(mean)))
    z -= z.mean(0)
    return torch.from_numpy(z @ np.linalg.inv(np.linalg.cholesky(z.T @ z / n)).T @ factor.T + mean)


def test_the_gaussian_of_parts_together_is_that_of_all_points():
    x = points(101, 3.0, 2.0, size=5)
    found, whole = joined([gaussian_of(part) for part in x.split([50, 1, 30, 20])]), gaussian_of(x)
    assert found.n == whole.n == 101
    torch.testing.assert_close(found.mean, x.mean(0))
    torch.testing.assert_close(found.covariance, torch.cov(x.T, correction=0))
    torch.testing.assert_close(whole.covariance, torch.cov(x.T, correction=0))
    torch.testing.assert_close(whole.root @ whole.root, whole.covariance)


def test_the_error_is_the_jackknife_of_ten_parts():
    """Of the first mean it has a closed form: that of a mean over ten parts of equal size."""
    x = points(200)
    found = in_parts(lambda gaussian: gaussian.mean[0].item(), x)
    assert found["value"] == pytest.approx(x[:, 0].mean().item()) and found["n"] == 200
    assert found["stderr"] == pytest.approx(x[:, 0].view(10, 20).mean(1).std().item() / np.sqrt(10))
    few = in_parts(lambda gaussian: gaussian.mean[0].item(), x[:19])
    assert few["stderr"] is None and few["value"] == pytest.approx(x[:19, 0].mean().item())


# --- divergence -------------------------------------------------------------------------------------------------------


def test_the_divergence_of_two_gaussians_is_its_closed_form():
    """Independent pixels: sum of ln(s/r) + (r^2 + d^2) / (2 s^2) - 1/2."""
    r, s, d = 1.0, 2.0, 0.5
    expected = 3 * (np.log(s / r) + (r**2 + d**2) / (2 * s**2) - 0.5)
    assert kl(points(200_000, size=3), points(200_000, d, s, size=3), 0) == pytest.approx(expected, rel=0.02)
    x = points(1000, size=3)
    assert kl(x, x, 0.01) == pytest.approx(0, abs=1e-9)
    other, turn = points(500, 1.0, 2.0, size=3), torch.linalg.qr(torch.from_numpy(RNG.standard_normal((3, 3))))[0]
    assert kl(x @ turn, other @ turn) == pytest.approx(kl(x, other))


def test_the_divergence_is_that_of_the_data_from_the_samples_and_knows_dead_pixels():
    wide, narrow = points(50_000, 0, 2.0, size=3), points(50_000, size=3)
    one, other = kl(wide, narrow, 0), kl(narrow, wide, 0)
    assert one == pytest.approx(3 * (np.log(0.5) + 2 - 0.5), rel=0.05) and other == pytest.approx(3 * (np.log(2) + 1 / 8 - 0.5), rel=0.05)
    dead = torch.zeros(100, 4)
    assert kl(dead, dead + 0.1) == pytest.approx(0.5 * 4 * 0.1**2 / 0.01, rel=1e-5)
    error = in_parts(lambda x: gaussian_kl(gaussian_of(narrow), x), points(5000, size=3))
    assert 0 < error["stderr"] < 0.01 and error["n"] == 5000


# --- Frechet distance -------------------------------------------------------------------------------------------------


def test_the_frechet_distance_of_independent_gaussians_is_that_of_means_and_spreads():
    """Diagonal covariances: the sum of (m - n)^2 + (r - s)^2."""
    m, n, r, s = np.array([0.0, 1, 5]), np.array([2.0, 1, 4]), np.array([1.0, 2, 0.5]), np.array([3.0, 2, 0.1])
    expected = ((m - n) ** 2 + (r - s) ** 2).sum()
    assert distance(exactly(m, np.diag(r)), exactly(n, np.diag(s))) == pytest.approx(expected, rel=1e-9)


def test_the_frechet_distance_of_any_gaussians_takes_the_root_of_the_product():
    a, b, m = RNG.standard_normal((4, 4)), RNG.standard_normal((4, 4)), RNG.standard_normal(4)
    C, D = a @ a.T, b @ b.T
    expected = m @ m + np.trace(C + D - 2 * sqrtm(C @ D).real)
    one, other = exactly(m, a), exactly(0 * m, b)
    assert distance(one, other) == pytest.approx(expected, rel=1e-6) == pytest.approx(distance(other, one), rel=1e-6)


def test_the_frechet_distance_knows_dead_pixels_and_is_none_of_the_same_points():
    x = points(100, size=6) * torch.tensor([1.0, 2, 0, 0, 1, 1])
    assert distance(x, x) == pytest.approx(0, abs=1e-6)
    assert distance(x, x + torch.tensor([0.0, 0, 3, 0, 0, 4])) == pytest.approx(25, rel=1e-6)
    assert distance(x, 0 * x) == pytest.approx(x.square().sum(1).mean().item(), rel=1e-6)  # to a single point


def test_the_error_of_the_frechet_distance_is_its_spread_over_draws():
    real = points(2000)
    drawn = [in_parts(lambda x: frechet_distance(gaussian_of(real), x), points(500, 1.0, 1.5)) for _ in range(60)]
    assert np.sqrt(np.mean([d["stderr"] ** 2 for d in drawn])) == pytest.approx(np.std([d["value"] for d in drawn]), rel=0.35)
    assert drawn[0]["n"] == 500
    real = points(500, size=8)  # of the same distribution, where what is left is bias: it falls by 1 / n, not by its root
    drawn = [in_parts(lambda x: frechet_distance(gaussian_of(real), x), points(500, size=8)) for _ in range(100)]
    assert np.sqrt(np.mean([d["stderr"] ** 2 for d in drawn])) == pytest.approx(np.std([d["value"] for d in drawn]), rel=0.35)

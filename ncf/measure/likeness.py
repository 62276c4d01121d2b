"""How like the training images a model's samples are: the article's two measures (its Supplementary Note 3), and the same of held-out images."""

from math import sqrt

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from ncf.data.streams import stream
from ncf.measure.fitting import quiet_fit

BINS = 100
LEVEL = 0.05  # of the test of each bin
RIDGE = 0.01  # added to every variance: pixels that never change have none


class Bins:
    """k-means bins of the training images (N, J_0), and the share of them in each."""

    def __init__(self, images: Tensor, bins: int = BINS):
        from sklearn.cluster import KMeans

        self.n, k = len(images), max(2, min(bins, len(images) // 10))
        with quiet_fit():
            found = KMeans(k, n_init=1, random_state=0).fit(images.float().cpu().numpy())
        self.centres = torch.from_numpy(found.cluster_centers_).to(images)
        self.share = np.bincount(found.labels_, minlength=k) / self.n

    def counts(self, images: Tensor) -> np.ndarray:
        """How many images are in each bin, the one with the nearest centre."""
        nearest = torch.cat([torch.cdist(part.to(self.centres), self.centres).argmin(1) for part in images.split(5000)])
        return np.bincount(nearest.cpu().numpy(), minlength=len(self.share))

    def different(self, counts: np.ndarray) -> np.ndarray:
        """Which bins hold another share of these images than of the training images, by the two-proportion z-test at 5 %.

        z = (p - q) / sqrt(P (1 - P) (1 / N + 1 / n)), P the share of both together (Richardson and Weiss, NeurIPS 2018: NDB).
        """
        n = counts.sum()
        q = counts / n
        both = (self.share * self.n + counts) / (self.n + n)
        error = np.sqrt(both * (1 - both) * (1 / self.n + 1 / n))
        return np.abs(self.share - q) > stats.norm.isf(LEVEL / 2) * error


def different_bins(images: Tensor, bins: Bins) -> dict:
    """NDB: the share of bins that differ, in %, and its error over draws, by resampling the counts 200 times."""
    counts = bins.counts(images)
    again = stream(0, "likeness bins").multinomial(counts.sum(), counts / counts.sum(), size=200)
    spread = np.std([100 * bins.different(other).mean() for other in again], ddof=1)
    return {"value": 100 * float(bins.different(counts).mean()), "n": len(images), "stderr": float(spread)}


def gaussian_kl(data: Tensor, images: Tensor, ridge: float = RIDGE) -> float:
    """KL( N(m, C) || N(n, D) ) in nats, the Gaussians of data and of images (N, J_0), `ridge` added to every variance.

    1/2 ( tr(D^-1 C) + (n - m)^T D^-1 (n - m) - J_0 + ln |D| / |C| )
    """
    moments = []
    for part in (data, images):
        part = part.double()
        mean = part.mean(0)
        covariance = (part.T @ part) / len(part) - torch.outer(mean, mean)
        moments.append((mean, covariance + ridge * torch.eye(len(mean), dtype=part.dtype, device=part.device)))
    (m, C), (n, D) = moments
    factor = torch.linalg.cholesky(D)
    fit = torch.cholesky_solve(C, factor).trace() + (n - m) @ torch.cholesky_solve((n - m)[:, None], factor)[:, 0]
    return 0.5 * (fit - len(m) + 2 * factor.diagonal().log().sum() - torch.linalg.slogdet(C).logabsdet).item()


def gaussian_distance(data: Tensor, images: Tensor) -> dict:
    """The divergence of all images, and its error from that of five parts."""
    parts = [gaussian_kl(data, part) for part in images.chunk(5) if len(part) > 1]
    return {
        "value": gaussian_kl(data, images),
        "n": len(images),
        "stderr": float(np.std(parts, ddof=1)) / sqrt(len(parts)) if len(parts) > 1 else 0.0,
    }

"""How like the training images a model's samples are, and how codes lie to each other: the article's measures (its Supplementary Notes)."""

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from ncf.data.streams import stream
from ncf.measure.fitting import CannotFit, quiet_fit

BINS = 100
LEVEL = 0.05  # of the test of each bin


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


def nearest(images: Tensor, among: Tensor, k: int, block: int = 1000) -> tuple[Tensor, Tensor]:
    """Distances to, and rows of, the k nearest of other images, nearest first, (n, k) each; k is at most their number."""
    found = []
    for part in images.split(block):
        found.append(squares(part, among).topk(min(k, len(among)), largest=False))
    return torch.cat([f.values for f in found]).clamp(min=0).sqrt(), torch.cat([f.indices for f in found])


def squares(images: Tensor, among: Tensor) -> Tensor:
    """Squared distances |x|^2 - 2 x y + |y|^2 of images (n, J_0) to others (m, J_0), (n, m); rounding may leave them just below zero."""
    return images.square().sum(1, keepdim=True) - 2 * images @ among.T + among.square().sum(1)


def neighbour_error(codes: Tensor, y: Tensor) -> Tensor:
    """1 for every code (N, J) whose nearest neighbour in the plane of t-SNE is of another class than its own y (N,), else 0, (N,)."""
    if len(codes) < 2:
        raise CannotFit("a single image has no neighbours in a plane of codes")
    plane = embedded(codes) if len(codes) > 3 else codes.double().cpu()  # of so few there is nothing to lay out
    distances = torch.cdist(plane, plane).fill_diagonal_(torch.inf)
    return (y.cpu()[distances.argmin(1)] != y.cpu()).double()


def embedded(codes: Tensor) -> Tensor:
    """Codes (N, J) laid out by t-SNE (scikit-learn's, begun from the first two principal components), (N, 2)."""
    from sklearn.manifold import TSNE

    values = codes.double().cpu().numpy()
    if not np.isfinite(values).all() or values.std(0).max() < 1e-9:  # scikit-learn would divide by their spread, and crash
        raise CannotFit("the codes of the images do not differ, so t-SNE cannot lay them out")
    with quiet_fit():
        plane = TSNE(perplexity=min(30.0, (len(values) - 1) / 3), init="pca" if min(values.shape) > 1 else "random", random_state=0).fit_transform(
            values
        )
    return torch.from_numpy(plane).double()

"""Clouds of points compared, training images with samples, as pixels or as features: their Gaussians, neighbours, classes."""

from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt

import numpy as np
import torch
from torch import Tensor

from ncf.data.streams import stream
from ncf.measure.fitting import CannotFit
from ncf.measure.gaussians import Gaussian, gaussian_of
from ncf.measure.likeness import nearest, squares

NEAR = 3  # neighbours of a point, the farthest of which is on its ball's surface: precision and recall
NEAR_DENSE = 5  # the same of density and coverage


@dataclass
class Clouds:
    """Training images, samples, and held-out images, which show what can be had: (n, J) each."""

    real: Tensor
    drawn: Tensor
    held_out: Tensor

    @cached_property
    def gaussian(self) -> Gaussian:
        """The Gaussian of the training images."""
        return gaussian_of(self.real)

    @cached_property
    def neighbours(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """`neighbours` of the samples and of the held-out images among the training images."""
        return neighbours(self.real, self.drawn), neighbours(self.real, self.held_out)


def neighbours(real: Tensor, images: Tensor, block: int = 1000) -> dict[str, Tensor]:
    """How real points X (n, J) and others Y (m, J) lie among each other; a figure is the mean of each, its error that of a mean over the points
    counted, the other cloud held fixed.

    With B_k(x), the ball around x as far as its k-th nearest neighbour among its own kind:

    precision   (m,) is y in B_3(x) of any x; recall (n,) is x in B_3(y) of any y (Kynkaanniemi et al., NeurIPS 2019)
    density     (m,) in how many B_5(x) y is, over 5; coverage (n,) is any y in B_5(x) (Naeem et al., ICML 2020)
    two_sample  (n + m,) is the nearest of all other points of the point's own kind; 1/2 where both kinds have one as near: the accuracy of
                the 1-nearest-neighbour classifier, each point left out in its turn (Lopez-Paz and Oquab, ICLR 2017; Xu et al., 2018)
    """
    if min(len(real), len(images)) <= NEAR_DENSE:
        raise CannotFit(f"{min(len(real), len(images))} images are too few to have {NEAR_DENSE} neighbours each")
    # of every point the distances to its own kind, the first of which is to itself
    own, theirs = (nearest(points, points, NEAR_DENSE + 1, block)[0] for points in (real, images))
    closest, recall = torch.full_like(own[:, 0], torch.inf), torch.zeros_like(own[:, 0], dtype=torch.bool)
    precision, density, other = [], [], []
    for part, radius in zip(images.split(block), theirs[:, NEAR].split(block)):
        apart = squares(part, real).clamp(min=0).sqrt()  # (B, n)
        precision.append((apart <= own[:, NEAR]).any(1))
        density.append((apart <= own[:, NEAR_DENSE]).sum(1) / NEAR_DENSE)
        recall |= (apart <= radius[:, None]).any(0)
        other.append(apart.min(1).values)
        closest = torch.minimum(closest, apart.min(0).values)
    nearer = torch.cat([closest - own[:, 1], torch.cat(other) - theirs[:, 1]])
    return {
        "precision": torch.cat(precision).double(),
        "recall": recall.double(),
        "density": torch.cat(density).double(),
        "coverage": (closest <= own[:, NEAR_DENSE]).double(),
        "two_sample": (1 + nearer.sign().double()) / 2,
    }


def told_apart(own: Tensor, n: int) -> dict:
    """How far the 1-nearest-neighbour classifier is from a toss-up, of both kinds: 50 + ( |r - 50| + |s - 50| ) / 2 percent, r of the n real points and
    s of the others, `own` (n + m,) telling of each whether its nearest is of its own kind.

    Of both together the accuracy would hide a cloud inside the other, which is nearest to all: r = 0 and s = 100 (Xu et al., 2018, tell both).
    """
    kinds = [100 * part.double() for part in (own[:n], own[n:])]
    r, s = (part.mean().item() for part in kinds)
    error = sqrt(sum(part.var().item() / len(part) for part in kinds)) / 2
    return {"value": 50 + (abs(r - 50) + abs(s - 50)) / 2, "n": n, "stderr": error, "training_images": r, "samples": s}


def entropy(counts: np.ndarray) -> float:
    """- sum of p ln p, nats, p the shares of the counts."""
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log(p)).sum())


def class_entropy(y: Tensor, n_classes: int) -> dict:
    """Entropy of the classes y (n,), with its error over draws, by resampling the counts 200 times; `most` is ln C."""
    counts = np.bincount(y.cpu().numpy(), minlength=n_classes)
    again = stream(0, "class entropy").multinomial(counts.sum(), counts / counts.sum(), size=200)
    return {
        "value": entropy(counts),
        "n": len(y),
        "stderr": float(np.std([entropy(other) for other in again], ddof=1)),
        "most": log(n_classes),
        "shares": (counts / counts.sum()).tolist(),
    }

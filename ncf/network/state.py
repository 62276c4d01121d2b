"""The state that settling leaves behind, and from which local updates are computed."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class State:
    """Index l is the layer; z, f: 0..L (z[0] = f[0] is the image); mu, r, e: 0..L-1. All are (B, J_l).

    ``e[l] is r[l]`` where layer l has no precision.
    """

    z: list[Tensor]
    f: list[Tensor]
    mu: list[Tensor]
    r: list[Tensor]
    e: list[Tensor]
    observed: Tensor | None = None  # 1 where a pixel is seen, 0 where not, (J_0,) or (B, J_0); None: all seen
    v: list[Tensor] | None = None  # velocities, where the solver has momentum
    steps: int = 0  # taken; fewer than K where a tolerance was met
    moving: bool = False  # a tolerance was asked for, and not met in all steps
    batch: int | None = None  # B of the local updates, where these rows are one rank's part of a batch; None: they are all of it


def at_rest(before: Tensor, z: Tensor, tolerance: float) -> bool:
    """The stopping rule: |z_k - z_{k-1}| <= tolerance * |z_k| for every image, over all its hidden layers; both (B, J_1 + .. + J_L)."""
    return bool(((z - before).norm(dim=1) <= tolerance * z.norm(dim=1)).all())

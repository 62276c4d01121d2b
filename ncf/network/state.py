"""The state that settling leaves behind, and from which local updates are computed."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ncf.network.langevin import Noise


@dataclass
class State:
    """Lists over populations, as the circuit numbers them: z, f all of them, mu, r, e those that are predicted. All are (B, J).

    Of a chain, index l is layer l and z[0] = f[0] is the image. ``e[i] is r[i]`` where population i has no precision.
    """

    z: list[Tensor]
    f: list[Tensor]
    mu: list[Tensor]
    r: list[Tensor]
    e: list[Tensor]
    observed: dict[int, Tensor] = field(default_factory=dict)  # masks: 1 where a unit is seen, 0 where not, (J,) or (B, J); absent: all seen
    v: list[Tensor] | None = None  # velocities, where the solver has momentum
    steps: int = 0  # taken; fewer than K where a tolerance was met
    moving: bool = False  # a tolerance was asked for, and not met in all steps
    batch: int | None = None  # B of the local updates, where these rows are one rank's part of a batch; None: they are all of it
    rows: slice | None = None  # which of the batch these are; None: all
    noise: Noise | None = None  # of settling
    images: Tensor | None = None  # which training images these are, (B,); None: not told
    drawn: Tensor | None = None  # (B, J_top): where draws of the top go on that a last phase made before (`ncf.network.last_phase`)
    tops: tuple[int, ...] = (-1,)  # the populations whose activities are the code
    free: tuple[int, ...] = ()  # the populations that move
    past: dict[int, Tensor] = field(default_factory=dict)  # f_s[n-1], (B, J_s), of the sources of delayed bundles
    carried: dict[int, Tensor] = field(
        default_factory=dict
    )  # c_t, (B, J_t): what the past adds to the drive of a population, constant while it settles

    @property
    def code(self) -> Tensor:
        """The activities of the uppermost hidden populations side by side, (B, J_top): f_L of a chain."""
        return self.f[self.tops[0]] if len(self.tops) == 1 else torch.cat([self.f[i] for i in self.tops], dim=1)


def at_rest(before: Tensor | None, z: Tensor, tolerance: float) -> bool:
    """The stopping rule: |z_k - z_{k-1}| <= tolerance * |z_k| for every image, over all its moving populations; both (B, sum of J)."""
    return before is not None and bool(((z - before).norm(dim=1) <= tolerance * z.norm(dim=1)).all())

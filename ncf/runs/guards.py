"""Guards: a run that diverges stops, before a checkpoint is written, with one line that says where and what to lower.

Values that are not finite are the plain case. But tanh and the norm limits keep a run finite that has long stopped to learn, so two
sizes are watched as well; both lie far outside what any of the networks shows at work, and far inside what a diverging one shows.
"""

from contextlib import contextmanager
from math import isfinite

import torch
from torch import Tensor

from ncf.errors import UserError

# Pixels, errors at the image and norms of synapses are of order one, and float32 has 24 binary digits: a state beyond 2^16 resolves
# no better than 2^-7, a hundredth of the errors that should move it. At work states stay below some tens; the largest seen, with
# GNCN-PDH settled for eight times its usual time, was 1,254.
LARGEST_STATE = 2.0**16

# A step that makes a bundle of synapses a hundred times as large (root mean square of its columns' norms, at least 1) leaves one part
# in a hundred of what was learned before, whatever the norm limit does to it afterwards. At work a step changes the norm by a few
# parts in a hundred; with a learning rate of 1, a thousand times the usual one, it is thirtyfold.
LARGEST_GROWTH = 100.0


def require_settled(network, state, where: str, measuring: bool = False) -> None:
    """Refuse states z_l, l from 1, (B, J_l), that are not finite or beyond LARGEST_STATE."""
    moving = state.free or range(1, len(state.z))
    largest = torch.stack([state.z[i].abs().amax() for i in moving]).tolist()
    for name, value in zip((network.names[i] for i in moving), largest):
        if not value <= LARGEST_STATE:
            raise UserError(f"settling diverged in {where}: the states of {name} reach {value:.3g}; lower {keys(network, measuring)}")


def require_finite(network, updates: dict[str, Tensor], where: str) -> None:
    """Refuse updates that are not finite. One look at each bundle: a sum is finite only if all of it is."""
    for name, total in zip(updates, torch.stack([update.sum() for update in updates.values()]).tolist()):
        if not isfinite(total):
            raise UserError(f"learning diverged in {where}: the update of {name} is not finite; lower {keys(network, learning=True)}")


def require_numbers(network, figures: dict[str, float], where: str, measuring: bool = False) -> None:
    """Refuse measured figures that are not finite: NaN is never better, and would stay the best for ever."""
    for name, value in figures.items():
        if not isfinite(value):
            raise UserError(f"settling diverged in {where}: {name} is not finite; lower {keys(network, measuring)}")


@contextmanager
def steady(network, where: str):
    """Refuse a step (the body) after which nothing is left of what synapses had learned, or a covariance is none any more."""
    before = column_norms(network.parameters)
    failure = None
    try:
        yield
    except torch.linalg.LinAlgError as error:
        failure = error
    for name, old, new in zip(network.parameters, before, column_norms(network.parameters)):
        if not new <= LARGEST_GROWTH * max(old, 1.0):
            raise UserError(
                f"learning diverged in {where}: one step took {name} from column norms of {old:.3g} to {new:.3g}; lower {keys(network, learning=True)}"
            )
    if failure:
        bad = [f"Sigma of {network.names[i]}" for i, sigma in network.sigma.items() if torch.linalg.cholesky_ex(sigma).info.item()]
        raise UserError(
            f"learning diverged in {where}: {', '.join(bad)} is not positive definite any more; lower {keys(network, learning=True)}"
        ) from failure


def column_norms(parameters: dict[str, Tensor]) -> list[float]:
    """The root mean square of the norms of a bundle's columns (all synapses into one unit), for every bundle."""
    flat = [p.flatten() for p in parameters.values()]
    squares = torch.stack([torch.dot(p, p) for p in flat]).tolist()  # (BLAS: half of vector_norm's time)
    return [(square / p.shape[-1]) ** 0.5 for square, p in zip(squares, parameters.values())]


def keys(network, measuring: bool = False, learning: bool = False) -> str:
    """What to lower: in training, the rate first where synapses ran away (`learning`), or in `measuring` on a checkpoint, where ncf-eval has names of
    its own and synapses are what they are."""
    settles = "settle" in network.abilities
    if measuring and settles:
        return "beta or steps of ncf-eval (in training model.settle.beta, model.settle.steps or optimizer.lr)"
    states = ["model.settle.beta", "model.settle.steps"] if settles else []
    if settles and network.config.last_phase.steps:
        states = ["model.last_phase.beta", "model.settle.beta"]
    *others, last = ["optimizer.lr", *states] if learning else [*states, "optimizer.lr"]
    return f"{', '.join(others)} or {last}" if others else last

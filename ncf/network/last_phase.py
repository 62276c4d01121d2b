"""Learning in a last phase (`model.last_phase`), in which the top alone explains the image (`ncf.network.top_inference`).

To the updates of settling (none of these if it learns `alone`) are added those of the phase's last state, products of the activity at the two ends of a synapse:

    dW_st = f_s^T d_t / B,   dE_ts = d_t^T f_s / B times `error_rate`

Where d is carried over tied or transposed synapses, dW is the gradient of log p(x | f_top) with respect to W, so that what the top projects to alone, as it
does for a draw from the prior, becomes more probable. Without a prior the top moves under noise of `temperature`. With one (`ncf.network.top_prior`) it is drawn
towards the posterior under it, and this is the M-step of Monte Carlo EM (Wei and Tanner, Journal of the American Statistical Association 85, 1990). What
predicts the top itself, such as a label above it, learns from settled states only, and so not at all where synapses learn `alone`. Those that do, from draws,
need no settled states: an image whose top the prior remembers has the state in which that top explains it (`recalled_state`), and its draw goes on from there.
"""

import numpy as np
import torch
from torch import Tensor

from ncf.config.schema import LastPhaseConfig
from ncf.errors import UserError
from ncf.network.langevin import Noise
from ncf.network.state import State
from ncf.network.top_inference import carried_up, infer_top, shown_roots
from ncf.network.top_prior import draw_top, prior_of


def last_phase_updates(network, state: State, rng: np.random.Generator | None) -> dict[str, Tensor]:
    """The local updates of the last phase that `model.last_phase` asks for, and what a prior of the top learns from; `rng` is the batch's."""
    wanted: LastPhaseConfig = network.config.last_phase
    batch = state.batch or len(state.z[0])
    x, given, prior = state.z[0], shown_roots(network, state), network.prior
    if prior is None and not wanted.temperature:
        return products(network, x, infer_top(network, state, wanted.steps, wanted.beta), given, batch)
    if rng is None:
        raise ValueError("a last phase under noise needs the batch's random stream: give rng, or model.last_phase.temperature=0 and no prior")
    noise = Noise(rng.integers(2**63, size=batch)[state.rows or slice(None)], wanted.temperature)
    if prior is None:
        return products(network, x, infer_top(network, state, wanted.steps, wanted.beta, noise), given, batch)
    start = infer_top(network, state, wanted.steps, wanted.beta, transposed=True) if state.drawn is None else state.drawn
    code, component, taken = draw_top(network, prior, x, start, given, wanted.moves, noise)
    averages = prior.averages(code, component, taken, batch) | prior.remembered(code, state.images, batch, state.rows)
    if not prior.warm:
        return averages
    return products(network, x, code, given, batch, transposed=True) | averages


def remembers_tops(network) -> bool:
    """Whether synapses learn from draws of the top alone, so that the prior remembers those of training images."""
    return prior_of(network) is not None and network.config.last_phase.alone


def remember_tops(network, n: int) -> None:
    """Let the prior remember the tops of n training images."""
    network.prior.remember(n)


@torch.no_grad()
def recalled_state(network, x: Tensor, y: Tensor | None, images: Tensor | None) -> State | None:
    """The state of training images x (B, J_0), so numbered, in which the top that the prior remembers explains them: all populations below it at their
    predictions, no error but the image's (where a population's g is not its phi, the one that is left counts as none). None unless it remembers all of them."""
    prior = prior_of(network)
    code = prior.recalled(images) if prior else None
    if code is None:
        return None
    state = network.rest(x, y=y)
    drives, activities = network.descend(code, shown_roots(network, state))
    for i, f in activities.items():
        state.z[i], state.f[i] = (drives.get(i, f), f) if i else (x, x)
    network.predict(state)
    for i in range(network.circuit.n_predicted):
        state.r[i] = state.e[i] = torch.zeros_like(state.r[i]) if i else x - state.mu[0]
    state.drawn = code
    return state


def products(network, x: Tensor, code: Tensor, given: dict[str, Tensor], batch: int, transposed: bool = False) -> dict[str, Tensor]:
    """dW and dE of the projection of `code`, on which what predicts the top has no part: its error counts as zero. Skips learn if they are to."""
    f, d = carried_up(network, x, code, given, transposed)
    updates = network.products(f, d | {i: torch.zeros_like(d[i]) for i in network.circuit.tops}, batch)
    if not network.config.last_phase.skips:
        back = [feedback.name for feedback in network.circuit.feedback if feedback.name and feedback.bundle in network.circuit.skips]
        for name in (*(bundle.name for bundle in network.circuit.skips), *back):
            updates[name].zero_()
    return updates


def require_last_phase(network) -> None:
    """UserError where a network cannot learn in a last phase."""
    wanted: LastPhaseConfig = network.config.last_phase
    if wanted.components and not wanted.steps:
        raise UserError(f"model.last_phase.components={wanted.components}: it learns in a last phase; give it model.last_phase.steps too, such as 30")
    if not wanted.steps:
        for key, value in (("alone", wanted.alone), ("skips", not wanted.skips)):
            if value:
                raise UserError(
                    f"model.last_phase.{key}={str(getattr(wanted, key)).lower()}: there is no last phase; give it model.last_phase.steps, such as 30"
                )
        return
    why = None
    if "project" not in network.abilities:
        why = "a frame is predicted from the one before too" if network.circuit.delayed else "no image is predicted"
    elif any(p.observed == "label" for p in network.circuit.populations[: network.circuit.n_predicted]):
        why = "the label is predicted too"
    if why:
        raise UserError(f"model.last_phase.steps={wanted.steps}: in a last phase the top alone predicts the image, and here {why}; leave it at 0")

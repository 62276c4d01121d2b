"""A last phase of inference, by the top alone, and learning in it.

Settling stops where the error neurons of all layers share the mismatch; a draw from the top has to do without them. Here every population but the
top takes the value that is predicted for it (their errors are zero), and only the top moves, by the image's error carried up over the error
synapses, and under noise:

    d_0 = x - mu_0,   d_s = ( sum over feedback t -> s of d_t E_ts ) * phi'(z_s),   z_top += beta d_top + sqrt(2 beta T) xi   (d_top without phi')

With tied error synapses for every bundle d_top is the gradient of log p(x | f_top) with respect to f_top; learned ones approximate it locally. With T = 1,
phi the identity at the top and tied synapses, small steps sample f_top from p(x | f_top), normalised, where the image bounds it. For other phi, few steps
and no prior this is a heuristic: noise that keeps the top from saying more than the image tells it.

Learning in this phase (`model.last_phase`) adds to the updates of settling those of its last state, products of the activity at the two ends of a synapse:

    dW_st = f_s^T d_t / B,   dE_ts = d_t^T f_s / B times `error_rate`

With tied synapses dW is the gradient of log p(x | f_top) with respect to W, so that what the top projects to alone, as it does for a draw from the prior,
becomes more probable. It would be the M-step of Monte Carlo EM (Wei and Tanner, Journal of the American Statistical Association 85, 1990) if f_top were drawn
under that prior.
"""

import numpy as np
import torch
from torch import Tensor

from ncf.config.schema import LastPhaseConfig
from ncf.errors import UserError
from ncf.network.langevin import Noise
from ncf.network.state import State


@torch.no_grad()
def infer_top(network, state: State, steps: int, beta: float, noise: Noise | None = None) -> Tensor:
    """The activities of the top (B, J_top) after `steps` steps of size `beta` from a settled state whose image is wholly seen."""
    tops, x, given = network.circuit.tops, state.z[0], shown_roots(network, state)
    z = {i: state.z[i].clone() for i in tops}
    f = {i: state.f[i].clone() for i in tops}
    for _ in range(steps):
        _, d = carried_up(network, x, torch.cat([f[i] for i in tops], dim=1), given)
        for i in tops:
            z[i].add_(d[i], alpha=beta)
        if noise is not None:
            noise.stir(z, beta, {})
        for i in tops:
            network.phi[i].value(z[i], out=f[i])
    return torch.cat([f[i] for i in tops], dim=1)


def last_phase_updates(network, state: State, rng: np.random.Generator | None) -> dict[str, Tensor]:
    """The local updates of the last phase that `model.last_phase` asks for, from a settled state; `rng` is the batch's."""
    wanted: LastPhaseConfig = network.config.last_phase
    batch = state.batch or len(state.z[0])
    if wanted.temperature and rng is None:
        raise ValueError("a last phase under noise needs the batch's random stream: give rng, or model.last_phase.temperature=0")
    noise = Noise(rng.integers(2**63, size=batch)[state.rows or slice(None)], wanted.temperature) if wanted.temperature and rng is not None else None
    code = infer_top(network, state, wanted.steps, wanted.beta, noise)
    return network.products(*carried_up(network, state.z[0], code, shown_roots(network, state)), batch)


def carried_up(network, x: Tensor, code: Tensor, given: dict[str, Tensor] | None = None) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """f_s and d_s (B, J), by population: the activities that `code` (and what is `given` beside it) projects down to, and the image's error after
    that, carried up."""
    circuit = network.circuit
    z, f = network.descend(code, given)
    d = {0: x - network.g[0].value(z[0], out=None)}
    for i, population in enumerate(circuit.populations):
        if population.observed is not None:
            continue
        parts = [d[feedback.source] @ network.error_synapses(feedback) for feedback in circuit.feedback_into(i) if feedback.source in d]
        d[i] = sum(parts[1:], parts[0]) if parts else torch.zeros_like(f[i])
        if i not in circuit.tops and network.phi[i].slope:
            d[i] = d[i] * network.phi[i].slope(z[i], f[i])
    return f, d


def shown_roots(network, state: State) -> dict[str, Tensor]:
    """What is seen of observed roots, row by row, by what is observed; what is not seen is zero, as it is where images are drawn."""
    roots = {i: p.observed for i, p in enumerate(network.circuit.populations) if p.observed and i >= network.circuit.n_predicted}
    return {name: state.f[i] * state.observed[i] if i in state.observed else state.f[i] for i, name in roots.items()}


def require_last_phase(network) -> None:
    """UserError where a network cannot learn in a last phase."""
    if not network.config.last_phase.steps:
        return
    why = None
    if "project" not in network.abilities:
        why = "a frame is predicted from the one before too" if network.circuit.delayed else "no image is predicted"
    elif any(p.observed == "label" for p in network.circuit.populations[: network.circuit.n_predicted]):
        why = "the label is predicted too"
    if why:
        raise UserError(
            f"model.last_phase.steps={network.config.last_phase.steps}: in a last phase the top alone predicts the image, and here {why}; leave it at 0"
        )

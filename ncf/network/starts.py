"""Where states start: at rest, from what the given roots predict, or from a recogniser (`model.settle.start`).

    rest         z_s = 0
    projection   z_s = sum over bundles u -> s of f_u W_us,        f_s = phi(z_s), from the observed roots down (what the supplement calls
                 ancestral projection: where the image is the root, one pass of a feedforward network)
    recogniser   z_s = q s_s,  s_s = sum over feedback t -> s of pre_t R_ts,   pre_t = x for what is observed, phi(s_t) above, from the image up

The recogniser (Supplementary Note 4, "amortised inference") learns by its own local rule, the delta rule toward the settled states z*:

    dR_ts = ( pre_t / |pre_t|^2 )^T (z*_s - s_s) / B

States that started where they settled would settle for ever, batch after batch, and some networks run away. The share q = 1 - K/K' (`settle.share`)
makes K steps like K' steps from rest: exactly so for modes that are far slower than K' (z* = K d from q z*, so z* = K d / (1 - q)), and for those that have come
to rest. Predictions and errors of the start are computed before the first step.
"""

import torch
from torch import Tensor

from ncf.errors import UserError
from ncf.network.circuit import Circuit, Feedback
from ncf.network.state import State


def require_start(start: str, circuit: Circuit) -> None:
    if start == "projection" and not any(p.observed for p in circuit.populations[circuit.n_predicted :]):
        raise UserError("model.settle.start=projection: no observed population is a root, so nothing is projected; use rest or recogniser")


def starting_states(network, given: dict[int, Tensor], masks: dict[int, Tensor]) -> dict[int, Tensor]:
    """z (B, J_s) of every hidden population before the first step, by population; empty where they start at rest."""
    z = passed(network, given, masks)
    if network.config.settle.start == "recogniser":
        return {i: network.config.settle.share * value for i, value in z.items()}
    return z


def passed(network, given: dict[int, Tensor], masks: dict[int, Tensor]) -> dict[int, Tensor]:
    """The drives of the start's one pass, (B, J_s)."""
    f = {i: x * masks[i] if i in masks else x for i, x in given.items()}
    z: dict[int, Tensor] = {}
    like = next(iter(given.values()))
    for i, into in drives(network):
        z[i] = like.new_zeros(len(like), network.sizes[i])
        for source, synapses in into:
            z[i] += f[source] @ synapses
        f[i] = network.phi[i].value(z[i], out=None)
    return z


def drives(network) -> list[tuple[int, list[tuple[int, Tensor]]]]:
    """The hidden populations in the order of the start, each with the sources and the synapses of what drives it."""
    circuit, start = network.circuit, network.config.settle.start
    if start == "projection":
        return [(i, [(b.source, network.parameters[b.name]) for b in circuit.into(i)]) for i in reversed(circuit.hidden)]
    if start == "recogniser":
        return [(i, [(f.source, network.parameters[name_of(network, f)]) for f in upward(circuit, i)]) for i in circuit.hidden]
    return []


def starting_synapses(network) -> int:
    """Multiply-adds of the start, per image."""
    return sum(synapses.numel() for _, into in drives(network) for _, synapses in into)


def upward(circuit: Circuit, i: int) -> list[Feedback]:
    """The feedback into a population along which it is recognised: from below it."""
    return [f for f in circuit.feedback_into(i) if f.source < i]


def name_of(network, feedback: Feedback) -> str:
    return f"Rec[{network.names[feedback.source]}->{network.names[feedback.target]}]"


def recogniser(network, device: torch.device) -> dict[str, Tensor]:
    """R_ts (J_t, J_s), zero: the first batch starts at rest."""
    J, circuit = network.sizes, network.circuit
    return {name_of(network, f): torch.zeros(J[f.source], J[f.target], device=device) for i in circuit.hidden for f in upward(circuit, i)}


def recogniser_updates(network, state: State) -> dict[str, Tensor]:
    circuit, rows = network.circuit, len(state.z[0])
    given = {i: state.z[i] for i in circuit.observed.values()}
    z = passed(network, given, state.observed)
    pre = {i: x * state.observed.get(i, 1) for i, x in given.items()} | {i: network.phi[i].value(value, out=None) for i, value in z.items()}
    updates = {}
    for i in circuit.hidden:
        for f in upward(circuit, i):
            strength = pre[f.source].square().sum(1, keepdim=True).clamp_(min=1e-6)
            updates[name_of(network, f)] = ((pre[f.source] / strength).T @ (state.z[i] - z[i])).div_(state.batch or rows)
    return updates

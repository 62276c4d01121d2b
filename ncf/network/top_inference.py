"""A last phase of inference, by the top alone.

Settling stops where the error neurons of all layers share the mismatch; a draw from the top has to do without them. Here every population but the
top takes the value that is predicted for it (their errors are zero), and only the top moves, by the image's error carried up over the error
synapses, and under noise:

    d_0 = x - mu_0,   d_s = ( sum over feedback t -> s of d_t E_ts ) * phi'(z_s),   z_top += beta d_top + sqrt(2 beta T) xi   (d_top without phi')

With tied error synapses for every bundle d_top is the gradient of log p(x | f_top) with respect to f_top; learned ones approximate it locally. With T = 1,
phi the identity at the top and tied synapses, small steps sample f_top from p(x | f_top), normalised, where the image bounds it. For other phi, few steps
and no prior this is a heuristic: noise that keeps the top from saying more than the image tells it.
"""

import torch
from torch import Tensor

from ncf.network.langevin import Noise
from ncf.network.state import State


@torch.no_grad()
def infer_top(network, state: State, steps: int, beta: float, noise: Noise | None = None, transposed: bool = False) -> Tensor:
    """The activities of the top (B, J_top) after `steps` steps of size `beta` from a settled state whose image is wholly seen; `transposed` as in `carried_up`."""
    tops, x, given = network.circuit.tops, state.z[0], shown_roots(network, state)
    z = {i: state.z[i].clone() for i in tops}
    f = {i: state.f[i].clone() for i in tops}
    for _ in range(steps):
        _, d = carried_up(network, x, torch.cat([f[i] for i in tops], dim=1), given, transposed)
        for i in tops:
            z[i].add_(d[i], alpha=beta)
        if noise is not None:
            noise.stir(z, beta, {})
        for i in tops:
            network.phi[i].value(z[i], out=f[i])
    return torch.cat([f[i] for i in tops], dim=1)


def carried_up(
    network, x: Tensor, code: Tensor, given: dict[str, Tensor] | None = None, transposed: bool = False
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """f_s and d_s (B, J), by population: the activities that `code` (and what is `given` beside it) projects down to, f_0 the drive of the image, and
    the image's error after that, carried up: by the feedback there is or, `transposed`, back over every bundle, d_t W_st^T. Then d_top is the slope of
    log p(x | f_top)."""
    circuit = network.circuit
    z, f = network.descend(code, given)
    d = {0: x - network.g[0].value(z[0], out=None)}
    for i, population in enumerate(circuit.populations):
        if population.observed is not None:
            continue
        ways = [(b.target, network.parameters[b.name].T) for b in circuit.bundles if b.source == i]
        if not transposed:
            ways = [(feedback.source, network.error_synapses(feedback)) for feedback in circuit.feedback_into(i)]
        parts = [d[t] @ synapses for t, synapses in ways if t in d]
        d[i] = sum(parts[1:], parts[0]) if parts else torch.zeros_like(f[i])
        if i not in circuit.tops and network.phi[i].slope:
            d[i] = d[i] * network.phi[i].slope(z[i], f[i])
    return f, d


def shown_roots(network, state: State) -> dict[str, Tensor]:
    """What is seen of observed roots, row by row, by what is observed; what is not seen is zero, as it is where images are drawn."""
    roots = {i: p.observed for i, p in enumerate(network.circuit.populations) if p.observed and i >= network.circuit.n_predicted}
    return {name: state.f[i] * state.observed[i] if i in state.observed else state.f[i] for i, name in roots.items()}

"""A last phase of inference, by the top alone.

Settling stops where the error neurons of all layers share the mismatch; a draw from the top has to do without them. Here every population but the
top takes the value that is predicted for it (their errors are zero), and only the top moves, by the image's error carried up over the error
synapses:

    d_0 = x - mu_0,   d_s = ( sum over feedback t -> s of d_t E_ts ) * phi'(z_s),   z_top += beta d_top   (without phi')

With tied error synapses for every bundle d_top is the gradient of log p(x | f_top) with respect to f_top; learned ones approximate it locally.
"""

import torch
from torch import Tensor

from ncf.network.state import State


@torch.no_grad()
def infer_top(network, state: State, steps: int, beta: float) -> Tensor:
    """The activities of the top (B, J_top) after `steps` steps of size `beta` from a settled state whose image is wholly seen."""
    circuit, x = network.circuit, state.z[0]
    populations = enumerate(circuit.populations)
    given = {p.observed: state.f[i] for i, p in populations if p.observed and i >= circuit.n_predicted and i not in state.observed}
    z = {i: state.z[i].clone() for i in circuit.tops}
    f = {i: state.f[i].clone() for i in circuit.tops}
    for _ in range(steps):
        for i, d in top_errors(network, x, torch.cat([f[i] for i in circuit.tops], dim=1), given).items():
            z[i].add_(d, alpha=beta)
            network.phi[i].value(z[i], out=f[i])
    return torch.cat([f[i] for i in circuit.tops], dim=1)


def top_errors(network, x: Tensor, code: Tensor, given: dict[str, Tensor] | None = None) -> dict[int, Tensor]:
    """d_top (B, J) of every top population: the image's error after the projection of `code` (and what is `given` beside it), carried up."""
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
    return {i: d[i] for i in circuit.tops}

"""The mixture refitted to what images leave open: Monte Carlo EM of the prior over top activities on log p(x) itself.

A mixture fitted to one top activity f_L per image takes no account of how well the image determines it. The prior that makes the images most
probable is the mean of their posteriors: d/d theta log p(x) = E[ d/d theta log p(f_L) ] over p(f_L | x). So, in turn,

    draws     f_L of every image moves by Hamiltonian Monte Carlo that keeps p(f_L | x) ~ p(f_L) p(x | f_L),
    fit       the mixture is fitted to these: one step of EM, each draw in one component, itself drawn from p(c | f_L).

Wei and Tanner, "A Monte Carlo implementation of the EM algorithm", Journal of the American Statistical Association 85 (1990). The decoder stays as
it is, and gradients are used: as in annealing this is measurement, not learning. Every fit is shrunk anew by the mixture's `shrinkage`: what images leave open
becomes independent between units, round by round.
"""

import torch
from torch import Tensor

from ncf.config.schema import MixtureConfig
from ncf.data.streams import stream
from ncf.measure.annealing import TARGET_ACCEPTANCE, Chains, Sampler
from ncf.network.mixture import Groups, Mixture

LEAPFROGS = 5
FIRST_STEP = 0.1  # of the moves; it adapts from batch to batch
BATCH = 3000  # chains that move together, for the sake of memory


@torch.no_grad()
def fit_to_posterior(network, prior: Mixture, x: Tensor, f: Tensor, wanted: MixtureConfig) -> Mixture:
    """The mixture after `wanted.rounds` rounds on images x (N, J_0), from one that was fitted to their top activities f (N, J_L)."""
    rng, step = stream(0, "posterior-fit"), FIRST_STEP
    for _ in range(wanted.rounds):
        component = prior.component_of(f, torch.from_numpy(rng.random((len(f), 1))))
        noise = prior.noise(component, f)
        sampler, moved = Sampler(network, prior, LEAPFROGS, rng), []
        for rows in torch.arange(len(x), device=x.device).split(BATCH):
            chains = Chains(x[rows], component[rows], noise[rows], sampler.fit(x[rows], component[rows], noise[rows]))
            step *= 1.1 if sampler.glide(chains, 1.0, step) > TARGET_ACCEPTANCE else 0.9
            moved.append(chains.noise)
        f = prior.place(component, torch.cat(moved))
        prior = groups_of(f, component, len(prior.weights), wanted.floor).mixture(prior.shrinkage.item()).to(x.device)
    return prior


def groups_of(f: Tensor, component: Tensor, n_components: int, floor: float) -> Groups:
    """The weights, means and covariances of f (N, J_L) by component, no variance below `floor` in any direction: added, it would add up from round to
    round. One that has none keeps no weight."""
    f, member = f.double().cpu(), torch.nn.functional.one_hot(component.cpu(), n_components).double()
    counts = member.sum(0)
    means = member.T @ f / counts.clamp(min=1)[:, None]
    scatter = torch.stack([(apart := f[row > 0] - mean).T @ apart for row, mean in zip(member.T, means)])
    variances, axes = torch.linalg.eigh(scatter / counts.clamp(min=1)[:, None, None])
    return Groups(counts / len(f), means, (axes * variances.clamp(min=floor)[:, None]) @ axes.mT)

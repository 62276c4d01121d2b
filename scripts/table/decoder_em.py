"""What a GVAE gains by the same means as a network with a prior that learns: its decoder goes on learning from draws of its posterior.

python -m table.decoder_em RUN TARGET.pt      (the folder of scripts/ on PYTHONPATH)

Monte Carlo EM as in `ncf.network.top_prior`, with the same mixture, moves, optimizer and epochs as the row gncn_pdh_prior: the latents of every training image
go on from epoch to epoch, from what the encoder makes of it. The decoder learns by backpropagation; the encoder stays as it is. TARGET.pt has the GVAE after
that, TARGET-per-image.npz log p(x) of 100 test images under the prior that it has learned with, annealed as `log_p_annealed_own` is.
"""

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import ncf
from ncf.config.schema import AnnealingConfig
from ncf.data import datasets
from ncf.data.streams import stream
from ncf.measure.annealing import Chains, Sampler, anneal
from ncf.measure.density import likelihood_terms
from ncf.network.langevin import Noise
from ncf.network.top_prior import LEAPFROGS, TopPrior
from ncf.runs import checkpoint

EPOCHS, BATCH, COMPONENTS, MOVES, RATE = 12, 200, 20, 2, 0.001
ANNEALED = AnnealingConfig(images=100, steps=300)


def learn_on(network, data: datasets.Dataset, seed: int, epochs: int = EPOCHS) -> TopPrior:
    """The network's decoder after so many epochs, in place; the prior that it learned with."""
    x = data.splits["train"].x
    decoder = [value for name, value in network.parameters.items() if name[0] in "Wb"]
    adam = torch.optim.Adam(decoder, lr=RATE, maximize=True)
    with torch.no_grad():
        tops = torch.cat([network.settle(part).code for part in x.split(1000)])
    prior = TopPrior(COMPONENTS, tops.shape[1], x.device)
    for epoch in range(1, epochs + 1):
        fits = []
        for step, images in enumerate(datasets.epoch_order(data, seed, epoch).split(BATCH)):
            rng = stream(seed, "decoder-em", epoch, step)
            tops[images], component, taken = draw(network, prior, x[images], tops[images], rng)
            if prior.warm:
                fits.append(climb(network, adam, decoder, x[images], tops[images]))
            prior.learn(prior.averages(tops[images], component, taken, len(images)))
        print(f"epoch {epoch}: log p(x | latents) {np.mean(fits):.2f}", flush=True)
    return prior


@torch.no_grad()
def draw(network, prior: TopPrior, x: Tensor, f: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Latents (B, J) after Hamiltonian moves that keep p(f | x), their components (B,), and the share of moves that were taken (B,)."""
    noise, sampler, acceptance = Noise(rng.integers(2**63, size=len(f)), 0.0), Sampler(network, prior.mixture, LEAPFROGS, rng), 0.0
    component = prior.components(f, noise)
    for move in range(MOVES if prior.warm else 0):
        component = prior.components(f, noise) if move else component
        u = prior.mixture.noise(component, f)
        chains = Chains(x, component, u, sampler.fit(x, component, u))
        acceptance += sampler.glide(chains, 1.0, prior.step.item() * (0.8 + 0.4 * rng.random())) / MOVES
        f = prior.mixture.place(component, chains.noise)
    return f, component, torch.full((len(f),), acceptance)


def climb(network, adam, decoder: list[Tensor], x: Tensor, f: Tensor) -> float:
    """One step of Adam up log p(x | f), the mean over the batch, which is returned."""
    with torch.enable_grad():
        for parameter in decoder:
            parameter.requires_grad_()
        a, b = likelihood_terms(network, f)
        fit = ((x * a).sum(1) + b).mean()
        for parameter, slope in zip(decoder, torch.autograd.grad(fit, decoder)):
            parameter.grad = slope
            parameter.requires_grad_(False)
    adam.step()
    return fit.item()


def main(run: str, target: str) -> None:
    loaded = ncf.load(run)
    prior = learn_on(loaded.model, loaded.data, loaded.config.seed)
    content = checkpoint.load(checkpoint.locate(Path(run)))
    weights = {name: tensor.cpu() for name, tensor in loaded.model.tensors().items()}
    checkpoint.save(Path(target), {name: content[name] for name in checkpoint.FIELDS} | {"weights": weights})
    found, bracket = anneal(loaded.model, prior.mixture, loaded.data.splits["test"].x[: ANNEALED.images], ANNEALED)
    values = found.log_p.cpu().numpy()
    np.savez_compressed(Path(target).with_suffix("").as_posix() + "-per-image.npz", test_log_p_annealed_own=values)
    print(
        f"log p(x), annealed, own prior: {values.mean():.2f} +- {values.std(ddof=1) / len(values) ** 0.5:.2f} nats per image; drawn images {asdict(bracket)}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])

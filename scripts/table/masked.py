"""What the article's M-MSE would need: the right half of test images, filled in in several ways by one trained network.

python -m table.masked RUN docs/masked.json      (the folder of scripts/ on PYTHONPATH)
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

import ncf
from ncf.measure.completion import masked_mse, observed_pixels
from ncf.runs.files import write_whole

IMAGES = 1000
RATES = (0.1, 0.05, 0.02)  # of eq. 19; the article draws beta from [0.02, 0.1]


@torch.no_grad()
def measure(network, x: Tensor, shape: tuple[int, int]) -> dict[str, float]:
    """What was filled in, and its squared error over the hidden half, summed per image and averaged over images x (B, J_0)."""
    seen = observed_pixels("right", 0.5, shape).to(x)
    found = {
        "zero in every hidden pixel": hidden_error(x, torch.zeros_like(x), seen),
        "settling on the seen half (ncf's M-MSE)": masked_mse(network, x, seen).mean().item(),
    }
    for start, words in ((x * seen, "the seen half"), (x, "the whole image")):
        for beta in RATES:
            found[f"eq. 19 with beta = {beta:g}, started from {words}"] = hidden_error(x, moving_pixels(network, x, start, seen, beta), seen)
    found["reconstruction of the whole image"] = hidden_error(x, network.settle(x).mu[0], seen)
    return found


def moving_pixels(network, x: Tensor, start: Tensor, seen: Tensor, beta: float) -> Tensor:
    """Unseen pixels as states of their own (the article's eq. 19): z_0 <- x m + (z_0 - beta e_0) (1 - m) after every step of settling, (B, J_0)."""
    network.config.settle.beta, usual = beta, network.config.settle.beta
    state = network.rest(start.clone())
    for _ in network.trajectory(state):  # changes the state in place
        z = x * seen + (state.z[0] - beta * state.e[0]) * (1 - seen)
        state.z[0].copy_(z)
        state.f[0].copy_(z)
    network.config.settle.beta = usual
    return state.z[0]


def hidden_error(x: Tensor, filled: Tensor, seen: Tensor) -> float:
    return ((x - filled).square() * (1 - seen)).sum(1).mean().item()


def main(run: str, target: str) -> None:
    network = ncf.load(run)
    x = network.data.splits["test"].x[:IMAGES]
    found = {
        "model": network.config.model.name,
        "seed": network.config.seed,
        "images": len(x),
        "m_mse": measure(network.model, x, network.image_shape),
    }
    write_whole(Path(target), (json.dumps(found, indent=2) + "\n").encode())
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])

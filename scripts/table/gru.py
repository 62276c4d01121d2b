"""The yardstick of next frames by backpropagation: a gated recurrent unit, trained through time by Adam on the same sequences.

python -m table.gru moving_digits [--units 450] [--seed 0]      (the folder of scripts/ on PYTHONPATH)

h_n = GRU(x_n, h_{n-1}), the logits of frame n+1 are h_n V + b. It climbs the mean log p(x_{n+1} | x_1 .. x_n) through all frames; the epoch
with the least BCE of the validation sequences is measured on the test sequences: nats per image, frames 2..T, as the metric next_frame.
"""

import argparse
import copy
import json
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ncf.config.compose import compose_train
from ncf.data import datasets
from ncf.data.datasets import Dataset
from ncf.measure.frames import sequence_bce
from ncf.measure.subject import PER_IMAGE, summarize
from ncf.runs.files import write_whole


class Recurrent(nn.Module):
    def __init__(self, n_pixels: int, units: int):
        super().__init__()
        self.gru, self.image = nn.GRU(n_pixels, units, batch_first=True), nn.Linear(units, n_pixels)

    def forward(self, x: Tensor) -> Tensor:
        """The logits of frames 2..T of sequences x (N, T, J_0), (N, T - 1, J_0)."""
        return self.image(self.gru(x[:, :-1])[0])


@torch.no_grad()
def errors(model: Recurrent, x: Tensor) -> Tensor:
    return torch.cat([sequence_bce(part, model(part).sigmoid()) for part in x.split(100)])


def trained(data: Dataset, units: int, epochs: int, batch_size: int, lr: float, patience: int, seed: int) -> tuple[Recurrent, dict]:
    """The network of its best epoch, and how it came about; it stops after `patience` epochs that were no better."""
    torch.manual_seed(seed)
    x, held_out = (data.splits[split].x.unflatten(0, (-1, data.frames)) for split in ("train", "validation"))
    model = Recurrent(x.shape[2], units)
    adam = torch.optim.Adam(model.parameters(), lr)
    best, found, kept = float("inf"), 0, copy.deepcopy(model.state_dict())
    started = time.monotonic()
    for epoch in range(1, epochs + 1):
        for part in x[torch.randperm(len(x))].split(batch_size):
            loss = binary_cross_entropy_with_logits(model(part), part[:, 1:], reduction="sum") / (len(part) * (data.frames - 1))
            adam.zero_grad()
            loss.backward()
            adam.step()
        bce = errors(model, held_out).mean().item()
        if bce < best:
            best, found, kept = bce, epoch, copy.deepcopy(model.state_dict())
        if epoch - found >= patience:
            break
    model.load_state_dict(kept)
    parameters = sum(p.numel() for p in model.parameters())
    return model, {"validation": best, "best_epoch": found, "parameters": parameters, "seconds": time.monotonic() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="moving_digits or moving_mnist")
    for name, default in (("units", 450), ("epochs", 200), ("batch-size", 50), ("patience", 10), ("seed", 0), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--output", type=Path, help="a folder for summary.json, with the same as is printed")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = datasets.load(compose_train(f"dataset={given.dataset}").dataset)
    model, made = trained(data, given.units, given.epochs, given.batch_size, given.lr, given.patience, given.seed)
    figure = summarize(errors(model, data.splits["test"].x.unflatten(0, (-1, data.frames))))
    figure.pop(PER_IMAGE)
    told = {
        "status": "complete",
        "dataset": given.dataset,
        "units": given.units,
        "seed": given.seed,
        "metrics": {"test": {"next_frame": figure}},
        **made,
    }
    print(json.dumps(told))
    if given.output:
        given.output.mkdir(parents=True, exist_ok=True)
        write_whole(given.output / "summary.json", json.dumps(told, indent=1).encode())


if __name__ == "__main__":
    main()

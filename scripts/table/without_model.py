"""What needs no model: the yardsticks under log p(x) and %Err. A figure that does not pass them says nothing of what was learned.

python -m table.without_model docs/without_model.json mnist digits      (the folder of scripts/ on PYTHONPATH)

The memoriser draws one of the training images y (N, J), blurred by a Gaussian of `blur` pixels and kept within [floor, 1 - floor], and then every
pixel by its chance:  p(x) = 1/N sum over n of prod_j q_nj^x_j (1 - q_nj)^(1 - x_j).  Blur and floor are chosen on validation images.
"""

import argparse
import json
from itertools import product
from math import log
from pathlib import Path

import torch
from scipy.ndimage import gaussian_filter
from table.cells import read_json
from table.rows import DATASETS
from torch import Tensor

from ncf.config.compose import compose_train
from ncf.data import datasets
from ncf.measure.latents import TrainingLatents
from ncf.measure.subject import PER_IMAGE, summarize
from ncf.runs.files import write_whole

BLURS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.3, 1.7)  # pixels
FLOORS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
CHOSEN_ON = 2000  # validation images


def blurred(images: Tensor, shape: tuple[int, int], blur: float, floor: float) -> Tensor:
    """Chances q (N, J) from images (N, J)."""
    soft = gaussian_filter(images.reshape(-1, *shape).numpy(), (0, blur, blur))
    return torch.from_numpy(soft).reshape(len(images), -1).clamp(floor, 1 - floor)


def log_p(x: Tensor, q: Tensor, block: int = 500) -> Tensor:
    """log p(x) of images x (B, J) under chances q (N, J), (B,)."""
    odds, off = torch.logit(q).T, torch.log1p(-q).sum(1)
    return torch.cat([(part @ odds + off).logsumexp(1) for part in x.split(block)]) - log(len(q))


def memorised(data: datasets.Dataset) -> dict:
    """The test figure, with the blur and the floor that validation images choose."""
    training, validation = (data.splits[split].x for split in ("train", "validation"))
    tried = {
        (blur, floor): log_p(validation[:CHOSEN_ON], blurred(training, data.image_shape, blur, floor)).mean().item()
        for blur, floor in product(BLURS, FLOORS)
    }
    blur, floor = max(tried, key=tried.__getitem__)
    return plain(log_p(data.splits["test"].x, blurred(training, data.image_shape, blur, floor))) | {"blur": blur, "floor": floor}


def pixels(data: datasets.Dataset, training: TrainingLatents) -> dict:
    """%Err of the regression that reads codes, here of the pixels themselves."""
    test = data.splits["test"]
    found = training.classifier(data.splits["train"].x, lambda x: x)
    return plain(100.0 * (found.tell(test.x) != test.y)) | {"penalty": found.penalty}


def plain(values: Tensor) -> dict:
    return {name: value for name, value in summarize(values).items() if name != PER_IMAGE}


def main() -> None:
    parser = argparse.ArgumentParser("python -m table.without_model", description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, help="the JSON file to write; what it has of other data sets stays")
    parser.add_argument("names", nargs="+", choices=DATASETS, metavar="DATASET", help=", ".join(DATASETS))
    given = parser.parse_args()
    found = read_json(given.target)
    for name in given.names:
        config = compose_train(f"experiment=table_{name}", *(["dataset.folder=kmnist_6k"] if name == "kmnist" else []))
        data = datasets.load(config.dataset, config.data_dir)
        found[name] = {"log_p": memorised(data), "class_err": pixels(data, TrainingLatents(None, data, config.metrics))}
        print(name, json.dumps(found[name]), flush=True)
        write_whole(given.target, (json.dumps(found, indent=2) + "\n").encode())


if __name__ == "__main__":
    main()

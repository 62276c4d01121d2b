"""The literal registry of model families: from a checked config to something that settles and learns.

What the loop needs of a model: `parameters`, `settle(x, observed)`, `local_updates(state)`, `adapt_precision(state)`,
`limit_norms()`, and `tensors()` / `load_tensors()` for its checkpoints.
"""

import numpy as np
import torch

from ncf.config import TrainConfig
from ncf.datasets import Dataset
from ncf.gncn import GNCN


def build_model(config: TrainConfig, data: Dataset, rng: np.random.Generator, device: torch.device):
    """A fresh model for the images of `data`."""
    n_pixels = data.image_shape[0] * data.image_shape[1]
    network = GNCN(config.model, n_pixels, rng, device)
    network.product_dtype = {"float32": torch.float32, "bf16": torch.bfloat16}[config.compute.precision]
    return network

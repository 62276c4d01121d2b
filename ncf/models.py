"""The literal registry of model families: from a checked config to something that settles and learns.

What the loop needs of a model: `parameters`, `settle(x, observed)`, `local_updates(state)`, `adapt_precision(state)`,
`limit_norms()`, and `tensors()` / `load_tensors()` for its checkpoints.
"""

import numpy as np
import torch

from ncf.config import GNCNConfig
from ncf.datasets import Dataset
from ncf.gncn import GNCN


def build_model(config: GNCNConfig, data: Dataset, rng: np.random.Generator, device: torch.device):
    """A fresh model for the images of `data`."""
    n_pixels = data.image_shape[0] * data.image_shape[1]
    return GNCN(config, n_pixels, rng, device)

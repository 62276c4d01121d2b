"""The literal registry of model families: from a checked config to something that settles and learns.

What the loop needs of a model: `parameters`, `settle(x, observed, steps)`, `local_updates(state, y, rng)` (ascent directions; y are
the classes, rng belongs to the batch), `adapt_precision(updates)`, `limit_norms()`, and `tensors()` / `load_tensors()` for its
checkpoints. What metrics may ask for beside, where a model has it: `project(f_L)` and `drive(f_L)` (a decoder), `own_prior`,
`posterior` (an encoder that gives a distribution), `exact_log_p(x)`, `classify(x)`, `completion_steps`.
"""

import numpy as np
import torch

from ncf.baselines.autoencoders import Autoencoder
from ncf.baselines.classifier import Classifier
from ncf.baselines.pixel_mixture import PixelMixture
from ncf.config.schema import TrainConfig
from ncf.data.datasets import Dataset
from ncf.network.gncn import GNCN
from ncf.runs.provenance import choose_products


def build_model(config: TrainConfig, data: Dataset, rng: np.random.Generator, device: torch.device):
    """A fresh model for the images of `data`."""
    n_pixels = data.image_shape[0] * data.image_shape[1]
    if config.model.family == "autoencoder":
        return Autoencoder(config.model, n_pixels, rng, device)
    if config.model.family == "pixel_mixture":
        return PixelMixture(config.model, data, rng, device)
    if config.model.family == "classifier":
        return Classifier(config.model, data, rng, device)
    network = GNCN(config.model, n_pixels, rng, device)
    network.product_dtype = choose_products(config.compute.precision, device)
    return network

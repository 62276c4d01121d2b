"""The interface of every model: what the loop, the metrics and the reports may ask of it."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ncf.network.state import State


class Model(Protocol):
    """Something that settles on images and learns from the state it reaches.

    What only some families can do stands in `abilities`, and nothing else is asked for it:

    project      `project(code)` and `drive(code)`: a decoder, with the `likelihood` of its images
    frames       `settle(x, before=state)` and `foresee(state)`: it reads the state of the frame before, so sequences are settled in order
    settle       `rest(x)`, `trajectory(state, steps)`, `circuit` and, with a decoder, `project_from(state, lowest)`: a network that settles step by step
    fields       `fields`: its synapses into the image, a row per unit
    own_prior    `own_prior`: the prior over codes that it was trained with
    posterior    `posterior(x)`: mean and log variance of an encoder's distribution
    exact_log_p  `exact_log_p(x)`: log p(x) in closed form
    classify     `classify(x)`: log odds of the classes
    features     `features(x)`: a classifier's uppermost hidden layer, (B, J)
    label        `told(state)`: what it says of the label; `project(code, {"label": one_hot})`
    conditional  `settle(x, observed, y=y)` and `settle({"label": one_hot})`: it predicts images, and sees labels beside them
    hidden       `hidden(x)`: an encoder's uppermost layer before the code, (B, J)
    infer        `inferred(x, observed)`: latents for the seen pixels, found by steps of inference
    complete     `completions`: several ways to complete an image, by name; the others complete by settling
    """

    config: Any
    names: list[str]  # of the populations, numbered as in a State
    parameters: dict[str, Tensor]
    abilities: frozenset[str]
    force_dtype: torch.dtype  # of the gradients that annealing follows

    def settle(self, x: Tensor, observed: Tensor | None = None, steps: int | None = None, y: Tensor | None = None) -> State:
        """The state on images x (B, J_0), of which pixels with observed == 0 are unseen; y (B,) are the classes, for those that see them."""

    def local_updates(self, state: State, y: Tensor | None, rng: np.random.Generator) -> dict[str, Tensor]:
        """An ascent direction per parameter, averaged over the batch; `rng` belongs to the batch."""

    def losses(self, state: State, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """BCE and ToD, or what stands in for them, (B,) each: what the loop logs and, the first, selects by."""

    def adapt_precision(self, updates: dict[str, Tensor] | None = None) -> None: ...

    def limit_norms(self) -> None: ...

    def tensors(self) -> dict[str, Tensor]:
        """Everything learned, by name."""

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` returned; ValueError where names or shapes differ."""


def take_over(own: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Fill a model's own tensors with those of the same names; ValueError where names or shapes differ."""
    if set(own) != set(tensors):
        raise ValueError(f"holds {', '.join(sorted(tensors))} but the model has {', '.join(sorted(own))}")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)} but the model has {tuple(tensor.shape)}")
        tensor.copy_(tensors[name])

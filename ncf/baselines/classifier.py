"""The discriminative network of the comparison: image to class, trained by backpropagation."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ncf.baselines.backprop import Backpropagated
from ncf.config.schema import ClassifierConfig
from ncf.errors import UserError
from ncf.network.discrepancy import cross_entropy, misplaced_odds
from ncf.network.state import State


class Classifier(Backpropagated):
    """h_l = relu( h_{l-1} W_l + b_l ), h_0 = x; the class has the odds softmax( h_L W_{L+1} + b_{L+1} )."""

    abilities = frozenset({"classify", "features"})

    def __init__(self, config: ClassifierConfig, n_pixels: int, n_classes: int, rng: np.random.Generator, device: str | torch.device = "cpu"):
        if n_classes < 2:
            raise UserError("model.family=classifier: the images have no classes to learn; choose another model or dataset")
        self.config = config
        self.sizes = [n_pixels, *config.layers, n_classes]
        self.names = ["image", "classes"]
        self.parameters: dict[str, Tensor] = {}
        for l, (below, above) in enumerate(zip(self.sizes, self.sizes[1:]), start=1):
            self.draw_bundle(f"W{l}", f"b{l}", below, above, rng, device)

    def features(self, x: Tensor, P: dict[str, Tensor] | None = None, drop: Callable[[Tensor, float], Tensor] = lambda h, share: h) -> Tensor:
        """The uppermost hidden activities h_L, (B, J_L); `drop` silences a share of a layer's units."""
        P, h = P or self.parameters, drop(x, self.config.input_dropout)
        for l in range(1, len(self.sizes) - 1):
            h = drop(torch.relu(h @ P[f"W{l}"] + P[f"b{l}"]), self.config.dropout)
        return h

    def classify(self, x: Tensor, P: dict[str, Tensor] | None = None, drop: Callable[[Tensor, float], Tensor] = lambda h, share: h) -> Tensor:
        """Log odds of the classes but for a constant, (B, n_classes)."""
        P, top = P or self.parameters, len(self.sizes) - 1
        return self.features(x, P, drop) @ P[f"W{top}"] + P[f"b{top}"]

    def losses(self, state: State, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """What stands in for BCE and ToD while it learns: the classes' cross-entropy (nats), and minus the squared error of their odds."""
        return cross_entropy(state.code, known(y)), misplaced_odds(state.code, known(y))

    # --- the loop's protocol --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def settle(self, x: Tensor, observed: Tensor | None = None, steps: int | None = None, y: Tensor | None = None) -> State:
        """A state of two layers, image and classes, without a prediction of the image."""
        odds = self.classify(x).softmax(1)
        return State([x, odds], [x, odds], [], [], [])

    def local_updates(self, state: State, y: Tensor | None, rng: np.random.Generator) -> dict[str, Tensor]:
        def drop(h: Tensor, share: float) -> Tensor:
            """Dropout: each unit silent with this chance, the others raised so that the mean stays."""
            if not share:
                return h
            kept = torch.from_numpy(rng.random(tuple(h.shape), dtype=np.float32) >= share).to(h.device)
            return h * kept / (1 - share)

        def objective(P: dict[str, Tensor]) -> Tensor:
            return -torch.nn.functional.cross_entropy(self.classify(state.z[0], P, drop), known(y)) - self.config.l2 * sum(
                w.square().sum() for name, w in P.items() if name[0] == "W"
            )

        return self.gradient(objective)


def known(y: Tensor | None) -> Tensor:
    if y is None:
        raise UserError("model.family=classifier: these images have no classes to learn; choose another model or dataset")
    return y

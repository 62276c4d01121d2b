"""Settling on the processor as fast as its matrix products: the equations A, B, C of `ncf.network.gncn`, held to them by tests.

What is arranged differently, and why:
- What stands between the products is compiled: one pass over a layer's rows instead of one per operation (`ncf.network.kernels`).
- Samples do not interact while settling, so every core settles its own rows from the first step to the last: threads meet once
  per batch and not once per product.
- The synapses are brought into the product kernel's own order once per batch, not at every product (`Factor`).
- From rest, layer l first moves in step l + 1: products of known zeros are left out.
- With bfloat16 the factors of the products are copies of half the width, and so are the products; states, errors and sums stay
  float32.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ncf.network import kernels, solvers
from ncf.network.state import State, at_rest

ROWS_PER_THREAD = 16  # fewer are not worth a thread


def settle(network, x: Tensor, observed: Tensor | None, steps: int, dtype: torch.dtype = torch.float32) -> State:
    """The state of `network` after `steps` steps on x (B, J_0), from rest; products in `dtype`."""
    n_parts = max(1, min(torch.get_num_threads(), len(x) // ROWS_PER_THREAD))
    bounds = [len(x) * i // n_parts for i in range(n_parts + 1)]
    factors = Factors(network, dtype, rows=bounds[1])
    state = empty_state(network, x, observed)

    def settle_part(part: slice) -> None:
        with torch.no_grad():
            rows = Rows(network, factors, x[part], None if observed is None else observed.expand_as(x)[part])
            rows.settle(steps)
            rows.write(state, part)

    on_all_cores(settle_part, [slice(start, stop) for start, stop in zip(bounds, bounds[1:])])
    return state


def on_all_cores(function: Callable, items: list) -> list:
    n_threads = torch.get_num_threads()
    return list((pool(n_threads).map if n_threads > 1 and len(items) > 1 else map)(function, items))


@lru_cache(maxsize=1)
def pool(n_threads: int) -> ThreadPoolExecutor:
    """One thread per core; inside it, torch stays on that core."""
    return ThreadPoolExecutor(n_threads, initializer=lambda: torch.set_num_threads(1))


class Factor:
    """A matrix (K, N) as the right factor of many products, in their type, packed for the kernel where that exists."""

    def __init__(self, matrix: Tensor, dtype: torch.dtype, rows: int):
        self.matrix = matrix.to(dtype)
        self.packed = None
        if dtype in (torch.float32, torch.bfloat16) and min(matrix.shape) >= 64 and packing_works():
            self.packed = torch.ops.mkldnn._reorder_linear_weight(self.matrix.T.contiguous(), rows)

    def after(self, left: Tensor) -> Tensor:
        """left @ matrix, a new tensor."""
        if self.packed is None:
            return left @ self.matrix
        return torch.ops.mkldnn._linear_pointwise(left, self.packed, None, "none", [], "")

    def added(self, left: Tensor, other: Tensor) -> Tensor:
        """other + left @ matrix; may write into `other`."""
        if self.packed is None:
            return other.addmm_(left, self.matrix)
        return torch.ops.mkldnn._linear_pointwise(left, other, self.packed, None, "add")


@lru_cache(maxsize=1)
def packing_works() -> bool:
    """Whether this torch has oneDNN's packed products (they are what torch.compile uses) and they compute what they should."""
    try:
        left, matrix, other = torch.ones(2, 3), torch.arange(12.0).view(3, 4), torch.ones(2, 4)
        packed = torch.ops.mkldnn._reorder_linear_weight(matrix.T.contiguous(), 2)
        product = torch.ops.mkldnn._linear_pointwise(left, packed, None, "none", [], "")
        total = torch.ops.mkldnn._linear_pointwise(left, other, packed, None, "add")
        return torch.equal(product, left @ matrix) and torch.equal(total, 1 + left @ matrix)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


class Factors:
    """The synapses as factors: W and M by source layer, `feedback` by destination layer, Q by layer; packed by all cores."""

    def __init__(self, network, dtype: torch.dtype, rows: int):
        P, layers = network.parameters, range(1, network.depth + 1)
        self.dtype = dtype
        self.W = {l: P[f"W{l}"] for l in layers}
        self.M = {l: P[f"M{l}"] for l in layers if f"M{l}" in P}
        self.feedback = {l: network.feedback(l) for l in layers}
        self.q = dict(network.q)
        bundles = (self.W, self.M, self.feedback, self.q)
        places = [(bundle, l) for bundle in bundles for l in bundle]
        packed = on_all_cores(lambda place: Factor(place[0][place[1]], dtype, rows), places)
        for (bundle, l), factor in zip(places, packed):
            bundle[l] = factor


def arrays(tensors: list[Tensor]) -> tuple[np.ndarray, ...]:
    """The same memory for compiled code; bfloat16 as its 16 bits."""
    return tuple((t.view(torch.uint16) if t.dtype == torch.bfloat16 else t).numpy() for t in tensors)


class Rows:
    """Some rows of a batch: their states at rest, and the steps on them. Lists of layers are indexed as in `State`."""

    def __init__(self, network, factors: Factors, x: Tensor, observed: Tensor | None):
        self.config, self.factors, self.depth = network.config, factors, network.depth
        self.steps, self.moving = 0, False
        self.half = factors.dtype != x.dtype  # products read bfloat16 copies; else the arrays themselves

        def zeros(sizes: list[int], dtype: torch.dtype | None = None) -> list[Tensor]:
            return [x.new_zeros(len(x), size, dtype=dtype) for size in sizes]

        hidden, predicted = network.sizes[1:], network.sizes[:-1]
        self.z, self.f, self.mu, self.r = [x, *zeros(hidden)], [x, *zeros(hidden)], zeros(predicted), zeros(predicted)
        self.f_in = [x, *zeros(hidden, factors.dtype)] if self.half else self.f
        self.r_in = zeros(predicted, factors.dtype) if self.half else self.r
        self.e_in = list(self.r_in)
        self.drives = zeros([0] * self.depth, factors.dtype)

        z, f, f_in = arrays(self.z), arrays(self.f), arrays(self.f_in[1:])
        mu, r, r_in = arrays(self.mu), arrays(self.r), arrays(self.r_in)
        v = z[1:] if self.config.settle.solver == "euler" else arrays(zeros(hidden))
        seen = np.empty((0, 0), z[0].dtype) if observed is None else observed.contiguous().numpy()
        columns = tuple(network.columns[1:] if network.columns else [0] * self.depth)
        targets = (f if self.config.target == "activity" else z)[:-1]
        kinds = [kernels.ACTIVATIONS[phi.name] for phi in (network.g0, network.g)]
        terms = self.terms(z[0].dtype.type)
        number = z[0].dtype.type
        self.move_layers = lambda drive, error, awake, beta, momentum: kernels.move(
            z[1:], v, f[1:], f_in, drive, error, columns, terms, number(beta), number(momentum), awake
        )
        self.compare_layers = lambda drive, awake, keep: kernels.compare(targets, drive, seen, mu, r, r_in, *kinds, awake, keep)

    def terms(self, number: type) -> kernels.Terms:
        config, settle, lateral = self.config, self.config.settle, self.config.lateral
        return kernels.Terms(
            gamma=number(settle.gamma),
            heavy_ball=settle.solver != "euler",
            activation=kernels.ACTIVATIONS[config.activation],
            derivative=config.derivative,
            prior=kernels.PRIORS[config.prior.kind],
            strength=number(config.prior.strength),
            self_excitation=number(lateral.self_excitation),
            inhibition=number(lateral.inhibition),
        )

    def settle(self, steps: int) -> None:
        tolerance = self.config.settle.tolerance
        for k, (beta, momentum) in enumerate(solvers.schedule(self.config.settle, steps), start=1):
            before = torch.cat(self.z[1:], dim=1) if tolerance else None
            awake = awake_layers(self.config, k)
            if awake:
                self.move(awake, beta, momentum)
            self.predict_and_compare(awake)
            self.steps = k
            self.moving = bool(tolerance) and not (k > self.depth and at_rest(before, torch.cat(self.z[1:], dim=1), tolerance))
            if tolerance and not self.moving:
                break
        if self.half and steps:  # no step reads mu and r themselves: they are written once, after the last
            self.compare_layers(arrays(self.drives), awake, True)

    def move(self, awake: int, beta: float, momentum: float) -> None:
        """A. States and activities of layers 1..awake, all from the errors of the last step."""
        for l in range(awake):
            self.drives[l] = self.factors.feedback[l + 1].after(self.e_in[l])
        errors = [*self.e_in[1:], self.e_in[-1]]  # (the top layer has none)
        self.move_layers(arrays(self.drives), arrays(errors), awake, beta, momentum)

    def predict_and_compare(self, awake: int) -> None:
        """B. Predictions by layers 1..awake, and C. errors of layers 0..awake."""
        W, M, Q = self.factors.W, self.factors.M, self.factors.q
        for l in range(awake):
            drive = W[l + 1].after(self.f_in[l + 1])
            if l + 2 <= awake and l + 2 in M:
                drive = M[l + 2].added(self.f_in[l + 2], drive)
            self.drives[l] = drive
        self.compare_layers(arrays(self.drives), awake, not self.half)
        for l in range(1, min(awake + 1, self.depth)):
            if l in Q:
                self.e_in[l] = Q[l].after(self.r_in[l])

    def write(self, state: State, rows: slice) -> None:
        """Put these rows into the state of the whole batch."""
        state.steps = max(state.steps, self.steps)
        state.moving |= self.moving
        for whole, part in ((state.z[1:], self.z[1:]), (state.f[1:], self.f[1:]), (state.mu, self.mu), (state.r, self.r)):
            for whole_l, part_l in zip(whole, part):
                whole_l[rows] = part_l
        for l in self.factors.q:
            state.e[l][rows] = self.e_in[l]


def multiply_adds(network, steps: int) -> int:
    """Multiply-adds of the matrix products that settling one image takes, those of known zeros left out as above."""
    J, skips = network.sizes, network.config.skips
    total = 0
    for k in range(1, steps + 1):
        awake = awake_layers(network.config, k)
        feedback_and_prediction = sum(2 * J[l - 1] * J[l] for l in range(1, awake + 1))
        skipped = sum(J[l - 2] * J[l] for l in range(2, awake + 1)) if skips else 0
        weighed = sum(J[l] ** 2 for l in network.q if l <= awake)
        total += feedback_and_prediction + skipped + weighed
    return total


def awake_layers(config, k: int) -> int:
    """Layers 1..awake move in step k or have moved before it: from rest, layer l first moves in step l + 1 unless phi(0) or g(0) drive it."""
    silent = "sigmoid" not in (config.activation, config.prediction)  # phi(0) = g(0) = 0
    return min(len(config.layers), k - 1) if silent else len(config.layers)


def empty_state(network, x: Tensor, observed: Tensor | None) -> State:
    sizes = network.sizes

    def layers(count: int) -> list[Tensor]:
        return [x.new_empty(len(x), size) for size in sizes[:count]]

    r = layers(network.depth)
    e = [r[0], *(torch.empty_like(r_l) for r_l in r[1:])] if network.q else list(r)
    hidden = [x.new_empty(len(x), size) for size in sizes[1:]]
    return State([x, *hidden], [x, *(torch.empty_like(z) for z in hidden)], layers(network.depth), r, e, observed)

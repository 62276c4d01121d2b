"""Settling as fast as its matrix products: the equations A, B, C of `ncf.gncn`, arranged for speed and held to them by tests.

What is arranged differently, and why:
- The hidden layers lie one behind the other in memory, so that one elementwise operation serves them all.
- Samples do not interact while settling, so every core settles its own rows from the first step to the last: threads meet once
  per batch and not once per product.
- The synapses are brought into the product kernel's own order once per batch, not at every product (`Factor`).
- From rest, layer l first moves in step l + 1: products of known zeros are left out.
- tanh on the processor is numpy's, seven times as fast as torch's.
- With bfloat16 the factors of the products are copies of half the width, and so are the products; states, errors and sums stay
  float32.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ncf.priors import PRIOR_SLOPES
from ncf.state import State, at_rest

ROWS_PER_THREAD = 16  # fewer are not worth a thread


def settle(network, x: Tensor, observed: Tensor | None, steps: int, dtype: torch.dtype = torch.float32) -> State:
    """The state of `network` after `steps` steps on x (B, J_0), from rest; products in `dtype`."""
    n_threads = torch.get_num_threads() if x.device.type == "cpu" else 1
    n_parts = max(1, min(n_threads, len(x) // ROWS_PER_THREAD))
    bounds = [len(x) * i // n_parts for i in range(n_parts + 1)]
    factors = Factors(network, dtype, rows=bounds[1])
    state = empty_state(network, x, observed)

    def settle_part(part: slice) -> None:
        with torch.no_grad():
            rows = Rows(network, factors, x[part], None if observed is None else observed.expand_as(x)[part])
            rows.settle(steps)
            rows.write(state, part)

    parts = [slice(start, stop) for start, stop in zip(bounds, bounds[1:])]
    list((pool(n_threads).map if n_parts > 1 else map)(settle_part, parts))
    return state


@lru_cache(maxsize=1)
def pool(n_threads: int) -> ThreadPoolExecutor:
    """One thread per core; inside it, torch stays on that core."""
    return ThreadPoolExecutor(n_threads, initializer=lambda: torch.set_num_threads(1))


class Factor:
    """A matrix (K, N) as the right factor of many products, in their type, packed for the kernel where that exists."""

    def __init__(self, matrix: Tensor, dtype: torch.dtype, rows: int):
        self.matrix = matrix.to(dtype)
        self.packed = None
        if matrix.device.type == "cpu" and dtype in (torch.float32, torch.bfloat16) and min(matrix.shape) >= 64 and packing_works():
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
    """The synapses as factors: W and M by source layer, `feedback` by destination layer, Q by layer."""

    def __init__(self, network, dtype: torch.dtype, rows: int):
        P, layers = network.parameters, range(1, network.depth + 1)
        self.dtype = dtype
        self.W = {l: Factor(P[f"W{l}"], dtype, rows) for l in layers}
        self.M = {l: Factor(P[f"M{l}"], dtype, rows) for l in layers if f"M{l}" in P}
        self.feedback = {l: Factor(network.feedback(l), dtype, rows) for l in layers}
        self.q = {l: Factor(q, dtype, rows) for l, q in network.q.items()}


def layered(rows: int, sizes: list[int], like: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, list[Tensor]]:
    """Zeros for layers of these sizes, one behind the other: all of them flat, and each as (rows, J_l)."""
    flat = like.new_zeros(rows * sum(sizes), dtype=dtype)
    return flat, [part.view(rows, size) for part, size in zip(flat.split([rows * size for size in sizes]), sizes)]


class Rows:
    """Some rows of a batch: their states at rest, and the steps on them. Lists of layers are indexed from 1 (entry 0 is empty)."""

    def __init__(self, network, factors: Factors, x: Tensor, observed: Tensor | None):
        self.network, self.config, self.factors = network, network.config, factors
        self.x, self.observed, self.depth, self.steps = x, observed, network.depth, 0
        self.moving = False
        n, hidden, below = len(x), network.sizes[1:], network.sizes[1:-1]

        def lay(sizes: list[int], dtype: torch.dtype | None = None) -> tuple[Tensor, list]:
            flat, layers = layered(n, sizes, x, dtype)
            return flat, [None, *layers]

        self.z_flat, self.z = lay(hidden)
        self.f_flat, self.f = lay(hidden)
        self.r_flat, self.r = lay(below)
        self.scratch_flat, _ = lay(hidden)
        self.slope_flat, self.slope = lay(hidden)
        self.one = x.new_ones(())
        self.v_flat = torch.zeros_like(self.z_flat) if self.config.settle.solver == "momentum" else None
        self.e0 = torch.zeros_like(x)
        self.mu0 = network.g0.value(torch.zeros_like(x), out=torch.empty_like(x))
        self.mu = [None, *(torch.zeros_like(r) for r in self.r[1:])]
        self.half = factors.dtype != x.dtype
        # what the products read: the arrays themselves, or their bfloat16 copies
        self.f_in_flat, self.f_in = lay(hidden, factors.dtype) if self.half else (self.f_flat, self.f)
        self.r_in_flat, self.r_in = lay(below, factors.dtype) if self.half else (self.r_flat, self.r)
        self.slope_in_flat, self.slope_in = lay(hidden, factors.dtype) if self.half else (self.slope_flat, self.slope)
        self.e0_in = torch.zeros_like(x, dtype=factors.dtype) if self.half else self.e0
        self.e = [None, *(torch.zeros_like(r) for r in self.r_in[1:])] if network.q else self.r_in
        self.columns = joined_columns(network.columns, [n * size for size in network.sizes]) if network.columns else []

    def settle(self, steps: int) -> None:
        silent = not {self.config.activation, self.config.prediction} & {"sigmoid"}  # phi(0) = g(0) = 0
        tolerance, z = self.config.settle.tolerance, self.z[1:]
        for k in range(1, steps + 1):
            before = torch.cat(z, dim=1) if tolerance else None
            awake = min(self.depth, k - 1) if silent else self.depth  # layers 1..awake have moved, or do so now
            if k > 1 or not silent:
                self.move(awake)
            self.predict(awake)
            self.compare(awake)
            self.steps = k
            self.moving = bool(tolerance) and not (k > self.depth and at_rest(before, torch.cat(z, dim=1), tolerance))
            if tolerance and not self.moving:
                break

    def move(self, awake: int) -> None:
        """A. z_l += beta ( feedback_l [* phi'(z_l)] - [e_l] - [lateral_l] - gamma z_l - [prior_l] ), f_l = phi(z_l)."""
        config, z, f = self.config, self.z_flat, self.f_flat
        beta, gamma = config.settle.beta, config.settle.gamma
        drives = self.drives(awake)
        prior = PRIOR_SLOPES[config.prior.kind](z, out=self.scratch_flat) if config.prior.kind != "none" else None
        if self.v_flat is None:
            change = z.mul_(1 - beta * gamma)
        else:  # heavy ball: v <- m v + beta d, z <- z + v
            change = self.v_flat.mul_(config.settle.momentum).add_(z, alpha=-beta * gamma)
        layers = change.split([z_l.numel() for z_l in self.z[1:]])
        for drive, part in zip(drives, layers):
            part.view_as(drive).add_(drive, alpha=beta)
        if self.network.q:
            for e, part in zip(self.e[1:], layers):
                part.view_as(e).sub_(e, alpha=beta)
        else:
            change[: len(self.r_flat)].sub_(self.r_flat, alpha=beta)
        if prior is not None:
            change.add_(prior, alpha=-beta * config.prior.strength)
        for part, column in self.columns:
            self.compete(change[part], f[part], column, beta)
        if self.v_flat is not None:
            z.add_(change)
        activate(config.activation, z, f)
        if self.half:
            self.f_in_flat.copy_(f)

    def drives(self, awake: int) -> list[Tensor]:
        """feedback_l [* phi'(z_l)] of layers 1..awake, (rows, J_l) each."""
        errors = [None, self.e0_in, *self.e[1:]]
        if not self.config.derivative or self.config.activation == "identity":
            return [self.factors.feedback[l].after(errors[l]) for l in range(1, awake + 1)]
        f = self.f_flat
        if self.config.activation == "relu":
            torch.ge(self.z_flat, 0, out=self.slope_flat)  # relu'(0) = 1
        elif self.config.activation == "tanh":
            torch.addcmul(self.one, f, f, value=-1, out=self.slope_flat)  # 1 - f^2
        else:
            self.slope_flat.copy_(self.network.phi.slope(self.z_flat, f))
        if self.half:
            self.slope_in_flat.copy_(self.slope_flat)
        return [self.factors.feedback[l].after(errors[l]).mul_(self.slope_in[l]) for l in range(1, awake + 1)]

    def compete(self, change: Tensor, f: Tensor, column: int, beta: float) -> None:
        """change -= beta * lateral, lateral = alpha_h (column's sum - f) - alpha_e f."""
        lateral = self.config.lateral
        change.add_(f, alpha=beta * (lateral.inhibition + lateral.self_excitation))
        change.view(-1, column).sub_(f.view(-1, column).sum(1, keepdim=True), alpha=beta * lateral.inhibition)

    def predict(self, awake: int) -> None:
        """B. mu_l = g_l( f_{l+1} W_{l+1} + [f_{l+2} M_{l+2}] ), from the layers that are awake."""
        for l in range(awake):
            mu = self.factors.W[l + 1].after(self.f_in[l + 1])
            if l + 2 <= awake and l + 2 in self.factors.M:
                mu = self.factors.M[l + 2].added(self.f_in[l + 2], mu)
            if l == 0:
                mu = mu.to(self.x.dtype)
                self.mu0 = mu.sigmoid_() if self.network.g0.name == "sigmoid" else mu
            else:
                activate(self.config.prediction, mu, mu)
                self.mu[l] = mu

    def compare(self, awake: int) -> None:
        """C. r_l = target_l - mu_l, e_l = r_l [Q_l]; e_0 = x - mu_0."""
        torch.sub(self.x, self.mu0, out=self.e0)
        if self.observed is not None:
            self.e0.mul_(self.observed)
        target = self.f if self.config.target == "activity" else self.z
        for l in range(1, min(awake + 1, self.depth)):
            torch.sub(target[l], self.mu[l], out=self.r[l])
        if self.half:
            self.e0_in.copy_(self.e0)
            self.r_in_flat.copy_(self.r_flat)
        if self.network.q:
            for l in range(1, min(awake + 1, self.depth)):
                self.e[l] = self.factors.q[l].after(self.r_in[l])

    def write(self, state: State, rows: slice) -> None:
        """Put these rows into the state of the whole batch."""
        state.steps = max(state.steps, self.steps)
        state.moving |= self.moving
        for whole, part in ((state.z, self.z), (state.f, self.f), (state.r, self.r), (state.mu, self.mu)):
            for l in range(1, len(whole)):
                whole[l][rows] = part[l]
        state.r[0][rows] = self.e0
        state.mu[0][rows] = self.mu0
        if self.network.q:
            for l in range(1, self.depth):
                state.e[l][rows] = self.e[l]


def empty_state(network, x: Tensor, observed: Tensor | None) -> State:
    sizes = network.sizes

    def layers(count: int) -> list[Tensor]:
        return [x.new_empty(len(x), size) for size in sizes[:count]]

    r = layers(network.depth)
    e = [r[0], *(torch.empty_like(r_l) for r_l in r[1:])] if network.q else list(r)
    hidden = [x.new_empty(len(x), size) for size in sizes[1:]]
    return State([x, *hidden], [x, *(torch.empty_like(z) for z in hidden)], layers(network.depth), r, e, observed)


def activate(kind: str, z: Tensor, out: Tensor) -> None:
    """out = phi(z); `out` may be z."""
    if kind == "relu":
        torch.clamp(z, min=0, out=out)
    elif kind == "tanh":
        if z.device.type == "cpu" and z.dtype == out.dtype != torch.bfloat16:
            np.tanh(z.numpy(), out=out.numpy())
        else:
            torch.tanh(z, out=out)
    elif kind == "sigmoid":
        torch.sigmoid(z, out=out)
    elif out is not z:
        out.copy_(z)


def joined_columns(columns: list[int], lengths: list[int]) -> list[tuple[slice, int]]:
    """Stretches of the flat arrays with columns of one size: neighbouring layers of the same size are one stretch."""
    joined: list[tuple[slice, int]] = []
    start = 0
    for column, length in zip(columns[1:], lengths[1:]):
        if joined and joined[-1][1] == column:
            joined[-1] = (slice(joined[-1][0].start, start + length), column)
        else:
            joined.append((slice(start, start + length), column))
        start += length
    return joined

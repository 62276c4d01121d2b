"""Settling on an accelerator: the plain equations, recorded once per batch shape and replayed as one CUDA graph.

Fifty steps are some thousand small operations; started one by one from Python they wait for Python. A recording starts them all at
once. It reads images, masks, synapses and precision where they lay when it was made, so these are only ever written in place. What
stands between the products of a step is compiled into a few passes (torch.compile), and synapses are rounded to the products' type once per batch.
"""

import copy
import itertools
import warnings
from collections.abc import Callable
from dataclasses import astuple, fields
from types import FunctionType

import torch
from torch import Tensor

from ncf.network.langevin import Noise
from ncf.network.state import State


def settle(
    network, given: dict[int, Tensor], masks: dict[int, Tensor], steps: int, past: dict[int, Tensor] | None = None, noise: Noise | None = None
) -> State:
    """The plain equations, replayed from the second batch of a shape on; with a tolerance, or noise, one step after the other."""
    past = past or {}
    if network.config.settle.tolerance or steps == 0 or noise:
        state = network.rest_on(given, masks, past)
        state.noise = noise
        return network.settle_from(state, steps)
    shapes = [(i, tuple(x.shape), x.dtype) for tensors in (given, masks) for i, x in tensors.items()]
    key = (*shapes, len(masks), steps, network.product_dtype, astuple(network.config.settle))
    if key not in network.recordings:
        network.recordings[key] = Recording(network, given, masks, past, steps)
    return network.recordings[key].replay(given, masks, past)


class Recording:
    """Settling of batches of one shape."""

    def __init__(self, network, given: dict[int, Tensor], masks: dict[int, Tensor], past: dict[int, Tensor], steps: int):
        self.given, self.masks, self.past = ({i: x.clone() for i, x in tensors.items()} for tensors in (given, masks, past))
        dtype = next(iter(given.values())).dtype, network.product_dtype
        if dtype not in network.lowered:
            network.lowered[dtype] = Lowered(network)
        self.lowered, self.steps = network.lowered[dtype], steps
        self.again: Callable[[], None] | None = None
        try:
            state = self.run()
        except RuntimeError as error:
            if not self.lowered.compiled:
                raise
            warnings.warn(f"settling is not compiled, and slower for it: {str(error).splitlines()[0]}", stacklevel=2)
            network.compile_steps = False
            self.lowered = network.lowered[dtype] = Lowered(network)
            state = self.run()
        try:
            self.again, self.state = record(self.run)
            self.again()
            torch.testing.assert_close(self.state.mu[0], state.mu[0], rtol=1e-3, atol=1e-4, equal_nan=True)
        except (RuntimeError, AssertionError) as error:
            warnings.warn(f"settling is not recorded, and slower for it: {str(error).splitlines()[0]}", stacklevel=2)
            self.again = None

    def run(self) -> State:
        return self.lowered.settle(self.given, self.masks, self.past, self.steps)

    def replay(self, given: dict[int, Tensor], masks: dict[int, Tensor], past: dict[int, Tensor]) -> State:
        for own, new in ((self.given, given), (self.masks, masks), (self.past, past)):
            for i, x in new.items():
                own[i].copy_(x)
        if self.again is None:
            return self.run()
        self.again()
        return own_copy(self.state)


class Lowered:
    """The network with its synapses and precision in the type of its products, and its step compiled where that is wanted."""

    def __init__(self, network):
        self.of, self.network, self.compiled = network, copy.copy(network), network.compile_steps
        dtype = network.product_dtype
        if dtype is not None:
            self.network.parameters = {name: value.to(dtype) for name, value in network.parameters.items()}
            self.network.q = {i: value.to(dtype) for i, value in network.q.items()}
        if self.compiled:
            self.network.step = compiled_step(self.network)

    def settle(self, given: dict[int, Tensor], masks: dict[int, Tensor], past: dict[int, Tensor], steps: int) -> State:
        for own, new in ((self.network.parameters, self.of.parameters), (self.network.q, self.of.q)):
            for key, value in own.items():
                if value is not new[key]:
                    value.copy_(new[key])
        state = self.network.rest_on(given, masks, past)
        if self.compiled:
            for part in (state.z, state.f, state.mu, state.r, state.e, state.v or [], state.carried.values()):
                for tensor in part:
                    torch._dynamo.maybe_mark_dynamic(tensor, 0)  # rows: compiled once for batches of all sizes
        return self.network.settle_from(state, steps)


NUMBERS = itertools.count()


def compiled_step(network) -> Callable:
    """`GNCN.step` of this network, compiled; step sizes are tensors of it, since a number would be compiled in."""

    def step(state: State, beta: Tensor, momentum: Tensor) -> None:
        type(network).step(network, state, beta, momentum)

    code = step.__code__.replace(co_name=f"step_{next(NUMBERS)}")  # its own, since torch gives up where eight networks share it
    compiled = torch.compile(FunctionType(code, step.__globals__, closure=step.__closure__))
    return lambda state, *sizes: compiled(state, *(torch.full((), size, device=state.z[0].device) for size in sizes))


def record(run: Callable[[], State]) -> tuple[Callable[[], None], State]:
    """(do it again, the state that it writes each time): a CUDA graph of what `run` does."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        state = run()
    return graph.replay, state


def own_copy(state: State) -> State:
    """The state in tensors of its own: the next batch is replayed over those of the recording."""
    own: dict[int, Tensor] = {}  # e[l] is r[l] where layer l has no precision, and so it stays

    def clone(value):
        if isinstance(value, list):
            return [clone(tensor) for tensor in value]
        if isinstance(value, dict):
            return {i: clone(tensor) for i, tensor in value.items()}
        if isinstance(value, Tensor):
            own[id(value)] = own[id(value)] if id(value) in own else value.clone()
            return own[id(value)]
        return value

    return State(**{field.name: clone(getattr(state, field.name)) for field in fields(State)})

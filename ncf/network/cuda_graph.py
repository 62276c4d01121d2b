"""Settling on an accelerator: the plain equations, recorded once per batch shape and replayed as one CUDA graph.

Fifty steps are some thousand small operations; started one by one from Python they wait for Python. A recording starts them all at
once. It reads images, masks, synapses and precision where they lay when it was made, so these are only ever written in place.
"""

import warnings
from collections.abc import Callable
from dataclasses import astuple, fields

import torch
from torch import Tensor

from ncf.network.state import State


def settle(network, given: dict[int, Tensor], masks: dict[int, Tensor], steps: int) -> State:
    """The plain equations, replayed from the second batch of a shape on; with a tolerance the steps are decided one by one."""
    if network.config.settle.tolerance or steps == 0:
        return network.settle_from(network.rest_on(given, masks), steps)
    shapes = [(i, tuple(x.shape), x.dtype) for tensors in (given, masks) for i, x in tensors.items()]
    key = (*shapes, len(masks), steps, network.product_dtype, astuple(network.config.settle))
    if key not in network.recordings:
        network.recordings[key] = Recording(network, given, masks, steps)
    return network.recordings[key].replay(given, masks)


class Recording:
    """Settling of batches of one shape."""

    def __init__(self, network, given: dict[int, Tensor], masks: dict[int, Tensor], steps: int):
        self.given, self.masks = ({i: x.clone() for i, x in tensors.items()} for tensors in (given, masks))
        self.run = lambda: network.settle_from(network.rest_on(self.given, self.masks), steps)
        self.again: Callable[[], None] | None = None
        state = self.run()
        try:
            self.again, self.state = record(self.run)
            self.again()
            torch.testing.assert_close(self.state.mu[0], state.mu[0], rtol=1e-3, atol=1e-4, equal_nan=True)
        except (RuntimeError, AssertionError) as error:
            warnings.warn(f"settling is not recorded, and slower for it: {str(error).splitlines()[0]}", stacklevel=2)
            self.again = None

    def replay(self, given: dict[int, Tensor], masks: dict[int, Tensor]) -> State:
        for own, new in ((self.given, given), (self.masks, masks)):
            for i, x in new.items():
                own[i].copy_(x)
        if self.again is None:
            return self.run()
        self.again()
        return copy(self.state)


def record(run: Callable[[], State]) -> tuple[Callable[[], None], State]:
    """(do it again, the state that it writes each time): a CUDA graph of what `run` does."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        state = run()
    return graph.replay, state


def copy(state: State) -> State:
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

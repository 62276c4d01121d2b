"""The limit that settling is held against: its matrix products alone, by the fastest way that this machine has.

The products are those that settling needs for K steps of that very network (W, M, feedback, Q; the lateral term needs none, and from rest
those of known zeros are left out), in the type of the network's own. Several libraries and ways to share the rows among cores are tried on
each network and batch, and the fastest is the limit.
"""

import contextlib
import time
from collections.abc import Callable

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ncf.network.gncn import GNCN
from ncf.network.products import Factor, matrices, on_all_cores, packing_works
from ncf.network.settling import steps_of

Plan = list[list[int]]  # for every step the places of the right factors
Run = Callable[[Plan], None]
TRIES = 4


def plan_of(network: GNCN) -> Plan:
    """Which of them each of the K steps multiplies by."""
    n, m = len(network.circuit.bundles), len(network.circuit.feedback)
    return [
        [place for into in step.bundles for place, _ in into]
        + [n + place for into in step.feedback for place, _ in into]
        + [n + m + place for place, i in enumerate(network.q) if step.compared[i]]
        for step in steps_of(network, tuple(network.circuit.hidden), network.config.settle.steps)
    ]


def by_torch(rights: list[torch.Tensor], batch: int, dtype: torch.dtype) -> Run:
    """torch.mm, every product on all cores."""
    products = [(torch.randn(batch, len(m), device=m.device).to(dtype), m.to(dtype).contiguous()) for m in rights]
    outs = [left.new_empty(batch, m.shape[1]) for left, m in products]

    def run(plan: Plan) -> None:
        for step in plan:
            for i in step:
                torch.mm(*products[i], out=outs[i])

    return run


def by_recording(rights: list[torch.Tensor], batch: int, dtype: torch.dtype) -> Run:
    """torch.mm on an accelerator, the whole plan recorded as one CUDA graph."""
    run, graphs = by_torch(rights, batch, dtype), {}

    def replay(plan: Plan) -> None:
        if id(plan) not in graphs:
            run(plan)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                run(plan)
            graphs[id(plan)] = plan, graph  # the plan is kept, and with it its id
        graphs[id(plan)][1].replay()

    return replay


def by_rows(product: Callable[[torch.Tensor, int], None], rights: list[torch.Tensor], batch: int, dtype: torch.dtype) -> Run:
    """`product(left, i)` with the i-th right factor, every core its own rows from the first step to the last."""
    n = torch.get_num_threads()
    bounds = [batch * i // n for i in range(n + 1)]
    lefts = [torch.randn(batch, len(m)).to(dtype) for m in rights]
    parts = [[left[start:stop] for left in lefts] for start, stop in zip(bounds, bounds[1:])]

    def run(plan: Plan) -> None:
        def run_part(part: list[torch.Tensor]) -> None:
            for step in plan:
                for i in step:
                    product(part[i], i)

        on_all_cores(run_part, parts)

    return run


def by_torch_rows(rights: list[torch.Tensor], batch: int, dtype: torch.dtype) -> Run:
    rights = [m.to(dtype).contiguous() for m in rights]
    return by_rows(lambda left, i: torch.mm(left, rights[i]), rights, batch, dtype)


def by_packed_rows(rights: list[torch.Tensor], batch: int, dtype: torch.dtype) -> Run:
    factors = [Factor(m, dtype, max(1, batch // torch.get_num_threads())) for m in rights]
    return by_rows(lambda left, i: factors[i].after(left), rights, batch, dtype)


def by_mkl_rows(rights: list[torch.Tensor], batch: int, dtype: torch.dtype) -> Run:
    mkl, rows = torch.ops.mkl, max(1, batch // torch.get_num_threads())
    turned = [m.T.contiguous() for m in rights]
    packed = [mkl._mkl_reorder_linear_weight(m.to_mkldnn(), rows) for m in turned]
    return by_rows(lambda left, i: mkl._mkl_linear(left, packed[i], turned[i], None, rows), rights, batch, dtype)


def by_numpy(rights: list[torch.Tensor], batch: int, dtype: torch.dtype) -> Run:
    """numpy's matmul (OpenBLAS), every product on all cores."""
    products = [(np.random.default_rng(0).random((batch, len(m)), np.float32), m.contiguous().numpy()) for m in rights]
    outs = [np.empty((batch, m.shape[1]), np.float32) for _, m in products]

    def run(plan: Plan) -> None:
        with threadpool_limits(torch.get_num_threads()):
            for step in plan:
                for i in step:
                    np.matmul(*products[i], out=outs[i])

    return run


def ways(dtype: torch.dtype, device: torch.device) -> dict[str, Callable[..., Run]]:
    """What can be tried here, by name."""
    found: dict[str, Callable[..., Run]] = {"torch": by_torch}
    if device.type == "cuda":
        found["torch, recorded"] = by_recording
    else:
        found["torch by rows"] = by_torch_rows
        if packing_works():
            found["packed oneDNN by rows"] = by_packed_rows
        if dtype == torch.float32:
            found["numpy"] = by_numpy
            if torch.backends.mkl.is_available():
                found["packed MKL by rows"] = by_mkl_rows
    return found


def runs_of(rights: list[torch.Tensor], batch: int, dtype: torch.dtype) -> dict[str, Run]:
    """The ways that this torch has, ready to run."""
    runs = {}
    for name, way in ways(dtype, rights[0].device).items():
        with contextlib.suppress(RuntimeError, NotImplementedError, AttributeError):  # it lacks this one
            run = way(rights, batch, dtype)
            run([list(range(len(rights)))])
            runs[name] = run
    return runs


def fastest(network: GNCN, batch: int, dtype: torch.dtype) -> tuple[str, Callable[[], None]]:
    """The name of the fastest way, and the products of K steps by it. The ways take turns over the whole plan: a machine may be twice as fast for some
    milliseconds, which a way that is timed alone would have to itself."""
    runs, plan = runs_of(matrices(network), batch, dtype), plan_of(network)
    rounds = [{name: timed(run, plan) for name, run in runs.items()} for _ in range(TRIES)]
    best = min(runs, key=lambda name: min(seconds[name] for seconds in rounds))
    return best, lambda: runs[best](plan)


def timed(run: Run, plan: Plan) -> float:
    start = time.perf_counter()
    run(plan)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start

"""The matrix products of settling on the processor: packed where that pays, and shared among threads where there is enough of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch
from torch import Tensor

WORK_PER_THREAD = 1_000_000  # multiply-adds of a mean product that are worth a thread; twice as many in bfloat16


def threads_for(rights: list[Tensor], images: int, dtype: torch.dtype) -> int:
    """How many threads share the images of a batch: all, where every one has products large enough to pay for it."""
    work = images * sum(matrix.numel() for matrix in rights) // len(rights)
    enough = WORK_PER_THREAD * (2 if dtype == torch.bfloat16 else 1)
    return max(1, min(torch.get_num_threads(), images, work // enough))


def on_all_cores(function: Callable, items: list) -> list:
    n_threads = torch.get_num_threads()
    return list((pool(n_threads).map if n_threads > 1 else map)(function, items))


@lru_cache(maxsize=1)
def pool(n_threads: int) -> ThreadPoolExecutor:
    """One thread per core; inside it, torch stays on that core."""
    return ThreadPoolExecutor(n_threads, initializer=lambda: torch.set_num_threads(1))


class Factor:
    """A matrix (K, N) as the right factor of products with so many rows, in their type; packed for the kernel where that exists and pays.

    A packed product costs some 12 microseconds more than a plain one before it begins, and 30 where it is added to another. In float32 it
    makes up for them in large matrices alone; in bfloat16 in every product, and in no sum.
    """

    def __init__(self, matrix: Tensor, dtype: torch.dtype, rows: int, added: bool = False):
        self.matrix = matrix.to(dtype)
        self.packed = None
        if pays(self.matrix, rows, added) and packing_works():
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


def pays(matrix: Tensor, rows: int, added: bool) -> bool:
    """Whether packing does: measured on products of 16 to 200 rows with 64 x 64 to 784 x 360 matrices."""
    if matrix.dtype == torch.bfloat16:
        return not added
    return matrix.dtype == torch.float32 and matrix.numel() >= (2**18 if added else 2**16) and rows * matrix.numel() >= 3_000_000


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


def matrices(network) -> list[Tensor]:
    """The right factors of a settling step's products: of bundles, of feedback, of precision."""
    circuit = network.circuit
    feedback = [network.error_synapses(arrow) for arrow in circuit.feedback]
    return [*(network.parameters[bundle.name] for bundle in circuit.bundles), *feedback, *network.q.values()]


class Factors:
    """The synapses as factors: `bundles` and `feedback` by their place in the circuit, Q by population; packed by all cores."""

    def __init__(self, network, rights: list[Tensor], dtype: torch.dtype, rows: int):
        self.dtype = dtype
        circuit = network.circuit
        n, m = len(circuit.bundles), len(circuit.feedback)
        sums = [*added(circuit.bundles), *added(circuit.feedback), *[False] * len(network.q)]
        packed = on_all_cores(lambda pair: Factor(pair[0], dtype, rows, pair[1]), list(zip(rights, sums)))
        self.bundles, self.feedback, self.q = packed[:n], packed[n : n + m], dict(zip(network.q, packed[n + m :]))


def added(arrows: list) -> list[bool]:
    """For each arrow, whether its product is added to that of another into the same population."""
    return [any(other.target == arrow.target for other in arrows[:i]) for i, arrow in enumerate(arrows)]

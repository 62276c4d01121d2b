"""How the kernels are compiled, and kept on disk for the next process."""

from collections.abc import Callable
from typing import Any

from numba import njit

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}  # a product and a sum may become one operation


class Compiled:
    """A function compiled at its first call and kept on disk for the next process, or, where that fails, for this process alone."""

    def __init__(self, function: Callable):
        self.function = function
        try:
            self.call = njit(**OPTIONS, cache=True)(function)
        except RuntimeError:  # no folder to keep it in
            self.compile_here()

    def compile_here(self) -> None:
        self.call = njit(**OPTIONS)(self.function)

    def __call__(self, *arguments) -> None:
        try:
            self.call(*arguments)
        except Exception:  # a full disk, a damaged file: what is wrong with the function itself is raised again
            self.compile_here()
            self.call(*arguments)

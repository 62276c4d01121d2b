"""How the kernels are compiled, and kept on disk for the next process."""

from collections.abc import Callable

from numba import njit


class Compiled:
    """A function compiled at its first call and kept on disk for the next process, or, where that fails, for this process alone."""

    def __init__(self, function: Callable, **options):
        self.function, self.options = function, options
        try:
            self.call = njit(**options, cache=True)(function)
        except RuntimeError:  # no folder to keep it in
            self.compile_here()

    def compile_here(self) -> None:
        self.call = njit(**self.options)(self.function)

    def __call__(self, *arguments) -> None:
        try:
            self.call(*arguments)
        except Exception:  # a full disk, a damaged file: what is wrong with the function itself is raised again
            self.compile_here()
            self.call(*arguments)

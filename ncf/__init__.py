"""ncf: generative networks that settle and learn locally (neural generative coding), as an experiment runner.

From Python: ``network = ncf.load("outputs/runs/first")`` and ``run = ncf.train("model=gncn_t1", epochs=5)``; see `ncf.notebook`.
"""

import os
from typing import TYPE_CHECKING

__version__ = "0.2.0"
__all__ = ["GNCN", "Network", "Settled", "TrainedRun", "UserError", "__version__", "load", "train"]

if TYPE_CHECKING:
    from ncf.errors import UserError
    from ncf.network.gncn import GNCN
    from ncf.notebook import Network, Settled, TrainedRun, load, train

# Threads that wait for each other sleep after some microseconds instead of a millisecond: on a busy machine a spinning thread keeps from its
# core the very one that it waits for. (GNU's OpenMP, which torch brings along, reads this when it is loaded.)
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

PLACES = {"GNCN": "ncf.network.gncn", "UserError": "ncf.errors"}  # the rest lives in ncf.notebook


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str):
    """Torch is loaded when something that needs it is asked for: the commands answer --version without."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'ncf' has no attribute {name!r}")
    return getattr(import_module(PLACES.get(name, "ncf.notebook")), name)

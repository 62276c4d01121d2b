"""ncf: generative networks that settle and learn locally (neural generative coding), as an experiment runner.

From Python: ``network = ncf.load("outputs/runs/first")`` and ``run = ncf.train("model=gncn_t1", epochs=5)``; see `ncf.notebook`.
"""

from typing import TYPE_CHECKING

__version__ = "0.2.0"
__all__ = ["GNCN", "Network", "Settled", "TrainedRun", "UserError", "__version__", "load", "train"]

if TYPE_CHECKING:
    from ncf.errors import UserError
    from ncf.network.gncn import GNCN
    from ncf.notebook import Network, Settled, TrainedRun, load, train

PLACES = {"GNCN": "ncf.network.gncn", "UserError": "ncf.errors"}  # the rest lives in ncf.notebook


def __getattr__(name: str):
    """Torch is loaded when something that needs it is asked for: the commands answer --version without."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'ncf' has no attribute {name!r}")
    return getattr(import_module(PLACES.get(name, "ncf.notebook")), name)

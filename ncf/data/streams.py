"""Random streams: every draw is a pure function of (seed, purpose, counters), so that resuming needs no generator state."""

import zlib

import numpy as np


def stream(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """A generator of its own for one purpose, e.g. ``stream(seed, "order", epoch)``; no global random state is touched."""
    return np.random.default_rng([zlib.crc32(purpose.encode()), seed, *counters])

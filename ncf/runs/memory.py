"""Memory: what will not fit is refused beforehand, and running out is one line with a remedy that fits."""

import os
import re
import resource
import traceback
from pathlib import Path

from ncf.errors import UserError

REMEDIES = (  # what was being done -> what takes less there; the first of these that is under way decides
    ("ncf.measure.annealing", "lower metrics.annealing.images or metrics.annealing.chains"),
    ("ncf.measure", "lower metrics.batch_size, metrics.samples or metrics.n_images"),
    ("ncf.evaluate", "lower metrics.batch_size or metrics.n_images"),
    ("ncf.data", "use fewer or smaller images"),
    ("ncf.sample", "lower n or n_completions"),
    ("ncf.models", "lower model.layers"),
    ("ncf", "lower batch_size or model.layers"),
)


def available() -> int:
    """Bytes that this process may still take: of the machine, of its control group, of its own limit."""
    free = [2**62]
    try:
        told = Path("/proc/meminfo").read_text()
        free.append(1024 * int(re.search(r"MemAvailable:\s*(\d+)", told)[1]))
    except (OSError, TypeError):  # no such file there
        pass
    try:
        group = Path("/sys/fs/cgroup")
        free.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no such group, or no limit
        pass
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        free.append(soft - taken)
    return max(0, min(free))


def require(wanted: int, what: str, remedy: str) -> None:
    """UserError where so many bytes are more than there are."""
    there = available()
    if wanted > there:
        raise UserError(f"{what} would take about {size(wanted)} of memory, {size(there)} are free; {remedy}")


PRIOR_BYTES = 48  # per number of the covariances that learn, at most: while they are made anew, float64 and float32 of them lie side by side


def require_room(model, image_shape: tuple[int, int]) -> None:
    """UserError where synapses, their updates and what an optimizer keeps of them cannot fit, or a prior that learns with them."""
    sizes = [image_shape[0] * image_shape[1], *getattr(model, "layers", [])]
    synapses = sum(below * above for below, above in zip(sizes, sizes[1:]))
    bundles = 2 if getattr(model, "error_synapses", "tied") == "learned" else 1
    require(4 * 4 * bundles * synapses, f"model.layers={sizes[1:]}: {bundles * synapses:,} synapses and their updates", "lower model.layers")
    components = getattr(getattr(model, "last_phase", None), "components", 0)
    if components and len(sizes) > 1:
        what = f"a prior of {components:,} covariances over {sizes[-1]:,} units"
        require(PRIOR_BYTES * components * sizes[-1] ** 2, what, "lower model.last_phase.components or the last of model.layers")


def size(n: int) -> str:
    return f"{n / 1e9:,.1f} GB" if n >= 1e8 else f"{n / 1e6:,.0f} MB"


def ran_out(error: BaseException) -> bool:
    """Whether numpy, Python or torch, on a processor or an accelerator, got no more memory."""
    words = ("can't allocate memory", "out of memory", "not enough memory")
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words))


def explain(error: BaseException) -> str:
    under_way = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    remedy = next(words for place, words in REMEDIES if place == "ncf" or any(name.startswith(place) for name in under_way))
    asked = re.search(r"allocate ([\d.]+ ?[A-Za-z]+)", str(error))
    return f"out of memory{f' ({asked[1]} were asked for at once)' if asked else ''}; {remedy}"

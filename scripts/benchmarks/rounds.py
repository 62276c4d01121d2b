"""Rounds in which the bare products of a network's settling, its training batch and others take turns, so that a noisy machine is noisy for all.

The bare products are those of K settling steps of that very network (W, M, feedback, Q; the lateral term needs none), as plain float32
torch products on all cores.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from ncf.config.schema import GNCNConfig, OptimizerConfig
from ncf.network.discrepancy import bce, tod
from ncf.network.gncn import GNCN
from ncf.network.optimizer import Optimizer
from ncf.training import train_step

TYPES = {"float32": None, "bf16": torch.bfloat16}


def bare_products(network: GNCN, batch: int) -> Callable[[], None]:
    """K times the matrix products of one settling step, and nothing else."""
    bundles = {name: p for name, p in network.parameters.items() if name[0] in "WME"}
    matrices = list(bundles.values()) + list(network.q.values())
    if network.config.error_synapses == "tied":
        matrices += [p.T.contiguous() for name, p in bundles.items() if name[0] == "W"]
    products = [(torch.randn(batch, len(m), device=m.device), m, torch.empty(batch, m.shape[1], device=m.device)) for m in matrices]

    def run() -> None:
        for _ in range(network.config.settle.steps):
            for left, right, out in products:
                torch.mm(left, right, out=out)

    return run


def training_batch(network: GNCN, optimizer: Optimizer, images: torch.Tensor, batch: int, rng: np.random.Generator) -> dict[str, float]:
    """Seconds of each part of one training batch, as the loop in ncf/training.py does it."""
    seconds: dict[str, float] = {}
    last = now()

    def lap(part: str) -> None:
        nonlocal last
        last, before = now(), last
        seconds[part] = seconds.get(part, 0.0) + last - before

    x = images[torch.from_numpy(rng.integers(0, len(images), batch))]
    lap("data")
    state = train_step(network, optimizer, x, lap=lap)
    bce(state).sum().item(), tod(state).sum().item()
    lap("metrics")
    return seconds


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def contestants(config: GNCNConfig, batch: int, types: list[str], device: torch.device) -> dict[str, Callable[[], dict[str, float]]]:
    """What takes turns: the bare products and a training batch per type, each returning the seconds of its parts."""
    networks = {}
    for kind in types:
        network = GNCN(config, 784, np.random.default_rng(0), device)
        network.product_dtype = TYPES[kind]
        networks[kind] = network, Optimizer(OptimizerConfig(), network.parameters)
    rng = np.random.default_rng(1)
    images = torch.from_numpy((rng.random((4 * batch, 784)) < 0.13).astype(np.float32)).to(device)
    products = bare_products(networks[types[0]][0], batch)

    def bare() -> dict[str, float]:
        start = now()
        products()
        return {"products": now() - start}

    return {"bare": bare, **{kind: partial(training_batch, *networks[kind], images, batch, rng) for kind in types}}


def take_turns(turns: dict[str, Callable[[], dict[str, float]]], repeats: int, pause: float = 0) -> dict[str, list[dict[str, float]]]:
    """The seconds of every contestant's parts, round by round; `pause` between two turns lets the threads of the one before fall asleep."""
    laps: dict[str, list] = {name: [] for name in turns}
    for repeat in range(repeats + 1):  # the first one only warms up
        for name, turn in turns.items():
            lap = turn()
            if repeat:
                laps[name].append(lap)
            time.sleep(pause)
    return laps


def against_bare(seconds: list[float], bare: list[float]) -> dict:
    """Median and quartiles of seconds over those of the bare products of the same round."""
    low, ratio, high = np.percentile(np.divide(seconds, bare), [25, 50, 75])
    return {"ratio": float(ratio), "ratio_quartiles": [float(low), float(high)]}


def learning(lap: dict[str, float]) -> float:
    """Seconds of what a batch must do, without drawing it, watching over it and measuring it."""
    return sum(lap[part] for part in ("settle", "update", "constrain"))

"""Rounds in which a network's training batch, the limit of its settling and others take turns, so that a noisy machine is noisy for all."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from benchmarks.limit import fastest
from ncf.config.schema import GNCNConfig, OptimizerConfig
from ncf.network.discrepancy import bce, tod
from ncf.network.gncn import GNCN
from ncf.network.optimizer import Optimizer
from ncf.training import train_step

TYPES = {"float32": None, "bf16": torch.bfloat16}


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


@dataclass
class Contest:
    """What takes turns, each returning the seconds of its parts: per type a training batch, and the limit, "limit of TYPE"."""

    turns: dict[str, Callable[[], dict[str, float]]]
    ways: dict[str, str]  # type -> how its limit's products are done


def contest(config: GNCNConfig, batch: int, types: list[str], device: torch.device, pixels: int = 784, compiled: bool = False) -> Contest:
    rng = np.random.default_rng(1)
    images = torch.from_numpy((rng.random((4 * batch, pixels)) < 0.13).astype(np.float32)).to(device)
    result = Contest({}, {})
    for kind in types:
        network = GNCN(config, pixels, np.random.default_rng(0), device)
        network.product_dtype, network.compile_steps = TYPES[kind], compiled
        result.ways[kind], products = fastest(network, batch, TYPES[kind] or torch.float32)
        result.turns[limit_of(kind)] = partial(timed, products)
        result.turns[kind] = partial(training_batch, network, Optimizer(OptimizerConfig(), network.parameters), images, batch, rng)
    return result


def limit_of(kind: str) -> str:
    return f"limit of {kind}"


def timed(products: Callable[[], None]) -> dict[str, float]:
    start = now()
    products()
    return {"products": now() - start}


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


def quartiles(seconds: list[float], limit: list[float]) -> dict:
    """Median and quartiles over the rounds of seconds over those of the limit in the same round."""
    low, ratio, high = np.percentile(np.divide(seconds, limit), [25, 50, 75])
    return {"ratio": float(ratio), "ratio_quartiles": [float(low), float(high)]}


def learning(lap: dict[str, float]) -> float:
    """Seconds of what a batch must do, without drawing it, watching over it and measuring it."""
    return sum(lap[part] for part in ("settle", "update", "constrain"))

"""What a training batch costs, against the bare matrix products of its settling: `scripts/benchmark`.

The bare products are those of K settling steps of that very network (W, M, feedback, Q; the lateral term needs none), as plain float32
torch products on all cores, timed in the same process and interleaved with the batches, so that a noisy machine is noisy for both.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from ncf.config import GNCNConfig, OptimizerConfig
from ncf.gncn import GNCN
from ncf.metrics import bce, tod
from ncf.optimizer import Optimizer
from ncf.overrides import compose_train
from ncf.provenance import choose_device, hardware, versions

MODELS = ("gncn_t1", "gncn_t1_sigma", "gncn_t2_l_sigma", "gncn_pdh")
PARTS = ("settle", "update", "constrain", "metrics", "data")
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
    """Seconds of each part of one training batch, as the loop in ncf/train.py does it."""
    clock = [now()]

    def lap() -> None:
        clock.append(now())

    x = images[torch.from_numpy(rng.integers(0, len(images), batch))]
    lap()
    state = network.settle(x)
    lap()
    updates = network.local_updates(state)
    optimizer.step(updates)
    lap()
    network.adapt_precision(updates)
    network.limit_norms()
    lap()
    bce(state).sum().item(), tod(state).sum().item()
    lap()
    data, settle, update, constrain, metrics = (b - a for a, b in zip(clock, clock[1:]))
    return {"settle": settle, "update": update, "constrain": constrain, "metrics": metrics, "data": data}


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def measure_model(name: str, batch: int, types: list[str], repeats: int, device: torch.device) -> list[dict]:
    """One row per type: medians over interleaved repeats of bare products and training batches."""
    config: GNCNConfig = compose_train(f"model={name}").model
    networks = {}
    for kind in types:
        network = GNCN(config, 784, np.random.default_rng(0), device)
        network.product_dtype = TYPES[kind]
        networks[kind] = network, Optimizer(OptimizerConfig(), network.parameters)
    rng = np.random.default_rng(1)
    images = torch.from_numpy((rng.random((4 * batch, 784)) < 0.13).astype(np.float32)).to(device)
    bare = bare_products(networks[types[0]][0], batch)
    seconds: dict[str, list] = {"bare": [], **{kind: [] for kind in types}}
    for repeat in range(repeats + 1):  # the first one only warms up
        start = now()
        bare()
        took = now() - start
        laps = {kind: training_batch(network, optimizer, images, batch, rng) for kind, (network, optimizer) in networks.items()}
        if repeat:
            seconds["bare"].append(took)
            for kind in types:
                seconds[kind].append(laps[kind])
    return [row(name, batch, kind, seconds["bare"], seconds[kind]) for kind in types]


def row(name: str, batch: int, kind: str, bare: list[float], laps: list[dict[str, float]]) -> dict:
    totals = [sum(lap.values()) for lap in laps]
    ratios = np.array([sum(lap[part] for part in ("settle", "update", "constrain")) / b for lap, b in zip(laps, bare)])
    low, ratio, high = np.percentile(ratios, [25, 50, 75])
    return {
        "model": name,
        "batch": batch,
        "precision": kind,
        "ms_per_batch": 1e3 * float(np.median(totals)),
        "images_per_second": batch / float(np.median(totals)),
        "bare_ms": 1e3 * float(np.median(bare)),
        "ratio": float(ratio),
        "ratio_quartiles": [float(low), float(high)],
        "ms": {part: 1e3 * float(np.median([lap[part] for lap in laps])) for part in PARTS},
    }


def start_up_seconds() -> float:
    """From the shell to a loop that is ready to train: imports included, median of three."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import ncf.cli, ncf.train"], check=True)
        times.append(time.perf_counter() - start)
    return sorted(times)[1]


def table(rows: list[dict]) -> str:
    from ncf.report import aligned

    head = ["model", "batch", "precision", "ms/batch", "images/s", "bare ms", "ratio", "quartiles", *(f"{part} ms" for part in PARTS)]
    lines = [head]
    for r in rows:
        low, high = r["ratio_quartiles"]
        lines.append(
            [r["model"], str(r["batch"]), r["precision"], f"{r['ms_per_batch']:.1f}", f"{r['images_per_second']:.0f}", f"{r['bare_ms']:.1f}"]
            + [f"{r['ratio']:.2f}", f"{low:.2f}-{high:.2f}", *(f"{r['ms'][part]:.1f}" for part in PARTS)]
        )
    return aligned(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--batches", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--precisions", nargs="+", default=list(TYPES), choices=list(TYPES))
    parser.add_argument("--repeats", type=int, default=9, help="interleaved repeats, of which the median counts (default 9)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    device = choose_device(given.device, given.threads)
    torch.set_grad_enabled(False)
    rows = [r for name in given.models for batch in given.batches for r in measure_model(name, batch, given.precisions, given.repeats, device)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    record = {"rows": rows, "start_up_seconds": start_up_seconds(), "peak_memory_mib": memory, "hardware": hardware(device), "versions": versions()}
    print(table(rows))
    print(f"start-up {record['start_up_seconds']:.1f} s, peak memory {memory:.0f} MiB, {hardware(device)['name']}, {hardware(device)['threads']} threads")
    print(json.dumps(record))


if __name__ == "__main__":
    main()

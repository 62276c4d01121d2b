"""What a training batch costs, against the limit of its settling: `scripts/benchmark`.

The limit (`benchmarks.limit`) is the matrix products of K settling steps alone, by the fastest way found on this machine, timed in the
same process and interleaved with the batches, so that a noisy machine is noisy for both.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.rounds import TYPES, contest, limit_of, quartiles, take_turns
from ncf.config.compose import compose_train
from ncf.runs.provenance import choose_device, hardware, versions

MODELS = ("gncn_t1", "gncn_t1_sigma", "gncn_t2_l_sigma", "gncn_pdh")
PARTS = ("settle", "update", "constrain", "guards", "metrics", "data")


def measure_model(name: str, batch: int, types: list[str], repeats: int, device: torch.device, *settings: str, pixels: int = 784) -> list[dict]:
    """One row per type: medians over interleaved repeats of the limit and of training batches."""
    config = compose_train(f"model={name}", *settings)
    found = contest(config.model, batch, types, device, pixels, config.compute.compile)
    laps = take_turns(found.turns, repeats)
    return [
        {"model": name, "batch": batch, "precision": kind, "limit": found.ways[kind]}
        | row(batch, [lap["products"] for lap in laps[limit_of(kind)]], laps[kind])
        for kind in types
    ]


def row(batch: int, limit: list[float], laps: list[dict[str, float]]) -> dict:
    """Times of a training batch; `ratio`: of settling to its limit."""
    total = float(np.median([sum(lap.values()) for lap in laps]))
    return {
        "ms_per_batch": 1e3 * total,
        "images_per_second": batch / total,
        "limit_ms": 1e3 * float(np.median(limit)),
        **quartiles([lap["settle"] for lap in laps], limit),
        "ms": {part: 1e3 * float(np.median([lap[part] for lap in laps])) for part in PARTS},
    }


def start_up_seconds() -> float:
    """From the shell to a loop that is ready to train: imports included, median of three."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import ncf.cli, ncf.training"], check=True)
        times.append(time.perf_counter() - start)
    return sorted(times)[1]


# What a network grows by: the axis, its values, the override (or batch size) that a value stands for.
GROWTH = {
    "units per layer": ([90, 180, 360, 720], lambda n: ([f"model.layers=[{n},{n},{n}]"], 200)),
    "layers of 360 units": ([1, 2, 3, 5, 8], lambda n: ([f"model.layers={[360] * n}".replace(" ", "")], 200)),
    "settling steps K": ([10, 25, 50, 100, 200], lambda n: ([f"model.settle.steps={n}"], 200)),
    "images per batch": ([50, 100, 200, 500, 1000, 2000], lambda n: ([], n)),
}


ROUND = [digit * 10**power for power in range(-1, 7) for digit in (1, 2, 5)]  # microseconds that an axis may name


def measure_growth(name: str, types: list[str], repeats: int, device: torch.device) -> list[dict]:
    """Rows as those of `measure_model`, with the axis and the value that they stand for."""
    rows = []
    for axis, (values, meaning) in GROWTH.items():
        for value in values:
            settings, batch = meaning(value)
            rows += [{"axis": axis, "value": value, **r} for r in measure_model(name, batch, types, repeats, device, *settings)]
    return rows


def draw_growth(rows: list[dict], path: Path) -> None:
    """Microseconds per image against each axis, beside those of the limit."""
    from matplotlib.figure import Figure

    from ncf.report.charts import COLOURS

    figure = Figure(figsize=(11, 3.2), layout="constrained")
    costs = [1e3 * r[key] / r["batch"] for r in rows for key in ("ms_per_batch", "limit_ms")]
    low, high = min(costs) / 2, 2 * max(costs)
    for panel, axis in zip(figure.subplots(1, len(GROWTH), sharey=True), GROWTH):
        mine = [r for r in rows if r["axis"] == axis]
        curves = {
            f"{words}{kind}": [(r["value"], 1e3 * r[key] / r["batch"]) for r in mine if r["precision"] == kind]
            for words, key in (("", "ms_per_batch"), ("limit of ", "limit_ms"))
            for kind in TYPES
        }
        for (label, points), colour in zip(curves.items(), COLOURS):
            if points:
                panel.plot(*zip(*points), "o-", color=colour, markersize=3, label=label)
        panel.set(xlabel=axis, xscale="log", yscale="log", xticks=GROWTH[axis][0], xticklabels=GROWTH[axis][0])
        panel.set_yticks([n for n in ROUND if low <= n <= high], [f"{n:,}" for n in ROUND if low <= n <= high])
        panel.tick_params(labelsize=8)
        panel.minorticks_off()
        panel.grid(color="#e5e5e5")
        panel.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("microseconds per image")
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def table(rows: list[dict]) -> str:
    from ncf.report.tables import aligned

    head = ["model", "batch", "precision", "ms/batch", "images/s", "limit ms", "settle / limit", "quartiles", *(f"{part} ms" for part in PARTS)]
    head.append("the limit's products")
    lines = [["grows", *head] if "axis" in rows[0] else head]
    for r in rows:
        low, high = r["ratio_quartiles"]
        lines.append(
            ([f"{r['axis']}: {r['value']}"] if "axis" in r else [])
            + [r["model"], str(r["batch"]), r["precision"], f"{r['ms_per_batch']:.1f}", f"{r['images_per_second']:.0f}", f"{r['limit_ms']:.1f}"]
            + [f"{r['ratio']:.2f}", f"{low:.2f}-{high:.2f}", *(f"{r['ms'][part]:.1f}" for part in PARTS), r["limit"]]
        )
    return aligned(lines)


def compare_with_peers(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    from benchmarks import peers

    known = peers.known_peers()
    for name in given.peers:
        if name not in known:
            parser.error(f"no peer {name!r}; known: {', '.join(known)}")
    if given.threads and hasattr(os, "sched_setaffinity"):  # the peers' threads are limited by the cores that they see
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    peers.compare(given.peers or known, given.batches, given.precisions, given.repeats, given.steps)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--batches", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--precisions", nargs="+", default=list(TYPES), choices=list(TYPES))
    parser.add_argument(
        "--settings", nargs="+", default=[], metavar="KEY=VALUE", help="of the networks, e.g. model.layers=[90,90,90] or compute.compile=true"
    )
    parser.add_argument("--pixels", type=int, default=784, help="of an image (default 784)")
    parser.add_argument("--repeats", type=int, default=9, help="interleaved repeats, of which the median counts (default 9)")
    parser.add_argument("--growth", type=Path, metavar="PNG", help="measure cost per image against width, depth, K and batch instead, and draw it")
    parser.add_argument(
        "--peers", nargs="*", metavar="PEER", help="measure other packages' training batch in the same rounds instead (all, or those named)"
    )
    parser.add_argument("--busy", nargs="*", type=int, metavar="K", help="measure a batch beside K busy processes instead (1, 2, 4, 8)")
    parser.add_argument("--race", type=Path, metavar="PNG", help="measure the seconds of training to a result instead, and draw them (--contestants)")
    parser.add_argument("--contestants", nargs="+", metavar="NAME", help="those of the race (all)")
    parser.add_argument("--seconds", type=float, default=128, help="of training, for each contestant of the race (default 128)")
    parser.add_argument("--steps", type=int, default=50, help="settling steps K of the comparison with peers (default 50)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=None)
    given = parser.parse_args()
    device = choose_device("cpu" if given.peers is not None else given.device, given.threads)
    torch.set_grad_enabled(False)
    if given.peers is not None:
        compare_with_peers(parser, given)
        return
    if given.race:
        from benchmarks.race import race

        race(given.contestants, given.seconds, given.race)
        return
    if given.busy is not None:
        from benchmarks import busy

        cells = [(name, batch, kind) for name in given.models for batch in given.batches for kind in given.precisions]
        rows = [
            {"model": name, "batch": batch, "precision": kind, **r}
            for name, batch, kind in cells
            for r in busy.measure_busy(name, batch, kind, given.busy or [1, 2, 4, 8], given.repeats)
        ]
        print(busy.table(rows))
        print(json.dumps({"rows": rows, "hardware": hardware(device), "versions": versions()}))
        return
    if given.growth:
        rows = measure_growth(given.models[0], given.precisions, given.repeats, device)
        draw_growth(rows, given.growth)
    else:
        cells = [(name, batch) for name in given.models for batch in given.batches]
        rows = [r for cell in cells for r in measure_model(*cell, given.precisions, given.repeats, device, *given.settings, pixels=given.pixels)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    record = {"rows": rows, "start_up_seconds": start_up_seconds(), "peak_memory_mib": memory, "hardware": hardware(device), "versions": versions()}
    print(table(rows))
    print(
        f"start-up {record['start_up_seconds']:.1f} s, peak memory {memory:.0f} MiB, {hardware(device)['name']}, {hardware(device)['threads']} threads"
    )
    print(json.dumps(record))


if __name__ == "__main__":
    main()

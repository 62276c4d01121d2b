"""A training batch beside other jobs: `scripts/benchmark --busy`.

K processes that do nothing but count share the cores with one that trains. The system's scheduler gives every thread that wants to run as
much as any other; of n cores, n threads beside K others get n / (n + K) of the machine each time, so a batch should take (n + K) / n times as
long. Threads that spin where they should sleep, or wait for each other at every product, pay more.
"""

import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import torch

from benchmarks.rounds import contest
from ncf.config.compose import compose_train


@contextmanager
def counting(k: int):
    """So many processes that use a core each."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(k)]
    try:
        time.sleep(0.5)  # they have started
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure_busy(name: str, batch: int, kind: str, others: list[int], repeats: int) -> list[dict]:
    """Per K: the median seconds of a batch, how many times those of K = 0 that is, and how many times the fair share."""
    train = contest(compose_train(f"model={name}").model, batch, [kind], torch.device("cpu")).turns[kind]
    threads, rows = torch.get_num_threads(), []
    for k in [0, *others]:
        with counting(k):
            seconds = float(np.median([sum(train().values()) for _ in range(repeats + 1)][1:]))
        slower = seconds / rows[0]["seconds"] if rows else 1.0
        rows.append({"others": k, "seconds": seconds, "times_alone": slower, "times_fair": slower / ((threads + k) / threads)})
    return rows


def table(rows: list[dict]) -> str:
    from ncf.report.tables import aligned

    lines = [["model", "batch", "precision", "busy processes", "ms/batch", "x alone", "x fair share"]]
    for r in rows:
        figures = [f"{1e3 * r['seconds']:.1f}", f"{r['times_alone']:.2f}", f"{r['times_fair']:.2f}"]
        lines.append([r["model"], str(r["batch"]), r["precision"], str(r["others"]), *figures])
    return aligned(lines)

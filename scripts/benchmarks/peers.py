"""The training batch of other packages beside ncf's, in the same rounds: `scripts/benchmark --peers`.

Every peer is a script in `scripts/benchmarks/packages` with its pinned requirements beside it. It runs in an environment of its own (`.peers/NAME`, made on
first use) as a process that trains on one batch when it is asked to and sleeps otherwise, so that bare products, ncf and peers take turns
on the same cores. What a peer cannot express, or its users would not write, it leaves out and states; the matrix products of a step
(prediction and feedback of every bundle of synapses) are the same. Peers run on the processor in float32.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.rounds import contest, learning, limit_of, quartiles, take_turns
from ncf.config.compose import compose_train
from ncf.errors import UserError
from ncf.runs.provenance import hardware, versions

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = Path(__file__).with_name("packages")
MODEL = "gncn_t1"  # the network that the scripts write
MINUTES_TO_BUILD, MINUTES_TO_ANSWER = 10, 3
PAUSE = 0.02  # seconds between two turns


def known_peers() -> list[str]:
    return sorted(path.stem for path in SCRIPTS.glob("*.txt"))


def environment(name: str) -> Path:
    """The Python of `.peers/NAME`, with what packages/NAME.txt pins; made on first use and whenever that file changes."""
    folder, requirements = ROOT / ".peers" / name, SCRIPTS / f"{name}.txt"
    python, done = folder / "bin" / "python", folder / ".ready"
    wanted = requirements.read_text()
    if done.exists() and done.read_text() == wanted:
        return python
    print(f"setting up {folder} (once; a few minutes)", file=sys.stderr)
    make = [] if python.exists() else [[sys.executable, "-m", "venv", folder]]
    for command in [*make, [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]]:
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise UserError(f"cannot be installed: {last_line(run.stderr or run.stdout)}")
    done.write_text(wanted)
    return python


def last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no message"])[-1]


class Peer:
    """A peer's process, ready to be asked for a batch; UserError where it says nothing or not in time."""

    def __init__(self, python: Path, script: Path, batch: int, steps: int):
        self.log = tempfile.TemporaryFile("w+")
        command = [python, "-P", SCRIPTS / "serve.py", script, str(batch), str(steps)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"}
        )
        try:
            ready = self.answer(MINUTES_TO_BUILD)
        except UserError:
            self.close()
            raise
        self.version, self.differences = ready["version"], ready["differences"]

    def train_batch(self, variant: str) -> dict[str, float]:
        return self.ask({"variant": variant})

    def ask(self, question: dict) -> dict:
        """The answer to a question as packages/serve.py describes them."""
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(question), file=self.process.stdin, flush=True)
        return self.answer(MINUTES_TO_ANSWER)

    def answer(self, minutes: float) -> dict:
        timer = threading.Timer(60 * minutes, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        overdue = not timer.is_alive()
        timer.cancel()
        if not line:
            self.process.wait()
            self.log.seek(0)
            raise UserError(f"no answer within {minutes:g} minutes" if overdue else f"ended: {last_line(self.log.read())}")
        return json.loads(line)

    def close(self) -> None:
        """End of input ends the server; it has nothing to save."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


@contextlib.contextmanager
def started(names: list[str], batch: int, steps: int, failed: dict[str, str]) -> Iterator[dict[str, Peer]]:
    """The peers that could be started; the others stand in `failed` with the reason."""
    peers: dict[str, Peer] = {}
    try:
        for name in names:
            try:
                peers[name] = Peer(environment(name), SCRIPTS / f"{name}.py", batch, steps)
            except UserError as error:
                failed[name] = str(error)
        yield peers
    finally:
        for peer in peers.values():
            peer.close()


def measure_peers(names: list[str], batch: int, types: list[str], repeats: int, steps: int, failed: dict[str, str]) -> list[dict]:
    """A row per type of ncf and per variant of each peer; one that fails on the way has no row and stands in `failed`."""
    config = compose_train(f"model={MODEL}", f"model.settle.steps={steps}").model
    with started([name for name in names if name not in failed], batch, steps, failed) as peers:

        def turn(name: str, variant: str) -> dict[str, float]:
            try:
                return {} if name in failed else peers[name].train_batch(variant)
            except UserError as error:
                failed[name] = str(error)
                return {}

        variants = {f"{name} {variant}": (name, variant) for name, peer in peers.items() for variant in peer.differences}
        turns = contest(config, batch, types, torch.device("cpu")).turns
        turns |= {who: partial(turn, *variant) for who, variant in variants.items()}
        laps = take_turns(turns, repeats, PAUSE)
    described = {f"ncf {kind}": ("", "") for kind in types}
    described |= {who: (peers[name].version, peers[name].differences[variant]) for who, (name, variant) in variants.items() if name not in failed}
    seconds = {
        "limit": [lap["products"] for lap in laps[limit_of(types[0])]],
        **{f"ncf {kind}": [learning(lap) for lap in laps[kind]] for kind in types},
    }
    seconds |= {who: [lap["seconds"] for lap in laps[who]] for who, (name, _) in variants.items() if name not in failed}
    return [
        {"who": who, "version": version, "batch": batch, **figures(who, seconds, types), "differences": differences}
        for who, (version, differences) in described.items()
    ]


def figures(who: str, seconds: dict[str, list[float]], types: list[str]) -> dict:
    """Every ratio is the median over the rounds of two times of the same round; the fastest batch is what a busy machine spoils least."""
    return {
        "ms_per_batch": 1e3 * float(np.median(seconds[who])),
        "fastest_ms": 1e3 * float(np.min(seconds[who])),
        "limit_ms": 1e3 * float(np.median(seconds["limit"])),
        **quartiles(seconds[who], seconds["limit"]),
        "times_ncf": {kind: float(np.median(np.divide(seconds[who], seconds[f"ncf {kind}"]))) for kind in types},
    }


def table(rows: list[dict]) -> str:
    from ncf.report.tables import aligned

    types = list(rows[0]["times_ncf"])
    lines = [
        ["who", "version", "batch", "ms/batch", "fastest", "limit ms", "ratio", "quartiles", *(f"x ncf {kind}" for kind in types), "differences"]
    ]
    for r in rows:
        low, high = r["ratio_quartiles"]
        lines.append(
            [r["who"], r["version"], str(r["batch"]), *(f"{r[time]:.1f}" for time in ("ms_per_batch", "fastest_ms", "limit_ms"))]
            + [f"{r['ratio']:.2f}", f"{low:.2f}-{high:.2f}", *(f"{r['times_ncf'][kind]:.2f}" for kind in types), r["differences"]]
        )
    return aligned(lines)


def compare(names: list[str], batches: list[int], types: list[str], repeats: int, steps: int) -> None:
    """What `scripts/benchmark --peers` prints: a table per batch size, the peers that failed, and one line of JSON."""
    failed: dict[str, str] = {}
    rows = []
    for batch in batches:
        measured = measure_peers(names, batch, types, repeats, steps, failed)
        print(table(measured), flush=True)
        rows += measured
    for name, reason in failed.items():
        print(f"{name}: {reason}")
    print(json.dumps({"rows": rows, "failed": failed, "steps": steps, "hardware": hardware(torch.device("cpu")), "versions": versions()}))

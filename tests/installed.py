"""The installed commands, for tests: ncf-train and ncf-eval as a user starts them, in a process and a folder of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

TINY = (  # a run of about a tenth of a second, once Python has started
    "model.layers=[24,24,24] model.lateral.columns=[6] model.settle.steps=5 dataset.n_train=200 dataset.n_validation=50 "
    "epochs=2 batch_size=64 metrics.n_images=50 threads=1"
).split()


def command(name: str, *arguments, cwd: Path, timeout: float = 900, **environment) -> subprocess.CompletedProcess:
    """Run an installed command in `cwd` without a terminal; NCF_DATA is passed on only if given."""
    inherited = {key: value for key, value in os.environ.items() if key != "NCF_DATA"}
    script = Path(sys.executable).with_name(name)
    return subprocess.run(
        [script, *map(str, arguments)],
        cwd=cwd,
        env=inherited | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def rows(run: Path, *without: str) -> list[dict]:
    """The lines of a run's metrics.jsonl, without the keys named."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in without} for line in lines]


def summary(run: Path) -> dict:
    return json.loads((run / "summary.json").read_text())


def require_one_line(done: subprocess.CompletedProcess, *expected: str) -> None:
    """Exit code 1 and a single line on stderr that starts with ``error: `` and holds the expected words."""
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: "), done.stderr
    for words in expected:
        assert words in done.stderr, done.stderr

"""The installed commands, for tests: ncf-train and ncf-eval as a user starts them, in a process and a folder of their own.

`command` starts them cold. `warm` runs the very same scripts in processes forked from a server that has imported torch already, which
saves the seconds of a start: for tests that need many.
"""

import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path

TINY = (  # a run of about a tenth of a second, once Python has started
    "model.layers=[24,24,24] model.lateral.columns=[6] model.settle.steps=5 dataset.n_train=200 dataset.n_validation=50 "
    "epochs=2 batch_size=64 metrics.n_images=50 threads=1"
).split()


def command(name: str, *arguments, cwd: Path, timeout: float = 900, **environment) -> subprocess.CompletedProcess:
    """Run an installed command in `cwd` without a terminal; NCF_DATA is passed on only if given."""
    inherited = {key: value for key, value in os.environ.items() if key != "NCF_DATA"}
    return subprocess.run(
        [script(name), *map(str, arguments)],
        cwd=cwd,
        env=inherited | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def of_repository(module: str, *arguments, cwd: Path, timeout: float = 900) -> subprocess.CompletedProcess:
    """Run a module of scripts/, which is no part of the wheel."""
    places = [str(Path(__file__).resolve().parent.parent / "scripts"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))}
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout
    )


def script(name: str) -> Path:
    return Path(sys.executable).with_name(name)


# --- warm -------------------------------------------------------------------------------------------------------------

server = multiprocessing.get_context("forkserver")
server.set_forkserver_preload(
    "pytest torch._dynamo sklearn.datasets matplotlib.figure matplotlib.backends.backend_agg ncf.cli ncf.training ncf.evaluate".split()
)


class Cold:
    """An installed command at work, in a process of its own from the start."""

    def __init__(self, name: str, *arguments, cwd: Path):
        self.process = subprocess.Popen(
            [script(name), *map(str, arguments)], cwd=cwd, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def send(self, signum: int) -> None:
        self.process.send_signal(signum)

    def lives(self) -> bool:
        return self.process.poll() is None

    def wait(self, timeout: float = 900) -> subprocess.CompletedProcess:
        stdout, stderr = self.process.communicate(timeout=timeout)
        return subprocess.CompletedProcess([], self.process.returncode, stdout, stderr)


one_at_a_time = threading.Lock()  # an exit code can be read once, and starting a process reads those of all others


class Warm:
    """An installed command at work; `prepare` is called in its process before it begins."""

    def __init__(self, name: str, *arguments, cwd: Path, prepare: Callable[[], None] | None = None):
        self.printed = tempfile.TemporaryDirectory()
        self.outputs = [str(Path(self.printed.name, stream)) for stream in ("stdout", "stderr")]
        self.process = server.Process(target=become, args=(script(name), list(map(str, arguments)), str(cwd), self.outputs, prepare))
        with one_at_a_time:
            self.process.start()

    def send(self, signum: int) -> None:
        """A signal, if it still lives."""
        try:
            os.kill(self.process.pid, signum)
        except ProcessLookupError:
            pass

    def lives(self) -> bool:
        with one_at_a_time:
            return self.process.is_alive()

    def wait(self, timeout: float = 900) -> subprocess.CompletedProcess:
        """What subprocess.run gives; the return code is minus the signal that killed it."""
        wait([self.process.sentinel], timeout)
        with one_at_a_time:
            exitcode = self.process.exitcode
        assert exitcode is not None, "the command has not ended"
        texts = [Path(path).read_text(errors="surrogateescape") if os.path.exists(path) else "" for path in self.outputs]
        self.printed.cleanup()
        return subprocess.CompletedProcess([], exitcode, *texts)


def warm(name: str, *arguments, cwd: Path, prepare: Callable[[], None] | None = None) -> subprocess.CompletedProcess:
    return Warm(name, *arguments, cwd=cwd, prepare=prepare).wait()


def become(path: Path, arguments: list[str], cwd: str, outputs: list[str], prepare: Callable[[], None] | None) -> None:
    """In the forked process: the command, as if it had been started from a shell."""
    for target, output in enumerate([os.devnull, *outputs]):
        descriptor = os.open(output, os.O_RDWR | os.O_CREAT)
        os.dup2(descriptor, target)
        os.close(descriptor)
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    os.environ.pop("NCF_DATA", None)
    os.chdir(cwd)
    sys.argv = [str(path), *arguments]
    if prepare:
        prepare()
    runpy.run_path(str(path), run_name="__main__")


# --- what they leave --------------------------------------------------------------------------------------------------


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

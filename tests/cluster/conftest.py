"""One Slurm for all tests of this folder, and what they ask of it."""

import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from cluster.slurm import Slurm, missing
from installed import TINY, summary, warm

RUN = [*TINY, "epochs=300", "validate_every=100", "metrics=basic", "progress=off"]  # some ten seconds
SWEEP = ["--multirun", *RUN, "seed=0,1,2", "name=sweep"]
FOLDER = "outputs/sweeps/sweep"


class Cluster:
    """Commands of Slurm, as its users type them."""

    def submit(self, command: str, cwd: Path, *options: str, partition: str = "scavenge") -> str:
        """A batch job whose one line is `command`; what it prints goes to JOB.out in `cwd`."""
        words = ["sbatch", "--parsable", f"--partition={partition}", "--output=%j.out", "--open-mode=append", *options, f"--wrap={command}"]
        return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()

    def preempt(self) -> None:
        """A job that wants the whole machine comes and goes."""
        subprocess.run(["sbatch", "--wait", "--exclusive", "--output=/dev/null", "--wrap=true"], capture_output=True, check=True, timeout=300)

    def signal(self, job: str, name: str) -> None:
        subprocess.run(["scancel", f"--signal={name}", job], check=True)

    def cancel(self, job: str) -> None:
        subprocess.run(["scancel", job], check=True)

    def record(self, job: str) -> dict[str, str]:
        shown = subprocess.run(["scontrol", "show", "job", "--oneliner", job], capture_output=True, text=True, check=True).stdout
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def state(self, job: str) -> str:
        return self.record(job)["JobState"]

    def restarts(self, job: str) -> int:
        return int(self.record(job)["Restarts"])

    def queue(self) -> dict[str, str]:
        """The jobs that wait or run: id -> state."""
        listed = subprocess.run(["squeue", "--noheader", "--array", "--format=%i %T"], capture_output=True, text=True, check=True).stdout
        return dict(line.split() for line in listed.splitlines())

    def wait(self, job: str) -> str:
        """The state in which it ends."""
        wait_until(lambda: self.state(job) not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING"))
        return self.state(job)


def wait_until(holds, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.2)


def epochs(*runs: Path) -> int:
    """How many epochs the slowest of these runs has finished."""
    files = [run / "metrics.jsonl" for run in runs]
    return min(file.read_bytes().count(b"\n") if file.exists() else 0 for file in files)


@pytest.fixture(scope="session")
def cluster():
    reason = missing()
    if reason:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="slurm") as folder, Slurm(Path(folder)):
        yield Cluster()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """The sweep without Slurm; its job seed=0 is also the single run."""
    cwd = tmp_path_factory.mktemp("undisturbed")
    assert warm("ncf-train", *SWEEP, cwd=cwd).returncode == 0
    return cwd / FOLDER


def require_same_bits(run: Path, reference: Path) -> None:
    assert (run / "checkpoints/best.pt").read_bytes() == (reference / "checkpoints/best.pt").read_bytes()
    assert summary(run)["metrics"] == summary(reference)["metrics"]

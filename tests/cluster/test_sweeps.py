"""Sweeps through hydra/launcher=submitit_slurm on a real Slurm: they end with their table, whatever becomes of single jobs."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from cluster.conftest import FOLDER, SWEEP, epochs, require_same_bits, wait_until
from installed import command, require_one_line, script, summary, warm

pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
pytestmark = pytest.mark.cluster

SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=scavenge", "hydra.launcher.timeout_min=20"]
SEEDS = ("seed=0", "seed=1", "seed=2")


class Launched:
    """The sweep's command, at work."""

    def __init__(self, cwd: Path, *words: str):
        self.jobs = [cwd / FOLDER / seed for seed in SEEDS]
        with open(cwd / "stdout", "w") as out, open(cwd / "stderr", "w") as err:
            words = [script("ncf-train"), *SWEEP, *SLURM, *words]
            self.process = subprocess.Popen(words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        self.cwd = cwd

    def wait_for_epochs(self, n: int) -> None:
        wait_until(lambda: epochs(*self.jobs) >= n or self.process.poll() is not None)
        assert self.process.poll() is None, self.stderr()

    def wait(self) -> int:
        return self.process.wait(600)

    def stdout(self) -> str:
        return (self.cwd / "stdout").read_text()

    def stderr(self) -> str:
        return (self.cwd / "stderr").read_text()


def process_of(job: str, seed: int) -> int:
    """The process that trains in a job of the sweep."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            environment = (place / "environ").read_bytes().split(b"\0")
            if f"SLURM_ARRAY_JOB_ID={job}".encode() in environment and f"SLURM_ARRAY_TASK_ID={seed}".encode() in environment:
                if b"submitit.core._submit" in (place / "cmdline").read_bytes() and b"SLURM_PROCID=0" in environment:
                    if (place / "comm").read_text().startswith("python"):
                        return int(place.name)
        except OSError:  # it has ended meanwhile
            pass
    raise AssertionError("no such process")


def require_same_sweep(folder: Path, reference: Path, *seeds: str) -> None:
    for seed in seeds:
        require_same_bits(folder / seed, reference / seed)


def test_a_preempted_a_killed_and_a_cancelled_job_of_one_sweep(cluster, tmp_path, undisturbed):
    sweep = Launched(tmp_path)
    sweep.wait_for_epochs(3)
    array = next(iter(cluster.queue())).split("_")[0]
    cluster.cancel(f"{array}_0")
    os.kill(process_of(array, 1), signal.SIGKILL)
    wait_until(lambda: f"{array}_0" not in cluster.queue() and cluster.restarts(f"{array}_1") == 1)
    cluster.preempt()
    assert sweep.wait() == 1
    table = sweep.stdout()[sweep.stdout().index("\njob ") :]
    assert f"3 jobs submitted to Slurm (squeue --job={array}); logs: {FOLDER}/.submitit" in sweep.stdout()
    assert "1 of 3 jobs ended" in sweep.stdout() and cluster.record(f"{array}_1")["JobName"] == "sweep"
    assert [line.split()[:2] for line in table.splitlines()[2:5]] == [["seed=0", "unfinished"], ["seed=1", "complete"], ["seed=2", "complete"]]
    assert f"error: job {array}_0 of Slurm ended without a result: CANCELLED" in sweep.stderr()
    assert "1 of 3 jobs failed" in sweep.stderr() and "sacct" not in sweep.stderr() and sweep.stderr().count("\n") < 6
    require_same_sweep(tmp_path / FOLDER, undisturbed, "seed=1", "seed=2")
    assert summary(tmp_path / FOLDER / "seed=0")["status"] == "stopped"


def test_a_sweep_whose_command_is_killed_is_finished_by_the_same_command_and_ctrl_c_takes_the_jobs_along(cluster, tmp_path, undisturbed):
    sweep = Launched(tmp_path)
    sweep.wait_for_epochs(3)
    sweep.process.kill()
    sweep.wait()
    assert len(cluster.queue()) == 3
    sweep = Launched(tmp_path)
    wait_until(lambda: "3 jobs of an earlier command" in sweep.stdout() and len(cluster.queue()) == 3, 60)
    sweep.wait_for_epochs(5)
    second = warm("ncf-train", *SWEEP, *SLURM, cwd=tmp_path)
    assert second.returncode == 1 and "another command runs it" in second.stderr
    sweep.process.send_signal(signal.SIGINT)
    assert sweep.wait() == 130 and "the same command with name=sweep" in sweep.stdout()
    wait_until(lambda: cluster.queue() == {}, 60)
    sweep = Launched(tmp_path)
    assert sweep.wait() == 0 and "earlier command" not in sweep.stdout()
    assert sweep.stdout().count(" complete ") == 3
    require_same_sweep(tmp_path / FOLDER, undisturbed, *SEEDS)


def test_what_sbatch_refuses_is_one_line(cluster, tmp_path):
    done = warm("ncf-train", *SWEEP, *SLURM, "hydra.launcher.partition=nowhere", cwd=tmp_path)
    assert done.returncode == 1 and "error: sbatch refuses the sweep: " in done.stderr and "invalid partition" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == "" and not (tmp_path / FOLDER).exists()
    assert done.stderr.splitlines()[-1].endswith("Invalid partition name specified")


def test_a_slurm_that_does_not_answer_is_told_before_anything_is_made(cluster, tmp_path, monkeypatch):
    conf = Path(os.environ["SLURM_CONF"]).read_text()
    silent = tmp_path / "slurm.conf"
    silent.write_text(re.sub(r"SlurmctldPort=\d+", "SlurmctldPort=1", conf))
    monkeypatch.setenv("SLURM_CONF", str(silent))
    require_one_line(command("ncf-train", *SWEEP, *SLURM, cwd=tmp_path), "Slurm does not answer (squeue)", "Nothing was submitted")
    assert [path.name for path in tmp_path.iterdir()] == ["slurm.conf"]


@pytest.mark.slow
def test_twenty_preemptions(cluster, tmp_path):
    longer = ["epochs=1500", "seed=0,1,2,3"]
    (tmp_path / "undisturbed").mkdir()
    assert warm("ncf-train", *SWEEP, *longer, cwd=tmp_path / "undisturbed").returncode == 0
    sweep = Launched(tmp_path, *longer)
    sweep.jobs.append(tmp_path / FOLDER / "seed=3")
    for cycle in range(7):
        sweep.wait_for_epochs(epochs(*sweep.jobs) + 5)
        cluster.preempt()
    array = next(iter(cluster.queue())).split("_")[0]
    counts = [cluster.restarts(f"{array}_{task}") for task in range(4)]
    assert sweep.wait() == 0, sweep.stderr()
    print(f"preemptions: {counts}, {sum(counts)} in all")
    assert sum(counts) >= 20
    require_same_sweep(tmp_path / FOLDER, tmp_path / "undisturbed" / FOLDER, *SEEDS, "seed=3")


@pytest.mark.slow
def test_time_limits_shorter_than_the_run_and_a_queue_longer_than_the_machine(cluster, tmp_path):
    """Six jobs of which four run at once; each meets its limit of one minute at least once."""
    slower = ["model.layers=[96,96,96]", "model.settle.steps=30", "dataset.n_train=1000", "epochs=120", "seed=0,1,2,3,4,5"]
    (tmp_path / "undisturbed").mkdir()
    assert warm("ncf-train", *SWEEP, *slower, cwd=tmp_path / "undisturbed").returncode == 0
    sweep = Launched(tmp_path, *slower, "hydra.launcher.timeout_min=1")
    sweep.jobs = [tmp_path / FOLDER / "seed=0"]
    sweep.wait_for_epochs(1)
    assert sorted(cluster.queue().values())[:2] == ["PENDING", "PENDING"]
    assert sweep.wait() == 0, sweep.stderr()
    logs = [path.read_text() for path in (tmp_path / FOLDER / ".submitit").glob("*/*_log.out")]
    counts = [log.count(" this job is timed-out") for log in logs]
    print(f"time limits met: {counts}")
    assert min(counts) >= 1 and len(counts) == 6
    require_same_sweep(tmp_path / FOLDER, tmp_path / "undisturbed" / FOLDER, *SEEDS, "seed=3", "seed=4", "seed=5")

"""Runs as batch jobs of a real Slurm: what stops them puts them back into the queue, and they end with the bits of undisturbed ones."""

import shlex
from pathlib import Path

import pytest
from cluster.conftest import epochs, wait_until
from installed import TINY, script, summary, warm

pytestmark = pytest.mark.cluster

RUN = [*TINY, "epochs=300", "validate_every=100", "metrics=basic", "progress=off"]


def train(*words: str) -> str:
    return shlex.join([str(script("ncf-train")), *RUN, *words])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    cwd = tmp_path_factory.mktemp("undisturbed")
    assert warm("ncf-train", *RUN, "name=run", cwd=cwd).returncode == 0
    return cwd / "outputs/runs/run"


def require_same_bits(run: Path, reference: Path) -> None:
    assert (run / "checkpoints/best.pt").read_bytes() == (reference / "checkpoints/best.pt").read_bytes()
    assert summary(run)["metrics"] == summary(reference)["metrics"]


def test_preempted_and_signalled_jobs_go_on_and_a_cancelled_one_does_not(cluster, tmp_path, undisturbed):
    names = ["preempted", "USR1", "USR2", "cancelled"]
    jobs = {name: cluster.submit(f"srun {train(f'name={name}')}", tmp_path) for name in names}
    runs = {name: tmp_path / "outputs/runs" / name for name in names}
    wait_until(lambda: epochs(*runs.values()) >= 3)
    for name in ("USR1", "USR2"):
        cluster.signal(jobs[name], name)
    cluster.cancel(jobs["cancelled"])
    wait_until(lambda: jobs["cancelled"] not in cluster.queue() and cluster.restarts(jobs["USR1"]) == cluster.restarts(jobs["USR2"]) == 1)
    cluster.preempt()
    for name in names[:3]:
        assert cluster.wait(jobs[name]) == "COMPLETED"
        printed = (tmp_path / f"{jobs[name]}.out").read_text()
        assert f"job {jobs[name]} is back in the queue" in printed and "going on after epoch" in printed
        assert cluster.restarts(jobs[name]) >= 1
        require_same_bits(runs[name], undisturbed)
    assert (cluster.state(jobs["cancelled"]), cluster.restarts(jobs["cancelled"])) == ("CANCELLED", 0)
    assert summary(runs["cancelled"])["status"] == "stopped" and 0 < epochs(runs["cancelled"]) < 300


def test_an_unnamed_run_finds_its_folder_again_and_tasks_of_an_array_are_told_apart(cluster, tmp_path):
    job = cluster.submit(f"srun {train('seed=$SLURM_ARRAY_TASK_ID')}".replace("'", ""), tmp_path, "--array=0-1")
    folder = tmp_path / "outputs/runs"
    wait_until(lambda: len(list(folder.glob("*"))) == 2 and epochs(*folder.iterdir()) >= 3)
    cluster.preempt()
    assert [cluster.wait(f"{job}_{task}") for task in range(2)] == ["COMPLETED", "COMPLETED"]
    assert sorted(run.name.split("_seed")[1] for run in folder.iterdir()) == ["0", "1"]
    assert all(summary(run)["status"] == "complete" and "going on after epoch" in (run / "run.log").read_text() for run in folder.iterdir())


def test_a_job_that_may_not_be_requeued_says_so(cluster, tmp_path):
    job = cluster.submit(f"srun {train('name=run')}", tmp_path, "--no-requeue")
    run = tmp_path / "outputs/runs/run"
    wait_until(lambda: epochs(run) >= 3)
    cluster.signal(job, "USR1")
    assert cluster.wait(job) == "FAILED"
    assert f"job {job} is not put back into the queue: " in (tmp_path / f"{job}.out").read_text()
    assert summary(run)["status"] == "stopped"

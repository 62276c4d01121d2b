"""Runs as batch jobs of a real Slurm: what stops them puts them back into the queue, and they end with the bits of undisturbed ones."""

import shlex

import pytest
from cluster.conftest import RUN, epochs, require_same_bits, wait_until
from installed import script, summary

pytestmark = pytest.mark.cluster


def train(*words: str) -> str:
    return shlex.join([str(script("ncf-train")), *RUN, *words])


def test_preempted_and_signalled_jobs_go_on_and_a_cancelled_one_does_not(cluster, tmp_path, undisturbed):
    names = ["preempted", "USR1", "USR2", "cancelled"]
    jobs = {name: cluster.submit(f"srun {train(f'name={name}')}", tmp_path) for name in names}
    runs = {name: tmp_path / "outputs/runs" / name for name in names}
    for name, stop in {"cancelled": cluster.cancel, "USR1": cluster.signal, "USR2": cluster.signal}.items():
        wait_until(lambda: epochs(runs[name]) >= 3)
        stop(jobs[name], *([name] if stop == cluster.signal else []))
    wait_until(lambda: epochs(runs["preempted"]) >= 3)
    cluster.preempt()
    for name in names[:3]:
        assert cluster.wait(jobs[name]) == "COMPLETED"
        printed = (tmp_path / f"{jobs[name]}.out").read_text()
        assert f"job {jobs[name]} is back in the queue" in printed and "resuming after epoch" in printed
        assert cluster.restarts(jobs[name]) >= 1
        require_same_bits(runs[name], undisturbed / "seed=0")
    assert (cluster.state(jobs["cancelled"]), cluster.restarts(jobs["cancelled"])) == ("CANCELLED", 0)
    assert summary(runs["cancelled"])["status"] == "stopped" and 0 < epochs(runs["cancelled"]) < 300


@pytest.mark.slow
def test_an_unnamed_run_finds_its_folder_again_and_tasks_of_an_array_are_told_apart(cluster, tmp_path):
    job = cluster.submit(f"srun {train('seed=$SLURM_ARRAY_TASK_ID')}".replace("'", ""), tmp_path, "--array=0-1")
    folder = tmp_path / "outputs/runs"
    wait_until(lambda: len(list(folder.glob("*"))) == 2 and epochs(*folder.iterdir()) >= 3)
    cluster.preempt()
    assert [cluster.wait(f"{job}_{task}") for task in range(2)] == ["COMPLETED", "COMPLETED"]
    assert sorted(run.name.split("_seed")[1] for run in folder.iterdir()) == ["0", "1"]
    assert all(summary(run)["status"] == "complete" and "resuming after epoch" in (run / "run.log").read_text() for run in folder.iterdir())


def test_a_job_that_may_not_be_requeued_says_so(cluster, tmp_path):
    job = cluster.submit(f"srun {train('name=run')}", tmp_path, "--no-requeue")
    run = tmp_path / "outputs/runs/run"
    wait_until(lambda: epochs(run) >= 3)
    cluster.signal(job, "USR1")
    assert cluster.wait(job) == "FAILED"
    assert f"job {job} is not put back into the queue: " in (tmp_path / f"{job}.out").read_text()
    assert summary(run)["status"] == "stopped"

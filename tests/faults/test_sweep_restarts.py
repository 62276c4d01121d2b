"""A sweep whose launcher is killed and started again ends with every job run to its end exactly once."""

import random
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from installed import TINY, Warm, command, rows, script, summary, warm
from strikes import OnCall

pytestmark = pytest.mark.slow  # waits for instants of other processes

SWEEP = ["--multirun", *TINY, "epochs=4", "checkpoint.every_steps=2", "metrics=basic", "model=gncn_t1,gncn_pdh", "seed=0,1", "name=four"]
FOLDER = "outputs/sweeps/four"
TIMES = ("seconds", "images_per_second")


def jobs(cwd: Path) -> list[Path]:
    return sorted(path for path in (cwd / FOLDER).iterdir() if path.is_dir())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, float]:
    cwd = tmp_path_factory.mktemp("undisturbed")
    began = time.monotonic()
    assert warm("ncf-train", *SWEEP, cwd=cwd).returncode == 0
    return cwd, time.monotonic() - began


def require_same_sweep(cwd: Path, reference: Path) -> None:
    assert [job.name for job in jobs(cwd)] == [job.name for job in jobs(reference)] and len(jobs(cwd)) == 4
    for mine, theirs in zip(jobs(cwd), jobs(reference)):
        for name in ("best.pt", "last.pt"):
            assert (mine / "checkpoints" / name).read_bytes() == (theirs / "checkpoints" / name).read_bytes()
        assert rows(mine, *TIMES) == rows(theirs, *TIMES)
        assert summary(mine)["metrics"] == summary(theirs)["metrics"]
        assert (mine / "run.log").read_text().count("summary: ") <= 1  # measured once (and killed, perhaps, before it said so)
        assert list(mine.rglob("*.tmp")) == []


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_sweep_is_finished_by_the_same_command(seed, undisturbed, tmp_path):
    reference, seconds = undisturbed
    chance = random.Random(seed)
    strike = OnCall("ncf.training", "train_step", signal.SIGKILL, n=chance.randrange(1, 33))  # in the first or second job's 16 batches
    assert warm("ncf-train", *SWEEP, cwd=tmp_path, prepare=strike).returncode == -9
    for attempt in range(6):
        job = Warm("ncf-train", *SWEEP, cwd=tmp_path)
        if attempt < 5:
            time.sleep(chance.uniform(0, seconds))
            job.send(signal.SIGKILL)
        done = job.wait()
        if done.returncode == 0:
            break
        assert done.returncode == -9
    require_same_sweep(tmp_path, reference)


@pytest.mark.parametrize("redirect", ["| head -1", ">&-", "> /dev/full", "> /dev/full 2>&1"])
def test_a_sweep_ends_without_anyone_to_read_it(redirect, undisturbed, tmp_path):
    words = shlex.join([str(script("ncf-train")), *SWEEP])
    done = subprocess.run(["bash", "-c", f"{words} {redirect}; exit ${{PIPESTATUS[0]}}"], cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")
    require_same_sweep(tmp_path, undisturbed[0])


def test_a_finished_sweep_reports_its_stored_results_and_touches_nothing(undisturbed):
    cwd, _ = undisturbed
    before = {path: path.stat().st_mtime_ns for job in jobs(cwd) for path in job.rglob("*") if path.is_file()}
    done = warm("ncf-train", *SWEEP, cwd=cwd)
    assert (done.returncode, done.stdout.count("already complete: ")) == (0, 4)
    assert sum("complete" in line.split()[1:2] for line in done.stdout[done.stdout.index("\njob  ") :].splitlines()) == 4
    assert {path: path.stat().st_mtime_ns for job in jobs(cwd) for path in job.rglob("*") if path.is_file()} == before


def test_a_sweep_that_is_told_to_stop_saves_its_job_and_begins_no_other(undisturbed, tmp_path):
    done = warm("ncf-train", *SWEEP, cwd=tmp_path, prepare=OnCall("ncf.training", "validate", signal.SIGTERM))
    assert done.returncode == 143
    assert "finish it by the same command with name=four" in done.stdout
    assert [(job.name, summary(job)["status"]) for job in jobs(tmp_path)] == [("model=gncn_t1,seed=0", "stopped")]
    assert warm("ncf-train", *SWEEP, cwd=tmp_path).returncode == 0
    require_same_sweep(tmp_path, undisturbed[0])


def test_a_sweep_into_another_sweeps_folder_with_another_config_is_refused_job_by_job(undisturbed, tmp_path):
    cwd, _ = undisturbed
    before = {path: path.read_bytes() for job in jobs(cwd) for path in job.rglob("*") if path.is_file() and path.name != ".lock"}
    done = warm("ncf-train", *SWEEP, "batch_size=50", cwd=cwd)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("error: run ") == 4 and "batch_size (64 there, 50 now)" in done.stderr
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_a_killed_sweep_on_two_processes_is_finished_by_the_same_command(undisturbed, tmp_path):
    """Workers outlive a killed launcher for a while, and hold the locks of their runs: a job may have to be asked for twice."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = [*SWEEP, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    chance = random.Random(0)
    for kills in range(4):
        job = Warm("ncf-train", *words, cwd=tmp_path)
        time.sleep(chance.uniform(5, 20))
        job.send(signal.SIGKILL)
        job.wait()
    for attempt in range(5):
        done = command("ncf-train", *words, cwd=tmp_path)
        if done.returncode == 0:
            break
        assert "is in use by process" in done.stderr
    require_same_sweep(tmp_path, undisturbed[0])

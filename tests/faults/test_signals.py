"""What clusters send before they kill, and a limit of CPU time: the run saves, says how to go on, and goes on to the same end."""

import resource
import signal
import time

import pytest
from installed import TINY, rows, summary, warm
from strikes import OnCall

RUN = [*TINY, "metrics=basic", "name=run"]
SIGNALS = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU]
TIMES = ("seconds", "images_per_second")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("undisturbed")
    assert warm("ncf-train", *RUN, cwd=cwd).returncode == 0
    return cwd / "outputs/runs/run"


def require_same_end(run, reference) -> None:
    for name in ("best.pt", "last.pt"):
        assert (run / "checkpoints" / name).read_bytes() == (reference / "checkpoints" / name).read_bytes(), name
    assert rows(run, *TIMES) == rows(reference, *TIMES)
    assert summary(run)["metrics"] == summary(reference)["metrics"]


@pytest.mark.parametrize("signum", SIGNALS, ids=lambda signum: signum.name)
def test_a_cluster_s_warning_saves_and_the_run_goes_on_to_the_same_end(signum, undisturbed, tmp_path):
    strike = OnCall("ncf.training", "train_step", signum, n=2)  # in the middle of the first epoch
    done = warm("ncf-train", *RUN, cwd=tmp_path, prepare=strike)
    run = tmp_path / "outputs/runs/run"
    assert (done.returncode, done.stderr) == (128 + signum, "")
    assert f"stopped by {signum.name}; resume with: ncf-train resume=" in done.stdout
    assert (summary(run)["status"], rows(run)) == ("stopped", [])
    done = warm("ncf-train", *RUN, cwd=tmp_path)
    assert done.returncode == 0 and "resuming after epoch 0, batch 2" in done.stdout
    require_same_end(run, undisturbed)


def test_a_warning_during_the_final_report_stops_it_and_the_report_is_made_later(undisturbed, tmp_path):
    done = warm("ncf-train", *RUN, cwd=tmp_path, prepare=OnCall("ncf.evaluate", "measure_splits", signal.SIGUSR2))
    run = tmp_path / "outputs/runs/run"
    assert (done.returncode, summary(run)["status"]) == (128 + signal.SIGUSR2, "stopped")
    assert warm("ncf-train", *RUN, cwd=tmp_path).returncode == 0
    require_same_end(run, undisturbed)


def test_a_warning_ends_a_sweep_that_the_same_command_finishes(tmp_path):
    sweep = ["--multirun", *TINY, "metrics=basic", "seed=0,1", "name=sweep"]
    done = warm("ncf-train", *sweep, cwd=tmp_path, prepare=OnCall("ncf.training", "train_step", signal.SIGUSR1, n=2))
    assert done.returncode == 128 + signal.SIGUSR1 and "the same command with name=sweep" in done.stdout
    folder = tmp_path / "outputs/sweeps/sweep"
    assert [summary(job)["status"] for job in folder.glob("seed=*")] == ["stopped"]
    assert warm("ncf-train", *sweep, cwd=tmp_path).returncode == 0
    assert [summary(job)["status"] for job in folder.glob("seed=*")] == ["complete", "complete"]


def ignoring() -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # trap '' USR1
    OnCall("ncf.training", "train_step", signal.SIGUSR1)()


def test_a_warning_that_the_shell_has_ignored_stays_ignored(tmp_path):
    done = warm("ncf-train", *RUN, cwd=tmp_path, prepare=ignoring)
    assert (done.returncode, summary(tmp_path / "outputs/runs/run")["status"]) == (0, "complete")


def limited() -> None:
    """A limit of three seconds of CPU time (a busy machine takes one to begin), and an ending that takes two more: the kernel repeats the signal with every second."""
    from ncf.runs.run import Run

    end = Run.end

    def slow_end(*arguments) -> None:
        until = time.process_time() + 2.2
        while time.process_time() < until:
            pass
        end(*arguments)

    Run.end = slow_end
    resource.setrlimit(resource.RLIMIT_CPU, (3, 600))  # ulimit -S -t 3


def test_a_limit_of_cpu_time_saves_however_long_the_ending_takes(tmp_path):
    done = warm("ncf-train", *RUN, "epochs=100000", cwd=tmp_path, prepare=limited)
    run = tmp_path / "outputs/runs/run"
    assert (done.returncode, done.stderr) == (128 + signal.SIGXCPU, "")
    assert summary(run)["status"] == "stopped" and "SIGXCPU" in summary(run)["reason"]
    assert (run / "checkpoints/last.pt").exists() and len(rows(run)) > 0

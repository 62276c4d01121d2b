"""Settings added to a sweep's launcher and sweeper so that it survives preemption, time limits and a killed command."""

import fcntl
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from ncf.cluster import study
from ncf.config.arguments import quoted
from ncf.errors import UserError

SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
TIME_LIMITS = 1000  # a job that saves may meet any number; submitit counts early preemptions as limits, too


def require(config: DictConfig) -> None:
    """UserError where the sweep's launcher cannot work, before anything is made."""
    if config.hydra.launcher._target_ == SLURM:
        from ncf.cluster import jobs

        jobs.require_answer()


@contextmanager
def locked(folder: Path):
    """The sweep's folder, made if need be, is this command's alone while it lives; UserError where another command runs the sweep."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"sweep {folder}: another command runs it; wait for that one, or choose another name=") from None
        yield


@contextmanager
def arranged(config: DictConfig, given: set[str], folder: Path, job_name: Callable[[str], str]):
    """The body launches the sweep of sys.argv in `folder` and waits for its jobs; `given` are the keys that the user sets."""
    if config.hydra.sweeper._target_ == study.OPTUNA:
        sys.argv += study.sweeper_overrides(config, folder, job_name)
    if config.hydra.launcher._target_ != SLURM:
        yield
        return
    from ncf.cluster import jobs

    sys.argv += launcher_overrides(config.hydra.launcher, given, folder.name)
    with jobs.watched(folder):
        yield


def launcher_overrides(launcher: DictConfig, given: set[str], name: str) -> list[str]:
    """For submitit's launcher on Slurm; `name` is the sweep's."""
    wanted = {
        "name": quoted(name),  # what squeue shows
        "max_num_timeout": launcher.max_num_timeout or TIME_LIMITS,
        "signal_delay_s": min(launcher.signal_delay_s, 15 * launcher.timeout_min),  # of a short job's time, most is for training
    }
    overrides = [f"hydra.launcher.{key}={value}" for key, value in wanted.items() if f"hydra.launcher.{key}" not in given]
    if not {"requeue", "no-requeue", "no_requeue"} & set(launcher.additional_parameters):  # many clusters forbid it by default
        overrides.append("+hydra.launcher.additional_parameters.requeue=true")
    return overrides

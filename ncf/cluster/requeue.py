"""In a job of Slurm: a run that is stopped by anything but its user saves, goes back into the queue, and resumes when its turn comes.

Slurm preempts with SIGTERM, warns before the time limit with the signal that `sbatch --signal` or submitit asks for, and cancels with
SIGTERM too: only the job's own record tells these apart.
"""

import os
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import contextmanager

from ncf.errors import Stopped
from ncf.runs.interrupts import stop_at_once

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
RUNNING, QUEUED, ENDED, INTERACTIVE = "running", "queued", "ended", "interactive"


@contextmanager
def batch_job():
    """A command as (part of) a batch script; elsewhere nothing."""
    if not batch_id():
        yield
        return
    with caught():
        try:
            yield
        except Stopped as stopped:
            ignore()
            if stopped.signum in SIGNALS and os.environ.get("RANK", "0") == "0":
                put_back(os.environ["SLURM_JOB_ID"])
            raise


@contextmanager
def submitted():
    """A job of a sweep that submitit started, on Slurm or here: submitit itself puts it back, and counts the time limits it met."""
    handler = submitit_handler()
    if handler is None:
        yield
        return
    with caught():
        try:
            yield
        except Stopped as stopped:
            ignore()
            leave_to_submitit(stopped, handler)
            raise


def submitit_handler() -> Callable | None:
    """What submitit does on its signal: put the job back and leave the process."""
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return None
    from submitit import JobEnvironment

    handler = signal.getsignal(JobEnvironment._usr_sig())
    return handler if callable(handler) else None


def leave_to_submitit(stopped: Stopped, handler: Callable) -> None:
    from submitit import JobEnvironment

    if stopped.signum not in SIGNALS:
        return
    job = batch_id()
    if not job:  # submitit's processes on this machine: its own signal alone puts them back
        if stopped.signum == JobEnvironment._usr_sig():
            handler(stopped.signum)
        return
    standing = stands(job)
    if standing == QUEUED:
        sys.exit(stopped.exit_code)
    if standing == RUNNING:
        try:
            handler(stopped.signum)
        except subprocess.SubprocessError as error:
            print(f"job {job} is not put back into the queue: {error}", file=sys.stderr, flush=True)


def put_back(job: str) -> None:
    """Ask Slurm to queue the job again, unless it has done so or the user has cancelled it; says which."""
    standing = stands(job)
    if standing == RUNNING:
        refusal = requeue(job)
        if refusal and stands(job) != QUEUED:  # a process beside this one may have asked first
            print(f"job {job} is not put back into the queue: {refusal}; submit it again to resume", file=sys.stderr, flush=True)
            return
    if standing in (RUNNING, QUEUED):
        print(f"job {job} is back in the queue and resumes from there", flush=True)


def requeue(job: str) -> str:
    """Why Slurm refuses, empty where it does not."""
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return " ".join(done.stderr.split()) if done.returncode else ""


def stands(job: str) -> str:
    """What the job's record says of a process of it that was told to stop."""
    try:
        shown = subprocess.run(["scontrol", "show", "job", "--oneliner", job], capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ENDED
    line = next((line for line in shown.splitlines() if line.startswith(f"JobId={job} ")), "")  # an array's first id stands for all of it
    record = dict(re.findall(r"(\w+)=(\S*)", line))
    if record.get("BatchFlag") != "1":
        return INTERACTIVE if record else ENDED
    if int(record["Restarts"]) > int(os.environ.get("SLURM_RESTART_COUNT", "0")):
        return QUEUED
    at_limit = record["Reason"] == "TimeLimit"  # the state then reads COMPLETING, as after scancel
    return RUNNING if at_limit or record["JobState"] in ("RUNNING", "SUSPENDED", "TIMEOUT", "PREEMPTED", "NODE_FAIL") else ENDED


def batch_id() -> str | None:
    """The id of the batch job that this process is part of; what salloc or a bare srun started cannot go back into a queue."""
    return os.environ.get("SLURM_JOB_ID") if os.environ.get("ENVIRONMENT") == "BATCH" else None


def stamp(what: str) -> str | None:
    """What stands for the time in the name of an unnamed run or sweep: in a batch job, a name that its next start finds again."""
    job = batch_id()
    return f"slurm{job}-{zlib.crc32(os.fsencode(what)):08x}" if job else None


# --- signals ----------------------------------------------------------------------------------------------------------


@contextmanager
def caught():
    """The signals end the body with Stopped, also while it has not begun to train: by default they would end the process unheard."""
    previous = {}
    try:
        for signum in SIGNALS:
            if signal.getsignal(signum) != signal.SIG_IGN:
                previous[signum] = signal.signal(signum, stop_at_once)
    except ValueError:  # not the main thread
        pass
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def ignore() -> None:
    """From here on the signals have been heard; Slurm repeats them."""
    try:
        for signum in SIGNALS:
            signal.signal(signum, signal.SIG_IGN)
    except ValueError:
        pass

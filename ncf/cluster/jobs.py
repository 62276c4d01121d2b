"""A sweep's jobs in Slurm, as seen by the command that waits for them (hydra/launcher=submitit_slurm).

Submitit asks `sacct`, which answers nothing where accounting is off, and gives up the sweep with its first lost job. Here `squeue` is
asked; a job that died without a word (a node that failed, kill -9) is put back; one that is lost fails alone; Ctrl-C cancels them.
"""

import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from submitit.core import utils
from submitit.slurm import slurm

from ncf.cluster import requeue
from ncf.errors import UserError
from ncf.report.html import count

DIED = {"FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT", "PREEMPTED", "BOOT_FAIL"}  # CANCELLED is the user's wish
ENDED = DIED | {"COMPLETED", "CANCELLED", "DEADLINE"}
REVIVALS = 5  # of one job, by one command: what dies at once whenever it is started must end


@contextmanager
def watched(folder: Path):
    """The body launches the sweep in `folder` and waits for its jobs. Those of an earlier command, now dead, give way: they have saved."""
    clear(folder)
    Job.watcher = queue = Queue(folder)
    slurm.SlurmJob = slurm.SlurmExecutor.job_class = Job
    try:
        yield
    except utils.FailedJobError as error:
        last = str(error).strip().splitlines()[-1]  # sbatch itself has printed all of them
        raise UserError(f"sbatch refuses the sweep: {last.removeprefix('sbatch: error: ')}") from error
    except KeyboardInterrupt:
        queue.cancel()
        raise


def require_answer() -> None:
    """UserError where Slurm is there and silent, before anything is made."""
    if squeue() is None:
        raise UserError("Slurm does not answer (squeue): is its controller up, and this a machine of the cluster? Nothing was submitted")


def clear(folder: Path) -> None:
    """Cancel the jobs that an earlier command has left in the queue, and wait until they are out of the way."""

    def left() -> list[str]:
        scripts = str(folder.resolve() / ".submitit")
        return [job for job, (state, script) in (squeue() or {}).items() if state not in ENDED and script.startswith(scripts)]

    jobs = left()
    if jobs:
        print(f"{len(jobs)} jobs of an earlier command are still in the queue; they are cancelled, and resume as jobs of this one", flush=True)
        subprocess.run(["scancel", *jobs], capture_output=True, timeout=60)
    while left():
        time.sleep(1)


def squeue() -> dict[str, tuple[str, str]] | None:
    """This user's jobs: id, in an array ARRAY_INDEX -> state and batch script. None when Slurm gives no answer."""
    try:
        done = subprocess.run(
            ["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i|%T|%o"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (line.split("|", 2) for line in done.stdout.splitlines())
    return {job: (state, script) for job, state, script in lines} if done.returncode == 0 else None


class Queue(slurm.SlurmInfoWatcher):
    """The states of this command's jobs."""

    def __init__(self, folder: Path):
        super().__init__(delay_s=30)
        self.folder = folder
        self.told = (0, 0)  # jobs submitted, and ended, when the person was last told
        self.folders: dict[str, utils.JobPaths] = {}
        self.revived: dict[str, int] = {}

    def update(self) -> None:
        self._last_status_check = time.time()
        states = squeue()
        if states is None:  # the controller is busy, or restarts
            return
        for job in self._registered - self._finished:
            state = states.get(job, ("FORGOTTEN", ""))[0]
            if state in DIED and self.revive(job):
                state = "REQUEUED"
            self._info_dict[job] = {"JobID": job, "State": state}
            if self.is_done(job, mode="cache"):
                self._finished.add(job)
        self.tell()

    def tell(self) -> None:
        """How the sweep stands, when that has changed."""
        arrays = {job.split("_")[0] for job in self._registered if "_" in job}
        jobs = self._registered - arrays  # submitit counts an array as a job too
        n, ended = len(jobs), len(jobs & self._finished)
        if n != self.told[0]:
            ids = ",".join(sorted({job.split("_")[0] for job in jobs - self._finished}))
            print(f"{count(n, 'job')} submitted to Slurm (squeue --job={ids}); logs: {self.folder}/.submitit", flush=True)
        elif ended != self.told[1]:
            print(f"{ended} of {count(n, 'job')} ended", flush=True)
        self.told = n, ended

    def revive(self, job: str) -> bool:
        """Whether a job that ended without a result is back in the queue."""
        if self.folders[job].result_pickle.exists() or self.revived.get(job, 0) >= REVIVALS:
            return False
        self.revived[job] = self.revived.get(job, 0) + 1
        return not requeue.requeue(job)

    def cancel(self) -> None:
        left = [job for job in self._registered - self._finished if not self.folders[job].result_pickle.exists()]
        if left:
            subprocess.run(["scancel", *left], capture_output=True, timeout=60)


class Job(slurm.SlurmJob):
    watcher: Queue
    _results_timeout_s = 5

    def _register_in_watcher(self) -> None:
        self.watcher.folders[self.job_id] = self.paths
        super()._register_in_watcher()

    def results(self) -> list[JobReturn]:
        """What the job returned; a lost one returns its error, which is raised when the others have been waited for."""
        try:
            return super().results()
        except utils.FailedJobError as error:
            reason = next((line for line in reversed(str(error).splitlines()) if "Error: " in line), str(error))
        except utils.UncompletedJobError:
            reason = f"job {self.job_id} of Slurm ended without a result: {self.state}"
        overrides, *_ = self.submission().args
        failure = UserError(f"{reason.split('Error: ')[-1]}; see {self.paths.folder}")
        print(f"error: {failure}", file=sys.stderr, flush=True)
        return [Lost(overrides=overrides, status=JobStatus.FAILED, _return_value=failure)]


class Lost(JobReturn):
    """A job without a result; Hydra, which asks for it, would print a line of its own."""

    @property
    def return_value(self):
        raise self._return_value

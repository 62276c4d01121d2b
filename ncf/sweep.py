"""Sweeps: names of job folders, failures that do not stop the others, and the one table at the end."""

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import product
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ncf.cluster import arrange, requeue, study
from ncf.cluster.arrange import SLURM, arranged, launcher_overrides, locked
from ncf.config.arguments import quoted
from ncf.config.checks import check_name
from ncf.config.compose import composed
from ncf.errors import Stopped, UserError
from ncf.runs.files import write_whole

BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"  # it makes nothing of what a job returns
RECORD = "NCF_SWEEP_RECORD"  # environment variable: the folder in which a sweep's jobs tell how they stand

UNBEGUN = {".lock", ".submitit", "multirun.yaml"}  # what lies in a sweep's folder before its first job has begun


def unbegun(folder: Path) -> bool:
    """Whether no job has begun in a sweep's folder: there is no log to read either."""
    return folder.is_dir() and {path.name for path in folder.iterdir()} <= UNBEGUN and not any(path.is_dir() for path in folder.glob(".submitit/*"))


def job_name(override_dirname: str) -> str:
    """A readable folder name from the swept overrides: ``model=gncn_t1,seed=0``; without slashes and blanks, not too long, and
    with a digest where that takes something away."""
    plain = re.sub(r"['\"]", "", override_dirname)
    name = re.sub(r"[/\\\s]+", "-", plain) or "job"
    if plain in ("", name) and len(os.fsencode(name)) <= 120:  # a file system counts bytes
        return name
    return f"{os.fsencode(name)[:100].decode(errors='ignore')}-{hashlib.sha256(os.fsencode(plain)).hexdigest()[:10]}"


def note(job_folder: Path, status: str, reason: str = "") -> None:
    """Tell the command that runs the sweep how one of its jobs stands; jobs may run in other processes."""
    record = os.environ.get(RECORD)
    if record and Path(record).is_dir():  # it is gone with the command, which its jobs in a cluster may outlive
        told = {"folder": str(job_folder.absolute()), "status": status, "reason": reason}
        with suppress(OSError):  # no word is no reason to end a job
            write_whole(Path(record) / hashlib.sha256(os.fsencode(job_folder.absolute())).hexdigest()[:16], json.dumps(told).encode())


def note_failure(folder: Path, error: UserError) -> None:
    """A job that failed: told to the person and the sweep; its own summary says so unless a run stands in its folder already."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    note(folder, "failed", str(error))
    if not (folder / "checkpoints").exists():
        (folder / "summary.json").write_text(json.dumps({"status": "failed", "reason": str(error)}, indent=2) + "\n")


def run_sweep(name: str, arguments: list[str], configs: str, start: Callable[[], None]) -> int:
    """Check that every job composes, run the sweep, print the table of its jobs; 0 only if every one of them is complete."""
    from ncf.config.overrides import explain
    from ncf.report.tables import sweep_table
    from ncf.runs.run import speak

    folder, config, overrides = prepare(name, arguments)
    arrange.require(config)
    failure = None
    with recording(folder, keep=config.hydra.sweeper._target_ == study.OPTUNA) as record:
        try:
            with arranged(config, {o.key_or_group for o in overrides}, folder, job_name):
                start()
        except Exception as error:
            failure = error
        except (Stopped, KeyboardInterrupt):
            speak(f"sweep stopped; finish it by the same command with {shlex.quote(f'name={folder.name}')}: jobs that are complete are not run again")
            raise
        jobs = read_jobs(folder, record)
    if failure is not None and not jobs:
        raise failure
    speak(f"\n{sweep_table(jobs)}{study.best(folder)}\nsweep folder: {folder}")
    failed = {job: summary for job, summary in jobs.items() if summary.get("status") != "complete"}
    for job, summary in failed.items():
        print(f"{job}: {summary.get('reason') or 'not finished'}", file=sys.stderr)
    if failure is not None and explain(failure, name, configs) is None:
        raise failure
    if failure is not None or failed:
        line = f"{len(failed)} of {len(jobs)} jobs failed" if failed else explain(failure, name, configs)
        left = any(summary.get("status") != "failed" for summary in failed.values())
        print(f"error: {line}" + (f"; the same command with {shlex.quote(f'name={folder.name}')} resumes" if left else ""), file=sys.stderr)
        return 1
    return 0


def planned(name: str, arguments: list[str]) -> str:
    """The jobs that a sweep would run, and what runs them; nothing is written."""
    folder, config, overrides = prepare(name, arguments)
    sweeper, launcher = (OmegaConf.to_container(config.hydra[part], resolve=False) for part in ("sweeper", "launcher"))
    if sweeper["_target_"] == study.OPTUNA:
        lines = [f"{sweeper['n_trials']} trials in {folder}, drawn by Optuna one after the other"]
    else:
        jobs = list(product(*(list(values(o)) for o in overrides if o.is_sweep_override() and o.is_discrete_sweep())))
        lines = [f"{len(jobs)} jobs in {folder}:", *(f"  {' '.join(job)}" for job in jobs)]
    if launcher["_target_"] == SLURM:
        added = launcher_overrides(config.hydra.launcher, {o.key_or_group for o in overrides}, folder.name)
        launcher |= dict(o.removeprefix("+").removeprefix("hydra.launcher.").split("=", 1) for o in added)
    told = [f"{key}={value}" for key, value in launcher.items() if value not in (None, {}, []) and key != "_target_" and "${" not in str(value)]
    return "\n".join([*lines, f"launcher: {launcher['_target_'].rpartition('.')[2]} {', '.join(told)}".rstrip()])


@contextmanager
def recording(folder: Path, keep: bool):
    """Where jobs tell how they stand: in the sweep's folder, which all machines of a cluster see, and no other command meanwhile uses.
    `keep` what is told: a study goes on. A new folder goes again where no job has begun."""
    record, new = folder / ".jobs", not folder.exists()
    with locked(folder):
        if not keep:
            shutil.rmtree(record, ignore_errors=True)
        record.mkdir(exist_ok=True)
        os.environ[RECORD] = str(record.resolve())
        try:
            yield record
        finally:
            untold = not any(record.glob("*"))
            if untold or not keep:
                shutil.rmtree(record, ignore_errors=True)
            if new and untold and unbegun(folder):
                shutil.rmtree(folder, ignore_errors=True)


def prepare(name: str, arguments: list[str]) -> tuple[Path, DictConfig, list]:
    """Compose every swept value once before anything is made on disk; settle the sweep's folder and its jobs' names in sys.argv.

    Gives the folder, the first job's config with Hydra's part, and the overrides that the user gives, parsed.
    """
    from hydra._internal.utils import get_args_parser
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = get_args_parser().parse_args(arguments)
    overrides = OverridesParser.create().parse_overrides(parsed.overrides)
    fixed = [o for o in overrides if not o.is_sweep_override()]
    lines = [o.input_line for o in fixed]
    first = [next(values(o)) for o in overrides if o.is_sweep_override() and o.is_discrete_sweep()]
    config = composed(name, lines + first, parsed.config_dir, return_hydra_config=True)
    check_name(config.name)
    for i, override in enumerate(o for o in overrides if o.is_sweep_override() and o.is_discrete_sweep()):
        for value in list(values(override))[1:]:
            composed(name, lines + first[:i] + [value] + first[i + 1 :], parsed.config_dir)
    if "hydra.sweep.dir" in {o.key_or_group for o in overrides}:
        folder = Path(config.hydra.sweep.dir)
    else:
        folder = sweep_folder(Path(config.output_dir) / "sweeps", config.name or requeue.stamp(" ".join(arguments)))
        sys.argv.append(f"hydra.sweep.dir={quoted(str(folder))}")
    swept = {o.key_or_group for o in overrides if o.is_sweep_override() and not (o.is_discrete_sweep() and len(list(values(o))) == 1)}
    exclude = ",".join(json.dumps(o.get_key_element().lstrip("+~")) for o in overrides if o.key_or_group not in swept)
    sys.argv.append(f"hydra.job.config.override_dirname.exclude_keys=[{exclude}]")
    return folder, config, overrides


def values(override):
    """The single overrides that a swept one stands for: model=a,b -> model=a, model=b."""
    return (f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator())


def sweep_folder(sweeps: Path, name: str | None) -> Path:
    if name:
        return sweeps / name
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    taken = {path.name for path in sweeps.glob(stamp + "*")}
    return sweeps / next(n for n in (stamp, *(f"{stamp}-{i}" for i in range(2, 10_000))) if n not in taken)


def read_jobs(folder: Path, record: Path) -> dict[str, dict]:
    """The jobs of this sweep: job folder (within the sweep's) -> its summary where it is complete, else its status and the reason."""
    from ncf.runs.existing import read_summary

    jobs = {}
    for path in record.iterdir():
        told = json.loads(path.read_text())
        job = Path(told["folder"])
        name = str(job.relative_to(folder.absolute())) if job.is_relative_to(folder.absolute()) else str(job)
        jobs[name] = (read_summary(job) if told["status"] == "complete" else None) or told
    return dict(sorted(jobs.items(), key=lambda job: in_order(job[0])))


def in_order(name: str) -> list[tuple[bool, float, str]]:
    """A job's name by its numbers as numbers: steps=5 before steps=10."""
    parts = re.split(r"(?<![\w.])(-?\d+(?:\.\d*)?(?:e-?\d+)?)(?![\w.])", name)
    return [(i % 2 == 0, float(part) if i % 2 else 0.0, "" if i % 2 else part) for i, part in enumerate(parts)]

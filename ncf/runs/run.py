"""A run folder: who writes to it, what it holds, and how a run resumes in it after a crash or kill.

    config.yaml               the resolved config
    metrics.jsonl             a line per epoch
    checkpoints/last.pt       the newest state, previous.pt the one before, best.pt the one with the best validation BCE
    summary.json              status, final metrics; written when all of them are measured
    run.log                   what was printed
    reconstructions.png       images and what the network makes of them
    report.html, samples.png  the run for people to look at: see ncf/report/run_page.py

The order of writing at the end of an epoch is best.pt, the line of metrics.jsonl, last.pt. Only last.pt decides where a run stands:
whatever was written after it is cut back or written again, the same, by the run that resumes.
"""

import fcntl
import json
import os
import socket
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from omegaconf import OmegaConf

from ncf.charsets import LOSSLESS
from ncf.cluster import requeue
from ncf.config.schema import TrainConfig, science
from ncf.data.wording import title
from ncf.errors import UserError
from ncf.runs import checkpoint
from ncf.runs.existing import is_row, require_mine
from ncf.runs.files import remove_leftovers, write_whole


def run_folder(config: TrainConfig) -> tuple[Path, bool]:
    """The folder of a single run and whether the user named it (a named run resumes where it stopped)."""
    if config.run_dir:
        return Path(config.run_dir), True
    runs = Path(config.output_dir) / "runs"
    if config.name:
        return runs / config.name, True
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")):
        raise UserError("torchrun --max-restarts: a run that may be restarted needs a name to be found again; give name=")
    job = requeue.stamp(str(science(config)))
    stamp = job or datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return runs / f"{stamp}_{config.model.name}_{title(asdict(config.dataset))}_seed{config.seed}", bool(job)


class Run:
    """An open run folder, locked by this process."""

    def __init__(self, folder: Path, config: TrainConfig):
        self.folder = folder
        self.config = config
        self.checkpoints = folder / "checkpoints"
        self.lock = None
        self.begun = False  # whether anything of the folder has changed

    # --- opening ------------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, folder: Path, config: TrainConfig, named: bool) -> "Run":
        """Make or reopen the folder. An unnamed run never shares one; a named one resumes if its config is the same."""
        created = [path for path in (folder / "checkpoints", folder, *folder.parents) if not path.exists()]
        run = None
        try:
            run = cls(folder if named else new_folder(folder), config)
            run.checkpoints.mkdir(parents=True, exist_ok=True)
            run.take_lock()
            require_mine(run.folder, config)  # again: the run that it was looked at for may have begun meanwhile
            tidy(run.folder)
            if not any((run.checkpoints / name).exists() for name in ("last.pt", "previous.pt")):  # else once it is known to go on from there
                run.begin()
        except OSError as error:
            if run and run.lock and created:
                (run.folder / ".lock").unlink(missing_ok=True)
            for path in created:
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
            if run:
                run.close()
            raise UserError(f"run {folder}: cannot be written ({error.strerror or error}); choose another output_dir= or make room") from error
        except UserError:
            run.close()
            raise
        return run

    def begin(self) -> None:
        """From here on the folder is this run's: its config, and no summary while it runs, which would speak of an earlier end."""
        self.begun = True
        (self.folder / "summary.json").unlink(missing_ok=True)
        self.write_text("config.yaml", OmegaConf.to_yaml(OmegaConf.structured(self.config)))

    def take_lock(self) -> None:
        """Hold the folder for as long as this process lives, whatever ends it."""
        lock = open(self.folder / ".lock", "a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            lock.close()
            raise UserError(f"run {self.folder} is in use by {holder}; wait for it, or choose another name=") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        self.lock = lock

    def close(self) -> None:
        if self.lock:
            self.lock.close()
            self.lock = None

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def save_last(self, content: dict) -> None:
        checkpoint.keep_previous(self.checkpoints / "last.pt", self.checkpoints / "previous.pt")
        checkpoint.save(self.checkpoints / "last.pt", content)

    def save_best(self, content: dict) -> None:
        checkpoint.save(self.checkpoints / "best.pt", content)

    def renew(self, config: dict) -> None:
        """Give the kept checkpoints the config that the run resumes with: `free` keys may have changed."""
        for name in ("last.pt", "best.pt"):
            try:
                content = checkpoint.load(self.checkpoints / name)
            except UserError:  # not there, or damaged: whoever needs it says so
                continue
            if content["config"] != config:
                checkpoint.save(self.checkpoints / name, {field: content[field] for field in checkpoint.FIELDS} | {"config": config})

    def newest(self) -> dict | None:
        """The content of last.pt, or of previous.pt when that one is damaged, or None when there is neither.

        A damaged last.pt is replaced by previous.pt at once: the next save would make it the previous one.
        """
        last, previous = self.checkpoints / "last.pt", self.checkpoints / "previous.pt"
        if not last.exists() and not previous.exists():
            return None
        try:
            return checkpoint.load(last)
        except checkpoint.OtherFormat:
            raise
        except UserError as error:
            self.say(f"warning: {error}")
        try:
            content = checkpoint.load(previous)
        except UserError as error:
            raise UserError(f"run {self.folder}: no readable checkpoint is left ({error}); remove the folder to start again") from error
        os.replace(previous, last)
        self.say("resuming from previous.pt")
        return content

    # --- what people read ---------------------------------------------------------------------------------------------

    def say(self, line: str, show: bool = True) -> None:
        """A line for the person (if `show`) and for run.log; a closed terminal or a full log must not end the run."""
        if show:
            speak(line)
        try:
            with open(self.folder / "run.log", "a", encoding="utf-8", errors=LOSSLESS) as log:
                log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")
        except OSError:
            pass

    def rows(self) -> list[dict]:
        path = self.folder / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def require_rows(self, n: int) -> None:
        """UserError unless the first n lines of metrics.jsonl are whole."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        if len(whole) < n:
            raise UserError(f"run {self.folder}: metrics.jsonl has {len(whole)} lines, the checkpoint knows {n}; it was changed by hand")
        for i, line in enumerate(whole[:n], 1):
            if not is_row(line, i):
                raise UserError(
                    f"run {self.folder}: line {i} of metrics.jsonl is damaged; put a good copy of the file there, or choose another name="
                )

    def rewind_rows(self, n: int) -> None:
        """Cut metrics.jsonl back to its first n lines: what a checkpoint does not know did not happen."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if len(lines) > n or not path.exists():
            write_whole(path, b"".join(lines[:n]))

    def add_row(self, row: dict) -> None:
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def write_summary(self, summary: dict) -> None:
        self.write_text("summary.json", json.dumps(summary, indent=2) + "\n")

    def end(self, status: str, reason: str) -> None:
        """Say in summary.json why there is no result; the disk may be the reason, so this may fail. Of what was refused before it began the result stays."""
        if not self.begun and (self.folder / "summary.json").exists():
            return
        config = self.config
        which = {"model": config.model.name, "dataset": config.dataset.name, "seed": config.seed, "epochs": config.epochs}
        try:
            self.write_summary({"status": status, "reason": reason, **which})
        except OSError:
            pass

    def write_text(self, name: str, text: str) -> None:
        write_whole(self.folder / name, text.encode())


class Follower(Run):
    """A run as the further processes of data-parallel training see it: the first one writes, these do not."""

    def nothing(self, *_, **__) -> None:
        pass

    begin = newest = renew = save_last = save_best = say = add_row = rows = require_rows = rewind_rows = write_summary = nothing


def new_folder(wanted: Path) -> Path:
    """Make a folder that nobody else has: the wanted one, or that with a number."""
    for n in range(1, 10_000):
        folder = wanted if n == 1 else wanted.with_name(f"{wanted.name}-{n}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if not folder.is_dir():
                raise
    raise FileExistsError(f"{wanted.name} is taken")


def tidy(folder: Path) -> None:
    """Remove what killed processes have left half-written in a run folder; one that cannot be written stays as it is."""
    for place in (folder, folder / "checkpoints"):
        try:
            remove_leftovers(place)
        except OSError:
            pass


def speak(line: str) -> None:
    """Print, unless nobody is there to read (a closed pipe, a closed terminal, a full disk)."""
    try:
        print(line, flush=True)
    except (OSError, ValueError):
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)  # what Python still holds back goes there too
        os.close(silence)

"""A run folder: who writes into it, what it holds, and how a run goes on in it after any death.

    config.yaml               the resolved config
    metrics.jsonl             a line per epoch
    checkpoints/last.pt       the newest state, previous.pt the one before, best.pt the one with the best validation BCE
    summary.json              status, final metrics; written when all of them are measured
    run.log                   what was printed
    reconstructions.png       images and what the network makes of them
    report.html, samples.png  the run for people to look at: see ncf/run_report.py
"""

import fcntl
import json
import os
import signal
import socket
import sys
from datetime import datetime
from pathlib import Path

from omegaconf import OmegaConf

from ncf import checkpoint
from ncf.config import TrainConfig, build, science
from ncf.errors import UserError


class Stopped(BaseException):
    """SIGTERM or SIGINT arrived and the state is saved. No Exception: a sweep must end, not go on with its next job."""

    def __init__(self, signum: int, how_to_go_on: str):
        super().__init__(f"stopped by {signal.Signals(signum).name}; {how_to_go_on}")
        self.exit_code = 128 + signum


def run_folder(config: TrainConfig) -> tuple[Path, bool]:
    """The folder of a single run and whether the user named it (a named run goes on where it stopped)."""
    if config.run_dir:
        return Path(config.run_dir), True
    runs = Path(config.output_dir) / "runs"
    if config.name:
        return runs / config.name, True
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return runs / f"{stamp}_{config.model.name}_{config.dataset.name}_seed{config.seed}", False


class Run:
    """An open run folder, locked by this process."""

    def __init__(self, folder: Path, config: TrainConfig):
        self.folder = folder
        self.config = config
        self.checkpoints = folder / "checkpoints"
        self.lock = None
        self.mute = False

    # --- opening ------------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, folder: Path, config: TrainConfig, named: bool) -> "Run":
        """Make or reopen the folder. An unnamed run never shares one; a named one goes on if its config is the same."""
        n = 1
        original = folder
        while not named:
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                n += 1
                folder = original.with_name(f"{original.name}-{n}")
            except OSError as error:
                raise unwritable(folder, error) from error
        run = cls(folder, config)
        try:
            run.checkpoints.mkdir(parents=True, exist_ok=True)
            run.take_lock()
            if run.stored_config() is not None:
                run.require_same_config()
            for leftover in (*folder.glob("*.tmp"), *run.checkpoints.glob("*.tmp")):
                leftover.unlink()
            run.write_text("config.yaml", OmegaConf.to_yaml(OmegaConf.structured(config)))
        except OSError as error:
            run.close()
            raise unwritable(folder, error) from error
        except UserError:
            run.close()
            raise
        return run

    def take_lock(self) -> None:
        self.lock = open(self.folder / ".lock", "a+")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.lock.seek(0)
            holder = self.lock.read().strip() or "another process"
            raise UserError(f"run {self.folder} is in use by {holder}; wait for it, or choose another name=") from None
        self.lock.truncate(0)
        self.lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        self.lock.flush()

    def close(self) -> None:
        if self.lock:
            self.lock.close()
            self.lock = None

    def stored_config(self) -> dict | None:
        path = self.folder / "config.yaml"
        try:
            return OmegaConf.to_container(OmegaConf.load(path)) if path.exists() else None
        except Exception as error:
            raise UserError(f"run {self.folder}: its config.yaml cannot be read ({error}); choose another name=") from error

    def require_same_config(self) -> None:
        """Refuse a different config into an existing run; only `epochs` may be raised."""
        old = flatten(science(build(self.stored_config(), TrainConfig)))
        new = flatten(science(self.config))
        changed = [f"{k} ({old.get(k)} there, {v} now)" for k, v in new.items() if old.get(k) != v and k != "epochs"]
        if new["epochs"] < old["epochs"]:
            changed.append(f"epochs ({old['epochs']} there, {new['epochs']} now: it can only be raised)")
        if changed:
            raise UserError(f"run {self.folder} exists with another config: {', '.join(changed)}; choose another name=")

    # --- checkpoints --------------------------------------------------------------------------------------------------

    def save_last(self, content: dict) -> None:
        checkpoint.keep_previous(self.checkpoints / "last.pt", self.checkpoints / "previous.pt")
        checkpoint.save(self.checkpoints / "last.pt", content)

    def save_best(self, content: dict) -> None:
        checkpoint.save(self.checkpoints / "best.pt", content)

    def newest(self) -> dict | None:
        """The content of last.pt, or of previous.pt when that one is damaged, or None when there is neither."""
        names = [name for name in ("last.pt", "previous.pt") if (self.checkpoints / name).exists()]
        for name in names:
            try:
                return checkpoint.load(self.checkpoints / name)
            except UserError as error:
                self.say(f"warning: {error}")
                if name == names[-1]:
                    raise UserError(f"run {self.folder}: no readable checkpoint is left; remove the folder to start anew") from error
                self.say("going on from previous.pt")
        return None

    # --- what people read ---------------------------------------------------------------------------------------------

    def say(self, line: str, show: bool = True) -> None:
        """A line for the person (if `show`) and for run.log; a closed terminal or a full log must not end the run."""
        if show:
            speak(line, self)
        try:
            with open(self.folder / "run.log", "a", encoding="utf-8") as log:
                log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")
        except OSError:
            pass

    def rows(self) -> list[dict]:
        path = self.folder / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def rewind_rows(self, n: int) -> None:
        """Cut metrics.jsonl back to its first n lines: what a checkpoint does not know did not happen."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if len(lines) < n:
            raise UserError(f"run {self.folder}: metrics.jsonl has {len(lines)} lines, the checkpoint knows {n}; it was changed by hand")
        if len(lines) > n:
            self.write_text("metrics.jsonl", b"".join(lines[:n]).decode())

    def add_row(self, row: dict) -> None:
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def summary(self) -> dict | None:
        try:
            return json.loads((self.folder / "summary.json").read_text())
        except (OSError, ValueError):
            return None

    def write_summary(self, summary: dict) -> None:
        self.write_text("summary.json", json.dumps(summary, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        temporary = self.folder / (name + ".tmp")
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.folder / name)


def speak(line: str, run: Run | None = None) -> None:
    """Print, unless nobody is there to read (a closed pipe stays closed)."""
    if run is not None and run.mute:
        return
    try:
        print(line, flush=True)
    except (OSError, ValueError):
        if run is not None:
            run.mute = True
        sys.stdout = open(os.devnull, "w")


def unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"run {folder}: cannot be written ({error.strerror or error}); choose another output_dir= or make room")


def flatten(node: dict, prefix: str = "") -> dict:
    """A nested dict as dotted keys."""
    flat = {}
    for name, value in node.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


class Interrupts:
    """SIGTERM and SIGINT as a flag that the loop reads between batches; a second SIGINT stops at once."""

    def __enter__(self) -> "Interrupts":
        self.signum: int | None = None
        self.previous = {}
        for signum in (signal.SIGTERM, signal.SIGINT):
            try:
                self.previous[signum] = signal.signal(signum, self.note)
            except ValueError:  # not the main thread: a launcher's worker, whose owner handles signals
                pass
        return self

    def note(self, signum: int, frame) -> None:
        if signum == signal.SIGINT and self.signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.signum = signum

    def __exit__(self, *_) -> None:
        for signum, handler in self.previous.items():
            signal.signal(signum, handler)

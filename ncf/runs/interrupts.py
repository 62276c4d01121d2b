"""Signals: a run that is told to stop saves its state, says how to resume, and exits with 128 + the signal's number."""

import resource
import shlex
import signal
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from ncf.errors import Stopped

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)  # what clusters send some time before they kill; SIGXCPU: a limit of CPU time


class Interrupts:
    """The signals that ask a process to end, while a run is open.

    While `saving`, a signal is only noted: the loop saves at its next batch boundary and calls `stop`. Else nothing would
    be lost, and the signal stops the run on the spot. A second SIGINT always does.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.only_note = False
        self.signum: int | None = None
        self.previous: dict[int, Callable] = {}

    def __enter__(self) -> "Interrupts":
        for signum in STOPS + WARNINGS:
            if signal.getsignal(signum) == signal.SIG_IGN:  # nohup, or a shell's background job
                continue
            if signum in WARNINGS and signal.getsignal(signum) not in (signal.SIG_DFL, stop_at_once):  # a launcher has its own use for it
                continue
            try:
                self.previous[signum] = signal.signal(signum, self.note)
            except ValueError:  # not the main thread: a launcher's worker, whose owner handles signals
                pass
        return self

    def note(self, signum: int, frame) -> None:
        if signum == signal.SIGINT and self.signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.signum = signum
        if signum == signal.SIGXCPU:  # it comes again with every second of CPU time, into the saving: once is enough
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
        if not self.only_note:
            self.stop(signum)

    def stop(self, signum: int | None) -> None:
        """End the run because of the signal, if there was one."""
        if signum:
            raise Stopped(signum, how_to_go_on(self.folder))

    @contextmanager
    def saving(self):
        self.only_note = True
        yield
        self.only_note = False
        self.stop(self.signum)

    def __exit__(self, *_) -> None:
        for signum, handler in self.previous.items():
            signal.signal(signum, handler)


def stop_at_once(signum: int, frame=None) -> None:
    """A handler for when no run is open."""
    raise Stopped(signum, "the same command resumes")


def how_to_go_on(folder: Path) -> str:
    """The command that resumes a run, as typed in a shell."""
    return f"resume with: ncf-train {shlex.quote(f'resume={folder}')}"

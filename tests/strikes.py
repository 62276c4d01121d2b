"""What goes wrong inside a command's process, for `installed.Warm(prepare=...)`: kills at a given step of writing, full disks, signals."""

import ctypes
import errno
import os
import resource
import signal
import sys
from dataclasses import dataclass

STEPS = {"open", "write", "flush", "fsync", "replace", "link", "unlink", "mkdir", "truncate", "flock"}
READERS = {"say", "read", "read_summary", "rows", "processor", "run_command"}  # (and of run.log nothing is expected)


@dataclass
class AtStep:
    """Signals just before the n-th step of writing (a call of C that ncf makes, itself or through pathlib); without any, a full disk. 0: never.

    Every step is noted in the file `log`, as FUNCTION:CALL, one per line. Pictures and pages are left out: they take the most time of
    a small run and are no part of how it is saved.
    """

    n: int
    log: str
    signals: tuple[int, ...] = (signal.SIGKILL,)

    def __call__(self) -> None:
        without_pictures()
        self.done = 0
        self.descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        sys.setprofile(self.look)

    def look(self, frame, event: str, function) -> None:
        if event != "c_call" or function.__name__ not in STEPS:
            return
        while frame and frame.f_globals.get("__name__", "").startswith("pathlib"):
            frame = frame.f_back
        if not frame or not frame.f_globals.get("__name__", "").startswith("ncf.") or frame.f_code.co_name in READERS:
            return
        self.done += 1
        os.write(self.descriptor, f"{frame.f_code.co_name}:{function.__name__}\n".encode())
        if self.done != self.n:
            return
        for signum in self.signals:
            os.kill(os.getpid(), signum)
        if not self.signals:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def without_pictures() -> None:
    import ncf.evaluate

    ncf.evaluate.draw_reconstructions = ncf.evaluate.write_report = lambda *_: None


@dataclass
class LargestFile:
    """No file may become larger than so many bytes: what a full disk or a quota does to a write."""

    size: int

    def __call__(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))


def without_privileges() -> None:
    """The superuser (in a container, say) is bound by permissions like anybody: no capabilities are left."""
    if os.getuid() == 0:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # the third version of capset's arguments; this thread
        assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0


@dataclass
class OnCall:
    """The n-th call of MODULE.FUNCTION sends this process a signal, or raises RuntimeError when that is 0; then it goes on."""

    module: str
    function: str
    signum: int = 0
    n: int = 1

    def __call__(self) -> None:
        module = __import__(self.module, fromlist=["_"])
        original = getattr(module, self.function)
        calls = 0

        def struck(*arguments, **keywords):
            nonlocal calls
            calls += 1
            if calls < self.n:
                return original(*arguments, **keywords)
            setattr(module, self.function, original)
            if not self.signum:
                raise RuntimeError("struck")
            os.kill(os.getpid(), self.signum)
            return original(*arguments, **keywords)

        setattr(module, self.function, struck)

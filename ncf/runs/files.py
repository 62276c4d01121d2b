"""Files written whole or not at all: a kill, a crash or a full disk at any instant leaves the old file or the new one."""

import io
import os
from pathlib import Path

import numpy as np

from ncf.errors import UserError


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Put `data` at `path`: write a temporary file, flush it to the disk, rename it, flush the rename. Ended early, it leaves nothing behind.

    A link stays one: what it points to is written. What is no file (a device, a pipe) is written to and not replaced.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = path.resolve()
    temporary = beside(path)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # a full disk; a signal
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def require_writable(path: Path, remedy: str, makes_folders: bool = False) -> None:
    """UserError where a file cannot be put at `path`, told before hours of measuring and not after them; `makes_folders`: those that are missing will be made."""
    if path.exists() and not path.is_file() and not path.is_dir():  # a device, a pipe
        return
    folder = path.absolute().parent
    if makes_folders:
        folder = next(above for above in (folder, *folder.parents) if above.exists())
    if path.is_dir():
        why = "it is a folder"
    elif not folder.is_dir():
        why = f"{folder} is no folder"
    elif not os.access(folder, os.W_OK):
        why = f"no permission to write into {folder}"
    else:
        return
    raise UserError(f"{path}: cannot be written, {why}; give {remedy}")


def as_npz(arrays: dict[str, np.ndarray], compressed: bool = False) -> memoryview:
    """The arrays as the bytes of an .npz file."""
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getbuffer()


def beside(path: Path) -> Path:
    """A name next to `path` that no other process uses: two may write the same file at once."""
    return path.with_name(f"{path.name}.{os.getpid()}.tmp")


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names: until then, a crash of the machine may undo a rename."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems cannot; the rename is still atomic
        pass
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that killed processes left in `folder`."""
    for path in folder.glob("*.tmp"):
        process = path.name.split(".")[-2]
        if process.isdigit() and (int(process) == os.getpid() or not lives(int(process))):
            path.unlink(missing_ok=True)


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives, and is another user's
        return True
    return True

"""Checkpoints: written whole or not at all, verified before they are read, and never a source of code.

A file is torch's zip of plain numbers, texts, lists, dicts and tensors. `save` writes beside the target, flushes to the disk and
renames; `load` checks every byte's CRC first, because torch (and safetensors) load most flipped bits without a word.
"""

import io
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import torch

from ncf.errors import UserError

FORMAT = 1  # raised when the layout below changes; `load` names the version that reads an older one
KIND = "ncf checkpoint"
FIELDS = {"versions": dict, "config": dict, "data": dict, "weights": dict, "optimizer": dict, "progress": dict}


def save(path: Path, content: dict) -> None:
    """Put `content` (the FIELDS) at `path`, atomically: at every instant the path holds the old file or the new one, whole."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:  # a file object: by path, torch hides a full disk and writes the name into the file
        torch.save({"kind": KIND, "format": FORMAT, **content}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def keep_previous(path: Path, previous: Path) -> None:
    """Give the file at `path` the second name `previous` (atomically), so that the next `save` does not remove it."""
    if not path.exists():
        return
    temporary = previous.with_name(previous.name + ".tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without hard links
        temporary.write_bytes(path.read_bytes())
    os.replace(temporary, previous)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems cannot; the rename is still atomic
        pass
    finally:
        os.close(descriptor)


def load(path: Path) -> dict:
    """The content of a checkpoint, on the CPU. Raises UserError, naming the file, for anything that is not one, whole and known."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"checkpoint {path}: no such file") from None
    except OSError as error:
        raise UserError(f"checkpoint {path}: cannot be read ({error.strerror})") from error
    verify(path, raw)
    try:
        content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, EOFError, IndexError) as error:
        raise UserError(f"checkpoint {path}: refused, it holds more than plain numbers, texts and tensors, or is damaged") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise UserError(f"checkpoint {path}: not a checkpoint of ncf")
    if content.get("format") != FORMAT:
        version = (content.get("versions") or {}).get("ncf", "unknown")
        age = "newer" if isinstance(content.get("format"), int) and content["format"] > FORMAT else "older"
        raise UserError(
            f"checkpoint {path}: has the {age} format {content.get('format')}, this version of ncf reads format {FORMAT}; use ncf {version}, which wrote it"
        )
    for name, kind in FIELDS.items():
        if not isinstance(content.get(name), kind):
            raise UserError(f"checkpoint {path}: damaged, {name} is missing")
    return content


def verify(path: Path, raw: bytes) -> None:
    """Refuse anything but an intact zip of stored entries: CRC of every entry, and no entry that would unpack to more than it is."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(raw))
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(raw):
                raise UserError(f"checkpoint {path}: refused, its entries are compressed; ncf writes them plain")
        broken = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError, struct.error, EOFError, OverflowError) as error:
        raise UserError(f"checkpoint {path}: damaged or not a checkpoint ({error})") from error
    if broken:
        raise UserError(f"checkpoint {path}: damaged, the checksum of {broken} does not match")

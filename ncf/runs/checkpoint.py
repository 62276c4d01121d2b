"""Checkpoints: written whole or not at all, verified before they are read, and never a source of code.

A file is torch's zip of plain numbers, texts, lists, dicts and tensors, with the digest of all of it as the zip's comment. `save`
writes a temporary file, flushes to the disk and renames; `load` checks the digest first. It must be of the whole file: torch (and
safetensors) load most flipped bits without a word, and the CRCs of a zip do not cover its directory, where one bit makes torch take
a tensor for a folder and fill it with whatever lies in memory.
"""

import hashlib
import io
import os
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from ncf.errors import UserError
from ncf.runs.files import beside, write_whole
from ncf.runs.memory import ran_out

FORMAT = 2  # raised when the layout changes; `load` names the version that reads what it cannot
UNSEALED = 1  # the format before, which has no digest; it still loads
KIND = "ncf checkpoint"
ZIP_START = b"PK\x03\x04"
SEAL = b"ncf sha256 "  # a zip's comment: this and the digest, in hexadecimal, of everything before it
SEAL_LENGTH = len(SEAL) + 64
FIELDS = {"versions": dict, "config": dict, "data": dict, "weights": dict, "optimizer": dict, "progress": dict}
INNER = {("data", "image_shape"): list, ("optimizer", "t"): int, ("optimizer", "tensors"): dict, ("progress", "epoch"): int}


class OtherFormat(UserError):
    """A whole checkpoint that another version of ncf reads."""


def save(path: Path, content: dict) -> None:
    """Put `content` (the FIELDS) at `path`, atomically: at every instant the path holds the old file or the new one, whole."""
    buffer = io.BytesIO()  # by path, torch hides a full disk and writes the file's name into it
    torch.save(canonical({"kind": KIND, "format": FORMAT, **content}), buffer)
    write_whole(path, seal(buffer.getvalue()))


def seal(raw: bytes) -> bytes:
    """A zip with its own digest as its comment (its last two bytes are the comment's length)."""
    raw = raw[:-2] + struct.pack("<H", SEAL_LENGTH)
    return raw + SEAL + hashlib.sha256(raw).hexdigest().encode()


def canonical(node: Any) -> Any:
    """The same content as fresh containers and shared texts: what pickle writes depends on which objects are the same ones."""
    if isinstance(node, dict):
        return {canonical(name): canonical(value) for name, value in node.items()}
    if isinstance(node, list):
        return [canonical(value) for value in node]
    return sys.intern(node) if type(node) is str else node


def keep_previous(path: Path, previous: Path) -> None:
    """Give the file at `path` the second name `previous` (atomically), so that the next `save` does not remove it."""
    if not path.exists() or (previous.exists() and path.samefile(previous)):  # renaming a file to its other name does nothing
        return
    second = beside(previous)
    try:
        os.link(path, second)
    except OSError:  # a file system without hard links
        write_whole(previous, path.read_bytes())
        return
    try:
        os.replace(second, previous)
    finally:  # where that failed: who writes there now, writes into the file at `path`
        second.unlink(missing_ok=True)


def locate(path: Path) -> Path:
    """The checkpoint that a path means: of a run folder its best one."""
    return path / "checkpoints" / "best.pt" if path.is_dir() else path


def load(path: Path) -> dict:
    """The content of a checkpoint, on the CPU. Raises UserError, naming the file, for anything that is not one, whole and known."""
    raw = read(path)
    sealed = verify(path, raw)
    try:
        content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises on a stranger's file depends on the file
        if ran_out(error):  # no fault of the file
            raise
        raise UserError(f"checkpoint {path}: refused, it holds more than plain numbers, texts and tensors, or is damaged") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise UserError(f"checkpoint {path}: not a checkpoint of ncf")
    written = content.get("format")
    if written not in (FORMAT, UNSEALED):
        versions = content.get("versions")
        version = versions.get("ncf") if isinstance(versions, dict) else "of that format"
        age = "newer" if isinstance(written, int) and written > FORMAT else "older"
        raise OtherFormat(
            f"checkpoint {path}: has the {age} format {written}, this ncf reads {UNSEALED} and {FORMAT}; use ncf {version}, which wrote it"
        )
    if not sealed and written != UNSEALED:
        raise UserError(f"checkpoint {path}: damaged, its digest is missing")
    require_plain(path, content, len(raw))
    for name, kind in FIELDS.items():
        if not isinstance(content.get(name), kind):
            raise UserError(f"checkpoint {path}: damaged, {name} is missing")
    for (outer, name), kind in INNER.items():
        if not isinstance(content[outer].get(name), kind):
            raise UserError(f"checkpoint {path}: damaged, {outer}.{name} is missing")
    if not all(value is None or isinstance(value, (int, float)) for value in content["progress"].values()):
        raise UserError(f"checkpoint {path}: damaged, progress holds more than numbers")
    for value in (*content["weights"].values(), *content["optimizer"]["tensors"].values()):
        if not (torch.is_tensor(value) and value.is_floating_point() and value.layout == torch.strided and value.device.type == "cpu"):
            raise UserError(f"checkpoint {path}: damaged, a tensor is missing")
    return content


def require_plain(path: Path, content: dict, size: int) -> None:
    """Refuse what unfolds to more than its file (a list of twice the same list, forty deep), and texts that OmegaConf would resolve.

    ``${oc.env:NAME}`` in the config of a stranger's checkpoint would read what is no business of theirs.
    """
    nodes, seen = [content], 0
    while nodes:
        node = nodes.pop()
        seen += 1
        if seen > size:
            raise UserError(f"checkpoint {path}: refused, it would unpack to something else than it is")
        if isinstance(node, str) and "${" in node:
            raise UserError(f"checkpoint {path}: refused, it holds an expression ({node}), not a plain text")
        nodes += node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple, set)) else ()


def read(path: Path) -> bytes:
    """The bytes of a file that may be a checkpoint; devices, pipes and files of another kind are not read at all."""
    if path.exists() and not path.is_file():
        raise UserError(f"checkpoint {path}: is no file; expected a checkpoint such as best.pt, or a run folder")
    try:
        with open(path, "rb") as file:
            if file.read(len(ZIP_START)) != ZIP_START:
                raise UserError(f"checkpoint {path}: damaged or not a checkpoint (its first bytes are not those of one)")
            return ZIP_START + file.read()
    except FileNotFoundError:
        raise UserError(f"checkpoint {path}: no such file") from None
    except OSError as error:
        raise UserError(f"checkpoint {path}: cannot be read ({error.strerror})") from error


def verify(path: Path, raw: bytes) -> bool:
    """Whether the file is sealed. Refused are a digest that does not match, and any zip that is not one of intact, plain entries."""
    body, mark = raw[:-SEAL_LENGTH], raw[-SEAL_LENGTH:]
    sealed = mark.startswith(SEAL)
    if sealed and mark != SEAL + hashlib.sha256(body).hexdigest().encode():
        raise UserError(f"checkpoint {path}: damaged, its content does not have the digest that it was saved with")
    try:
        archive = zipfile.ZipFile(io.BytesIO(raw))
        entries = archive.infolist()
        plain = all(entry.compress_type == zipfile.ZIP_STORED and entry.external_attr == 0 for entry in entries)
        if not plain or sum(entry.file_size for entry in entries) > len(raw):
            raise UserError(f"checkpoint {path}: refused, it would unpack to something else than it is; ncf writes plain entries")
        broken = archive.testzip()
        if broken or (archive.comment and not sealed):
            raise UserError(f"checkpoint {path}: damaged, {broken or 'its digest'} is not as it was saved")
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError, struct.error, EOFError, OverflowError) as error:
        raise UserError(f"checkpoint {path}: damaged or not a checkpoint ({error})") from error
    return sealed

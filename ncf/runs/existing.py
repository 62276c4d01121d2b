"""Whether a run may resume in an existing folder: is it a run, of this config, of these images, complete?"""

import json
import os
from pathlib import Path

from omegaconf import OmegaConf

from ncf.config.checks import build
from ncf.config.schema import TrainConfig, flatten, identity
from ncf.errors import UserError
from ncf.runs import checkpoint, reader

UNBEGUN = {".lock", ".hydra", "checkpoints", "run.log", "summary.json"}  # what may lie in a run folder before config.yaml does
RESULT = {"model", "dataset", "epochs_trained", "best_epoch", "validation_bce", "metrics", "seconds"}  # what is told of a complete run


def read_summary(folder: Path) -> dict:
    """summary.json, empty where there is none to read."""
    return reader.read_json(reader.read_text(folder / "summary.json"))


def is_row(line: bytes, epoch: int) -> bool:
    """Whether a line of metrics.jsonl is that of this epoch."""
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and row.get("epoch") == epoch and "seconds" in row


def data_dir_of(checkpoint_path: Path, config: dict) -> str | None:
    """Where the run that a checkpoint of this config still lies in read its images; NCF_DATA comes first, and a stranger's file never."""
    place = checkpoint_path.resolve().parent
    if os.environ.get("NCF_DATA") or place.name != "checkpoints":
        return None
    try:
        there = build(OmegaConf.to_container(OmegaConf.load(place.parent / "config.yaml")), TrainConfig)
        same = identity(there) == identity(build(config, TrainConfig))
    except Exception:  # none, or any damage that YAML can have
        return None
    return there.data_dir if same and there.data_dir and Path(there.data_dir).is_dir() else None


def stored_config(folder: Path) -> dict | None:
    """The config of the run in `folder`, or None when none has begun there: config.yaml, or what a checkpoint knows of it."""
    path = folder / "config.yaml"
    damage: Exception | None = None
    try:
        if path.exists():
            content = OmegaConf.to_container(OmegaConf.load(path))
            if isinstance(content, dict) and content and "${" not in str(content):  # a run writes no expressions
                return content
            damage = ValueError("it is no config that a run has written")
    except Exception as error:  # any damage that YAML can have
        damage = error
    for name in ("last.pt", "previous.pt", "best.pt"):
        try:
            return checkpoint.load(folder / "checkpoints" / name)["config"]
        except UserError:
            pass
    if damage:
        raise UserError(f"run {folder}: its config.yaml cannot be read ({damage}); choose another name=") from damage
    return None


def require_mine(folder: Path, config: TrainConfig) -> None:
    """Refuse a folder that holds something else than a run, or a run with another config."""
    stored = stored_config(folder)
    if stored is None:
        others = [path.name for path in folder.iterdir() if path.name not in UNBEGUN and path.suffix != ".tmp"] if folder.is_dir() else []
        if others:
            raise UserError(f"run {folder}: the folder is no run and not empty (it has {others[0]}); choose another name= or run_dir=")
        return
    if config.resume == "never":
        raise UserError(f"run {folder} exists; choose another name=, or resume=auto to resume it")
    changed = changes(stored, config)
    if changed:
        empty = "" if any((folder / "checkpoints").glob("*.pt")) else " (it has no checkpoint yet: if it failed, remove it)"
        raise UserError(f"run {folder} exists with another config: {', '.join(changed)}; choose another name={empty}")


def require_images(folder: Path, about: dict) -> None:
    """Refuse to resume with other images than those a run began with, wherever they lie, before anything is touched."""
    for name in ("last.pt", "previous.pt"):
        try:
            known = checkpoint.load(folder / "checkpoints" / name)["data"]
        except UserError:
            continue
        if any(about.get(key) != value for key, value in known.items()):
            raise UserError(f"run {folder}: the images are not those it began with; give it the same files, or choose another name=")
        return


def changes(stored: dict, config: TrainConfig) -> list[str]:
    """What differs from a stored config and must not, in words; epochs may be raised, but where a cooldown has set their end."""
    try:
        before = build(stored, TrainConfig)
    except UserError as error:
        return [f"it is of another version of ncf ({error})"]
    old, new = flatten(identity(before)), flatten(identity(config))
    changed = [f"{k} ({old.get(k)} there, {new.get(k)} now)" for k in {**old, **new} if old.get(k) != new.get(k)]
    if config.epochs < before.epochs:
        changed.append(f"epochs ({before.epochs} there, {config.epochs} now: it can only be raised)")
    if config.epochs > before.epochs and before.optimizer.cooldown:
        told = f"optimizer.cooldown={before.optimizer.cooldown} has the learning rate fall towards the end; a new run may go on with start_from="
        changed.append(f"epochs ({before.epochs} there, {config.epochs} now: {told})")
    return changed


def stored_result(folder: Path, config: TrainConfig) -> dict | None:
    """The summary of a run that is complete with this very config; one that is damaged is made again."""
    summary = read_summary(folder)
    if summary.get("status") != "complete" or summary.get("epochs") != config.epochs or not RESULT <= summary.keys():
        return None
    stored = build(stored_config(folder), TrainConfig)
    same = all(getattr(stored, name) == getattr(config, name) for name in ("dataset", "metrics", "patience", "patience_gain"))
    return summary if same else None

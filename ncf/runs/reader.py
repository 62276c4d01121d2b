"""A run folder, read without changing it: any part may be missing, half written or damaged."""

import json
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from ncf.config.schema import modern, without_place
from ncf.data.wording import title
from ncf.errors import UserError

MARKS = {"config.yaml", "metrics.jsonl", "summary.json"}  # a folder with one of them is a run


@dataclass
class Record:
    folder: Path
    config: dict  # the science of config.yaml, nested; empty when it cannot be read
    place: dict  # the rest of it: where and how
    rows: list[dict]
    summary: dict

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def status(self) -> str:
        """complete, stopped, failed; unfinished while it runs, or after a death that left no word."""
        return str(self.summary.get("status", "unfinished"))

    @property
    def status_marked(self) -> str:
        """The status, with a mark where there is a warning to read."""
        return self.status + ("!" if self.warnings else "")

    @property
    def warnings(self) -> list[str]:
        """What to know before its metrics are believed."""
        found = self.summary.get("warnings")
        return [str(warning) for warning in found] if isinstance(found, list) else []

    @cached_property
    def best(self) -> tuple[float, int] | None:
        """The best validation BCE so far (nats per image) and its epoch; of a run that was validated at its end alone, that one."""
        figures = [(row["validation_bce"], row["epoch"]) for row in self.rows if math.isfinite(row.get("validation_bce", math.nan))]
        end = (self.summary.get("validation_bce"), self.summary.get("best_epoch"))
        return min(figures, default=end if all(isinstance(value, (int, float)) for value in end) else None)

    @property
    def last(self) -> float | None:
        """The validation BCE of the last epoch that was validated."""
        return next((row["validation_bce"] for row in reversed(self.rows) if "validation_bce" in row), None)

    @property
    def checkpoint(self) -> Path | None:
        """The best checkpoint, else the last one."""
        paths = (self.folder / "checkpoints" / name for name in ("best.pt", "last.pt"))
        return next((path for path in paths if path.exists()), None)

    @property
    def seconds(self) -> float:
        return sum(row.get("seconds", 0) for row in self.rows)

    @property
    def title(self) -> str:
        """What was trained on what."""
        dataset = self.value("dataset")
        return " on ".join(str(name) for name in (self.value("model", "name"), title(dataset) if isinstance(dataset, dict) else None) if name)

    def value(self, *path: str):
        """A value of the config, None where there is none: ``value("model", "settle", "steps")``."""
        node = self.config
        for name in path:
            node = node.get(name) if isinstance(node, dict) else None
        return node


def read(folder: Path) -> Record:
    text = read_text(folder / "config.yaml")
    config = {}
    for loader in (getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader):  # the fast one refuses the bytes of odd file names
        with suppress(yaml.YAMLError):
            config = yaml.load(text, loader) if text else {}
            break
    config = modern(config) if isinstance(config, dict) else {}
    science = without_place(config)
    summary = read_json(read_text(folder / "summary.json"))
    place = {name: value for name, value in config.items() if name not in science}
    return Record(folder, science, place, read_rows(read_text(folder / "metrics.jsonl")), summary)


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_json(text: str) -> dict:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


def read_rows(text: str) -> list[dict]:
    """The whole rows of metrics.jsonl: of a run that is being written, the last line may be half there."""
    rows = ({name: value for name, value in read_json(line).items() if isinstance(value, (int, float))} for line in text.splitlines())
    return [row for row in rows if "epoch" in row]


def find(path: Path) -> list[Path]:
    """The runs at or below a path, by name. Raises UserError where there is none."""
    if not path.exists():
        raise UserError(f"{path}: no such folder; give the folder of a run or of a sweep")
    runs, seen = [], set()
    for folder, inner, files in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # by another link, or in a circle
            inner.clear()
            continue
        seen.add(real)
        if MARKS & set(files) or "checkpoints" in inner:
            runs.append(Path(folder))
            inner.clear()
        inner.sort()
    if not runs:
        raise UserError(f"{path}: no run is there (no config.yaml, metrics.jsonl or summary.json); give the folder of a run or of a sweep")
    return runs

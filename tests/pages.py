"""For the tests of reports and pages: the commands, run folders made up from one real run, a page taken apart."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import yaml

TINY = ["dataset=digits", "model.layers=[12,12,12]", "model.lateral.columns=[6]", "model.settle.steps=8", "threads=1", "progress=off"]
MODELS, RATES, SEEDS = ["gncn_pdh", "gncn_t1"], [0.001, 0.002, 0.005, 0.01, 1e-7], [0, 1, 2, 3]
TERMS_OF_T1 = {"activation": "tanh", "prediction": "identity", "target": "state", "error_synapses": "tied", "derivative": True, "skips": False}


def command(name: str, *arguments, **options) -> subprocess.CompletedProcess:
    """Run an installed command to its end."""
    path = Path(sys.executable).with_name(name)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    return subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=300, **options)


def train(folder: Path, *overrides, **options) -> subprocess.CompletedProcess:
    return command("ncf-train", *TINY, f"run_dir='{folder}'", *overrides, **options)


def make_run(source: Path, folder: Path, model: str, rate: float, seed: int, draw: random.Random) -> None:
    """A run folder like the real one, with other keys and figures, of as many digits as a float has."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.pt", "report.html", ".lock"))
    (folder / "report.html").write_text("a report")
    config, summary = yaml.safe_load((folder / "config.yaml").read_text()), json.loads((folder / "summary.json").read_text())
    config["model"] |= {"name": model} | (TERMS_OF_T1 if model == "gncn_t1" else {})
    config["optimizer"]["lr"], config["seed"] = rate, seed
    for figure in (figure for figures in summary["metrics"].values() for figure in figures.values()):
        figure["value"], figure["stderr"] = draw.gauss(0, 100), draw.random() * 10 ** draw.randint(-9, 0)
    rows = [json.loads(line) | {"validation_bce": draw.uniform(10, 90)} for line in (folder / "metrics.jsonl").read_text().splitlines()]
    summary |= {"model": model, "seed": seed, "validation_bce": min(row["validation_bce"] for row in rows), "seconds": draw.uniform(1, 1e4)}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


class Page(HTMLParser):
    """A page as the standard library's parser sees it: its texts, its elements, its tables as rows of (text, data-value)."""

    def __init__(self, markup: str):
        super().__init__()
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict]] = []
        self.tables: list[list[list[tuple[str, str | None]]]] = []
        self.open: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, name, attributes):
        attributes = dict(attributes)
        self.elements.append((name, attributes))
        if name not in ("meta", "link", "img", "input", "wbr"):
            self.open.append(name)
        if name == "table":
            self.tables.append([])
        if name == "tr":
            self.tables[-1].append([])
        if name in ("td", "th"):
            self.tables[-1][-1].append(("", attributes.get("data-value")))

    def handle_endtag(self, name):
        assert self.open.pop() == name, f"{name} closes what it did not open"

    def handle_data(self, data):
        if {"style", "script"} & set(self.open):
            return
        self.texts.append(data)
        if "tr" in self.open and self.tables[-1][-1]:
            text, value = self.tables[-1][-1][-1]
            self.tables[-1][-1][-1] = (text + data, value)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def table(self, first_head: str) -> list[list[tuple[str, str | None]]]:
        return next(table for table in self.tables if table[0][0][0] == first_head)


# --- charts -----------------------------------------------------------------------------------------------------------


def scale(points: list[tuple[str, str]]):
    """From a position to a value, by the first and the last of the ticks (position, text)."""
    (at, low), (end, high) = ((float(place), float(text.replace("\N{MINUS SIGN}", "-").replace(",", ""))) for place, text in (points[0], points[-1]))
    return lambda place: low + (place - at) / (end - at) * (high - low)


def curves(svg: str) -> dict[str, list[tuple[float, float]]]:
    """Each curve's points in the units of the axes, read off the ticks as a reader would."""
    y = scale(re.findall(r'<path d="M\S+ ([\d.]+)H[^"]*" class="grid"></path><text[^>]*>([^<]*)<', svg))
    x = scale(re.findall(r'<path d="M([\d.]+) \S+" class="tick"></path><text[^>]*>([^<]*)<', svg))
    found = {}
    for label, path in re.findall(r'<title>([^<]*)</title>(?:<path[^>]*class="band"></path>)?<path d="M([^"]*)" stroke="[^"]*" class="line', svg):
        found[label] = [(x(float(left)), y(float(top))) for left, top in (place.split() for place in path.split("L"))]
    return found | {"mark": [(x(float(left)), 0.0) for left in re.findall(r'<path d="M([\d.]+) \S+" class="mark"', svg)]}

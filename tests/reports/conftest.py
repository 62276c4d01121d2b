"""What the tests of the reports share: the commands, one tiny run made by them, a page taken apart, a browser."""

import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

TINY = ["dataset=digits", "model.layers=[12,12,12]", "model.lateral.columns=[6]", "model.settle.steps=8", "threads=1", "progress=off"]


def command(name: str, *arguments, **options) -> subprocess.CompletedProcess:
    """Run an installed command to its end."""
    path = Path(sys.executable).with_name(name)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    return subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=300, **options)


def train(folder: Path, *overrides, **options) -> subprocess.CompletedProcess:
    return command("ncf-train", *TINY, f"run_dir='{folder}'", *overrides, **options)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The folder of a complete run: three epochs of a tiny GNCN-PDH on the digits. Not to be changed by a test."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    done = train(folder, "epochs=3")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of that run for a test to change."""
    return Path(shutil.copytree(finished, tmp_path / finished.name))


@pytest.fixture
def ncf_report(monkeypatch, capsys):
    """The command ncf-report inside this process: (exit code, what it printed, its error lines)."""
    from ncf import cli

    def run_command(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ncf-report", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.report()
        return end.value.code, *capsys.readouterr()

    return run_command


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
        if name not in ("meta", "link", "img", "input"):
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


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium that logs what a page says and asks for; the tests that need it are skipped where there is none."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    chromedriver = shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.skip("no Chromium with its chromedriver is installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"):
        options.add_argument(f"--{flag}")
    for flag in ("disable-component-update", "disable-sync", f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=chromedriver))
    yield driver
    driver.quit()

"""What the tests of the reports share: the commands, one tiny run made by them, a page taken apart, a browser."""

import json
import random
import shutil
import sys
import time
from itertools import product
from pathlib import Path

import pytest
from pages import MODELS, RATES, SEEDS, command, make_run, train


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


@pytest.fixture(scope="session")
def sweep(finished, tmp_path_factory) -> Path:
    """Forty runs: two models, five learning rates, four seeds; one of them stopped, one failed."""
    folder, draw = tmp_path_factory.mktemp("sweeps") / "forty", random.Random(0)
    for model, rate, seed in product(MODELS, RATES, SEEDS):
        make_run(finished, folder / f"model={model},optimizer.lr={rate},seed={seed}", model, rate, seed, draw)
    stopped, failed = (folder / f"model=gncn_t1,optimizer.lr=0.01,seed={seed}" / "summary.json" for seed in (2, 3))
    stopped.write_text(json.dumps(json.loads(stopped.read_text()) | {"status": "stopped", "reason": "stopped by SIGTERM"}))
    failed.write_text(json.dumps({"status": "failed", "reason": "diverged"}))
    return folder


@pytest.fixture(scope="session")
def compared(sweep) -> Path:
    """The sweep after ncf-report has been there, and how long that took."""
    started = time.monotonic()
    done = command("ncf-report", sweep)
    (sweep.parent / "seconds").write_text(str(time.monotonic() - started))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    (sweep.parent / "printed").write_text(done.stdout)
    assert done.stdout.splitlines()[-4:] == [f"written: {sweep / f'comparison{kind}'}" for kind in (".html", ".csv", "-groups.csv", ".md")]
    return sweep


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

"""Datasets and metrics from outside: by a Python file in --config-dir and by an installed package."""

import sys

import pytest
from installed import TINY, require_one_line, summary, warm

PLUGIN = """
import numpy as np
from ncf import plugins

@plugins.dataset("stripes")
def stripes(config, folder):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 300)
    images = np.zeros((300, 6, 6)) + (np.arange(6) % 2)
    images[kind == 1] = images[kind == 1].transpose(0, 2, 1)
    return {"train": (images, kind)}

@plugins.metric("brightness", unit="per image", meaning="Mean pixel of the images.", label="Brightness")
def brightness(subject):
    return subject.x.mean(1)
"""
OWN = ["dataset=stripes", "metrics.names=[bce,brightness]", *(word for word in TINY if "n_images" not in word)]


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "plugin.py").write_text(PLUGIN)
    return tmp_path


def test_a_python_file_in_the_config_folder_adds_a_dataset_and_a_metric(mine):
    done = warm("ncf-train", "--config-dir=mine", *OWN, "name=own", cwd=mine)
    assert done.returncode == 0 and "Brightness" in done.stdout, done.stderr
    run = mine / "outputs/runs/own"
    figure = summary(run)["metrics"]["test"]["brightness"]
    assert figure["value"] == pytest.approx(0.5) and figure["n"] == 50 and figure["unit"] == "per image"
    assert "Mean pixel of the images." in (run / "report.html").read_text()
    assert warm("ncf-eval", "checkpoint=outputs/runs/own", "--config-dir", "mine", cwd=mine).returncode == 0
    assert warm("ncf-report", "outputs/runs/own", "--config-dir", "mine", cwd=mine).returncode == 0
    done = warm("ncf-train", "--multirun", "--config-dir=mine", *OWN, "seed=0,1", "name=sweep", cwd=mine)
    assert done.returncode == 0, done.stderr
    assert "| stripes" in warm("ncf-train", "--help", "--config-dir=mine", cwd=mine).stdout


def test_a_checkpoint_never_brings_code_along(mine):
    assert warm("ncf-train", "--config-dir=mine", *OWN, "name=own", cwd=mine).returncode == 0
    done = warm("ncf-eval", "checkpoint=outputs/runs/own", cwd=mine)
    require_one_line(done, "dataset.name=stripes: unknown", "--config-dir=FOLDER")


@pytest.mark.parametrize(
    "code, words",
    [
        ("1 / 0", "plugin.py: ZeroDivisionError"),
        ("from ncf import plugins\nplugins.dataset('mnist')(print)", "a dataset named 'mnist' is ncf's own"),
        ("from ncf import plugins\nplugins.metric('bce', 'x', 'x')(print)", "a metric named 'bce' is ncf's own"),
        ("from ncf import plugins\nplugins.dataset('stripes')(lambda *_: 1 / 0)", "dataset stripes: its plugin failed: ZeroDivisionError"),
        (
            "from ncf import plugins\nplugins.dataset('stripes')(lambda *_: {'train': ([[[7.0]]], None)})",
            "dataset stripes: x_train holds values from 7",
        ),
    ],
)
def test_a_plugin_that_fails_is_one_line(code, words, mine):
    (mine / "mine" / "plugin.py").write_text(code)
    require_one_line(warm("ncf-train", "--config-dir=mine", "dataset=stripes", cwd=mine), words)
    assert not (mine / "outputs").exists()


class Installed:
    """In the command's process: a folder of packages as pip leaves them."""

    def __init__(self, path: str):
        self.path = path

    def __call__(self) -> None:
        sys.path.insert(0, self.path)


def test_an_installed_package_is_found_by_its_entry_point(mine):
    info = mine / "site" / "stripes-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stripes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ncf]\nstripes = stripes_for_ncf\n")
    (mine / "site" / "stripes_for_ncf.py").write_text(PLUGIN)
    done = warm("ncf-train", *OWN, "name=own", cwd=mine, prepare=Installed(str(mine / "site")))
    assert done.returncode == 0 and "Brightness" in done.stdout, done.stderr

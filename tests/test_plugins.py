"""Datasets, metrics, activations and more from outside: by a Python file in --config-dir and by an installed package."""

import subprocess
import sys
from math import log, pi

import pytest
import torch
from installed import TINY, require_one_line, summary, warm

from ncf.config.compose import compose_train
from ncf.data import datasets
from ncf.runs import checkpoint

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


def test_from_python_a_config_folder_brings_its_plugins_too(mine):
    call = f"import ncf; print(ncf.train({' '.join(OWN)!r}, config_dir='mine').metrics['test']['brightness'])"
    done = subprocess.run([sys.executable, "-c", call], cwd=mine, capture_output=True, text=True)
    assert done.returncode == 0 and float(done.stdout.splitlines()[-1]) == pytest.approx(0.5), done.stderr


@pytest.mark.parametrize(
    "body, words",
    [
        ("subject.x.mean()", "gave values of shape (); expected one for each of the 50 images"),
        ("subject.x.mean(0)", "gave values of shape (36,); expected one for each of the 50 images"),
        ("None", "gave values of shape (); expected one for each of the 50 images"),
        ("subject.y.no_such_thing", "AttributeError"),
        ("np.array(['a'] * len(subject.x))", "TypeError"),
        ("{'value': 1.0}", "gave a dict without a plain number as n, stderr; expected value (float), n (int) and stderr (float or None)"),
        ("{'value': subject.x.mean(), 'n': 50, 'stderr': None}", "gave a dict without a plain number as value"),
        ("{'value': 1.0, 'n': 50, 'stderr': None, 'all': subject.x}", "TypeError: Object of type Tensor is not JSON serializable"),
    ],
)
def test_a_metric_that_fails_or_gives_no_figure_is_one_line(mine, body, words):
    (mine / "mine" / "plugin.py").write_text(PLUGIN.replace("subject.x.mean(1)", body))
    require_one_line(warm("ncf-train", "--config-dir=mine", *OWN, cwd=mine), "plugin metric brightness", words)


@pytest.mark.parametrize(
    "body, stderr",
    [
        ("subject.x.mean(1).cpu().numpy()", 0.0),
        ("subject.x.mean(1).tolist()", 0.0),
        ("{'value': 0.5, 'n': len(subject.x), 'stderr': None, 'of': 'pixels'}", None),
    ],
)
def test_a_metric_gives_an_array_a_list_or_a_figure(mine, body, stderr):
    (mine / "mine" / "plugin.py").write_text(PLUGIN.replace("subject.x.mean(1)", body))
    assert warm("ncf-train", "--config-dir=mine", *OWN, "name=own", cwd=mine).returncode == 0
    figure = summary(mine / "outputs/runs/own")["metrics"]["test"]["brightness"]
    assert (figure["value"], figure["n"], figure["stderr"]) == (pytest.approx(0.5), 50, stderr if stderr is None else pytest.approx(stderr, abs=1e-6))


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


ACTIVATION = """
from ncf import plugins

@plugins.activation("mine", slope=lambda z, f: 1 - f * f)
def mine(z):
    return z.tanh()
"""


def test_an_activation_from_outside_settles_and_learns_as_one_of_ours_does(mine):
    """tanh under another name, which the compiled steps do not know."""
    (mine / "mine" / "activation.py").write_text(ACTIVATION)
    given = [word for word in TINY if "model.layers" not in word]
    for name in ("mine", "tanh"):
        words = ["--config-dir=mine", *given, "model=gncn_t1", "model.layers=[12,10]", f"model.activation={name}", "compute.dtype=float32"]
        done = warm("ncf-train", *words, f"name={name}", cwd=mine)
        assert done.returncode == 0, done.stderr
    own, ours = (summary(mine / "outputs/runs" / name)["metrics"]["test"]["bce"]["value"] for name in ("mine", "tanh"))
    assert own == pytest.approx(ours, rel=1e-4)
    require_one_line(warm("ncf-train", *given, "model.activation=mine", cwd=mine), "model.activation=mine", "identity, relu, tanh, sigmoid")


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
        ("from ncf import plugins\nplugins.activation('relu', print)(print)", "an activation named 'relu' is ncf's own"),
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


# --- what a change costs: a model family two files, a likelihood one ------------------------------------------------------

FAMILY = """
from dataclasses import dataclass

import torch

from ncf import plugins
from ncf.config.schema import key
from ncf.network.discrepancy import bce, tod
from ncf.network.state import State

@dataclass
class MeanConfig:
    family: str = key("mean", "family of models", choices=("mean",))
    name: str = key("mean", "name shown in reports")
    start: float = key(0.5, "chance of a bright pixel to begin with", above=0, most=1)

class Mean:
    names, abilities = ["image", "code"], frozenset()

    def __init__(self, config, seen, rng, device):
        self.config = config
        self.parameters = {"mean": torch.full((1, seen.n_pixels), config.start, device=device)}

    def settle(self, x, observed=None, steps=None, y=None):
        code, mu = torch.ones(len(x), 1), self.parameters["mean"].expand_as(x)
        return State([x, code], [x, code], [mu], [x - mu], [x - mu])

    def local_updates(self, state, y, rng):
        return {"mean": state.r[0].mean(0, keepdim=True)}

    def losses(self, state, y):
        return bce(state), tod(state)

    def adapt_precision(self, updates=None):
        pass

    limit_norms = adapt_precision

    def tensors(self):
        return dict(self.parameters)

    def load_tensors(self, tensors):
        self.parameters["mean"].copy_(tensors["mean"])

@plugins.family("mean", MeanConfig)
def build(config, seen, rng, device):
    return Mean(config, seen, rng, device)
"""
MEAN = "defaults:\n  - mean_schema\n  - _self_\n\nname: mean_image\n"


def test_a_model_family_is_two_files(tmp_path):
    """Its optimum is known: the mean of the training images, which gradient ascent on -|x - mean|^2 / 2 reaches."""
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "plugin.py").write_text(FAMILY)
    (tmp_path / "mine" / "model" / "mean_image.yaml").write_text(MEAN)
    words = "model=mean_image optimizer=sgd optimizer.lr=0.5 optimizer.beta1=0 epochs=30 batch_size=200 dataset.n_train=200 metrics=basic threads=1".split()
    done = warm("ncf-train", "--config-dir=mine", *words, "name=own", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = checkpoint.load(tmp_path / "outputs/runs/own/checkpoints/last.pt")
    data = datasets.load(compose_train("dataset.n_train=200").dataset)
    torch.testing.assert_close(told["weights"]["mean"][0], data.splits["train"].x.mean(0), atol=1e-5, rtol=0)
    require_one_line(warm("ncf-train", "--config-dir=mine", *words, "model.start=2", cwd=tmp_path), "model.start=2", "at most 1")


LIKELIHOOD = """
from math import log, pi

from ncf import plugins
from ncf.network.likelihoods import Likelihood, draw_gaussian

plugins.likelihood(Likelihood(
    "wide_gaussian", "identity", False,
    lambda drive: (drive / 4, -drive.square().sum(1) / 8 - drive.shape[1] / 2 * log(8 * pi)),
    lambda x: -x.double().square().sum(1) / 8,
    lambda drive, rng: drive + 2 * (draw_gaussian(drive, rng) - drive),
))
"""


def test_a_likelihood_is_one_file(tmp_path):
    """Gaussian pixels of variance 4: with synapses of zero the log density of an image is -|x|^2 / 8 - J / 2 ln 8 pi, whatever is drawn."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "plugin.py").write_text(LIKELIHOOD)
    words = "model=gncn_t1 model.likelihood=wide_gaussian model.init_sd=1e-30 optimizer.lr=1e-30 metrics.names=[bce,log_p] metrics.samples=20"
    done = warm("ncf-train", "--config-dir=mine", *words.split(), "epochs=1", "dataset.n_train=100", "threads=1", "name=own", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    x = datasets.load(compose_train().dataset).splits["test"].x.double()
    expected = (-x.square().sum(1) / 8).mean().item() - 32 * log(8 * pi)
    assert summary(tmp_path / "outputs/runs/own")["metrics"]["test"]["log_p"]["value"] == pytest.approx(expected, rel=1e-5)

"""A run on real-valued images from end to end: what it prints, records, draws and refuses."""

import re

import numpy as np
import pytest
import torch
from installed import summary, warm

import ncf
from ncf.data.datasets import shades
from ncf.report.sections import grey

TINY = "model.layers=[16] model.settle.steps=10 dataset.n_train=200 metrics.n_images=100 epochs=2 threads=1 progress=plain compute.dtype=float32"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "run"
    names = "metrics.names=[bce,mse,in_use,m_mse]"
    done = warm("ncf-train", "model=sparse_threshold", "dataset=natural_patches", *TINY.split(), names, f"run_dir={folder}", cwd=folder.parent)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return folder, done.stdout


def test_it_speaks_of_the_squared_error_and_not_of_bce(run):
    folder, printed = run
    assert "200 training, 2,000 validation and 2,000 test images of 16 x 16, real-valued" in printed
    assert re.search(r"epoch +2/2  train squared error \d+\.\d+  ToD -\d+\.\d+  validation squared error", printed)
    assert "BCE" in printed and "pixels are real-valued, not in [0, 1]; the squared error (mse) stands in for it" in printed
    page = (folder / "report.html").read_text()
    assert "BCE" not in page and "squared error after each epoch" in page and "squared error while settling" in page and "not shown" not in page


def test_its_figures_are_their_sums(run):
    found, network = summary(run[0])["metrics"]["test"], ncf.load(run[0])
    x = network.images("test", 100)
    settled = network.settle(x)
    error, f = (x - settled.reconstruction) ** 2, settled.activities["z1"]
    assert set(found) == {"mse", "in_use", "m_mse"} and np.isnan(settled.bce).all()
    assert found["mse"]["value"] == pytest.approx(error.sum((1, 2)).mean(), rel=1e-4)
    assert found["in_use"]["value"] == pytest.approx(100 * (np.abs(f) > 1e-3).mean(), rel=1e-3) and found["in_use"]["above"] == 1e-3


def test_pictures_show_zero_as_grey_and_three_standard_deviations_as_black_and_white():
    x = torch.tensor([[-4.0, -3.0, 0.0, 1.5, 3.0, 9.0]])
    assert grey(shades(x, real=True)).tolist() == [[0, 0, 128, 191, 255, 255]]
    assert shades(x, real=False) is x


def test_a_checkpoint_is_measured_and_sampled_on_its_own_kind_of_images(run):
    folder, _ = run
    done = warm("ncf-sample", f"checkpoint={folder}", "n=10", "masks=[right]", f"output={folder.parent / 'samples'}", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    assert warm("ncf-eval", f"checkpoint={folder}", "split=test", cwd=folder.parent).returncode == 0
    np.savez(folder.parent / "own.npz", x_train=np.random.default_rng(0).random((40, 16, 16)))
    refused = warm("ncf-eval", f"checkpoint={folder}", "dataset=npz", f"dataset.path={folder.parent / 'own.npz'}", cwd=folder.parent)
    assert refused.returncode == 1
    assert refused.stderr == "error: dataset=npz: its images are pixels in [0, 1], the checkpoint was trained on real values\n"

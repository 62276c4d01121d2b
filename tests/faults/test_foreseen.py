"""What could only fail after training is told before it, and what does not apply to the images is left out with its reason."""

import numpy as np
import pytest
from installed import TINY, require_one_line, summary, warm

SMALL = [word for word in TINY if not word.startswith(("dataset.", "epochs"))] + ["epochs=1", "dataset=npz", "metrics.samples=50"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    x = (rng.random((60, 1, 16)) < rng.random((60, 1, 1))).astype(np.uint8)
    np.savez(folder / "flat.npz", x_train=x, y_train=np.arange(60) % 3)
    np.savez(folder / "tall.npz", x_train=x.reshape(60, 16, 1), y_train=np.arange(60) % 3)
    np.savez(folder / "one_class.npz", x_train=x.reshape(60, 4, 4), y_train=np.full(60, 7))
    return folder


@pytest.mark.parametrize(
    "words, expected",
    [
        (["metrics.mask_fraction=0.05"], "metrics.mask_fraction=0.05: right hides 0 of the 8 columns"),
        (["metrics.mask=top", "metrics.mask_fraction=0.95"], "metrics.mask_fraction=0.95: top hides 8 of the 8 rows"),
        (["metrics=paper", "metrics.mixture.latents=1"], "metrics.mixture.latents=1: must be at least 2"),
    ],
)
def test_a_setting_that_does_not_fit_the_images_is_told_before_training(words, expected, tmp_path):
    require_one_line(warm("ncf-train", *TINY, *words, cwd=tmp_path), expected)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words, reason, left",
    [
        (["dataset.path=flat.npz", "metrics.mask=top"], "images of 1 x 16 have no top part to hide: M-MSE", {"bce", "tod"}),
        (["dataset.path=tall.npz"], "images of 16 x 1 have no right part to hide: M-MSE", {"bce", "tod"}),
        (["dataset.path=one_class.npz", "metrics=paper"], "the training images are all of one class: %Err", {"bce", "tod", "m_mse", "log_p"}),
        (
            ["dataset.path=flat.npz", "metrics=paper", "dataset.n_train=1"],
            "no mixture can be fitted to a single training image: log p(x)",
            {"bce", "tod", "m_mse"},
        ),
    ],
)
def test_what_does_not_apply_to_the_images_is_left_out_with_its_reason(words, reason, left, images, tmp_path):
    words = [word.replace("path=", f"path={images}/") for word in words]
    done = warm("ncf-train", *SMALL, *words, "name=run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"left out, {reason}" in done.stdout and "report.html: Completions" not in done.stdout
    assert set(summary(tmp_path / "outputs/runs/run")["metrics"]["test"]) == left


def test_evaluations_and_samples_know_it_as_well(images, tmp_path):
    assert warm("ncf-train", *SMALL, f"dataset.path={images}/tall.npz", "metrics=basic", "name=run", cwd=tmp_path).returncode == 0
    run = tmp_path / "outputs/runs/run"
    before = sorted(run.rglob("*"))
    one = ["checkpoint=outputs/runs/run", "threads=1"]
    done = warm("ncf-eval", *one, "metrics=fast", "metrics.mask=top", "metrics.mask_fraction=0.01", cwd=tmp_path)
    require_one_line(done, "metrics.mask_fraction=0.01: top hides 0 of the 16 rows")
    require_one_line(warm("ncf-sample", *one, "n=4", "mask_fraction=0.02", cwd=tmp_path), "mask_fraction=0.02: top hides 0 of the 16 rows")
    assert sorted(run.rglob("*")) == before
    done = warm("ncf-sample", *one, "n=4", cwd=tmp_path)
    assert done.returncode == 0 and "left out, images of 16 x 1 have no left part to hide: completions with mask left" in done.stdout
    assert (run / "checkpoints/best-samples/completions.png").exists()

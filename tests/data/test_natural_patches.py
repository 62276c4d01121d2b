"""Natural patches: where they are cut, what whitening leaves of a picture, and what real-valued pixels rule out."""

import numpy as np
import pytest
import torch

from ncf.config.compose import compose_train
from ncf.config.schema import DatasetConfig
from ncf.data import datasets
from ncf.data.natural_patches import PATCHES, SIDE, cut, whitened
from ncf.data.readers import read
from ncf.data.streams import stream
from ncf.errors import UserError
from ncf.measure.metrics import left_out
from ncf.models import build_model, seen_of


def load(*changes: str) -> datasets.Dataset:
    return datasets.load(compose_train("model=sparse_cauchy", "dataset=natural_patches", *changes).dataset)


def test_splits_are_real_valued_patches_without_classes():
    data = load("dataset.n_train=5000")
    assert data.real and data.image_shape == (16, 16) and data.n_classes == 0 and data.carved == ()
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 5000, "validation": 2000, "test": 2000}
    assert len(load("dataset.n_validation=7").splits["validation"]) == 7
    x = data.splits["train"].x
    assert x.min() < -3 and x.max() > 3 and abs(x.mean()) < 0.05 and 0.7 < x.var() < 1.3


def test_patches_are_a_function_of_the_seed_of_the_split():
    first, again, other = (read(DatasetConfig("natural_patches", split_seed=seed), None) for seed in (0, 0, 1))
    for split in PATCHES:
        assert np.array_equal(first[split][0], again[split][0]) and not np.array_equal(first[split][0], other[split][0])


def test_no_pixel_is_in_two_splits_nor_at_the_pictures_edge():
    places = np.arange(100 * 640, dtype=np.float64).reshape(100, 640)
    seen = {}
    for split in PATCHES:
        patches = cut(places, 3000, split, np.random.default_rng(0)).astype(int)
        assert (np.diff(patches, axis=2) == 1).all() and (np.diff(patches, axis=1) == 640).all()  # whole squares
        seen[split] = set(patches.ravel().tolist())
        rows, columns = np.divmod(np.array(sorted(seen[split])), 640)
        assert rows.min() == SIDE and rows.max() == 99 - SIDE and columns.min() >= SIDE and columns.max() <= 639 - SIDE
    assert not seen["train"] & seen["validation"] and not seen["train"] & seen["test"] and not seen["validation"] & seen["test"]
    assert len(seen["train"]) > 2.5 * len(seen["test"])


def test_whitening_multiplies_the_spectrum():
    """By f exp(-(f / 0.4)^4) at f cycles per pixel, over the whole plane of frequencies; then the variance is 1."""
    picture = stream(0, "picture").random((48, 64)) + np.linspace(0, 3, 64)
    y, x = np.fft.fftfreq(48)[:, None], np.fft.fftfreq(64)[None]
    f = np.sqrt(x**2 + y**2)
    expected = np.fft.fft2(picture) * f * np.exp(-((f / 0.4) ** 4))
    found = np.fft.fft2(whitened(picture))
    np.testing.assert_allclose(found / np.abs(found).max(), expected / np.abs(expected).max(), atol=1e-12)
    assert whitened(picture).mean() == pytest.approx(0, abs=1e-12) and whitened(picture).var() == pytest.approx(1)


def test_a_whitened_photograph_has_a_flat_spectrum_up_to_the_cutoff():
    """The amplitude of a natural picture falls as 1 / f: by a factor of ten between the rings, of which whitening leaves no factor of two."""
    from sklearn.datasets import load_sample_image

    grey = load_sample_image("china.jpg").mean(2)
    f = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.fftfreq(grey.shape[1]))
    rings = [(f > low) & (f < 1.2 * low) for low in (0.02, 0.2)]
    before, after = ([np.abs(np.fft.fft2(picture))[ring].mean() for ring in rings] for picture in (grey, whitened(grey)))
    assert before[0] / before[1] > 5 and 0.5 < after[0] / after[1] < 2


CIRCUIT = ["model=two_streams", "model.populations.image.likelihood=bernoulli", "model.likelihood=gaussian"]


@pytest.mark.parametrize(
    "changes, words",
    [
        (["model=gncn_pdh"], "dataset=natural_patches is real-valued, and its pixels have no bernoulli likelihood; set model.likelihood=gaussian"),
        (CIRCUIT, "pixels have no bernoulli likelihood"),
        (["model=gvae"], "a model of family autoencoder expects pixels in [0, 1]; choose model=sparse_cauchy"),
        (["dataset.binarize=static"], "dataset.binarize=static: natural_patches is real-valued"),
        (["dataset.invert=true"], "dataset.invert=true: natural_patches is real-valued"),
        (["model=sparse_threshold", "model.derivative=true"], "model.derivative=true: at rest the slope of activation threshold is 0"),
    ],
)
def test_what_makes_no_sense_with_real_values_is_refused_in_a_line(changes, words):
    with pytest.raises(UserError) as refused:
        compose_train("model=sparse_cauchy", "dataset=natural_patches", *changes)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_metrics_of_pixels_between_0_and_1_are_left_out_and_the_squared_error_stands_in():
    config = compose_train("model=sparse_cauchy", "model.layers=[5]", "dataset=natural_patches", "dataset.n_train=50")
    data = datasets.load(config.dataset)
    network = build_model(config, seen_of(data), np.random.default_rng(0), torch.device("cpu"))
    absent = left_out(network, data, ["bce", "bce_projected", "mse", "tod", "in_use", "m_mse"])
    assert set(absent) == {"bce", "bce_projected"} and "real-valued" in absent["bce"]
    state = network.settle(x := data.splits["test"].x[:9])
    loss, tod = network.losses(state, None)
    assert (loss - ((x - state.mu[0]) ** 2).sum(1)).abs().max() < 1e-3 and (loss == -tod).all()

"""What a network shows of itself: against settling itself, hand-made states and brute force."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ncf.config.schema import GNCNConfig, LateralConfig, MetricsConfig, PrecisionConfig, SettleConfig
from ncf.data.datasets import Dataset, Split
from ncf.measure import diagnostics
from ncf.measure.latents import TrainingLatents
from ncf.network.discrepancy import bce, tod
from ncf.network.gncn import GNCN
from ncf.report.sections import diverging, grey, mosaic

CONFIGS = {
    "pdh": GNCNConfig(
        layers=[6, 6, 4], skips=True, lateral=LateralConfig(enabled=True, columns=[2]), precision=PrecisionConfig(kind="whitened"), init_sd=0.3
    ),
    "t1": GNCNConfig(layers=[6, 5], activation="tanh", prediction="identity", target="state", error_synapses="tied", derivative=True, init_sd=0.3),
}


def network_and_images(name: str) -> tuple[GNCN, torch.Tensor]:
    rng = np.random.default_rng(1)
    return GNCN(CONFIGS[name], 9, rng), torch.from_numpy((rng.random((7, 9)) < 0.5).astype(np.float32))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_point_of_a_settling_curve_is_the_figure_of_that_many_steps(name):
    network, x = network_and_images(name)
    curves = diagnostics.settling_curves(network, x, 12)
    for k in (1, 2, 5, 12):
        state = network.settle_plainly(x, steps=k)
        assert curves["bce"][k - 1] == bce(state).mean().item() and curves["tod"][k - 1] == tod(state).mean().item()
    assert len(curves["bce"]) == 12 and curves["bce"][0] == pytest.approx(9 * np.log(2), rel=1e-5)  # at first every pixel is one half


def test_activity_counts_units_above_the_threshold():
    f = torch.tensor([[0.0, 2.0, -1.0, 0.0005], [0.0, 0.0, -3.0, 0.002]])
    (layer,) = diagnostics.activity(SimpleNamespace(f=[None, f], free=(1,)), ["image", "z1"])
    assert layer == {"name": "z1", "units": 4, "active": 4 / 8, "silent": 1 / 4, "strength": pytest.approx(6.002 / 4)}
    assert diagnostics.activity(SimpleNamespace(f=[None, f * 0], free=(1,)), ["image", "z1"])[0]["strength"] == 0


def test_receptive_fields_are_the_strongest_rows_of_the_first_synapses():
    network, _ = network_and_images("t1")
    rows = network.parameters["W1"].numpy()
    order = sorted(range(6), key=lambda i: -np.sqrt((rows[i] ** 2).sum()))
    assert np.array_equal(diagnostics.receptive_fields(network, 4), rows[order[:4]])
    assert diagnostics.receptive_fields(network, 99).shape == (6, 9)


def test_samples_are_images_drawn_the_same_every_time_from_no_global_stream():
    network, x = network_and_images("pdh")
    before, synapses = (torch.get_rng_state(), np.random.get_state()[1].copy()), {k: v.clone() for k, v in network.tensors().items()}
    data = Dataset("x", (3, 3), 0, {"train": Split(x, None)}, False)
    (first, fitted), (second, _) = (diagnostics.samples(network, TrainingLatents(network, data, MetricsConfig()), 8) for _ in range(2))
    assert fitted == "a Gaussian mixture (1 component, fitted to 7 training images)"
    assert first.shape == (8, 9) and 0 <= first.min() and first.max() <= 1 and torch.equal(first, second)
    assert torch.equal(before[0], torch.get_rng_state()) and np.array_equal(before[1], np.random.get_state()[1])
    assert all(torch.equal(tensor, synapses[name]) for name, tensor in network.tensors().items())


def test_pictures_put_every_pixel_where_it_belongs():
    images = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, -1) // 2
    sheet = mosaic(images, (28, 28), columns=2)
    assert sheet.shape == (2 * 56 + 2, 2 * 56 + 2)
    for i, (top, left) in enumerate([(0, 0), (0, 58), (58, 0)]):
        assert np.array_equal(sheet[top : top + 56 : 2, left : left + 56 : 2], images[i].reshape(28, 28))
        assert np.array_equal(sheet[top : top + 56 : 2], sheet[top + 1 : top + 56 : 2])
    assert (sheet[58:, 58:] == 255).all() and (sheet[56:58] == 255).all() and (sheet[:, 56:58] == 255).all()


def test_colours_of_grey_and_diverging_pictures():
    assert grey(torch.tensor([[0.0, 0.5, 1.0, 2.0, -1.0, float("nan")]])).tolist() == [[0, 128, 255, 255, 0, 0]]
    assert diverging(np.array([[-1.0, 0.0, 1.0, 9.0]])).tolist() == [[[0, 114, 178], [255, 255, 255], [213, 94, 0], [213, 94, 0]]]


@pytest.mark.parametrize("beta, swings", [(0.1, False), (1.9, True)])
def test_alternation_tells_steps_that_are_too_large(beta, swings):
    """One linear layer of unit synapses, gaussian: each step multiplies what is left by 1 - beta, so beyond beta = 1 it changes sign."""
    config = GNCNConfig(layers=[4], activation="identity", likelihood="gaussian", error_synapses="tied", settle=SettleConfig(steps=9, beta=beta))
    network = GNCN(config, 4, np.random.default_rng(0))
    network.parameters["W1"].copy_(torch.eye(4))
    x = torch.from_numpy(np.random.default_rng(1).random((5, 4), dtype=np.float32))
    assert diagnostics.alternation(network, x) == pytest.approx(-1 if swings else 1, abs=1e-4)

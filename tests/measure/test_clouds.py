"""Samples against training images as clouds of points: Gaussians with known answers, ranks with known expectations, plain loops."""

from math import log, prod

import numpy as np
import pytest
import torch
from small import dataset, network

from ncf.baselines.classifier import Classifier
from ncf.config.schema import ClassifierConfig, MetricsConfig
from ncf.data.streams import stream
from ncf.measure.clouds import NEAR, NEAR_DENSE, class_entropy, entropy, neighbours, told_apart
from ncf.measure.fitting import CannotFit
from ncf.measure.gaussians import frechet_distance, gaussian_of
from ncf.measure.latents import TrainingLatents
from ncf.measure.metrics import METRICS, READ, left_out, measure

RNG = np.random.default_rng(0)
FEATURES = [name for name in METRICS if name.endswith("_features")]
PIXELS = [name for name in METRICS if name.endswith("_pixels")]


def gaussian(n: int, mean: float = 0.0, spread: float = 1.0, size: int = 2) -> torch.Tensor:
    return torch.from_numpy(mean + spread * RNG.standard_normal((n, size)))


def distance(real: torch.Tensor, images: torch.Tensor) -> float:
    return frechet_distance(gaussian_of(real), gaussian_of(images))


# --- neighbours -------------------------------------------------------------------------------------------------------


def by_loops(real: torch.Tensor, images: torch.Tensor) -> dict[str, list[float]]:
    def ball(points: torch.Tensor, i: int, k: int) -> float:
        return sorted((points[i] - points[j]).norm().item() for j in range(len(points)) if j != i)[k - 1]

    def inside(point: torch.Tensor, points: torch.Tensor, k: int) -> int:
        return sum((point - points[i]).norm().item() <= ball(points, i, k) for i in range(len(points)))

    def own_kind(i: int, points: torch.Tensor, others: torch.Tensor) -> float:
        own, other = ball(points, i, 1), min((points[i] - y).norm().item() for y in others)
        return 0.5 if own == other else float(own < other)

    return {
        "precision": [float(inside(y, real, 3) > 0) for y in images],
        "recall": [float(inside(x, images, 3) > 0) for x in real],
        "density": [inside(y, real, 5) / 5 for y in images],
        "coverage": [float(any((y - real[i]).norm().item() <= ball(real, i, 5) for y in images)) for i in range(len(real))],
        "two_sample": [own_kind(i, real, images) for i in range(len(real))] + [own_kind(i, images, real) for i in range(len(images))],
    }


def require_equal(found: dict[str, torch.Tensor], expected: dict[str, list[float]]) -> None:
    assert list(found) == list(expected)
    for name, values in found.items():
        assert values.tolist() == pytest.approx(expected[name]), name


@pytest.mark.parametrize("block", [4, 1000])
def test_neighbours_are_those_of_plain_loops(block):
    real, images = gaussian(30), gaussian(25, 1.0, 0.7)
    found = neighbours(real, images, block)
    require_equal(found, by_loops(real, images))
    assert all(0 < values.mean() < 1 for name, values in found.items() if name != "density")
    grid = [torch.from_numpy(RNG.integers(0, 2, (20, 4))).float() for _ in range(2)]  # many as near
    require_equal(neighbours(*grid, block), by_loops(*grid))


def test_the_same_points_are_all_covered_and_far_ones_are_none():
    x = gaussian(50)
    shares = {name: values.mean().item() for name, values in neighbours(x, x.clone()).items()}
    assert shares["precision"] == shares["recall"] == shares["coverage"] == 1 and shares["two_sample"] == 0 < shares["density"]
    far = {name: values.mean().item() for name, values in neighbours(x, x + 100).items()}
    assert far == {"precision": 0, "recall": 0, "density": 0, "coverage": 0, "two_sample": 1}


def test_a_narrow_cloud_is_precise_and_a_wide_one_recalls():
    narrow, wide = gaussian(300, 0, 0.2), gaussian(300, 0, 1.0)
    inner, outer = ({name: values.mean().item() for name, values in neighbours(*pair).items()} for pair in ((wide, narrow), (narrow, wide)))
    assert min(inner["precision"], outer["recall"]) > 0.6 > 0.5 > max(inner["recall"], outer["precision"])
    assert inner["density"] > 0.5 > outer["density"] and outer["coverage"] < 1


def test_of_one_distribution_density_coverage_and_two_samples_have_their_expectations():
    """The 2N - 1 other points stand in random order of their distance from a real one.

    E density = 1; E coverage = 1 - (N-1)...(N-k) / ((2N-1)...(2N-k)) (Naeem et al., 2020); the nearest is of its own kind (N-1) / (2N-1) of the time.
    """
    N, k, often = 20, NEAR_DENSE, 400
    drawn = [{name: values.mean().item() for name, values in neighbours(gaussian(N), gaussian(N)).items()} for _ in range(often)]
    uncovered = prod((N - i) / (2 * N - i) for i in range(1, k + 1))
    for name, expected in (("density", 1), ("coverage", 1 - uncovered), ("two_sample", (N - 1) / (2 * N - 1))):
        values = [d[name] for d in drawn]
        assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / often**0.5), name
    assert np.mean([d["precision"] for d in drawn]) == pytest.approx(np.mean([d["recall"] for d in drawn]), abs=0.03)
    assert (NEAR, NEAR_DENSE) == (3, 5)


@pytest.mark.parametrize("names, fixed", [(("precision", "density", "two_sample"), "real"), (("recall",), "images")])
def test_the_errors_of_neighbours_are_their_spread_over_draws_of_the_images_counted(names, fixed):
    """The other cloud stays: given that, the images counted are independent."""
    real, images = gaussian(200, size=5), gaussian(200, 0.3, 0.9, size=5)
    figures = [
        neighbours(real if fixed == "real" else gaussian(200, size=5), images if fixed == "images" else gaussian(200, 0.3, 0.9, size=5))
        for _ in range(150)
    ]
    for name in names:
        errors = [f[name].std().item() / len(f[name]) ** 0.5 for f in figures]
        assert np.mean(errors) == pytest.approx(np.std([f[name].mean() for f in figures]), rel=0.25), name


def test_two_kinds_are_told_apart_where_one_lies_inside_the_other():
    """The accuracy over both, one half, would hide it: everybody's nearest is of the inner cloud."""
    wide, narrow = gaussian(400, size=200), gaussian(400, 0, 0.8, size=200)
    own = neighbours(wide, narrow)["two_sample"]
    found = told_apart(own, 400)
    assert own.mean() == pytest.approx(0.5, abs=0.01) and found["value"] > 99 and found["training_images"] < 1 < 99 < found["samples"]
    copies = told_apart(neighbours(wide, wide.clone())["two_sample"], 400)
    assert (copies["value"], copies["stderr"]) == (100, 0)
    half = told_apart(torch.tensor([1.0, 0, 1, 0, 1, 1, 1, 0]), 4)
    assert half["value"] == 50 + (0 + 25) / 2
    assert half["stderr"] == pytest.approx(100 * (1 / 3 / 4 + 1 / 4 / 4) ** 0.5 / 2)


def test_too_few_images_have_no_neighbours():
    with pytest.raises(CannotFit, match="5 images are too few"):
        neighbours(gaussian(10), gaussian(5))
    assert len(neighbours(gaussian(6), gaussian(6))) == 5


# --- classes ----------------------------------------------------------------------------------------------------------


def test_entropy_is_that_of_the_histogram():
    y = torch.tensor([0] * 200 + [1] * 100 + [3] * 100)
    found = class_entropy(y, 5)
    assert found["value"] == pytest.approx(1.5 * log(2)) and found["most"] == pytest.approx(log(5)) and found["n"] == 400
    assert found["shares"] == [0.5, 0.25, 0, 0.25, 0]
    assert found["stderr"] == pytest.approx(log(2) / 2 / 400**0.5, rel=0.15)  # sd of ln p over root n
    assert entropy(np.full(7, 3)) == pytest.approx(log(7)) and entropy(np.array([0, 9])) == 0


# --- as metrics -------------------------------------------------------------------------------------------------------


def test_samples_are_compared_with_as_many_training_and_held_out_images():
    net, data = network(), dataset()
    training = TrainingLatents(net, data, MetricsConfig())
    for most, n in ((5000, 60), (40, 40)):
        figures = measure(net, data, "test", MetricsConfig(names=PIXELS, n_compared=most), training)
        real, held_out = (x[stream(0, "compared").permutation(len(x))[:n]] for x in (training.images, data.splits["test"].x))
        drawn = training.drawn[:n]
        assert {figure["n"] for figure in figures.values()} == {n}
        assert figures["frechet_pixels"]["value"] == pytest.approx(distance(real, drawn))
        assert figures["frechet_pixels"]["held_out"] == pytest.approx(distance(real, held_out))
        own = neighbours(real, drawn)["two_sample"]
        assert figures["two_sample_pixels"]["value"] == pytest.approx(told_apart(own, n)["value"])
        for name in PIXELS[1:-1]:
            of_samples, of_held_out = (100 * neighbours(real, images)[name.removesuffix("_pixels")] for images in (drawn, held_out))
            assert figures[name]["value"] == pytest.approx(of_samples.mean().item())
            assert figures[name]["held_out"] == pytest.approx(of_held_out.mean().item())
            assert figures[name]["held_out_stderr"] == pytest.approx(of_held_out.std().item() / len(of_held_out) ** 0.5)
            assert "reader_wrong" not in figures[name]


def test_training_images_are_not_held_out():
    failed: dict[str, str] = {}
    assert measure(network(), dataset(), "train", MetricsConfig(names=["recall_pixels"]), failed=failed) == {}
    assert "split=validation or test" in failed["recall_pixels"]


def test_features_are_a_classifiers_uppermost_hidden_activities():
    net, data = network(), dataset()
    reader = Classifier(ClassifierConfig(layers=[8, 5]), 9, 3, np.random.default_rng(1))
    training = TrainingLatents(net, data, MetricsConfig())
    training.reader = reader
    figures = measure(net, data, "test", MetricsConfig(names=list(READ)), training)
    P, test = reader.parameters, data.splits["test"]

    def seen(x: torch.Tensor) -> torch.Tensor:
        return ((x @ P["W1"] + P["b1"]).clamp(min=0) @ P["W2"] + P["b2"]).clamp(min=0)

    rows = stream(0, "compared").permutation(len(test.x))[:60]
    real, drawn, held_out = (
        seen(x) for x in (training.images[stream(0, "compared").permutation(len(training.images))[:60]], training.drawn[:60], test.x[rows])
    )
    assert figures["frechet_features"]["value"] == pytest.approx(distance(real, drawn), rel=1e-5)
    assert figures["density_features"]["value"] == pytest.approx(100 * neighbours(real, drawn)["density"].mean().item())
    assert figures["recall_features"]["held_out"] == pytest.approx(100 * neighbours(real, held_out)["recall"].mean().item())
    told = [(x @ P["W3"] + P["b3"]).argmax(1) for x in (drawn, held_out)]
    shares = torch.bincount(told[0], minlength=3) / 60
    assert figures["class_entropy"]["shares"] == pytest.approx(shares.tolist())
    assert figures["class_entropy"]["held_out"] == pytest.approx(entropy(torch.bincount(told[1]).numpy()))
    wrong = 100 * (told[1] != test.y[rows]).double().mean().item()
    assert wrong > 0 and [figure["reader_wrong"] for figure in figures.values()] == pytest.approx([wrong] * 7)


def test_without_a_reader_its_figures_are_left_out():
    absent = left_out(network(), dataset(), list(METRICS))
    assert {name for name, reason in absent.items() if reason == "metrics.reader names no classifier"} == {*FEATURES, "class_entropy"} == set(READ)
    assert not set(READ) & set(left_out(network(), dataset(), list(METRICS), reader="run"))
    assert [name.removesuffix("_pixels") for name in PIXELS] == [name.removesuffix("_features") for name in FEATURES]

"""Figures of merit against sums written out, and the registry: what is measured, on what, how often, and what is left out."""

import json
from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from small import Counting, dataset, network

from ncf.config.schema import AnnealingConfig, MetricsConfig, MixtureConfig
from ncf.measure.metrics import METRICS, left_out, measure
from ncf.measure.subject import summarize
from ncf.network.state import State

CONFIG = MetricsConfig(names=list(METRICS), mixture=MixtureConfig(components=2), annealing=AnnealingConfig(images=3, chains=2, steps=5), samples=100)


def test_every_figure_says_value_unit_number_and_error_and_is_plain():
    net = network()
    names = [name for name in METRICS if name not in left_out(net, dataset(), list(METRICS))]
    assert {"bce", "tod", "m_mse", "class_err", "log_p", "log_p_annealed"} <= set(names)
    figures = measure(net, dataset(), "test", MetricsConfig(**(vars(CONFIG) | {"names": names})))
    assert list(figures) == names
    n_train = len(dataset().splits["train"].x)
    for name, figure in figures.items():
        assert list(figure)[:2] == ["value", "unit"] and figure["unit"] == METRICS[name].unit
        assert (
            figure["n"] == {"log_p_annealed": 3, "posterior_kl": 3, "ndb": n_train, "gaussian_kl": n_train}.get(name, 60)
            and np.isfinite(figure["value"])
            and (figure["stderr"] > 0 or name.endswith("_pixels") and figure["value"] in (0, 100))
        )
    json.dumps(figures, allow_nan=False)
    assert figures["log_p"]["as_released"] == pytest.approx(figures["log_p"]["value"] + 2 * log(100))
    assert figures["log_p"]["samples"] == 100 and figures["log_p"]["components"] == 2


def test_bce_and_tod_are_their_sums():
    net, data = network(), dataset()
    figures = measure(net, data, "test", MetricsConfig(names=["bce", "tod"], batch_size=7))
    x = data.splits["test"].x
    state = net.settle(x)
    mu = state.mu[0].double()
    bce = -(torch.where(x > 0, mu, 1 - mu)).log().sum(1)
    tod = -((x - mu) ** 2).sum(1) - ((state.f[1] - state.mu[1]).double() ** 2).sum(1)
    for name, values in (("bce", bce), ("tod", tod)):
        assert figures[name]["value"] == pytest.approx(values.mean().item(), rel=1e-5)
        assert figures[name]["stderr"] == pytest.approx(values.std().item() / 60**0.5, rel=1e-4)


def test_images_settle_once_for_all_metrics_that_need_it():
    net = network()
    measure(net, dataset(), "test", MetricsConfig(names=["bce", "tod"]))
    assert net.settled == 60
    measure(net, dataset(), "test", MetricsConfig(names=["bce", "tod", "class_err", "log_p"], mixture=CONFIG.mixture, samples=10))
    assert net.settled == 60 + 60 + 600 + 50  # the validation images choose the penalty
    measure(net, dataset(), "test", MetricsConfig(names=["bce"], n_images=10))
    assert net.settled == 60 + 60 + 600 + 50 + 10


class Seeing(Counting):
    """A stand-in whose top activities are what `see` makes of an image."""

    def settle(self, x, *more, **named):
        state = super().settle(x, *more, **named)
        return State(state.z, [*state.f[:-1], self.see(x)], state.mu, state.r, state.e)


def test_class_error_is_the_share_of_wrong_classes():
    """Top activities that show the class give 0 %; ones that show nothing give all but the share of the commonest class."""
    data = dataset()
    for split in data.splits.values():
        split.x[:, :3] = torch.eye(3)[split.y]
    net = network()
    net.__class__ = Seeing
    net.see = lambda x: x[:, :3] * 20
    assert measure(net, data, "test", MetricsConfig(names=["class_err"]))["class_err"]["value"] == 0
    net.see = lambda x: torch.ones(len(x), 3)
    figure = measure(net, data, "test", MetricsConfig(names=["class_err"]))["class_err"]
    commonest = data.splits["train"].y.bincount().argmax()
    wrong = (data.splits["test"].y != commonest).double().mean().item()
    assert figure["value"] == pytest.approx(100 * wrong) and figure["unit"] == "%" and figure["training_images"] == 600
    assert figure["stderr"] == pytest.approx(100 * (wrong * (1 - wrong) / 59) ** 0.5)


def test_what_does_not_apply_is_left_out_with_its_reason():
    data = dataset()

    class Blind:
        abilities = frozenset()

    assert set(left_out(Blind(), data, list(METRICS))) >= {"bce", "tod", "m_mse", "log_p", "log_p_annealed"}
    assert "no decoder" in left_out(Blind(), data, ["bce"])["bce"]
    data.splits["test"].y = None
    assert left_out(network(), data, ["bce", "class_err"]) == {"class_err": "the images have no classes"}
    data.splits["validation"].x[0, 0] = 0.5
    assert "grey" in left_out(network(), data, ["bce", "log_p"])["log_p"]
    assert not left_out(network(likelihood="gaussian"), data, ["bce", "log_p"])


def test_summaries_are_means_with_their_standard_error():
    summary = summarize(torch.tensor([1.0, 2, 3, 6]))
    assert summary.pop("per_image").tolist() == [1, 2, 3, 6]
    assert summary == {"value": 3.0, "n": 4, "stderr": pytest.approx(np.std([1, 2, 3, 6], ddof=1) / 2)}
    assert summarize(torch.tensor([5.0]))["stderr"] is None


def test_the_values_of_single_images_are_those_behind_the_means():
    net, data = network(), dataset()
    per_image = {}
    names = [name for name in METRICS if name not in left_out(net, data, list(METRICS))]
    figures = measure(net, data, "test", replace(CONFIG, names=names), per_image=per_image)
    of_samples = {"ndb", "gaussian_kl", *(name for name in names if name.endswith("_pixels"))}
    assert set(per_image) == {f"test_{name}" for name in set(figures) - of_samples}
    for name, figure in figures.items():
        if name in of_samples:
            continue
        values = per_image[f"test_{name}"]
        assert len(values) == figure["n"] and values.mean(dtype=float) == pytest.approx(figure["value"], rel=1e-5)
        assert "per_image" not in figure
    config = MetricsConfig(names=["bce"], batch_size=1)
    alone = [measure(net, data, "test", replace(config, n_images=n), per_image=(kept := {})) and kept["test_bce"] for n in (3, 5)]
    assert (alone[1][:3] == alone[0]).all()  # in the order of the split


def test_directions_of_all_metrics():
    lower = {"bce", "bce_inferred", "bce_projected", "m_mse", "class_err", "class_err_hidden", "label_err", "active", "ndb", "gaussian_kl"}
    lower |= {f"{name}_{of}" for name in ("frechet", "two_sample") for of in ("features", "pixels")}
    lower |= {"fantasy_mse", "tsne_err", "mse", "in_use", "next_frame", "label_err_half", "bce_label", "m_mse_label", "label_image"}
    lower |= {"bce_best_top", "posterior_kl"}
    assert {name for name, metric in METRICS.items() if not metric.higher} == lower

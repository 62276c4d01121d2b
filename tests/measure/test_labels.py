"""Image and label, each given the other: the figures against settling by hand, on both kinds of circuit."""

import numpy as np
import pytest
import torch
from small import dataset

from ncf.config.compose import compose_train
from ncf.config.schema import MetricsConfig
from ncf.data.datasets import Split
from ncf.measure.metrics import left_out, measure
from ncf.measure.reading import percent_wrong
from ncf.network.gncn import GNCN

NAMES = ["label_err_half", "bce_label", "m_mse_label", "label_image"]


@pytest.fixture(params=["image_and_label", "gncn_pdh_label"])
def network(request) -> GNCN:
    sizes = [
        f"model.populations.{name}={{size:6,columns:0}}" for name in (["z1", "z2"] if request.param == "image_and_label" else ["z1", "z2", "z3"])
    ]
    config = compose_train(
        f"model={request.param}", "model.settle.steps=12", "model.init_sd=0.5", "model.error_synapses=tied", "model.feedback=null", *sizes
    )
    return GNCN(config.model, 9, np.random.default_rng(0), n_classes=3)


def test_what_is_given_is_what_settles(network):
    data = dataset()
    x, y = data.splits["test"].x, data.splits["test"].y
    figures = measure(network, data, "test", MetricsConfig(names=NAMES, batch_size=7, mask="top", mask_fraction=0.34))
    seen = torch.ones(9)
    seen[:3] = 0
    half, both, told = network.settle_plainly(x, seen), network.settle_plainly(x, None, y=y), network.settle_plainly(x, seen, y=y)
    mu = both.mu[0].double()
    alone = torch.stack([network.settle_plainly(torch.zeros(1, 9), torch.zeros(9), y=torch.tensor([c])).mu[0][0] for c in range(3)])
    train = data.splits["train"]
    mean = torch.stack([train.x[train.y == c].mean(0) for c in range(3)])
    assert figures["label_err_half"]["value"] == pytest.approx(100 * (network.told(half).argmax(1) != y).double().mean().item())
    assert figures["bce_label"]["value"] == pytest.approx(-torch.where(x > 0, mu, 1 - mu).log().sum(1).mean().item(), rel=1e-4)
    assert figures["m_mse_label"]["value"] == pytest.approx(((x - told.mu[0])[:, :3] ** 2).sum(1).mean().item(), rel=1e-4)
    assert figures["label_image"]["value"] == pytest.approx(((x - alone[y]) ** 2).sum(1).mean().item(), rel=1e-4)
    assert figures["label_image"]["class_mean"] == pytest.approx(((x - mean[y]) ** 2).sum(1).mean().item(), rel=1e-4)
    assert len({round(figure["value"], 3) for figure in figures.values()}) == 4


def test_a_network_without_labels_or_without_images_to_predict_is_not_asked():
    config = compose_train("model=discriminative_t1", "model.populations.h1.size=6", "model.populations.h2.size=6").model
    classifier = GNCN(config, 9, np.random.default_rng(0), n_classes=3)
    assert set(left_out(classifier, dataset(), NAMES)) == set(NAMES) and not left_out(classifier, dataset(), ["label_err"])


def test_images_without_a_label_are_no_errors(network):
    data = dataset()
    train = data.splits["train"]
    train.y[5:] = -1
    names = [*NAMES, "label_err"]
    few = measure(network, data, "train", MetricsConfig(names=names, mask="top", mask_fraction=0.34))
    data.splits["test"].x, data.splits["test"].y = train.x[:5], train.y[:5]
    alone = measure(network, data, "test", MetricsConfig(names=names, mask="top", mask_fraction=0.34))
    for name in names:
        assert few[name]["n"] == 5 and few[name]["value"] == pytest.approx(alone[name]["value"], rel=1e-5)


def test_labels_of_other_classes_are_left_out_with_the_reason(network):
    data = dataset()
    data.n_classes = 4
    assert set(left_out(network, data, [*NAMES, "label_err"]).values()) == {"the images have 4 classes, the model's label has 3"}


def test_the_mean_image_of_a_class_that_training_images_lack_counts_for_nothing(network):
    data = dataset()
    train, test = data.splits["train"], data.splits["test"]
    train.y[train.y == 2] = -1
    figure = measure(network, data, "test", MetricsConfig(names=["label_image"]))["label_image"]
    means = [train.x[train.y == c].mean(0) for c in (0, 1)]
    errors = [((x - means[c]) ** 2).sum().item() for x, c in zip(test.x, test.y.tolist()) if c < 2]
    assert figure["class_mean"] == pytest.approx(np.mean(errors), rel=1e-5) and figure["n"] == 60 > len(errors)


def test_a_reader_is_wrong_on_images_whose_class_is_known():
    x, y = torch.zeros(6, 9), torch.tensor([0, 1, -1, 2, -1, 0])
    assert percent_wrong(lambda images: torch.zeros(len(images), dtype=torch.int64), Split(x, y)) == 50.0
    assert percent_wrong(lambda images: torch.zeros(len(images)), Split(x, torch.full((6,), -1))) is None

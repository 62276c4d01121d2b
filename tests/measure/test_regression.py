"""%Err's regression: its objective, and who chooses its penalty."""

import pytest
import torch
from small import dataset, network

from ncf.config.schema import MetricsConfig
from ncf.measure.fitting import PENALTIES, TOLERANCE, USUAL_PENALTY, fit_classifier
from ncf.measure.latents import TrainingLatents
from ncf.measure.metrics import measure


def labelled(images: int, units: int, seed: int, noise: float):
    """Features of three classes, which their first three columns tell beside noise."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (images,), generator=generator)
    features = noise * torch.randn(images, units, generator=generator)
    features[:, :3] += torch.eye(3)[y]
    return features, y


@pytest.mark.parametrize("penalty", [0.3, 5.0])
def test_the_regression_is_where_its_objective_is_flat(penalty):
    features, y = labelled(90, 5, 0, 0.7)
    found = fit_classifier((features, y), None, penalty).model
    w, b = (torch.tensor(v, requires_grad=True) for v in (found.coef_, found.intercept_))
    loss = torch.nn.functional.cross_entropy(features.double() @ w.T + b, y, reduction="sum") + penalty / 2 * w.square().sum()
    for gradient in torch.autograd.grad(loss, (w, b)):
        assert gradient.abs().max() < 1.01 * TOLERANCE * len(features)


@pytest.mark.parametrize("offset", [0.0, 40.0])
def test_the_regression_is_at_the_least_wherever_the_features_mean_lies(offset):
    """An independent search, by torch in centred coordinates, comes no lower; left where they are, features so far off keep scikit-learn's from it."""
    features, y = labelled(300, 30, 4, 0.5)
    given = (features + offset).double()

    def loss(w: torch.Tensor, b: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(x @ w.T + b, y, reduction="sum") + 0.005 * w.square().sum()

    found = fit_classifier((given, y), None, 0.01).model
    w, b = torch.zeros(3, 30, dtype=torch.float64, requires_grad=True), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([w, b], max_iter=5000, tolerance_grad=1e-9, tolerance_change=0, history_size=50, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        search.zero_grad()
        (value := loss(w, b, given - given.mean(0))).backward()
        return value

    search.step(closure)
    least = loss(w, b, given - given.mean(0)).item()
    assert least == pytest.approx(loss(torch.from_numpy(found.coef_), torch.from_numpy(found.intercept_), given).item(), abs=0.02)


@pytest.mark.parametrize("images, units, noise", [(30, 200, 1.0), (600, 6, 0.4), (60, 40, 0.7)])
def test_judges_choose_the_penalty_that_is_wrong_of_the_fewest(images, units, noise):
    known, judges = labelled(images, units, 1, noise), labelled(300, units, 2, noise)
    wrong = {p: (fit_classifier(known, None, p).tell(judges[0]) != judges[1]).sum().item() for p in PENALTIES}
    assert len(set(wrong.values())) > 1
    assert fit_classifier(known, judges, None).penalty == min(PENALTIES, key=wrong.__getitem__)
    assert fit_classifier(known, None, None).penalty == USUAL_PENALTY


def test_validation_images_choose_and_test_images_do_not():
    """Labels of the test images thrown about change how often it is wrong, not the penalty; those of the validation images change the penalty."""

    def figure(shuffled: str | None, penalty: float | None = None) -> dict:
        data = dataset()
        for name, split in data.splits.items():
            split.x[:, :3] = torch.eye(3)[split.y]
            if name == shuffled:
                split.y = (split.y + 1) % 3
        return measure(network(), data, "test", MetricsConfig(names=["class_err"], penalty=penalty))["class_err"]

    plain, of_validation, of_test = (figure(name) for name in (None, "validation", "test"))
    assert plain["penalty"] == of_test["penalty"] != of_validation["penalty"]
    assert of_test["value"] > plain["value"]
    assert figure(None, 3.0)["penalty"] == 3.0


def test_without_classes_of_validation_images_the_penalty_is_the_usual():
    data = dataset()
    data.splits["validation"].y = None
    training = TrainingLatents(network(), data, MetricsConfig())
    assert training.classifier(training.activities, training.settled_codes).penalty == USUAL_PENALTY

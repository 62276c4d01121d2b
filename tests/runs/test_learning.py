"""A whole run learned a second time: every epoch one batch of all training images, so that nothing depends on their order."""

import numpy as np
import pytest
from installed import rows, warm
from referee import bce, limited, settle, updates, weights_of


def sgd(lr: float, beta1: float):
    velocity: dict[int, np.ndarray] = {}

    def step(l: int, t: int, update: np.ndarray) -> np.ndarray:
        velocity[l] = beta1 * velocity.get(l, 0) + update
        return lr * velocity[l]

    return step


def adam(lr: float, beta1: float, beta2: float, epsilon: float):
    m: dict[int, np.ndarray] = {}
    v: dict[int, np.ndarray] = {}

    def step(l: int, t: int, update: np.ndarray) -> np.ndarray:
        m[l] = beta1 * m.get(l, 0) + (1 - beta1) * update
        v[l] = beta2 * v.get(l, 0) + (1 - beta2) * update**2
        return lr * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m[l] / (np.sqrt(v[l]) + epsilon)

    return step


@pytest.fixture(scope="module")
def start(risen, tmp_path_factory) -> list[np.ndarray]:
    """The synapses before training: those of a run whose rate is below their rounding."""
    cwd = tmp_path_factory.mktemp("start")
    done = warm("ncf-train", *risen.arguments, *ONE_BATCH, "optimizer.lr=1e-12", "epochs=1", "run_dir=run", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return weights_of(cwd / "run/checkpoints/last.pt")


ONE_BATCH = ["batch_size=70", "model.init_sd=0.4", "metrics=basic"]
RULES = {
    "sgd": (["optimizer=sgd", "optimizer.lr=0.5", "optimizer.beta1=0.6"], lambda: sgd(0.5, 0.6)),
    "adam": (
        ["optimizer=adam", "optimizer.lr=0.03", "optimizer.beta1=0.8", "optimizer.beta2=0.9", "optimizer.epsilon=0.001"],
        lambda: adam(0.03, 0.8, 0.9, 0.001),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_a_run_learns_what_the_equations_say(name, start, risen, tmp_path):
    """Settle, update, norm limit; figures of the epoch are those before its own update."""
    overrides, rule = RULES[name]
    given = [argument for argument in risen.arguments if not argument.startswith("optimizer")]
    done = warm("ncf-train", *given, *ONE_BATCH, *overrides, "epochs=4", "run_dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    W, x, step = start, risen.images["x_train"].reshape(70, -1), rule()
    assert all(np.linalg.norm(w, axis=0).max() == pytest.approx(1, abs=1e-6) for w in W)  # the limit is at work from the start
    for t, row in enumerate(rows(tmp_path / "run"), start=1):
        state = settle(W, x)
        assert row["train_bce"] == pytest.approx(bce(x, state["mu"][0]).mean(), rel=1e-4)
        assert row["train_tod"] == pytest.approx(-sum((r**2).sum(1) for r in state["r"]).mean(), rel=1e-4)
        W = [limited(w + step(l, t, update)) for l, (w, update) in enumerate(zip(W, updates(W, x)))]
    for found, expected, before in zip(weights_of(tmp_path / "run/checkpoints/last.pt"), W, start, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-4)
        assert np.abs(expected - before).max() > 0.02

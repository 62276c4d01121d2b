"""When settling stops, what it starts from, and that recordings are never used for another settling than their own."""

import numpy as np
import pytest
import torch
from small import run_again

from ncf.config.schema import GNCNConfig, PrecisionConfig, SettleConfig
from ncf.network import cuda_graph, settling
from ncf.network.gncn import GNCN

LINEAR = dict(activation="identity", prediction="identity", likelihood="gaussian", target="state", error_synapses="tied", derivative=True)


def linear(layers: list[int], **settle) -> tuple[GNCN, torch.Tensor]:
    network = GNCN(GNCNConfig(layers=layers, init_sd=0.3, settle=SettleConfig(**settle), **LINEAR), 9, np.random.default_rng(0))
    return network, torch.from_numpy(np.random.default_rng(1).random((12, 9), dtype=np.float32))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_no_tolerance_stops_it_before_every_layer_has_moved(depth):
    network, x = linear([5] * depth, steps=50, beta=0.1, tolerance=1e6)
    for state in (network.settle(x), network.settle_plainly(x)):
        assert state.steps == depth + 1 and not state.moving
        assert all((z != 0).any() for z in state.z[1:])


def test_the_tolerance_is_a_share_of_the_states():
    """Of a linear network the states grow with the images: a thousandfold image stops at the same step."""
    network, x = linear([6], steps=500, beta=0.2, gamma=0.5, tolerance=1e-3)
    for settle in (network.settle, network.settle_plainly):
        steps = {scale: settle(scale * x).steps for scale in (1e-3, 1.0, 1e3)}
        assert len(set(steps.values())) == 1 and 5 < steps[1.0] < 100


def test_every_image_must_be_at_rest():
    """A dark image is at rest at once; one that still moves is waited for."""
    network, x = linear([6], steps=500, beta=0.2, gamma=0.5, tolerance=1e-3)
    alone = network.settle_plainly(x[:1]).steps
    mixed = torch.cat([torch.zeros(11, 9), x[:1]])
    assert network.settle_plainly(mixed).steps == alone and network.settle(mixed).steps == alone
    assert network.settle_plainly(mixed[:11]).steps == 2


def test_a_batch_stops_as_one_however_many_threads_settle_it(monkeypatch):
    """Shared among two, images that come to rest early would be left there, where the whole batch moves on with those that do not."""
    network, x = linear([6], steps=500, beta=0.2, gamma=0.5, tolerance=1e-2)
    steps = [network.settle(image[None]).steps for image in x]
    mixed = x[np.argsort(steps)]
    assert max(sorted(steps)[:6]) < max(steps)
    alone = network.settle(mixed)
    monkeypatch.setattr(settling, "threads_for", lambda *_: 2)
    shared = network.settle(mixed)
    assert shared.steps == alone.steps and all(torch.equal(one, other) for one, other in zip(shared.z, alone.z))


def test_whitened_precision_is_stepped_twice_before_training():
    """Each step adds 0.00025 to every entry of I + U(-0.01, 0.01); then columns longer than 1 are brought to 1."""
    n = 300
    network = GNCN(GNCNConfig(layers=[n, 4], precision=PrecisionConfig("whitened")), 9, np.random.default_rng(0))
    sigma, q = (network.tensors()[name].double().numpy() for name in ("Sigma1", "Q1"))
    assert np.linalg.norm(sigma, axis=0) == pytest.approx(np.ones(n), abs=1e-6)
    unlimited = sigma * (1.0005 / sigma.diagonal())  # the diagonal is known: 1 and two steps
    outside = unlimited[~np.eye(n, dtype=bool)]
    assert outside.mean() == pytest.approx(0.0005, abs=5 * 0.01 / 3**0.5 / n)
    assert 0.0005 + 0.0099 < outside.max() <= 0.0105 + 1e-6 and -0.0095 - 1e-6 <= outside.min() < -0.0094
    R = np.linalg.cholesky(np.tril(unlimited) + np.tril(unlimited, -1).T)
    np.testing.assert_allclose(q, np.linalg.inv(R).T, atol=1e-5)


# --- recordings (of accelerators; here of the processor, by a stand-in that runs again what a graph would replay) ------


@pytest.fixture
def recorded(monkeypatch):
    made = []

    def record(run):
        again, state = run_again(run)
        made.append(state)
        return again, state

    monkeypatch.setattr(cuda_graph, "record", record)
    return made


CHANGES = {  # what changes from one settling to the next
    "steps": {"steps": 5},
    "one batch fewer": {"rows": 11},
    "beta": {"beta": 0.2},
    "gamma": {"gamma": 0.1},
    "solver": {"solver": "momentum"},
    "a mask": {"mask": (9,)},
    "a mask per image": {"mask": (12, 9)},
    "the type of images": {"dtype": torch.float64},
    "the type of products": {"products": torch.bfloat16},
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_is_settled_anew_and_what_was_recorded_still_serves(change, recorded):
    network = GNCN(GNCNConfig(layers=[6, 4], init_sd=0.3, settle=SettleConfig(steps=9)), 9, np.random.default_rng(0))
    x = torch.from_numpy((np.random.default_rng(1).random((12, 9)) < 0.5).astype(np.float32))
    wanted = CHANGES[change]

    def settled(changed: bool):
        asked = wanted if changed else {}
        for name, value in {"beta": 0.1, "gamma": 0.001, "solver": "euler"}.items():
            setattr(network.config.settle, name, asked.get(name, value))
        dtype = asked.get("dtype", torch.float32)
        network.parameters = {name: value.to(dtype) for name, value in network.parameters.items()}
        mask = torch.ones(asked["mask"]) if "mask" in asked else None
        if mask is not None:
            mask[..., 4:] = 0
        given = x[: asked.get("rows", 12)].to(dtype), mask, asked.get("steps", 9)
        network.product_dtype = asked.get("products")
        with torch.autocast("cpu", network.product_dtype, enabled="products" in asked):
            found, plain = cuda_graph.settle(network, *network.observations(*given[:2]), given[2]), network.settle_plainly(*given)
        for name in ("z", "f", "mu", "r", "e"):
            for one, other in zip(getattr(found, name), getattr(plain, name), strict=True):
                torch.testing.assert_close(one, other)
        assert found.steps == plain.steps == given[2]

    for changed in (False, True, False, True, True, False):
        settled(changed)
    assert len(recorded) == 2


def test_with_a_tolerance_or_without_steps_nothing_is_recorded(recorded):
    network, x = linear([6], steps=500, beta=0.2, gamma=0.5, tolerance=1e-3)
    assert cuda_graph.settle(network, *network.observations(x), 500).steps == network.settle_plainly(x).steps < 100
    network.config.settle.tolerance = 0.0
    assert cuda_graph.settle(network, *network.observations(x), 0).steps == 0 and not recorded

"""The last phase of inference, by the top alone: autograd as a second opinion on its direction, and what it brings."""

import numpy as np
import pytest
import torch

from ncf.config.schema import CircuitConfig, LastPhaseConfig, PopulationConfig, SettleConfig
from ncf.errors import UserError
from ncf.network.discrepancy import bce_of
from ncf.network.gncn import GNCN
from ncf.network.langevin import Noise
from ncf.network.last_phase import last_phase_updates
from ncf.network.top_inference import carried_up, infer_top

CHAIN = ["z1 -> image", "z2 -> z1", "z3 -> z2"]
SHAPES = {
    "chain": CHAIN,
    "skips": [*CHAIN, "z2 -> image", "z3 -> z1"],
    "two tops": ["z1 -> image", "z2 -> z1", "z3 -> z1", "z3 -> image"],
}


def circuit(bundles: list[str], **changes) -> GNCN:
    populations = {"image": PopulationConfig(observed="image"), **{f"z{i}": PopulationConfig(size=5 + i) for i in (1, 2, 3)}}
    settings = dict(activation="tanh", error_synapses="tied", init_sd=0.5, settle=SettleConfig(steps=20, beta=0.1)) | changes
    return GNCN(CircuitConfig(populations=populations, bundles=bundles, **settings), 9, np.random.default_rng(0))


IMAGES = (torch.rand(8, 9, generator=torch.Generator().manual_seed(1)) < 0.4).float()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_with_tied_synapses_the_direction_is_the_gradient_of_log_p(shape, activation):
    net = circuit(SHAPES[shape], activation=activation)
    code = torch.randn(8, net.code_size, generator=torch.Generator().manual_seed(2)).requires_grad_()
    log_p = -bce_of(IMAGES, torch.sigmoid(net.drive(code))).sum()
    (slope,) = torch.autograd.grad(log_p, code)
    _, found = carried_up(net, IMAGES, code.detach())
    torch.testing.assert_close(torch.cat([found[i] for i in net.circuit.tops], 1), slope, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("synapses", ["tied", "learned"])
def test_the_top_comes_to_fit_the_image_and_stays_where_no_step_is_taken(synapses):
    net = circuit(CHAIN, error_synapses=synapses)
    for _ in range(40):
        for name, update in net.local_updates(net.settle(IMAGES)).items():
            net.parameters[name].add_(update, alpha=0.1)
    state = net.settle(IMAGES)
    assert torch.equal(infer_top(net, state, 0, 0.1), state.code)
    before = [tensor.clone() for tensor in (*state.z, *state.f)]
    errors = [bce_of(IMAGES, net.project(infer_top(net, state, steps, 0.05))).mean().item() for steps in (0, 5, 50)]
    assert errors[0] > errors[1] > errors[2]
    assert all(torch.equal(tensor, old) for tensor, old in zip((*state.z, *state.f), before))


def test_a_label_that_is_seen_drives_the_projection_too():
    net = GNCN(
        CircuitConfig(
            populations={"image": PopulationConfig(observed="image"), "label": PopulationConfig(observed="label"), "z1": PopulationConfig(size=5)},
            bundles=["z1 -> image", "label -> image"],
            activation="tanh",
            error_synapses="tied",
            init_sd=0.5,
        ),
        9,
        np.random.default_rng(0),
        n_classes=3,
    )
    y = torch.arange(8) % 3
    seen, blind = net.settle(IMAGES, y=y), net.settle(IMAGES)
    label = {"label": torch.eye(3)[y]}
    for state, given in ((seen, label), (blind, None)):
        d = carried_up(net, IMAGES, state.code, given)[1][net.circuit.tops[0]]
        torch.testing.assert_close(infer_top(net, state, 1, 0.2), torch.tanh(state.z[net.circuit.tops[0]] + 0.2 * d))
    assert not torch.allclose(*(carried_up(net, IMAGES, seen.code, given)[1][net.circuit.tops[0]] for given in (label, None)))


def test_one_step_is_the_equation_written_out():
    net = circuit(CHAIN, error_synapses="learned", activation="relu")
    state, P = net.settle(IMAGES), net.parameters
    code = infer_top(net, state, 1, 0.2)
    z2 = state.code @ P["W[z3->z2]"]
    z1 = z2.relu() @ P["W[z2->z1]"]
    d0 = IMAGES - torch.sigmoid(z1.relu() @ P["W[z1->image]"])
    d2 = ((d0 @ P["E[image->z1]"]) * (z1 > 0) @ P["E[z1->z2]"]) * (z2 > 0)
    expected = (state.z[3] + 0.2 * d2 @ P["E[z2->z3]"]).relu()
    torch.testing.assert_close(code, expected)


# --- learning in it ---------------------------------------------------------------------------------------------------


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_with_tied_synapses_learning_follows_the_gradient_of_log_p(shape, activation):
    """At the code where the phase ends, beside what settling teaches."""
    net = circuit(SHAPES[shape], activation=activation, last_phase=LastPhaseConfig(steps=4, beta=0.05, temperature=0.0))
    state = net.settle(IMAGES)
    code = infer_top(net, state, 4, 0.05)
    W = {name: value.clone().requires_grad_() for name, value in net.parameters.items()}
    net.parameters, held = W, net.parameters
    log_p = -bce_of(IMAGES, torch.sigmoid(net.drive(code))).sum()
    net.parameters = held
    slopes = torch.autograd.grad(log_p, list(W.values()))
    found, settled = net.local_updates(state, rng=rng()), net.products(dict(enumerate(state.f)), dict(enumerate(state.e)), 8)
    for name, slope in zip(W, slopes, strict=True):
        torch.testing.assert_close(found[name] - settled[name], slope / 8, atol=1e-5, rtol=1e-3)


def test_learned_error_synapses_learn_as_those_they_mirror():
    net = circuit(CHAIN, error_synapses="learned", error_rate=0.5, last_phase=LastPhaseConfig(steps=3, beta=0.1))
    found = last_phase_updates(net, net.settle(IMAGES), rng())
    for source, target in (("z1", "image"), ("z2", "z1"), ("z3", "z2")):
        torch.testing.assert_close(found[f"E[{target}->{source}]"], 0.5 * found[f"W[{source}->{target}]"].T)
        assert found[f"W[{source}->{target}]"].abs().max() > 0


def test_a_part_of_a_batch_gives_its_part_of_the_update():
    net, whole = circuit(CHAIN, last_phase=LastPhaseConfig(steps=3, beta=0.1)), None
    for rows in (slice(None), slice(0, 5), slice(5, 8)):
        state = net.settle(IMAGES[rows])
        state.batch, state.rows = 8, rows
        found = last_phase_updates(net, state, rng())
        whole = {name: [*(whole or {}).get(name, []), update] for name, update in found.items()}
    for together, first, rest in whole.values():
        torch.testing.assert_close(together, first + rest)


def test_at_temperature_one_the_top_is_drawn_from_what_the_image_leaves_open():
    """x = f W + noise: p(f | x) is N( x W^T A, A ) under a flat prior, A = (W W^T)^-1; the steps' own bias is of the size of beta / A."""
    populations = {"image": PopulationConfig(observed="image", likelihood="gaussian"), "z1": PopulationConfig(size=2)}
    net = GNCN(
        CircuitConfig(populations=populations, bundles=["z1 -> image"], activation="identity", error_synapses="tied"), 4, np.random.default_rng(0)
    )
    W = torch.tensor([[1.0, 0.5, 0.0, 0.3], [0.0, 0.4, 1.0, -0.6]])
    net.parameters["W[z1->image]"].copy_(W)
    x = torch.tensor([[0.3, -0.8, 1.1, 0.5]])
    state = net.settle(x.expand(6000, 4).contiguous())
    drawn = infer_top(net, state, 200, 0.02, Noise(np.arange(6000), 1.0))
    A = torch.linalg.inv(W @ W.T)
    torch.testing.assert_close(drawn.mean(0), (x @ W.T @ A)[0], atol=0.05, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), A, atol=0.06, rtol=0.06)


def test_what_the_top_alone_projects_to_becomes_more_probable():
    def projected(steps: int) -> float:
        net = circuit(CHAIN, error_synapses="learned", activation="relu", last_phase=LastPhaseConfig(steps=steps, beta=0.05, temperature=0.1))
        noise = np.random.default_rng(0)
        for _ in range(200):
            for name, update in net.local_updates(net.settle(IMAGES), rng=noise).items():
                net.parameters[name].add_(update, alpha=0.1)
        return bce_of(IMAGES, net.project(infer_top(net, net.settle(IMAGES), 10, 0.05))).mean().item()

    assert projected(10) < projected(0) - 0.5


def with_label(*bundles: str, **changes) -> GNCN:
    hidden = {"z1": PopulationConfig(size=5), "z2": PopulationConfig(size=6)}
    populations = {"image": PopulationConfig(observed="image"), "label": PopulationConfig(observed="label"), **hidden}
    settings = dict(activation="tanh", error_synapses="tied", init_sd=0.5, settle=SettleConfig(steps=20, beta=0.1)) | changes
    return GNCN(CircuitConfig(populations=populations, bundles=list(bundles), **settings), 9, np.random.default_rng(0), n_classes=3)


def test_labels_that_are_known_take_part_row_by_row():
    """With one class unknown the others are shown all the same, and a part of the batch gives its part."""
    net = with_label("z1 -> image", "z2 -> z1", "label -> z1", last_phase=LastPhaseConfig(steps=3, beta=0.1, temperature=0.0))
    y = torch.tensor([-1, 0, 1, 2, 0, 1, 2, 0])

    def updates(rows: slice) -> dict:
        state = net.settle(IMAGES[rows], y=y[rows])
        state.batch, state.rows = 8, rows
        return last_phase_updates(net, state, None)

    whole, first, rest = updates(slice(None)), updates(slice(0, 1)), updates(slice(1, 8))
    for name, update in whole.items():
        torch.testing.assert_close(update, first[name] + rest[name])
    assert rest["W[label->z1]"].abs().max() > 0 and not first["W[label->z1]"].any()
    blind = net.settle(IMAGES)
    blind.batch = 8
    assert not torch.allclose(last_phase_updates(net, blind, None)["W[z1->image]"], whole["W[z1->image]"])


def test_noise_moves_the_top_and_needs_a_stream():
    net = circuit(CHAIN, last_phase=LastPhaseConfig(steps=3, beta=0.1, temperature=0.5))
    state = net.settle(IMAGES)
    one, same, other = (last_phase_updates(net, state, np.random.default_rng(seed)) for seed in (1, 1, 2))
    name = "W[z1->image]"
    assert torch.equal(one[name], same[name]) and not torch.allclose(one[name], other[name])
    with pytest.raises(ValueError, match="random stream"):
        net.local_updates(state)


@pytest.mark.parametrize("make, why", [
    (lambda phase: circuit([*CHAIN, "z1 -> z1 delayed"], last_phase=phase), "from the one before"),
    (lambda phase: with_label("z1 -> image", "z2 -> z1", "z2 -> label", last_phase=phase), "the label is predicted"),
    (lambda phase: with_label("z1 -> label", "image -> z1", "z2 -> z1", last_phase=phase), "no image is predicted"),
])  # fmt: skip
def test_networks_whose_top_does_not_project_to_the_image_alone_are_refused(make, why):
    with pytest.raises(UserError, match=f"last_phase.steps=5: .*{why}"):
        make(LastPhaseConfig(steps=5))

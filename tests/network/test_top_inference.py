"""The last phase of inference, by the top alone: autograd as a second opinion on its direction, and what it brings."""

import numpy as np
import pytest
import torch

from ncf.config.schema import CircuitConfig, PopulationConfig, SettleConfig
from ncf.network.discrepancy import bce_of
from ncf.network.gncn import GNCN
from ncf.network.top_inference import infer_top, top_errors

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
    found = top_errors(net, IMAGES, code.detach())
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
        d = top_errors(net, IMAGES, state.code, given)[net.circuit.tops[0]]
        torch.testing.assert_close(infer_top(net, state, 1, 0.2), torch.tanh(state.z[net.circuit.tops[0]] + 0.2 * d))
    assert not torch.allclose(*(top_errors(net, IMAGES, seen.code, given)[net.circuit.tops[0]] for given in (label, None)))


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

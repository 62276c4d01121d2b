"""Where states start: closed forms, the fast path against the plain one, and the recogniser's rule."""

import numpy as np
import pytest
import torch
from small import double, require_same

from ncf.config.compose import compose_train
from ncf.config.schema import GNCNConfig, LateralConfig, PrecisionConfig, SettleConfig
from ncf.errors import UserError
from ncf.network.gncn import GNCN
from ncf.network.starts import passed

WHITENED = dict(lateral=LateralConfig(enabled=True, columns=[3, 4]), precision=PrecisionConfig("whitened"))


def discriminative(model: str = "discriminative_t1", **settle) -> GNCN:
    config = compose_train(f"model={model}", "model.populations.h1.size=12", "model.populations.h2.size=8", "model.init_sd=0.3").model
    for name, value in settle.items():
        setattr(config.settle, name, value)
    return double(GNCN(config, 10, np.random.default_rng(0), n_classes=4))


def recognising(**terms) -> GNCN:
    config = GNCNConfig(layers=[12, 8], init_sd=0.3, settle=SettleConfig(steps=7, start="recogniser", share=0.6), **terms)
    network = double(GNCN(config, 10, np.random.default_rng(0)))
    draw = np.random.default_rng(1)
    for name, value in network.parameters.items():
        if name.startswith("Rec["):
            value.copy_(torch.from_numpy(0.2 * draw.standard_normal(tuple(value.shape))))
    return network


def images(rows: int = 21) -> torch.Tensor:
    return torch.from_numpy((np.random.default_rng(4).random((rows, 10)) < 0.4).astype(np.float64))


@pytest.mark.parametrize("model", ["discriminative_t1", "discriminative_t2_sigma"])
def test_a_projection_is_the_feedforward_pass_and_without_a_label_it_rests_there(model):
    network, x = discriminative(model, gamma=0.0), images()
    W = {name: value for name, value in network.parameters.items() if name.startswith("W")}
    h1 = x @ W["W[image->h1]"]
    h2 = h1.relu() @ W["W[h1->h2]"]
    label = (h2.relu() @ W["W[h2->label]"]).softmax(1)
    for steps in (0, 9):
        state = network.settle({"image": x}, steps=steps)
        by_name = dict(zip(network.names, state.z))
        torch.testing.assert_close(by_name["h1"], h1)
        torch.testing.assert_close(by_name["h2"], h2)
        torch.testing.assert_close(network.told(state), label)


def test_the_first_step_moves_by_the_errors_of_the_start():
    """With the label given: z_h2 = drive + beta (y - softmax) W^T relu', after one step (its own error is zero at the start)."""
    network, x = discriminative(gamma=0.0), images()
    y = torch.arange(len(x)) % 4
    drive = (x @ network.parameters["W[image->h1]"]).relu() @ network.parameters["W[h1->h2]"]
    W = network.parameters["W[h2->label]"]
    error = torch.nn.functional.one_hot(y, 4) - (drive.relu() @ W).softmax(1)
    state = network.settle(x, steps=1, y=y)
    torch.testing.assert_close(state.z[network.names.index("h2")], drive + 0.1 * (error @ W.T) * (drive > 0))


def test_with_learned_error_synapses_the_first_steps_move_by_those_and_precision_weighs_what_they_leave():
    """z_h2 = drive + beta (y - softmax) E after one step; in the second h1 moves by the whitened error of h2, Q (relu z - relu drive) E."""
    network, x = discriminative("discriminative_t2_sigma", gamma=0.0), images()
    y, P = torch.arange(len(x)) % 4, network.parameters
    h1 = x @ P["W[image->h1]"]
    drive = h1.relu() @ P["W[h1->h2]"]
    error = torch.nn.functional.one_hot(y, 4) - (drive.relu() @ P["W[h2->label]"]).softmax(1)
    h2 = drive + 0.1 * error @ P["E[label->h2]"]
    names = network.names
    torch.testing.assert_close(network.settle(x, steps=1, y=y).z[names.index("h2")], h2)
    later = h1 + 0.1 * (h2.relu() - drive.relu()) @ network.q[names.index("h2")] @ P["E[h2->h1]"]
    torch.testing.assert_close(network.settle(x, steps=2, y=y).z[names.index("h1")], later)


@pytest.mark.parametrize("steps", [0, 1, 2, 7])
@pytest.mark.parametrize("terms", [{}, WHITENED, dict(activation="tanh", error_synapses="tied", derivative=True)], ids=["plain", "whitened", "tied"])
def test_fast_settling_from_a_start_is_the_plain_one(terms, steps):
    network, x = recognising(**terms), images()
    mask = torch.ones(10)
    mask[6:] = 0
    for observed in (None, mask):
        require_same(network.settle(x, observed, steps), network.settle_plainly(x, observed, steps), 1e-11, 1e-9)
    for model in ("discriminative_t1", "discriminative_t2_sigma"):
        network, y = discriminative(model), torch.arange(len(x)) % 4
        require_same(network.settle(x, None, steps, y), network.settle_plainly(x, None, steps, y), 1e-11, 1e-9)


def test_a_recogniser_learns_by_the_slope_of_its_own_squared_error():
    """dR = -d/dR mean |z* - s|^2 / (2 |pre|^2), each bundle by its own layer's error, each image by the strength of what drives it."""
    network, x = recognising(), images()
    state = network.settle(x)
    updates = network.local_updates(state)
    R1, R2 = (network.parameters[name].clone().requires_grad_() for name in ("Rec[image->z1]", "Rec[z1->z2]"))
    z1 = x @ R1
    z2 = z1.detach().relu() @ R2
    strengths = [pre.square().sum(1, keepdim=True) for pre in (x, z1.detach().relu())]
    sum(((state.z[i] - z).square() / (2 * s)).sum() for i, z, s in ((1, z1, strengths[0]), (2, z2, strengths[1]))).backward()
    for name, R in (("Rec[image->z1]", R1), ("Rec[z1->z2]", R2)):
        torch.testing.assert_close(updates[name], -R.grad / len(x))


def test_few_steps_from_a_recogniser_are_like_many_from_rest():
    """On a linear network, whose slow modes have hardly moved and whose fast ones have come to rest: 7 steps from 0.65 z* are like 20."""
    config = GNCNConfig(
        layers=[12, 8], init_sd=0.3, activation="identity", prediction="identity", target="state", error_synapses="tied", likelihood="gaussian"
    )
    config.settle = SettleConfig(steps=20, beta=0.05)
    x = images(12)
    far = double(GNCN(config, 10, np.random.default_rng(0))).settle(x)
    config.settle = SettleConfig(steps=7, beta=0.05, start="recogniser", share=0.65)
    network = double(GNCN(config, 10, np.random.default_rng(0)))
    near = [(network.settle(x).z[i] - far.z[i]).norm() for i in (1, 2)]
    for _ in range(400):
        for name, update in network.local_updates(network.settle(x)).items():
            if name.startswith("Rec["):
                network.parameters[name] += update
    state = network.settle(x)
    for i in (1, 2):
        assert (state.z[i] - passed(network, {0: x}, {})[i]).norm() < 0.1 * state.z[i].norm()
        assert (state.z[i] - far.z[i]).norm() < 0.3 * near[i - 1]
    free = network.parameters["Rec[image->z1]"].clone()
    network.limit_norms()
    assert torch.equal(network.parameters["Rec[image->z1]"], free)


def test_a_projection_needs_a_root_that_is_given():
    with pytest.raises(UserError, match="start=projection: no observed population is a root"):
        GNCN(GNCNConfig(layers=[4], settle=SettleConfig(start="projection")), 10, np.random.default_rng(0))


def test_a_recogniser_and_delayed_bundles_have_synapses_of_their_own():
    config = compose_train(
        "model=recurrent_t2_l_sigma", "model.settle.start=recogniser", "model.bundles=['z1 -> image','z2 -> z1','z3 -> z2','z1 -> z2 delayed']"
    ).model
    network = GNCN(config, 16, np.random.default_rng(0))
    assert {"R[z1->z2]", "Rec[z1->z2]"} <= set(network.parameters)
    network.parameters["R[z1->z2]"].mul_(100)
    network.limit_norms()
    torch.testing.assert_close(network.parameters["R[z1->z2]"].norm(dim=0), torch.ones(config.populations["z2"].size))
    x = torch.from_numpy((np.random.default_rng(4).random((8, 16)) < 0.4).astype(np.float32))
    whole = network.local_updates(network.settle(x, before=network.settle(x)))
    halves = []
    for rows in (slice(0, 3), slice(3, 8)):  # as two ranks share a batch
        state = network.settle(x[rows], before=network.settle(x[rows]))
        state.batch = 8
        halves.append(network.local_updates(state))
    for name in ("R[z1->z2]", "Rec[image->z1]", "Rec[z1->z2]"):
        torch.testing.assert_close(halves[0][name] + halves[1][name], whole[name], atol=1e-5, rtol=1e-3)

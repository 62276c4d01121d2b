"""Delayed bundles against referees: a loop of frames written by hand, autograd on the energy of a frame given the past, the plain equations."""

import numpy as np
import pytest
import torch
from small import double, require_same, run_again

from ncf.config.schema import CircuitConfig, CompetitionConfig, PopulationConfig, PrecisionConfig, SettleConfig
from ncf.errors import UserError
from ncf.network import cuda_graph
from ncf.network.expand import circuit_of
from ncf.network.gncn import GNCN

IMAGE = PopulationConfig(observed="image")
CHAIN = {"image": IMAGE, "z1": PopulationConfig(size=6, columns=3), "z2": PopulationConfig(size=4, columns=2)}
BUNDLES = ["z1 -> image", "z2 -> z1", "z1 -> z1 delayed", "z2 -> z2 delayed"]
T2 = dict(activation="tanh", prediction="tanh", precision=PrecisionConfig("whitened"), lateral=CompetitionConfig(), init_sd=0.4)
T1 = dict(activation="tanh", prediction="identity", target="state", error_synapses="tied", derivative=True, init_sd=0.4)


def made(bundles: list[str], populations=CHAIN, frames: int = 3, batch: int = 5, **terms) -> tuple[GNCN, list[torch.Tensor]]:
    rng = np.random.default_rng(3)
    network = double(GNCN(CircuitConfig(populations=populations, bundles=bundles, **terms), 9, rng))
    return network, [torch.from_numpy((rng.random((batch, 9)) < 0.5).astype(np.float64)) for _ in range(frames)]


def in_turn(network: GNCN, frames: list[torch.Tensor], way: str = "settle", **given) -> list:
    states = [None]
    for x in frames:
        states.append(getattr(network, way)(x, before=states[-1], **given))
    return states[1:]


@pytest.mark.parametrize("way", ["settle", "settle_plainly"])
def test_two_frames_are_those_of_a_loop_written_by_hand(way):
    """mu_1 = g(f_2 W_21 + f_1[n-1] R_11), mu_2 = g(f_2[n-1] R_22), e_2 = (f_2 - mu_2) Q_2, d_2 = e_1 E_12 - e_2 - .., in float64 and numpy."""
    network, frames = made(BUNDLES, frames=2, settle=SettleConfig(steps=12), **T2)
    P, Q = {name: value.numpy() for name, value in network.parameters.items()}, {i: q.numpy() for i, q in network.q.items()}
    V = [np.kron(np.eye(n // c), np.full((c, c), 0.1)) - 0.25 * np.eye(n) for n, c in ((6, 3), (4, 2))]
    past = [np.zeros((5, 6)), np.zeros((5, 4))]
    for x, state in zip(frames, in_turn(network, frames, way)):
        z, f, x = [np.zeros((5, 6)), np.zeros((5, 4))], [np.zeros((5, 6)), np.zeros((5, 4))], x.numpy()
        e = [np.zeros((5, 9)), np.zeros((5, 6)), np.zeros((5, 4))]
        for _ in range(12):
            up = [e[0] @ P["E[image->z1]"] - e[1], e[1] @ P["E[z1->z2]"] - e[2]]
            z = [v + 0.1 * (d - a @ lateral - 0.001 * v) for v, d, a, lateral in zip(z, up, f, V)]
            f = [np.tanh(v) for v in z]
            mu = [
                1 / (1 + np.exp(-f[0] @ P["W[z1->image]"])),
                np.tanh(f[1] @ P["W[z2->z1]"] + past[0] @ P["R[z1->z1]"]),
                np.tanh(past[1] @ P["R[z2->z2]"]),
            ]
            e = [x - mu[0], (f[0] - mu[1]) @ Q[1], (f[1] - mu[2]) @ Q[2]]
        for found, wanted in zip((*state.z[1:], *state.e, *state.mu), (*z, *e, *mu), strict=True):
            np.testing.assert_allclose(found.numpy(), wanted, atol=1e-11, rtol=1e-9)
        updates = network.local_updates(state)
        for name, wanted in {
            "W[z2->z1]": f[1].T @ e[1], "R[z1->z1]": past[0].T @ e[1], "R[z2->z2]": past[1].T @ e[2], "E[z1->z2]": e[1].T @ f[1],
        }.items():  # fmt: skip
            np.testing.assert_allclose(updates[name].numpy(), wanted / 5, atol=1e-11, err_msg=name)
        past = f
    assert np.abs(updates["R[z2->z2]"].numpy()).max() > 1e-3


CIRCLES = {
    "to themselves": ["z1 -> image", "z2 -> z1", "z1 -> z1 delayed", "z2 -> z2 delayed"],
    "in a circle": ["z1 -> image", "z2 -> z1", "z1 -> z2 delayed"],
    "to the image": ["z1 -> image", "z2 -> z1", "z2 -> image delayed", "z1 -> z1 delayed"],
    "from the image": ["z1 -> image", "z2 -> z1", "image -> z1 delayed", "image -> z2 delayed"],
    "beside a bundle": ["z1 -> image", "z2 -> z1", "z2 -> z1 delayed", "z1 -> z1 delayed"],
}


@pytest.mark.parametrize("name", CIRCLES)
def test_tied_circuits_descend_the_energy_of_a_frame_given_the_past(name):
    """State change = -beta dF/dz, dW = -dF/dW and dR = -dF/dR by autograd, the past held: nothing goes back through time."""
    populations = {p: PopulationConfig(**(vars(c) | {"columns": 0})) for p, c in CHAIN.items()}
    network, frames = made(CIRCLES[name], populations, settle=SettleConfig(steps=9), **T1)
    before = in_turn(network, frames)[-2]
    state = network.settle(frames[-1], before=before, steps=6)
    z, updates, names = [v.clone() for v in state.z], network.local_updates(state), network.names
    with torch.enable_grad():
        for w in network.parameters.values():
            w.requires_grad_()
        leaves = [v.requires_grad_(i in state.free) for i, v in enumerate([v.clone() for v in z])]
        F = network.config.settle.gamma * sum(leaves[i].square().sum() / 2 for i in state.free)
        for t, target in enumerate(names):
            drive = 0.0
            for arrow in CIRCLES[name]:
                source, _, to, *delayed = arrow.split()
                s = names.index(source)
                f = before.f[s] if delayed else leaves[s].tanh() if s in state.free else leaves[s]
                drive = drive + (f @ network.parameters[f"{'R' if delayed else 'W'}[{source}->{to}]"] if to == target else 0)
            if target == "image":
                F = F + torch.nn.functional.binary_cross_entropy_with_logits(drive, leaves[t], reduction="sum")
            elif torch.is_tensor(drive):
                F = F + (leaves[t] - drive).square().sum() / 2
        slopes = torch.autograd.grad(F, [leaves[i] for i in state.free] + list(network.parameters.values()))
    for w in network.parameters.values():
        w.requires_grad_(False)
    network.move(state, 0.1)
    for i, slope in zip(state.free, slopes):
        torch.testing.assert_close((state.z[i] - z[i]) / 0.1, -slope, atol=1e-12, rtol=1e-9)
    for parameter, slope in zip(network.parameters, slopes[len(state.free) :]):
        torch.testing.assert_close(updates[parameter], -slope / 5, atol=1e-12, rtol=1e-9)
        assert slope.abs().max() > 1e-4, parameter


@pytest.mark.parametrize("steps", [1, 2, 3, 11])
@pytest.mark.parametrize("name", CIRCLES)
def test_fast_settling_is_the_plain_one(name, steps):
    network, frames = made(CIRCLES[name], batch=37, **T2)
    for observed in (None, (torch.arange(9) % 2).double(), torch.zeros(9).double()):
        for fast, plain in zip(*(in_turn(network, frames, way, observed=observed, steps=steps) for way in ("settle", "settle_plainly"))):
            require_same(fast, plain, 1e-11, 1e-9)


def test_bfloat16_products_stay_near_float32():
    populations = {"image": IMAGE, "z1": PopulationConfig(size=96), "z2": PopulationConfig(size=64)}
    network = GNCN(CircuitConfig(populations=populations, bundles=BUNDLES, **T2), 80, np.random.default_rng(0))
    frames = [torch.from_numpy((np.random.default_rng(n).random((64, 80)) < 0.4).astype(np.float32)) for n in range(3)]
    exact = in_turn(network, frames)[-1]
    network.product_dtype = torch.bfloat16
    assert (in_turn(network, frames)[-1].mu[0] - exact.mu[0]).abs().mean() < 0.01


def test_recordings_follow_the_past(monkeypatch):
    monkeypatch.setattr(cuda_graph, "record", run_again)
    network, frames = made(BUNDLES, **T2)
    before = None
    for x in frames:
        recorded = cuda_graph.settle(network, *network.observations(x), 9, network.past(before, x))
        before = network.settle_plainly(x, None, 9, before=before)
        require_same(recorded, before, 1e-11, 1e-9)
        for name, update in network.local_updates(before).items():
            torch.testing.assert_close(network.local_updates(recorded)[name], update)
    assert len(network.recordings) == 1


def test_before_the_first_frame_nothing_was_active():
    network, frames = made(BUNDLES, **T2)
    state = network.settle(frames[0])
    for name in ("R[z1->z1]", "R[z2->z2]"):
        assert not network.local_updates(state)[name].any()
        network.parameters[name].mul_(3)
    require_same(network.settle(frames[0]), state, 0, 0)
    assert (in_turn(network, frames)[1].mu[1] - network.settle(frames[1]).mu[1]).abs().max() > 0.01


def test_a_top_that_its_past_alone_predicts_has_errors_and_precision():
    circuit = circuit_of(CircuitConfig(populations=CHAIN, bundles=BUNDLES, **T2), {"image": 9})
    assert circuit.names == ["image", "z1", "z2"] and circuit.n_predicted == 3 and circuit.tops == [2]
    assert [p.precision for p in circuit.populations] == ["none", "whitened", "whitened"]
    assert {f.name for f in circuit.feedback} == {"E[image->z1]", "E[z1->z2]"}  # none along what is delayed


WRONG = {
    "twice": ([*BUNDLES, "z1 -> z1 delayed"], "'z1 -> z1 delayed' is written twice"),
    "unknown": ([*BUNDLES, "z1 -> z3 delayed"], "there is no population 'z3'"),
    "a word": ([*BUNDLES, "z1 -> z2 late"], "optionally delayed"),
    "a circle": ([*BUNDLES, "z1 -> z2"], "circle"),
    "feedback": (["z1 -> image", "z2 -> z1 tied"], "optionally delayed"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_delayed_is_one_line(name):
    bundles, words = WRONG[name]
    with pytest.raises(UserError, match=words):
        circuit_of(CircuitConfig(populations=CHAIN, bundles=bundles), {"image": 9})


@pytest.mark.parametrize("name", ["to themselves", "in a circle", "from the image"])
def test_what_is_foreseen_is_where_a_network_settles_that_sees_nothing(name):
    """Without leak, lateral competition and precision, and where every hidden population is predicted, all errors vanish there."""
    populations = {p: PopulationConfig(**(vars(c) | {"columns": 0})) for p, c in CHAIN.items()}
    network, frames = made(CIRCLES[name], populations, settle=SettleConfig(steps=2000, beta=0.2, gamma=0.0), **T1)
    before = network.settle(frames[0], steps=20)
    blind = network.settle(frames[1], torch.zeros(9).double(), before=before)
    torch.testing.assert_close(network.foresee(before), blind.mu[0], atol=1e-8, rtol=0)

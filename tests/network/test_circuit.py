"""Circuits written out, against referees: the short form bit for bit, autograd on the energy, a loop written by hand, the plain equations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small import dataset, double, network, require_same

from ncf.config.compose import compose_train
from ncf.config.schema import (
    CircuitConfig,
    CompetitionConfig,
    GNCNConfig,
    LateralConfig,
    MetricsConfig,
    MixtureConfig,
    PopulationConfig,
    PrecisionConfig,
    PriorConfig,
    SettleConfig,
)
from ncf.data.datasets import Split
from ncf.errors import UserError
from ncf.measure.latents import TrainingLatents
from ncf.measure.metrics import left_out, measure
from ncf.network.expand import circuit_of
from ncf.network.gncn import GNCN
from ncf.network.settling import multiply_adds

HIDDEN = PopulationConfig(size=6, columns=3)
CHAIN = {"image": PopulationConfig(observed="image"), "z1": HIDDEN, "z2": HIDDEN, "z3": HIDDEN}
PDH = ["z1 -> image", "z2 -> z1", "z3 -> z2", "z2 -> image", "z3 -> z1"]
TIED = dict(activation="tanh", prediction="identity", target="state", error_synapses="tied", derivative=True, init_sd=0.4)
SIDE_BY_SIDE = {
    "image": PopulationConfig(observed="image"),
    "left": PopulationConfig(size=5),
    "right": PopulationConfig(size=4, activation="identity"),
    "top": PopulationConfig(size=3),
}
STREAMS = ["left -> image", "right -> image", "top -> left", "top -> right"]
LABELLED = {
    "image": PopulationConfig(observed="image"),
    "label": PopulationConfig(observed="label"),
    "z1": PopulationConfig(size=5),
    "z2": PopulationConfig(size=4),
}


def made(config, n_pixels: int = 9, n_classes: int = 0, batch: int = 5) -> tuple[GNCN, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(3)
    network = double(GNCN(config, n_pixels, rng, n_classes=n_classes))
    return network, torch.from_numpy((rng.random((batch, n_pixels)) < 0.5).astype(np.float64)), torch.from_numpy(rng.integers(0, 3, batch))


def test_a_chain_written_out_is_the_short_form_bit_for_bit():
    terms = dict(init_sd=0.3, precision=PrecisionConfig("whitened"))
    short = GNCN(GNCNConfig(layers=[6, 6, 6], skips=True, lateral=LateralConfig(enabled=True, columns=[3]), **terms), 9, np.random.default_rng(0))
    feedback = ["image -> z1", "z1 -> z2", "z2 -> z3"]
    config = CircuitConfig(populations=CHAIN, bundles=PDH, feedback=feedback, lateral=CompetitionConfig(), **terms)
    long = GNCN(config, 9, np.random.default_rng(0))
    x = torch.from_numpy((np.random.default_rng(1).random((40, 9)) < 0.5).astype(np.float32))
    for one, other in zip(short.tensors().values(), long.tensors().values(), strict=True):
        assert torch.equal(one, other)
    a, b = short.settle(x), long.settle(x)
    for name in ("z", "f", "mu", "r", "e"):
        assert all(torch.equal(s, t) for s, t in zip(getattr(a, name), getattr(b, name), strict=True))
    for one, other in zip(short.local_updates(a).values(), long.local_updates(b).values(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(short.project(a.code), long.project(b.code)) and multiply_adds(short, 7) == multiply_adds(long, 7)


def test_a_population_may_be_moved_by_its_own_errors_alone():
    """z1 is predicted from above and hears nothing from below: its drive is zero, not whatever lies in memory."""
    hidden = {"z1": PopulationConfig(size=70), "z2": PopulationConfig(size=66)}
    config = CircuitConfig(
        populations={"image": PopulationConfig(observed="image"), **hidden},
        bundles=["z1 -> image", "z2 -> z1", "z2 -> image"],
        feedback=["image -> z2"],
        **TIED | dict(derivative=False, precision=PrecisionConfig("whitened")),
    )
    network, x, _ = made(config, n_pixels=65, batch=40)
    fast, plain = network.settle(x, steps=12), network.settle_plainly(x, steps=12)
    for name in ("z", "f", "mu", "r", "e"):
        for one, other in zip(getattr(fast, name), getattr(plain, name), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert fast.z[1].abs().max() > 0.01


# --- tied feedback descends an energy ------------------------------------------------------------------------------------


def phi_of(network: GNCN, i: int):
    return {"tanh": torch.tanh, "identity": lambda z: z, "relu": torch.relu}[network.circuit.populations[i].activation]


def energy(network: GNCN, z: list[torch.Tensor], masks: dict[str, torch.Tensor]) -> torch.Tensor:
    """F = -log p of what is observed and predicted + sum of |r_t|^2 / 2 - log prior, from the circuit's arrows and not the code's equations."""
    total, config = 0.0, network.config
    names = network.names
    for target in names:
        into = [b for b in network.circuit.bundles if names[b.target] == target]
        if not into:
            continue
        drive = sum(phi_of(network, b.source)(z[b.source]) @ network.parameters[f"W[{names[b.source]}->{target}]"] for b in into)
        i = names.index(target)
        weight = masks.get(target, torch.ones_like(z[i]))
        if target == "image":
            total = total + (weight * torch.nn.functional.binary_cross_entropy_with_logits(drive, z[i], reduction="none")).sum()
        elif target == "label":
            total = total - (weight * z[i] * drive.log_softmax(1)).sum()
        else:
            total = total + (z[i] - drive).square().sum() / 2
    for name in names:
        if name not in ("image", "label"):
            z_i = z[names.index(name)]
            total = total + config.settle.gamma * z_i.square().sum() / 2 + config.prior.strength * (config.prior.kind == "laplace") * z_i.abs().sum()
    return total


TIED_CIRCUITS = {
    "two streams under one root": (SIDE_BY_SIDE, STREAMS),
    "extra skip": (CHAIN, [*PDH, "z3 -> image"]),
    "image and label below one hierarchy": (LABELLED, ["z1 -> image", "z1 -> label", "z2 -> z1"]),
    "two roots": (SIDE_BY_SIDE, ["left -> image", "right -> image", "top -> left"]),
    "label on top": (LABELLED, ["z1 -> image", "z2 -> z1", "label -> z2", "label -> z1"]),
    "image on top, label below": (LABELLED, ["z1 -> label", "z2 -> z1", "image -> z2"]),
}


@pytest.mark.parametrize("name", TIED_CIRCUITS)
@pytest.mark.parametrize("masked", [False, True], ids=["seen", "half seen"])
def test_tied_circuits_descend_their_energy(name, masked):
    """State change = -beta dF/dz and synaptic change = -dF/dW, both by autograd."""
    populations, bundles = TIED_CIRCUITS[name]
    populations = {p: PopulationConfig(**(vars(c) | {"columns": 0})) for p, c in populations.items()}
    config = CircuitConfig(populations=populations, bundles=bundles, prior=PriorConfig("laplace", 0.3), **TIED)
    network, x, y = made(config, n_classes=3)
    masks = {"image": (torch.arange(9) % 3 > 0).double()} if masked else {}
    state = network.settle(x, masks or None, steps=6, y=y)
    before, updates = [z.clone() for z in state.z], network.local_updates(state)
    moving = list(state.free)
    with torch.enable_grad():
        leaves = [z.clone().requires_grad_(i in moving) for i, z in enumerate(before)]
        for w in network.parameters.values():
            w.requires_grad_()
        F = energy(network, leaves, masks)
        slopes = torch.autograd.grad(F, [leaves[i] for i in moving] + list(network.parameters.values()), allow_unused=True)
    for w in network.parameters.values():
        w.requires_grad_(False)
    network.move(state, config.settle.beta)
    for i, slope in zip(moving, slopes):
        if network.circuit.populations[i].observed:  # a root: only what is unseen of it moves, by the leak as every state
            slope = (slope + config.settle.gamma * before[i]) * (1 - masks["image"])
        torch.testing.assert_close((state.z[i] - before[i]) / config.settle.beta, -slope, atol=1e-12, rtol=1e-9)
    for name, slope in zip(network.parameters, slopes[len(moving) :]):
        torch.testing.assert_close(updates[name], -slope / len(x), atol=1e-12, rtol=1e-9)


# --- learned feedback, by a loop written by hand -------------------------------------------------------------------------


def relu(v: np.ndarray) -> np.ndarray:
    return np.maximum(v, 0)


@pytest.mark.parametrize("extra", [False, True], ids=["PDEH", "PDEH with the extra skip"])
def test_errors_that_skip_a_layer_are_those_of_a_loop_written_by_hand(extra):
    """GNCN-PDEH: z_2 <- e_1 E_2 + e_0 E_02, z_3 <- e_2 E_3 + e_1 E_13 (+ e_0 E_03), in float64 and numpy."""
    bundles = [*PDH, "z3 -> image"] if extra else PDH
    config = CircuitConfig(populations=CHAIN, bundles=bundles, init_sd=0.3, precision=PrecisionConfig("whitened"), settle=SettleConfig(steps=12))
    network, x, _ = made(config)
    P = {name: value.numpy() for name, value in network.parameters.items()}
    Q = {i: q.numpy() for i, q in network.q.items()}

    def W(s: str, t: str) -> np.ndarray:
        return P[f"W[{s}->{t}]"]

    def E(t: str, s: str) -> np.ndarray:
        return P[f"E[{t}->{s}]"]

    z = [np.zeros((len(x), 6)) for _ in range(3)]
    f, e = [np.zeros_like(v) for v in z], [np.zeros((len(x), 9)), np.zeros_like(z[0]), np.zeros_like(z[0])]
    V = np.kron(np.eye(2), np.full((3, 3), 0.1)) - 0.25 * np.eye(6)  # alpha_h within a column, -alpha_e on the diagonal
    for _ in range(12):
        up = [
            e[0] @ E("image", "z1") - e[1],
            e[1] @ E("z1", "z2") + e[0] @ E("image", "z2") - e[2],
            e[2] @ E("z2", "z3") + e[1] @ E("z1", "z3") + (e[0] @ E("image", "z3") if extra else 0),
        ]
        z = [v + 0.1 * (d - a @ V - 0.001 * v) for v, d, a in zip(z, up, f)]
        f = [relu(v) for v in z]
        drive = f[0] @ W("z1", "image") + f[1] @ W("z2", "image") + (f[2] @ W("z3", "image") if extra else 0)
        mu = [1 / (1 + np.exp(-drive)), relu(f[1] @ W("z2", "z1") + f[2] @ W("z3", "z1")), relu(f[2] @ W("z3", "z2"))]
        r = [x.numpy() - mu[0], f[0] - mu[1], f[1] - mu[2]]
        e = [r[0], r[1] @ Q[1], r[2] @ Q[2]]
    for state in (network.settle(x), network.settle_plainly(x)):
        for found, wanted in zip((*state.z[1:], *state.e, *state.mu), (*z, *e, *mu)):
            np.testing.assert_allclose(found.numpy(), wanted, atol=1e-11, rtol=1e-9)
    updates = network.local_updates(network.settle(x))
    np.testing.assert_allclose(updates["W[z2->image]"].numpy(), f[1].T @ e[0] / len(x), atol=1e-11)
    np.testing.assert_allclose(updates["E[image->z2]"].numpy(), e[0].T @ f[1] / len(x), atol=1e-11)
    np.testing.assert_allclose(updates["E[z1->z3]"].numpy(), e[1].T @ f[2] / len(x), atol=1e-11)


def test_feedback_without_a_bundle_learns_by_its_own_product():
    config = CircuitConfig(populations=CHAIN, bundles=PDH[:3], feedback=["image -> z1", "z1 -> z2", "z2 -> z3", "image -> z3"], error_rate=0.5)
    network, x, _ = made(config)
    state = network.settle(x, steps=9)
    wanted = 0.5 * state.e[0].T @ state.f[3] / len(x)
    torch.testing.assert_close(network.local_updates(state)["E[image->z3]"], wanted, atol=1e-14, rtol=1e-12)
    assert wanted.abs().max() > 0


# --- the fast way is the plain one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 3, 11])
@pytest.mark.parametrize("shown", ["all", "no label", "half the image", "half the image, no label"])
@pytest.mark.parametrize("name", TIED_CIRCUITS)
def test_fast_settling_is_the_plain_one(name, shown, steps):
    populations, bundles = TIED_CIRCUITS[name]
    config = CircuitConfig(populations=populations, bundles=bundles, precision=PrecisionConfig("whitened"), init_sd=0.4)
    network, x, y = made(config, n_classes=3, batch=37)
    y = None if "no label" in shown else y
    observed = (torch.arange(9) % 2).double() if "half" in shown else None
    require_same(network.settle(x, observed, steps, y), network.settle_plainly(x, observed, steps, y), 1e-11, 1e-9)


def test_what_is_unseen_does_not_matter():
    config = CircuitConfig(populations=LABELLED, bundles=["z1 -> image", "z1 -> label", "z2 -> z1"], init_sd=0.4)
    network, x, y = made(config, n_classes=3)
    blind, label = torch.zeros(9, dtype=torch.float64), network.names.index("label")
    torch.testing.assert_close(network.settle(x, blind, y=y).mu[label], network.settle(1 - x, blind, y=y).mu[label], atol=0, rtol=0)
    alone = network.settle(x)
    assert (alone.e[label] == 0).all() and torch.allclose(alone.mu[label].sum(1), torch.ones(5, dtype=torch.float64))
    unseen = network.settle({"image": x, "label": torch.eye(3, dtype=torch.float64)[y]}, {"label": torch.zeros(3)})
    torch.testing.assert_close(unseen.mu[label], alone.mu[label], atol=0, rtol=0)


def test_the_projection_comes_down_every_bundle():
    config = CircuitConfig(populations=SIDE_BY_SIDE, bundles=STREAMS, **TIED)
    network, _, _ = made(config)
    P, top = network.parameters, torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3)))
    left, right = torch.tanh(top @ P["W[top->left]"]), top @ P["W[top->right]"]
    torch.testing.assert_close(network.project(top), torch.sigmoid(left @ P["W[left->image]"] + right @ P["W[right->image]"]))


# --- what a circuit cannot mean ------------------------------------------------------------------------------------------

WRONG = {
    "bundles": (dict(bundles=["z1 -> imgae"]), "'z1 -> imgae'", "'image'"),
    "no arrow": (dict(bundles=["z1 image"]), "'z1 image'", "source -> target"),
    "twice": (dict(bundles=[*PDH, "z1 -> image"]), "'z1 -> image' is written twice"),
    "a name in a chain": (dict(bundles=["z1 -> imgae", "z2 -> z1", "z3 -> z2"]), "'z1 -> imgae'", "did you mean 'image'"),
    "a circle": (dict(bundles=[*PDH, "z1 -> z3"]), "z1, z2, z3 predict one another", "circle"),
    "itself": (dict(bundles=[*PDH, "z1 -> z1"]), "z1", "circle"),
    "nothing observed": (dict(populations={"z1": HIDDEN, "z2": HIDDEN}, bundles=["z2 -> z1"]), "no observed population"),
    "columns": (dict(populations=CHAIN | {"z2": PopulationConfig(size=7, columns=3)}), "z2", "7 units", "columns of 3"),
    "no size": (dict(populations=CHAIN | {"z2": PopulationConfig()}), "z2.size"),
    "no bundle": (dict(populations=CHAIN | {"idle": HIDDEN}), "idle", "no bundle"),
    "predicts nothing": (dict(bundles=["z1 -> image", "z1 -> z2", "z3 -> z2"]), "z2", "predicts nothing"),
    "no classes": (dict(populations=CHAIN | {"label": PopulationConfig(observed="label")}, bundles=[*PDH, "z1 -> label"]), "label", "no classes"),
    "two images": (dict(populations=CHAIN | {"other": PopulationConfig(observed="image")}, bundles=[*PDH, "z1 -> other"]), "image", "several"),
    "tied to nothing": (dict(feedback=["image -> z1", "z1 -> z2", "z2 -> z3", "image -> z3 tied"]), "'image -> z3'", "does not exist"),
    "no errors": (dict(feedback=["image -> z1", "z1 -> z2", "z3 -> z2"]), "nothing predicts z3"),
    "backwards": (dict(feedback=["image -> z1", "z1 -> image", "z1 -> z2", "z2 -> z3"]), "'z1 -> image'", "observed and predicted", "'image -> z1'"),
    "out of reach": (
        dict(bundles=["z1 -> image", "z3 -> image"], populations={k: v for k, v in CHAIN.items() if k != "z2"}, feedback=["image -> z1"]),
        "z3",
        "no error",
    ),
    "observed columns": (dict(populations=CHAIN | {"image": PopulationConfig(observed="image", columns=3)}), "image", "observed"),
    "nothing": (dict(populations={}, bundles=[]), "populations is empty"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_circuit_cannot_mean_is_one_line_that_names_it(name):
    changes, *words = WRONG[name]
    with pytest.raises(UserError) as error:
        circuit_of(CircuitConfig(**({"populations": CHAIN, "bundles": PDH} | changes)), {"image": 9})
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("bundles", [["z1 -> image", "label -> z1", "z2 -> label"], ["z1 -> image", "z1 -> label", "label -> image", "z2 -> z1"]])
def test_what_is_observed_and_predicted_may_predict_where_no_feedback_is_written_out(bundles):
    """Every bundle has its feedback then, that into a population that never moves too; written out, that is a mistake."""
    config = CircuitConfig(populations=LABELLED, bundles=bundles)
    assert len(circuit_of(config, {"image": 9, "label": 3}).feedback) == len(bundles)
    with pytest.raises(UserError, match="label is observed and predicted"):
        circuit_of(replace(config, feedback=["image -> z1", "image -> label", "z1 -> label", "label -> z2", "z1 -> z2"]), {"image": 9, "label": 3})


@pytest.mark.parametrize("model", ["gncn_pdeh", "gncn_pdh_skip", "gncn_pdeh_skip", "two_streams"])
def test_shipped_circuits_have_the_arrows_that_their_names_say(model):
    circuit = circuit_of(compose_train(f"model={model}").model, {"image": 784})
    arrows = {(circuit.names[b.source], circuit.names[b.target]) for b in circuit.bundles}
    back = {(circuit.names[f.source], circuit.names[f.target]) for f in circuit.feedback}
    if model == "two_streams":
        assert arrows == {("left", "image"), ("right", "image"), ("top", "left"), ("top", "right")} and all(f.name is None for f in circuit.feedback)
        return
    chain = {("z1", "image"), ("z2", "z1"), ("z3", "z2")}
    skips = {("z2", "image"), ("z3", "z1")} | ({("z3", "image")} if "skip" in model else set())
    assert arrows == chain | skips
    assert back == {(t, s) for s, t in (arrows if "pdeh" in model else chain)} and all(f.name for f in circuit.feedback)


def labelled(where: str) -> GNCN:
    """Image and label under z1, or the label on top of it; columns are of any norm."""
    config = CircuitConfig(
        name="labelled",
        populations={"image": LABELLED["image"], "label": LABELLED["label"], "z1": PopulationConfig(size=6)},
        bundles=["z1 -> image", "z1 -> label" if where == "below" else "label -> z1"],
        error_synapses="tied",
        init_sd=0.3,
        settle=SettleConfig(steps=30, beta=0.1),
    )
    return GNCN(config, 9, np.random.default_rng(0), n_classes=3)


@pytest.mark.parametrize("where", ["below", "on top"])
def test_a_label_is_told_after_learning_and_never_looked_at(where):
    net, data = labelled(where), dataset()
    x, y = data.splits["train"].x, data.splits["train"].y
    for _ in range(150):
        for name, update in net.local_updates(net.settle(x, y=y)).items():
            net.parameters[name].add_(update, alpha=0.1)
        net.limit_norms()
    figure = measure(net, data, "test", MetricsConfig(names=["label_err"]))["label_err"]
    told = net.told(net.settle(data.splits["test"].x)).argmax(1)
    assert figure["value"] == pytest.approx(100 * (told != data.splits["test"].y).double().mean().item()) and figure["value"] < 40
    shuffled = replace(data, splits=data.splits | {"test": Split(data.splits["test"].x, data.splits["test"].y.roll(1))})
    assert measure(net, shuffled, "test", MetricsConfig(names=["label_err"]))["label_err"]["value"] > 50


def test_the_prior_of_a_class_is_that_of_its_images_with_the_label_seen():
    net, data = labelled("on top"), dataset()
    split = data.splits["train"]
    x, y = split.x[split.y == 1], split.y[split.y == 1]
    prior = TrainingLatents(net, data, MetricsConfig(mixture=MixtureConfig(components=1), batch_size=50)).prior_of(1)
    torch.testing.assert_close(prior.means[0], net.settle(x, y=y).code.mean(0), atol=1e-5, rtol=1e-4)
    assert (prior.means[0] - net.settle(x).code.mean(0)).abs().max() > 0.01


def test_models_without_labels_have_no_label_error():
    assert left_out(network(), dataset(), ["label_err"]) == {"label_err": "the model has no labels"}

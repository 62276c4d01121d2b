"""A prior that learns with the synapses: autograd and closed forms as a second opinion on its draws, known mixtures on what it learns."""

import numpy as np
import pytest
import torch
from test_top_inference import CHAIN, IMAGES, SHAPES, circuit

from ncf.config.schema import CircuitConfig, LastPhaseConfig, PopulationConfig, PrecisionConfig, SettleConfig
from ncf.errors import UserError
from ncf.measure.density import likelihood_terms
from ncf.network.discrepancy import bce_of
from ncf.network.gncn import GNCN
from ncf.network.langevin import Noise
from ncf.network.last_phase import last_phase_updates, recalled_state, remember_tops, remembers_tops
from ncf.network.mixture import Mixture
from ncf.network.top_inference import carried_up, infer_top
from ncf.network.top_prior import FLOOR, REFIT, SHRINKAGE, WARM, TopPrior, draw_top, fit_and_slope
from ncf.runs.guards import require_settled

IMAGE_NUMBERS = torch.tensor([3, 14, 15, 9, 2, 6, 5, 29])  # of IMAGES, among the training images


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def warmed(prior: TopPrior, weights, means, factors, step: float = 0.1) -> TopPrior:
    """The prior as if it had learned this mixture."""
    prior.learned.fill_(WARM)
    prior.step.fill_(step)
    prior.mixture = Mixture(*(torch.as_tensor(value, dtype=torch.float32) for value in (weights, means, factors)))
    return prior


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("synapses", ["tied", "learned"])
def test_carried_over_transposed_synapses_the_error_is_the_slope_whatever_feedback_there_is(shape, synapses):
    feedback = ["image -> z1", "z1 -> z2", "z2 -> z3"] if shape == "skips" else None  # as in GNCN-PDH, whose skips bring no errors back
    net = circuit(SHAPES[shape], error_synapses=synapses, activation="relu", feedback=feedback)
    code = torch.randn(8, net.code_size, generator=torch.Generator().manual_seed(2)).requires_grad_()
    a, b = likelihood_terms(net, code)
    (slope,) = torch.autograd.grad(((IMAGES * a).sum(1) + b).sum(), code)
    _, d = carried_up(net, IMAGES, code.detach(), transposed=True)
    torch.testing.assert_close(torch.cat([d[i] for i in net.circuit.tops], 1), slope, atol=1e-5, rtol=1e-4)
    factors = torch.randn(2, net.code_size, net.code_size, generator=torch.Generator().manual_seed(3)).tril() * 0.3
    component, u = torch.tensor([0, 1] * 4), torch.randn(8, net.code_size).requires_grad_()
    mixture = Mixture(torch.tensor([0.5, 0.5]), torch.randn(2, net.code_size), factors)
    placed = mixture.means[component] + torch.einsum("nj,nij->ni", u, factors[component])
    a, b = likelihood_terms(net, placed)
    (wanted,) = torch.autograd.grad(((IMAGES * a).sum(1) + b).sum(), u)
    fit, found = fit_and_slope(net, IMAGES, mixture, component, u.detach(), {})
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(fit, (IMAGES * a).sum(1) + b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("step, moves", [(0.3, 15), (1.2, 30)])  # nearly all moves are taken; half of them are
def test_draws_are_those_of_a_linear_gaussian_posterior(step, moves):
    """x = f W + noise, f ~ N(m, A A^T): p(f | x) = N( (x W^T + P m) S, S ), P = (A A^T)^-1, S = (W W^T + P)^-1."""
    populations = {"image": PopulationConfig(observed="image", likelihood="gaussian"), "z1": PopulationConfig(size=2)}
    phase = LastPhaseConfig(steps=1, components=1)
    net = GNCN(
        CircuitConfig(populations=populations, bundles=["z1 -> image"], activation="identity", error_synapses="tied", last_phase=phase), 4, rng()
    )
    W = torch.tensor([[1.0, 0.5, 0.0, 0.3], [0.0, 0.4, 1.0, -0.6]])
    net.parameters["W[z1->image]"].copy_(W)
    m, A = torch.tensor([0.5, -1.0]), torch.tensor([[0.8, 0.0], [0.5, 0.4]])
    warmed(net.prior, [1.0], m[None], A[None], step=step)
    x = torch.tensor([[0.3, -0.8, 1.1, 0.5]])
    drawn, _, taken = draw_top(net, net.prior, x.expand(8000, 4).contiguous(), torch.zeros(8000, 2), {}, moves, Noise(np.arange(8000), 0.0))
    P = torch.linalg.inv(A @ A.T)
    S = torch.linalg.inv(W @ W.T + P)
    torch.testing.assert_close(drawn.mean(0), ((x @ W.T + m @ P) @ S)[0], atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), S, atol=0.02, rtol=0.05)
    assert 0.9 < taken.mean() <= 1 if step == 0.3 else 0.4 < taken.mean() < 0.8


def two_component_posterior(w: tuple, m: tuple, s: tuple, x: float) -> tuple[float, float, float]:
    """Of x = f + noise under f ~ sum of w_c N(m_c, s_c^2): the share of the second component, mean and variance of f given x."""
    w, m, variances = np.array(w), np.array(m), np.array(s) ** 2
    share = w * np.exp(-((x - m) ** 2) / (2 * (variances + 1))) / np.sqrt(variances + 1)
    share /= share.sum()
    means, spreads = (m + variances * x) / (variances + 1), variances / (variances + 1)
    mean = (share * means).sum()
    return share[1], mean, (share * (spreads + means**2)).sum() - mean**2


def test_draws_under_several_components_change_between_them_as_their_posterior_has_it():
    populations = {"image": PopulationConfig(observed="image", likelihood="gaussian"), "z1": PopulationConfig(size=1)}
    phase = LastPhaseConfig(steps=1, components=2)
    net = GNCN(
        CircuitConfig(populations=populations, bundles=["z1 -> image"], activation="identity", error_synapses="tied", last_phase=phase), 1, rng()
    )
    net.parameters["W[z1->image]"].fill_(1.0)
    w, m, s, x = (0.3, 0.7), (-1.0, 1.0), (0.6, 0.4), 0.2
    warmed(net.prior, w, [[m[0]], [m[1]]], [[[s[0]]], [[s[1]]]], step=0.4)
    images = torch.full((6000, 1), x)
    drawn, component, _ = draw_top(net, net.prior, images, torch.zeros(6000, 1), {}, 40, Noise(np.arange(6000), 0.0))
    share, mean, variance = two_component_posterior(w, m, s, x)
    assert component.double().mean().item() == pytest.approx(share, abs=0.02)
    assert drawn.mean().item() == pytest.approx(mean, abs=0.03) and drawn.var().item() == pytest.approx(variance, abs=0.03)


def test_steps_too_large_to_follow_the_slope_are_not_taken():
    net = circuit(CHAIN, last_phase=LastPhaseConfig(steps=1, components=1))
    warmed(net.prior, [1.0], torch.zeros(1, 8), torch.eye(8)[None], step=50.0)
    start = torch.randn(8, 8)
    drawn, _, taken = draw_top(net, net.prior, IMAGES, start, {}, 3, Noise(np.arange(8), 0.0))
    torch.testing.assert_close(drawn, start)
    assert taken.max() == 0


def test_components_are_drawn_by_what_they_say_of_the_top():
    prior = warmed(TopPrior(2, 1, torch.device("cpu")), [0.25, 0.75], [[0.0], [1.0]], [[[1.0]], [[1.0]]])
    f = torch.full((20_000, 1), 0.5)  # as far from both
    drawn = prior.components(f, Noise(np.arange(20_000), 0.0))
    assert drawn.float().mean().item() == pytest.approx(0.75, abs=0.01)


def test_it_learns_the_mixture_that_tops_are_drawn_from():
    """From tops alone: two components, their weights, means and covariances (what is between units shrunk, as fitted)."""
    truth = Mixture(
        torch.tensor([0.3, 0.7]), torch.tensor([[-3.0, 0.0], [2.0, 1.0]]), torch.tensor([[[0.5, 0.0], [0.4, 0.6]], [[0.8, 0.0], [-0.3, 0.5]]])
    )
    prior, noise = TopPrior(2, 2, torch.device("cpu")), rng()
    for _ in range(WARM + 40 * REFIT):
        f = truth.sample(300, noise)
        component = prior.components(f, Noise(noise.integers(2**63, size=300), 0.0))
        prior.learn(prior.averages(f, component, torch.full((300,), 0.65), 300))
    order = prior.mixture.means[:, 0].argsort()
    torch.testing.assert_close(prior.mixture.weights[order], truth.weights, atol=0.03, rtol=0)
    torch.testing.assert_close(prior.mixture.means[order], truth.means, atol=0.12, rtol=0)
    wanted = (truth.factors @ truth.factors.mT) * (1 - SHRINKAGE * (1 - torch.eye(2)))
    torch.testing.assert_close((prior.mixture.factors @ prior.mixture.factors.mT)[order], wanted, atol=0.1, rtol=0.1)


def test_the_averages_move_as_written_and_a_constant_unit_keeps_the_least_variance():
    """Two batches, rho = 2^-0.6 and 3^-0.6, from w = 1, no mean and second moments of 1."""
    prior, zeros = TopPrior(1, 2, torch.device("cpu")), torch.zeros(2, dtype=torch.long)
    batches = [torch.tensor([[1.0, 3.0], [2.0, 3.0]]), torch.tensor([[4.0, 3.0], [0.0, 3.0]])]
    for f in batches:
        prior.learn(prior.averages(f, zeros, torch.zeros(2), 2))
    first, second = np.zeros(2), np.eye(2)
    for rho, f in zip((2**-0.6, 3**-0.6), (f.numpy() for f in batches)):
        first, second = first + rho * (f.mean(0) - first), second + rho * (f.T @ f / 2 - second)
    np.testing.assert_allclose(prior.first[0], first, rtol=1e-5)
    np.testing.assert_allclose(prior.second[0], second, rtol=1e-5)
    covariance = second - np.outer(first, first)
    wanted = covariance * (1 - SHRINKAGE * (1 - np.eye(2)))
    found = prior.mixture.factors[0] @ prior.mixture.factors[0].T
    np.testing.assert_allclose(found, wanted, rtol=1e-4)  # the mixture is fitted in every batch while the prior warms up
    for _ in range(3000):
        prior.learn(prior.averages(batches[0], zeros, torch.zeros(2), 2))
    prior.refit()
    constant = (prior.mixture.factors[0] @ prior.mixture.factors[0].T)[1, 1].item()
    assert constant == pytest.approx(FLOOR, rel=0.05)


def test_what_predicts_the_top_does_not_learn_in_the_last_phase():
    from test_top_inference import with_label

    net = with_label("z1 -> image", "z2 -> z1", "label -> z2", last_phase=LastPhaseConfig(steps=3, temperature=0.0))
    found = last_phase_updates(net, net.settle(IMAGES, y=torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])), None)
    assert not found["W[label->z2]"].any() and found["W[z2->z1]"].any()


def test_the_step_size_seeks_its_share_of_moves_taken():
    prior = warmed(TopPrior(1, 2, torch.device("cpu")), [1.0], torch.zeros(1, 2), torch.eye(2)[None])
    for share, larger in ((0.9, True), (0.3, False)):
        before = prior.step.item()
        prior.learn(prior.averages(torch.randn(10, 2), torch.zeros(10, dtype=torch.long), torch.full((10,), share), 10))
        assert (prior.step.item() > before) == larger


def test_while_the_prior_is_cold_the_step_size_stays():
    prior = TopPrior(1, 2, torch.device("cpu"))
    before = prior.step.item()
    prior.learn(prior.averages(torch.randn(10, 2), torch.zeros(10, dtype=torch.long), torch.zeros(10), 10))
    assert prior.step.item() == before and not prior.warm


def test_a_component_whose_covariance_has_no_factor_keeps_what_it_was(monkeypatch):
    prior = warmed(TopPrior(2, 2, torch.device("cpu")), [0.5, 0.5], [[0.0, 0.0], [9.0, 9.0]], torch.eye(2).repeat(2, 1, 1))
    prior.mass.fill_(0.5)
    prior.second[0].copy_(torch.tensor([[1.0, 8.0], [8.0, 1.0]]))  # no moments of anything
    prior.second[1].copy_(torch.eye(2))
    prior.refit()
    assert torch.equal(prior.mixture.factors[0], torch.eye(2)) and not torch.equal(prior.mixture.factors[1], torch.eye(2))
    assert torch.isfinite(prior.mixture.factors).all()


def test_a_component_without_mass_keeps_what_it_was():
    prior = warmed(TopPrior(2, 2, torch.device("cpu")), [0.5, 0.5], [[0.0, 0.0], [9.0, 9.0]], torch.eye(2).repeat(2, 1, 1))
    prior.mass.copy_(torch.tensor([1.0, 0.0]))
    prior.refit()
    assert prior.mixture.weights.tolist() == [1.0, 0.0] and prior.mixture.means[1].tolist() == [9.0, 9.0]
    assert torch.isfinite(prior.mixture.factors).all()


def test_synapses_learn_by_products_at_what_was_drawn_once_the_prior_is_warm():
    net = circuit(CHAIN, error_synapses="learned", last_phase=LastPhaseConfig(steps=3, components=2))
    cold = last_phase_updates(net, net.settle(IMAGES), rng())
    assert all(name.startswith("Prior.") for name in cold)
    warmed(net.prior, [0.5, 0.5], torch.zeros(2, 8), torch.eye(8).repeat(2, 1, 1))
    found = last_phase_updates(net, net.settle(IMAGES), rng())
    W = [name for name in net.parameters if name.startswith("W")]
    for name in W:
        net.parameters[name].requires_grad_()
    assert found["Prior.mass"].sum().item() == pytest.approx(1.0)
    state = net.settle(IMAGES)
    with torch.no_grad():
        best = infer_top(net, state, 3, 0.1, transposed=True)
        code, _, _ = draw_top(net, net.prior, IMAGES, best, {}, 3, Noise(rng().integers(2**63, size=8), 0.0))
    a, b = likelihood_terms(net, code)
    slopes = torch.autograd.grad(((IMAGES * a).sum(1) + b).sum(), [net.parameters[name] for name in W])
    for name, slope in zip(W, slopes, strict=True):
        torch.testing.assert_close(found[name], slope / 8, atol=1e-4, rtol=1e-3)
        source, target = name[2:-1].split("->")
        torch.testing.assert_close(found[f"E[{target}->{source}]"], found[name].T)


def test_a_part_of_a_batch_gives_its_part():
    net, whole = circuit(CHAIN, last_phase=LastPhaseConfig(steps=3, components=2)), {}
    warmed(net.prior, [0.5, 0.5], torch.randn(2, 8), torch.eye(8).repeat(2, 1, 1))
    net.prior.remember(30)
    for rows in (slice(None), slice(0, 5), slice(5, 8)):
        state = net.settle(IMAGES[rows])
        state.batch, state.rows, state.images = 8, rows, IMAGE_NUMBERS[rows]
        for name, update in last_phase_updates(net, state, rng()).items():
            whole.setdefault(name, []).append(update)
    for together, first, rest in whole.values():
        torch.testing.assert_close(together, first + rest, atol=1e-5, rtol=1e-4)
    assert torch.equal(whole["Prior.images"][0], IMAGE_NUMBERS.float()) and whole["Prior.tops"][0].shape == (8, 8)


def remembering(shape=CHAIN, skips: bool = True, **changes):
    """A network that learns alone in draws under a prior of two components, and remembers the tops of thirty images."""
    net = circuit(shape, last_phase=LastPhaseConfig(steps=3, components=2, alone=True, skips=skips), **changes)
    J = net.code_size
    warmed(net.prior, [0.5, 0.5], torch.randn(2, J, generator=torch.Generator().manual_seed(5)), torch.eye(J).repeat(2, 1, 1))
    remember_tops(net, 30)
    return net


def test_the_draws_of_an_image_go_on_where_its_last_ones_ended():
    net = remembering()
    assert recalled_state(net, IMAGES, None, IMAGE_NUMBERS) is None  # nothing is remembered yet
    state = net.settle(IMAGES)
    state.images = IMAGE_NUMBERS
    updates = last_phase_updates(net, state, rng())
    net.adapt_precision(updates)
    with torch.no_grad():
        best = infer_top(net, state, 3, 0.1, transposed=True)
    assert torch.equal(net.prior.tops[IMAGE_NUMBERS], updates["Prior.tops"]) and not torch.allclose(updates["Prior.tops"], best)
    assert int(net.prior.tops[:, 0].isnan().sum()) == 22
    again = IMAGE_NUMBERS.flip(0)  # in another order, as every epoch has
    state = recalled_state(net, IMAGES.flip(0), None, again)
    state.images = again
    assert torch.equal(state.drawn, updates["Prior.tops"].flip(0))
    found = last_phase_updates(net, state, np.random.default_rng(9))
    noise = Noise(np.random.default_rng(9).integers(2**63, size=8), 0.0)
    wanted, _, _ = draw_top(net, net.prior, IMAGES.flip(0), updates["Prior.tops"].flip(0), {}, 3, noise)
    assert torch.equal(found["Prior.tops"], wanted)
    assert recalled_state(net, IMAGES, None, IMAGE_NUMBERS - 1) is None and recalled_state(net, IMAGES, None, None) is None  # of one there is no top


@pytest.mark.parametrize("shape", ["chain", "skips", "two tops"])
def test_what_a_remembered_top_explains_is_the_state_with_no_error_but_the_images(shape):
    net = remembering(SHAPES[shape])
    code = torch.randn(8, net.code_size)
    net.prior.tops[IMAGE_NUMBERS] = code
    state = recalled_state(net, IMAGES, None, IMAGE_NUMBERS)
    torch.testing.assert_close(state.mu[0], net.project(code))
    torch.testing.assert_close(state.e[0], IMAGES - net.project(code))
    torch.testing.assert_close(net.losses(state, None)[0], bce_of(IMAGES, net.project(code)))
    assert torch.equal(state.code, code) and not any(e.any() for e in state.e[1:])


def test_settled_states_are_asked_for_where_synapses_learn_from_them_too():
    net = circuit(CHAIN, last_phase=LastPhaseConfig(steps=3, components=2))
    assert not remembers_tops(net) and not remembers_tops(circuit(CHAIN)) and remembers_tops(remembering())


def test_a_start_of_settling_leaves_no_errors_in_a_remembered_state():
    net = remembering(settle=SettleConfig(steps=20, beta=0.1, start="recogniser"))
    for name, synapses in net.parameters.items():
        if name.startswith("Rec"):
            synapses.normal_()
    assert net.rest(IMAGES).e[1].any()
    net.prior.tops[IMAGE_NUMBERS] = torch.randn(8, 8)
    state = recalled_state(net, IMAGES, None, IMAGE_NUMBERS)
    assert not any(e.any() for e in state.e[1:]) and not any(r.any() for r in state.r[1:])
    net.prior.tops[IMAGE_NUMBERS[0]] = 1e9
    with pytest.raises(UserError, match="diverged"):
        require_settled(net, recalled_state(net, IMAGES, None, IMAGE_NUMBERS), "batch 1")


def test_a_label_that_is_seen_is_part_of_what_a_remembered_top_explains():
    from test_top_inference import with_label

    net = with_label("z1 -> image", "z2 -> z1", "label -> image", last_phase=LastPhaseConfig(steps=3, components=2, alone=True))
    remember_tops(net, 30)
    code, y = torch.randn(8, net.code_size), torch.arange(8) % 3
    net.prior.tops[IMAGE_NUMBERS] = code
    state = recalled_state(net, IMAGES, y, IMAGE_NUMBERS)
    torch.testing.assert_close(state.mu[0], net.project(code, {"label": torch.eye(3)[y]}))
    assert not torch.allclose(state.mu[0], net.project(code))


@pytest.mark.parametrize("synapses", ["tied", "learned"])
def test_skips_are_left_alone_where_they_are_not_to_learn(synapses):
    both, chain = (remembering(SHAPES["skips"], skips=skips, error_synapses=synapses) for skips in (True, False))
    found = [last_phase_updates(net, net.settle(IMAGES), rng()) for net in (both, chain)]
    past = {"W[z2->image]", "W[z3->z1]", "E[image->z2]", "E[z1->z3]"}
    for name in both.parameters:
        assert found[0][name].any()
        assert torch.equal(found[1][name], torch.zeros_like(found[0][name]) if name in past else found[0][name])


def test_what_it_has_learned_is_kept_with_the_synapses():
    one, other = (circuit(CHAIN, last_phase=LastPhaseConfig(steps=3, components=2)) for _ in range(2))
    noise = rng()
    for _ in range(WARM + 2 * REFIT):
        one.adapt_precision(one.local_updates(one.settle(IMAGES), rng=noise))
    other.load_tensors(one.tensors())
    assert other.prior.warm and not torch.equal(other.own_prior.means, torch.zeros(2, 8))
    noise = np.random.default_rng(9)
    found = [net.local_updates(net.settle(IMAGES), rng=np.random.default_rng(9)) for net in (one, other)]
    assert all(torch.equal(a, found[1][name]) for name, a in found[0].items())
    assert "own_prior" in one.abilities and "own_prior" not in circuit(CHAIN).abilities


def test_a_prior_without_a_last_phase_is_refused():
    with pytest.raises(UserError, match="model.last_phase.components=2: .*model.last_phase.steps"):
        circuit(CHAIN, last_phase=LastPhaseConfig(components=2))


@pytest.mark.parametrize("given", [{"alone": True}, {"skips": False}])
def test_settings_of_a_last_phase_that_there_is_none_of_are_refused(given):
    with pytest.raises(UserError, match=f"model.last_phase.{next(iter(given))}=.*model.last_phase.steps"):
        circuit(CHAIN, last_phase=LastPhaseConfig(**given))


def test_alone_synapses_learn_from_the_last_phase_and_nothing_else():
    changes = dict(error_synapses="learned", precision=PrecisionConfig(kind="whitened"))
    both, alone = (circuit(CHAIN, **changes, last_phase=LastPhaseConfig(steps=3, temperature=0.0, alone=alone)) for alone in (False, True))
    state = alone.settle(IMAGES)
    found, phase = alone.local_updates(state), last_phase_updates(alone, state, None)
    assert set(found) == set(alone.parameters) and all(
        torch.equal(found[name], phase.get(name, torch.zeros(1)).expand_as(found[name])) for name in found
    )
    assert not torch.allclose(both.local_updates(both.settle(IMAGES))["W[z1->image]"], found["W[z1->image]"])


@pytest.mark.parametrize("kind", ["whitened", "published"])
@pytest.mark.parametrize("alone", [True, False])
def test_alone_precision_stays_as_it_is(kind, alone):
    net = circuit(CHAIN, precision=PrecisionConfig(kind=kind), last_phase=LastPhaseConfig(steps=3, components=2, alone=alone))
    warmed(net.prior, [0.5, 0.5], torch.zeros(2, 8), torch.eye(8).repeat(2, 1, 1))
    if remembers_tops(net):
        remember_tops(net, 30)
    before = {i: sigma.clone() for i, sigma in net.sigma.items()}
    assert before
    for epoch in range(2):  # settled, then remembered
        state = recalled_state(net, IMAGES, None, IMAGE_NUMBERS) or net.settle(IMAGES)
        assert (state.drawn is not None) == (alone and epoch == 1)
        state.images = IMAGE_NUMBERS
        updates = net.local_updates(state, rng=rng())
        for name, synapses in net.parameters.items():
            synapses.add_(updates[name], alpha=0.1)
        net.adapt_precision(updates)
    assert all(torch.allclose(sigma, before[i], atol=1e-6) == alone for i, sigma in net.sigma.items())

"""The models trained by backpropagation against torch's own layers and distributions, closed forms, and sums over all images.

Longer than 300 lines: every baseline meets the same referees.
"""

import itertools

import numpy as np
import pytest
import torch
from installed import command, require_one_line, summary
from scipy.optimize import minimize
from small import dataset, network
from torch import nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence
from torch.utils.flop_counter import FlopCounterMode

from ncf.baselines.autoencoders import Autoencoder
from ncf.baselines.classifier import Classifier
from ncf.baselines.pixel_mixture import PixelMixture
from ncf.config.compose import compose_train
from ncf.config.schema import AutoencoderConfig, ClassifierConfig, EvalConfig, MetricsConfig, PixelMixtureConfig
from ncf.data.streams import stream
from ncf.errors import UserError
from ncf.evaluate import evaluate
from ncf.measure.density import encoder_estimates, monte_carlo
from ncf.measure.metrics import left_out, measure
from ncf.network.likelihoods import CLIP
from ncf.runs import checkpoint
from ncf.training import train

CODES = ["plain", "gaussian", "constant", "adversarial"]


def autoencoder(code: str, **changes) -> Autoencoder:
    config = AutoencoderConfig(layers=[7, 6, 3], code=code, adversary=5, **changes)
    model = Autoencoder(config, 9, np.random.default_rng(0))
    for i, name in enumerate(sorted(model.parameters)):  # biases that are not zero
        if name[0] in "abc":
            model.parameters[name] += torch.from_numpy(np.random.default_rng(i).normal(0, 0.3, model.parameters[name].shape).astype(np.float32))
    return model


def images(n: int = 5, pixels: int = 9) -> torch.Tensor:
    return torch.from_numpy((np.random.default_rng(3).random((n, pixels)) < 0.5).astype(np.float32))


def as_layers(model, synapses: str, biases: str, order: list[tuple[int, int]]) -> nn.Sequential:
    """The same stack in torch's own layers: (index of the synapses, index of the biases) from its input on."""
    parts = []
    for w, b in order:
        W = model.parameters[f"{synapses}{w}"]
        layer = nn.Linear(*W.shape)
        layer.weight.data, layer.bias.data = W.T.clone(), model.parameters[f"{biases}{b}"].clone()
        parts += [layer, nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def stacks(model: Autoencoder) -> dict[str, nn.Sequential]:
    found = {"E": as_layers(model, "E", "c", [(1, 1), (2, 2), (3, 3)]), "W": as_layers(model, "W", "b", [(3, 2), (2, 1), (1, 0)])}
    if model.config.code == "adversarial":
        found["A"] = as_layers(model, "A", "a", [(1, 1), (2, 2), (3, 3)])
    return found


# --- autoencoders -----------------------------------------------------------------------------------------------------


def test_encoder_and_decoder_mirror_each_other_within_the_papers_size():
    for code in CODES:
        model = Autoencoder(AutoencoderConfig(code=code), 784, np.random.default_rng(0))
        shapes = {name: tuple(value.shape) for name, value in model.parameters.items()}
        assert [shapes[f"W{l}"] for l in (1, 2, 3)] == [(360, 784), (360, 360), (20, 360)]
        assert [shapes[f"E{l}"] for l in (1, 2)] == [(784, 360), (360, 360)]
        assert shapes["E3"] == (360, 40 if code == "gaussian" else 20)
        assert sum(value.numel() for value in model.parameters.values()) < 1.4e6


@pytest.mark.parametrize("code", CODES)
def test_reconstruction_and_projection_are_those_of_plain_layers(code):
    model, x = autoencoder(code), images()
    layers = stacks(model)
    latents = layers["E"](x)[:, :3]
    state = model.settle(x)
    torch.testing.assert_close(state.f[1], latents)
    torch.testing.assert_close(state.mu[0], layers["W"](latents).sigmoid())
    torch.testing.assert_close(model.project(latents.detach()), state.mu[0])
    torch.testing.assert_close(state.r[0], x - state.mu[0])


@pytest.mark.parametrize("code", CODES)
def test_updates_climb_the_objective_written_with_torchs_own_parts(code):
    """The objective from torch.nn and torch.distributions, its gradient by backward(); noise drawn in the same order."""
    model, x = autoencoder(code, l2=0.02, variance=0.3, deception=0.7, divergence=0.6), images()
    layers = stacks(model)
    rng = stream(1, "noise", 2, 3)
    out = layers["E"](x)
    if code == "gaussian":
        q = Normal(out[:, :3], (out[:, 3:] / 2).exp())
    if code == "constant":
        q = Normal(out, torch.full_like(out, 0.3**0.5))
    latents = out if code in ("plain", "adversarial") else q.mean + q.stddev * torch.from_numpy(rng.standard_normal((5, 3), dtype=np.float32))
    objective = Bernoulli(logits=layers["W"](latents)).log_prob(x).sum(1).mean()
    if code in ("gaussian", "constant"):
        objective = objective - 0.6 * kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean()
    squares = [(layer.weight**2).sum() for name in "EW" for layer in layers[name] if isinstance(layer, nn.Linear)]
    objective = objective - 0.02 * sum(squares)
    if code == "adversarial":
        objective = objective + 0.7 * layers["A"](latents).sigmoid().log().mean()
    objective.backward()
    if code == "adversarial":  # the adversary has an objective of its own, in which the latents are data
        for parameter in layers["A"].parameters():
            parameter.grad = None
        drawn = torch.from_numpy(rng.standard_normal((5, 3), dtype=np.float32))
        told = layers["A"](drawn).sigmoid().log().mean() + (1 - layers["A"](latents.detach()).sigmoid()).log().mean()
        told.backward()
    updates = model.local_updates(model.settle(x), None, stream(1, "noise", 2, 3))
    assert set(updates) == set(model.parameters)
    biases = {"E": ("c", [1, 2, 3]), "W": ("b", [2, 1, 0]), "A": ("a", [1, 2, 3])}
    for name, stack in layers.items():
        linear = [layer for layer in stack if isinstance(layer, nn.Linear)]
        for layer, w, b in zip(linear, [3, 2, 1] if name == "W" else [1, 2, 3], biases[name][1]):
            torch.testing.assert_close(updates[f"{name}{w}"], layer.weight.grad.T, atol=1e-6, rtol=1e-4)
            torch.testing.assert_close(updates[f"{biases[name][0]}{b}"], layer.bias.grad, atol=1e-6, rtol=1e-4)


def test_unseen_pixels_start_as_zero_and_are_filled_again():
    model, x = autoencoder("plain"), images()
    observed = (torch.arange(9) % 3 > 0).float()
    filled = x * observed
    for times in range(4):
        expected = model.settle(filled).mu[0]
        torch.testing.assert_close(model.refilled(x, observed, times), expected)
        filled = x * observed + expected * (1 - observed)
    state = model.settle(x, observed)
    torch.testing.assert_close(state.mu[0], model.refilled(x, observed))
    assert (state.r[0][:, observed == 0] == 0).all()


@pytest.mark.parametrize("code", ["plain", "gaussian"])
def test_latents_are_inferred_from_the_seen_pixels(code):
    """Against a loop of our own: Adam by its equations, on log p of the seen pixels and, where there is one, of the prior."""
    model, x = autoencoder(code), images()
    model.config.inference_steps, model.config.inference_rate = 7, 0.05
    observed = (torch.arange(9) % 3 > 0).float()
    prior = code == "gaussian"

    def objective(latents):
        mu = model.project(latents) if not latents.requires_grad else model.drive(latents).sigmoid()
        log_p = (x * mu.log() + (1 - x) * (1 - mu).log())[:, observed > 0].sum()
        return log_p - latents.square().sum() / 2 if prior else log_p

    latents = start = model.encode(x * observed, model.parameters)[0]
    first, second = torch.zeros_like(latents), torch.zeros_like(latents)
    for k in range(1, 8):
        at = latents.clone().requires_grad_()
        (slope,) = torch.autograd.grad(objective(at), at)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        latents = latents + 0.05 * (first / (1 - 0.9**k)) / ((second / (1 - 0.999**k)).sqrt() + 1e-8)
    found = model.inferred(x, observed)
    torch.testing.assert_close(found, latents, rtol=1e-3, atol=1e-4)
    assert objective(found) > objective(start)


def test_bce_by_inferred_latents_is_the_least_that_a_convex_decoder_allows():
    """A decoder of one layer is a logistic regression of the pixels on the latents, of which scipy finds the least BCE; the encoder's is above it."""
    model = Autoencoder(AutoencoderConfig(layers=[3], inference_steps=1500, inference_rate=0.02), 9, np.random.default_rng(0))
    W, data = model.parameters["W1"].double().numpy(), dataset()
    x = data.splits["test"].x = torch.from_numpy(np.random.default_rng(1).uniform(0.2, 0.8, (60, 9)).astype(np.float32))

    def least(image: np.ndarray) -> float:
        return minimize(lambda f: (np.logaddexp(0, f @ W) - image * (f @ W)).sum(), np.zeros(3)).fun

    kept: dict = {}
    found = measure(model, data, "test", MetricsConfig(names=["bce", "bce_inferred"], batch_size=7), per_image=kept)
    np.testing.assert_allclose(kept["test_bce_inferred"], [least(image) for image in x.double().numpy()], rtol=1e-4)
    assert found["bce_inferred"]["value"] < found["bce"]["value"] and found["bce_inferred"]["inference_steps"] == 1500


def test_latents_are_inferred_of_autoencoders_alone():
    assert left_out(autoencoder("plain"), dataset(), ["bce_inferred"]) == {}
    assert set(left_out(network(), dataset(), ["bce_inferred"])) == {"bce_inferred"}


@pytest.mark.parametrize("way", [0, 1, 2])
def test_no_way_of_completion_sees_an_unseen_pixel_or_another_image(way):
    model, x = autoencoder("gaussian"), images()
    observed = (torch.arange(9) % 3 > 0).float()
    complete, cost = list(model.completions.values())[way]
    changed = torch.where(observed > 0, x, 1 - x)
    assert torch.equal(complete(x, observed), complete(changed, observed))
    torch.testing.assert_close(complete(x, observed)[:2], complete(x[:2], observed))
    assert cost > 0


@pytest.mark.parametrize("better", ["zero filling", "20 refills", "50 inference steps"])
def test_the_way_to_complete_is_chosen_on_validation_images(better, monkeypatch):
    model, data = autoencoder("plain"), dataset()

    def completed(way):
        def mu(x, observed):
            error = 0.1 if way == better else 0.3
            return x + (0.4 - error if len(x) == 60 else error)  # the test images say the opposite

        return mu, 1

    ways = {way: completed(way) for way in model.completions}
    monkeypatch.setattr(Autoencoder, "completions", ways)
    figure = measure(model, data, "test", MetricsConfig(names=["m_mse"], mask_fraction=0.34))["m_mse"]
    assert figure["completed_by"] == better and figure["value"] == pytest.approx(3 * 0.3**2, rel=1e-4)
    assert figure["validation_by_way"] == pytest.approx({way: 3 * (0.1 if way == better else 0.3) ** 2 for way in ways}, rel=1e-4)


class OrthogonalVAE:
    """x = f W + noise with orthogonal rows of W, so that the exact posterior has independent latents and can be the encoder's."""

    likelihood = "gaussian"

    def __init__(self, spoil: float = 1.0):
        self.W = torch.tensor([[1.5, 0, 0, 0], [0, 0.6, 0.8, 0]])
        self.spoil = spoil

    def drive(self, f):
        return f @ self.W

    def posterior(self, x):
        precision = 1 + self.W.square().sum(1)
        return (x @ self.W.T) / precision, (self.spoil / precision).log().expand(len(x), -1)


def test_encoder_estimates_are_exact_with_the_exact_posterior_and_below_it_otherwise():
    x = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (6, 4)).astype(np.float32))
    W = OrthogonalVAE().W.double()
    exact = MultivariateNormal(torch.zeros(4).double(), W.T @ W + torch.eye(4)).log_prob(x.double())
    elbo, estimate = encoder_estimates(OrthogonalVAE(), x, 3, np.random.default_rng(0))
    torch.testing.assert_close(elbo, exact, atol=1e-5, rtol=0)
    torch.testing.assert_close(estimate.log_p, exact, atol=1e-5, rtol=0)
    assert estimate.effective_samples.min() > 2.99 and estimate.sampling_stderr < 1e-2

    elbo, estimate = encoder_estimates(OrthogonalVAE(spoil=2.0), x, 4000, np.random.default_rng(0))
    gap = kl_divergence(Normal(0.0, 2**0.5), Normal(0.0, 1.0)) * 2  # per latent, of an encoder twice as wide
    assert (exact - elbo).mean().item() == pytest.approx(gap.item(), rel=0.05)
    assert abs((estimate.log_p - exact).mean()) < 4 * estimate.sampling_stderr < 0.1


def test_own_priors_are_those_the_latents_are_taught():
    assert "own_prior" not in autoencoder("plain").abilities
    for code in ("gaussian", "constant", "adversarial"):
        prior = autoencoder(code).own_prior
        f = prior.sample(20_000, np.random.default_rng(0))
        torch.testing.assert_close(f.T.cov(), torch.eye(3), atol=0.05, rtol=0)
    assert ["posterior" in autoencoder(code).abilities for code in CODES] == [False, True, True, False]


# --- the mixture on pixels --------------------------------------------------------------------------------------------


def pixel_mixture(pixels: int = 4, components: int = 3) -> PixelMixture:
    data = dataset()
    data.splits["train"].x = data.splits["train"].x[:, :pixels]
    model = PixelMixture(PixelMixtureConfig(components=components, floor=0.02), data.splits["train"].x, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    for name, scale in (("logits", 1.0), ("W1", 0.4), ("spreads", 0.15)):
        model.parameters[name] += torch.from_numpy(rng.normal(0, scale, model.parameters[name].shape).astype(np.float32))
    return model


def test_chances_are_the_mean_of_a_clipped_gaussian_pixel():
    model = pixel_mixture()
    m, s = model.parameters["W1"].double(), (model.parameters["spreads"].double() ** 2 + 0.02).sqrt()
    v = torch.linspace(-6, 7, 200_001, dtype=torch.float64)[:, None, None]
    density = Normal(m, s).log_prob(v).exp()
    expected = torch.trapezoid(density * v.clamp(0, 1), v, dim=0)
    torch.testing.assert_close(model.chances().double(), expected.clamp(CLIP, 1 - CLIP), atol=1e-5, rtol=1e-4)


def test_the_pixel_mixtures_p_sums_to_one_over_all_images():
    model = pixel_mixture()
    everything = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
    assert model.exact_log_p(everything).exp().sum().item() == pytest.approx(1, abs=1e-5)
    estimate = monte_carlo(model, model.own_prior, everything, 50_000, np.random.default_rng(0))
    torch.testing.assert_close(estimate.log_p, model.exact_log_p(everything).double(), atol=0.03, rtol=0)


def test_the_pixel_mixture_climbs_the_gaussian_log_likelihood():
    model, x = pixel_mixture(), images(6, 4)
    P = {name: value.clone().requires_grad_() for name, value in model.parameters.items()}
    components = torch.distributions.Independent(Normal(P["W1"], (P["spreads"] ** 2 + 0.02).sqrt()), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=P["logits"]), components)
    mixture.log_prob(x).mean().backward()
    updates = model.local_updates(model.settle(x), None, np.random.default_rng(0))
    for name in P:
        torch.testing.assert_close(updates[name], P[name].grad, atol=1e-5, rtol=1e-4)


def test_responsibilities_come_from_the_observed_pixels_alone():
    model, x = pixel_mixture(), images(6, 4)
    observed = torch.tensor([1.0, 0, 1, 1])
    m, s = model.parameters["W1"], (model.parameters["spreads"] ** 2 + 0.02).sqrt()
    logs = model.parameters["logits"].log_softmax(0) + (Normal(m, s).log_prob(x[:, None]) * observed).sum(2)
    state = model.settle(x, observed=observed)
    torch.testing.assert_close(state.f[1], logs.softmax(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(state.mu[0], logs.softmax(1) @ model.chances(), atol=1e-5, rtol=1e-4)


# --- the classifier ---------------------------------------------------------------------------------------------------


def classifier(n_classes: int = 3, **changes) -> Classifier:
    return Classifier(ClassifierConfig(layers=[7, 6], **changes), 9, n_classes, np.random.default_rng(0))


def test_the_classifier_descends_the_cross_entropy():
    model, data = classifier(l2=0.01), dataset()
    x, y = data.splits["test"].x, data.splits["test"].y
    layers = as_layers(model, "W", "b", [(1, 1), (2, 2), (3, 3)])
    loss = -torch.distributions.Categorical(logits=layers(x)).log_prob(y).mean()
    (loss + 0.01 * sum((layer.weight**2).sum() for layer in layers if isinstance(layer, nn.Linear))).backward()
    state = model.settle(x)
    updates = model.local_updates(state, y, np.random.default_rng(0))
    for l, layer in enumerate((layer for layer in layers if isinstance(layer, nn.Linear)), start=1):
        torch.testing.assert_close(updates[f"W{l}"], -layer.weight.grad.T, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(updates[f"b{l}"], -layer.bias.grad, atol=1e-6, rtol=1e-4)
    entropy, squared = model.losses(state, y)
    assert entropy.mean().item() == pytest.approx(loss.item(), rel=1e-5)
    torch.testing.assert_close(squared, -((torch.eye(3)[y] - layers(x).softmax(1)) ** 2).sum(1), atol=1e-6, rtol=1e-4)
    wrong = (layers(x).argmax(1) != y).double().mean().item()
    assert measure(model, data, "test", MetricsConfig(names=["class_err"]))["class_err"]["value"] == pytest.approx(100 * wrong)


def test_dropout_silences_a_share_of_the_units_and_keeps_the_mean():
    """The gradient with the masks that the same stream draws, written out; and no unit is silent when it is asked."""
    model, data = classifier(dropout=0.4, input_dropout=0.2), dataset()
    x, y = data.splits["test"].x, data.splits["test"].y
    rng, P = stream(3, "noise"), {name: value.clone().requires_grad_() for name, value in model.parameters.items()}

    def dropped(h, share):
        return h * torch.from_numpy(rng.random(tuple(h.shape), dtype=np.float32) >= share) / (1 - share)

    h = dropped(x, 0.2)
    for l in (1, 2):
        h = dropped(torch.relu(h @ P[f"W{l}"] + P[f"b{l}"]), 0.4)
    (-nn.functional.cross_entropy(h @ P["W3"] + P["b3"], y)).backward()
    state = model.settle(x)
    updates = model.local_updates(state, y, stream(3, "noise"))
    for name, value in P.items():
        torch.testing.assert_close(updates[name], value.grad, atol=1e-6, rtol=1e-4)
    assert not torch.allclose(updates["W1"], classifier().local_updates(state, y, stream(3, "noise"))["W1"])
    torch.testing.assert_close(state.code, classifier().settle(x).code)


def test_classes_are_read_from_the_encoders_uppermost_hidden_layer_too():
    from sklearn.linear_model import LogisticRegression

    data = dataset()
    model = Autoencoder(AutoencoderConfig(layers=[8, 7, 2]), 9, np.random.default_rng(0))
    encoder = as_layers(model, "E", "c", [(1, 1), (2, 2), (3, 3)])[:4]  # h_2, after its relu
    hidden = {split: encoder(data.splits[split].x).detach().double().numpy() for split in ("train", "test")}
    found = measure(model, data, "test", MetricsConfig(names=["class_err", "class_err_hidden"]))
    reader = LogisticRegression(C=1 / found["class_err_hidden"]["penalty"], max_iter=1000).fit(hidden["train"], data.splits["train"].y.numpy())
    wrong = 100 * (reader.predict(hidden["test"]) != data.splits["test"].y.numpy()).mean()
    assert found["class_err_hidden"]["value"] == pytest.approx(wrong) and found["class_err"]["value"] != found["class_err_hidden"]["value"]
    assert "class_err_hidden" in left_out(classifier(), data, ["class_err_hidden"])
    data.splits["train"].y[:] = 0
    assert left_out(model, data, ["class_err_hidden"]) == {"class_err_hidden": "the training images are all of one class"}


def test_images_without_classes_cannot_be_classified():
    with pytest.raises(UserError, match="no classes"):
        classifier(n_classes=0)


# --- under the same commands ------------------------------------------------------------------------------------------

SMALL = "dataset.n_train=300 dataset.n_validation=50 epochs=2 batch_size=50 metrics=paper metrics.samples=50 metrics.encoder_samples=3 threads=1 seed=1".split()
MODELS = {
    "rae": "model.layers=[24,8]",
    "gvae": "model.layers=[24,8]",
    "gvae_cv": "model.layers=[24,8]",
    "gan_ae": "model.layers=[24,8]",
    "gmm": "model.components=5",
    "relu_classifier": "model.layers=[24]",
}
MEASURED = {
    "rae": {"bce", "tod", "m_mse", "class_err", "log_p"},
    "gvae": {"bce", "tod", "m_mse", "class_err", "log_p", "log_p_own", "elbo", "log_p_encoder"},
    "gvae_cv": {"bce", "tod", "m_mse", "class_err", "log_p", "log_p_own", "elbo", "log_p_encoder"},
    "gan_ae": {"bce", "tod", "m_mse", "class_err", "log_p", "log_p_own"},
    "gmm": {"bce", "tod", "m_mse", "class_err", "log_p"},
    "relu_classifier": {"class_err"},
}


@pytest.mark.parametrize("model", MODELS)
def test_a_baseline_trains_resumes_and_is_evaluated_like_a_network(model, tmp_path, capsys):
    """One epoch and then another end with the weights of two at once: the noise is a function of seed, epoch and step."""
    for name, epochs in (("whole", 2), ("parts", 1), ("parts", 2)):
        train(compose_train(*SMALL, f"model={model}", MODELS[model], f"epochs={epochs}"), tmp_path / name, named=True)
    assert "warning" not in capsys.readouterr().out
    whole, parts = (checkpoint.load(tmp_path / name / "checkpoints/last.pt")["weights"] for name in ("whole", "parts"))
    assert set(whole) == set(parts) and all(torch.equal(whole[name], parts[name]) for name in whole)
    figures = summary(tmp_path / "whole")["metrics"]["test"]
    assert set(figures) == MEASURED[model] and all(np.isfinite(figure["value"]) for figure in figures.values())
    assert (tmp_path / "whole/reconstructions.png").exists() == (model != "relu_classifier")
    assert evaluate(EvalConfig(checkpoint=str(tmp_path / "whole"), threads=1, split="test"))["metrics"]["test"] == figures
    if model == "relu_classifier":
        assert "left out, the model has no decoder: BCE, ToD, M-MSE, log p(x)" in capsys.readouterr().out


def test_a_layerless_autoencoder_is_refused(tmp_path):
    require_one_line(command("ncf-train", "model=gvae", "model.layers=[]", cwd=tmp_path), "model.layers=[]", "at least one")


@pytest.mark.parametrize("code", CODES)
def test_what_a_completion_is_said_to_cost_is_what_torch_counts(code):
    net, x = autoencoder(code), images()
    for way, (complete, multiply_adds) in net.completions.items():
        with FlopCounterMode(display=False) as counted:
            complete(x, torch.ones_like(x))
        assert counted.get_total_flops() / 2 / len(x) == multiply_adds, way

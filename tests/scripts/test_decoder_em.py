"""A GVAE whose decoder goes on learning from draws of its posterior."""

import re

import numpy as np
import pytest
import torch
from table import decoder_em

import ncf
from ncf.config.schema import AnnealingConfig, GNCNConfig
from ncf.measure.density import likelihood_terms
from ncf.network.gncn import GNCN
from ncf.network.mixture import Mixture
from ncf.network.top_prior import WARM, TopPrior
from ncf.runs import checkpoint


def test_the_decoder_learns_on_and_the_encoder_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(decoder_em, "ANNEALED", AnnealingConfig(images=4, steps=5, check_images=2, chains=2))
    monkeypatch.setattr(decoder_em, "BATCH", 20)  # so that the prior is warm within the first epoch
    monkeypatch.chdir(tmp_path)
    ncf.train("model=gvae", dataset="digits", epochs=5, batch_size=50, run_dir="run", threads=1, report=False)
    capsys.readouterr()
    decoder_em.main("run", "on.pt")
    told = capsys.readouterr().out
    fits = [float(value) for value in re.findall(r"log p\(x \| latents\) (-[\d.]+)", told)]
    values = np.load("on-per-image.npz")["test_log_p_annealed_own"]
    assert values.shape == (4,) and f"own prior: {values.mean():.2f} +-" in told
    assert len(fits) == decoder_em.EPOCHS and fits[-1] > fits[0] + 1
    before, after = checkpoint.load(tmp_path / "run/checkpoints/best.pt"), checkpoint.load(tmp_path / "on.pt")
    for name, value in before["weights"].items():
        assert torch.equal(value, after["weights"][name]) == (name[0] in "Ec"), name
    assert ncf.load("on.pt").model.code_size == 20


def test_latents_are_drawn_from_their_posterior_and_go_on_from_epoch_to_epoch(monkeypatch):
    """x = f + noise, f ~ N(m, s^2): p(f | x) = N( (m + s^2 x) / (1 + s^2), s^2 / (1 + s^2) )."""
    network = GNCN(GNCNConfig(layers=[1], activation="identity", error_synapses="tied", likelihood="gaussian"), 1, np.random.default_rng(0))
    network.parameters["W1"].fill_(1.0)
    prior = TopPrior(1, 1, torch.device("cpu"))
    x, f = torch.full((6000, 1), 2.0), torch.zeros(6000, 1)
    assert torch.equal(decoder_em.draw(network, prior, x, f, np.random.default_rng(0))[0], f)  # cold: nothing to draw from yet
    prior.learned.fill_(WARM)
    prior.step.fill_(0.5)
    prior.mixture = Mixture(torch.ones(1), torch.tensor([[-1.0]]), torch.tensor([[[0.8]]]))
    monkeypatch.setattr(decoder_em, "MOVES", 40)
    drawn, _, taken = decoder_em.draw(network, prior, x, f, np.random.default_rng(1))
    assert drawn.mean().item() == pytest.approx((-1 + 0.64 * 2) / 1.64, abs=0.03) and drawn.var().item() == pytest.approx(0.64 / 1.64, abs=0.03)
    assert 0.5 < taken.mean() <= 1


def test_what_was_drawn_is_where_the_next_epoch_goes_on_from(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_em, "BATCH", 20)
    monkeypatch.chdir(tmp_path)
    loaded = ncf.train("model=gvae", dataset="digits", epochs=1, run_dir="run", threads=1, report=False).network
    starts, ends, draw = [], [], decoder_em.draw

    def noted(network, prior, x, f, rng):
        starts.append((x.clone(), f.clone()))
        found = draw(network, prior, x, f, rng)
        ends.append(found[0].clone())
        return found

    monkeypatch.setattr(decoder_em, "draw", noted)
    decoder_em.learn_on(loaded.model, loaded.data, 0, epochs=2)
    half = len(starts) // 2
    first = {image.numpy().tobytes(): top for (x, _), after in zip(starts[:half], ends[:half]) for image, top in zip(x, after)}
    again = [torch.equal(first[image.numpy().tobytes()], top) for x, f in starts[half:] for image, top in zip(x, f)]
    assert np.mean(again) > 0.99  # but for images that are there twice
    assert any(not torch.equal(f, after) for (_, f), after in zip(starts, ends))


def test_it_climbs_the_likelihood_of_the_batch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = ncf.train("model=gvae", dataset="digits", epochs=1, run_dir="run", threads=1, report=False).network
    x, f = torch.as_tensor(network.images("test", 50)).flatten(1), torch.randn(50, 20)
    decoder = [value for name, value in network.model.parameters.items() if name[0] in "Wb"]
    a, b = likelihood_terms(network.model, f)
    before = ((x * a).sum(1) + b).mean().item()
    adam = torch.optim.Adam(decoder, lr=0.001, maximize=True)
    told = [decoder_em.climb(network.model, adam, decoder, x, f) for _ in range(3)]
    assert abs(told[0] - before) < 1e-4 and told[0] < told[1] < told[2]

"""A GVAE whose decoder goes on learning from draws of its posterior."""

import re

import numpy as np
import torch
from table import decoder_em

import ncf
from ncf.config.schema import AnnealingConfig
from ncf.measure.density import likelihood_terms
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

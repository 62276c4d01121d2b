"""The next frame's error by its definition, and that whatever is measured goes through the frames in order."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small import dataset, network

from ncf.config.compose import compose_train
from ncf.config.schema import CircuitConfig, MetricsConfig, PopulationConfig, SettleConfig
from ncf.data import datasets
from ncf.data.streams import stream
from ncf.errors import UserError
from ncf.measure.frames import best_flip, flipped, frames_of, sequence_bce
from ncf.measure.metrics import METRICS, left_out, measure
from ncf.measure.subject import sequence_stderr
from ncf.models import build_model, seen_of
from ncf.network.gncn import GNCN
from ncf.network.optimizer import Optimizer
from ncf.runs import checkpoint
from ncf.training import train

T = 5


def recurrent() -> GNCN:
    populations = {"image": PopulationConfig(observed="image"), "z1": PopulationConfig(size=6), "z2": PopulationConfig(size=4)}
    bundles = ["z1 -> image", "z2 -> z1", "z1 -> z1 delayed", "z2 -> z2 delayed"]
    terms = dict(activation="tanh", prediction="tanh", init_sd=0.4, settle=SettleConfig(steps=8, beta=0.3))
    return GNCN(CircuitConfig(populations=populations, bundles=bundles, **terms), 9, np.random.default_rng(0))


def sequences(**changes) -> datasets.Dataset:
    return replace(dataset(), frames=T, **changes)


def nats(x: torch.Tensor, mu: torch.Tensor) -> float:
    return -(x * mu.double().log() + (1 - x) * (1 - mu.double()).log()).sum().item()


@pytest.mark.parametrize("batch_size", [500, 5])
def test_every_figure_is_that_of_frames_in_order(batch_size):
    net, data = recurrent(), sequences()
    config = MetricsConfig(names=["bce", "next_frame", "active"], batch_size=batch_size)
    per_image: dict = {}
    figures = measure(net, data, "test", config, per_image=per_image)
    bce, ahead = [], []
    for sequence in data.splits["test"].x.view(-1, T, 9):
        state, errors = None, []
        for n, x in enumerate(sequence):
            if n:
                f2 = (state.f[2] @ net.parameters["R[z2->z2]"]).tanh()
                f1 = (f2 @ net.parameters["W[z2->z1]"] + state.f[1] @ net.parameters["R[z1->z1]"]).tanh()
                errors.append(nats(x, (f1 @ net.parameters["W[z1->image]"]).sigmoid()[0]))
            state = net.settle(x[None], before=state)
            bce.append(nats(x, state.mu[0][0]))
        ahead.append(np.mean(errors))
    np.testing.assert_allclose(per_image["test_bce"], bce, rtol=1e-4)
    np.testing.assert_allclose(per_image["test_next_frame"], ahead, rtol=1e-4)
    assert figures["next_frame"]["n"] == 12 and figures["next_frame"]["value"] == pytest.approx(np.mean(ahead), rel=1e-4)
    assert figures["next_frame"]["flip"] == 0.0
    by_sequence = np.reshape(bce, (-1, T)).mean(1)  # frames of a sequence are alike: each counts as one
    assert figures["bce"]["n"] == 12 * T and figures["bce"]["stderr"] == pytest.approx(by_sequence.std(ddof=1) / 12**0.5, rel=1e-3)
    assert figures["next_frame"]["stderr"] == pytest.approx(np.std(ahead, ddof=1) / 12**0.5, rel=1e-3)


def test_the_error_of_frames_is_that_over_sequences_though_some_are_cut_short():
    """Sequences with a level of their own, some of their frames without a value: the error is the spread of the mean over repetitions."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.arange(i * 10, i * 10 + n) for i, n in enumerate([10, 3, 10, 7, 10, 1] * 10)])
    errors, means = [], []
    for _ in range(300):
        values = torch.from_numpy(rng.normal(0, 0.5, 600) + rng.normal(0, 2, 60).repeat(10))[torch.from_numpy(rows)]
        errors.append(sequence_stderr(values, torch.from_numpy(rows // 10)))
        means.append(values.mean().item())
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)


def test_a_single_sequence_tells_nothing_of_the_error():
    data = sequences()
    few = measure(recurrent(), data, "test", MetricsConfig(names=["bce"], n_images=T))["bce"]
    assert few["n"] == T and few["stderr"] is None


def test_copying_knows_how_often_training_pixels_stay_white_and_turn_white():
    data = sequences()
    figure = measure(recurrent(), data, "test", MetricsConfig(names=["next_frame"]))["next_frame"]
    known, x = (data.splits[split].x.view(-1, T, 9).numpy() for split in ("train", "test"))
    stays, turns = (known[:, 1:][known[:, :-1] == was].mean() for was in (1, 0))
    assert (figure["stays"], figure["turns"]) == (pytest.approx(stays, rel=1e-5), pytest.approx(turns, rel=1e-5))
    white = np.where(x[:, :-1] == 1, stays, turns)
    nats_of = -np.log(np.where(x[:, 1:] == 1, white, 1 - white)).sum((1, 2)) / (T - 1)
    assert figure["copying"] == pytest.approx(nats_of.mean(), rel=1e-5)


def test_a_network_without_delays_predicts_what_it_settled_to_with_the_best_flip():
    net, data = network(), sequences()
    figure = measure(net, data, "test", MetricsConfig(names=["next_frame"]))["next_frame"]
    known, x = (data.splits[split].x.view(-1, T, 9) for split in ("train", "test"))
    mu = [net.settle(images[:, :-1].reshape(-1, 9)).mu[0].view(-1, T - 1, 9) for images in (known, x)]
    flip = best_flip(known, mu[0])
    assert figure["flip"] == flip > 0 and figure["value"] == pytest.approx(sequence_bce(x, flipped(mu[1], flip)).mean().item(), rel=1e-5)
    assert sequence_bce(known, flipped(mu[0], flip)).mean() < min(sequence_bce(known, flipped(mu[0], f)).mean() for f in (0.0, flip / 2, flip * 1.5))


def test_what_does_not_apply_is_left_out_and_still_images_are_refused():
    assert left_out(network(), dataset(), ["next_frame"]) == {"next_frame": "the images come in no sequences, or the model predicts no images"}
    absent = left_out(recurrent(), sequences(), list(METRICS))
    assert {"m_mse", "log_p", "ndb"} <= set(absent) and not {"bce", "tod", "next_frame", "class_err", "active"} & set(absent)
    with pytest.raises(UserError, match="images are still"):
        frames_of(recurrent(), dataset())
    assert frames_of(network(), sequences()) == 1 and frames_of(recurrent(), sequences()) == T


# --- runs -----------------------------------------------------------------------------------------------------------------

SMALL = (
    "model=recurrent_t2_l_sigma model.populations.z1.size=24 model.populations.z2.size=24 model.populations.z3.size=18 dataset=moving_digits "
    "dataset.n_train=30 dataset.n_validation=10 metrics=frames metrics.n_images=100 model.settle.steps=5 batch_size=10 threads=1 progress=off"
).split()


def test_a_run_that_was_cut_within_an_epoch_ends_with_the_same_bits(tmp_path, monkeypatch):
    batches, cut = datasets.batches, [True]

    def until(*arguments, **named):
        for batch in batches(*arguments, **named):
            if cut and arguments[3] == 2 and batch[0] == 2:
                cut.clear()
                raise KeyboardInterrupt
            yield batch

    config = compose_train(*SMALL, "epochs=2", "checkpoint.every_steps=1", "report=false")
    whole = train(config, tmp_path / "whole", named=True)
    monkeypatch.setattr(datasets, "batches", until)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut", named=True)
    assert checkpoint.load(tmp_path / "cut/checkpoints/last.pt")["progress"]["step"] == 2
    assert train(config, tmp_path / "cut", named=True)["metrics"] == whole["metrics"]
    one, other = (checkpoint.load(tmp_path / name / "checkpoints/last.pt")["weights"] for name in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one) and any(name.startswith("R[") for name in one)


def test_a_batch_of_sequences_is_learned_from_frame_after_frame(tmp_path):
    config = compose_train(*SMALL, "dataset.n_train=10", "epochs=1", "report=false", "compute.dtype=float32")
    train(config, tmp_path / "run", named=True)
    data = datasets.load(config.dataset)
    net = build_model(config, seen_of(data), stream(config.seed, "synapses"), torch.device("cpu"))
    optimizer, state = Optimizer(config.optimizer, net.parameters), None
    ((_, x, _),) = datasets.batches(data, 10, config.seed, 1, frames=20)
    for x_n in x.view(10, 20, -1).unbind(1):
        state = net.settle(x_n.contiguous(), before=state)
        optimizer.step(updates := net.local_updates(state))
        net.adapt_precision(updates)
        net.limit_norms()
    trained = checkpoint.load(tmp_path / "run/checkpoints/last.pt")["weights"]
    assert all(torch.equal(tensor, trained[name]) for name, tensor in net.tensors().items())


def test_still_images_are_refused_in_one_line_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match="dataset=digits: its images are still"):
        train(compose_train(*SMALL[:4], "dataset=digits", "threads=1"), tmp_path / "run", named=True)
    assert not (tmp_path / "run").exists()


def test_the_report_shows_the_frames_above_what_was_predicted(tmp_path):
    train(compose_train(*SMALL, "epochs=1"), tmp_path / "run", named=True)
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "Next frame</h2>" in page and 'src="data:image/gif;base64,R0lGOD' in page and page.count('alt="film strip') == 4
    assert page.count('class="delayed"') == 3 and "not shown" not in page and "Completions" not in page

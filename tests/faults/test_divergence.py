"""A run that diverges is stopped by one line that says where and what to lower, before anything of it reaches a checkpoint."""

import re
from pathlib import Path

import pytest
import torch
from installed import TINY, require_one_line, rows, summary, warm

import ncf.training
from ncf.errors import UserError
from ncf.network.gncn import GNCN
from ncf.runs import checkpoint, guards

RUN = [*TINY, "metrics=basic", "name=run"]
RELEASED = ["optimizer=adam", "model.constraint.kind=limit"]
MODELS = ("gncn_t1", "gncn_t1_sigma", "gncn_t2_l_sigma", "gncn_pdh")
BETA = "model.settle.beta=100000"  # a million times the usual one
RATES = ("optimizer.lr=1000", "optimizer=sgd optimizer.lr=100000")


def require_stopped(done, run: Path, *words: str) -> None:
    require_one_line(done, *words)
    assert re.search(r"diverged in epoch \d+, batch \d+: ", done.stderr), done.stderr
    assert summary(run)["status"] == "failed" and summary(run)["reason"] in done.stderr
    assert [path for path in run.rglob("*.tmp")] == []
    for path in (run / "checkpoints").glob("*.pt"):
        for name, tensor in checkpoint.load(path)["weights"].items():
            assert torch.isfinite(tensor).all(), (path, name)


@pytest.mark.parametrize("kind", ["limit", "none"])
@pytest.mark.parametrize("model", MODELS)
def test_a_step_of_the_states_a_million_times_too_large(model, kind, tmp_path):
    for settings in (["model.settle.steps=50"], ["model.settle.steps=3"]):  # soon not finite, or finite all along
        name = f"name={settings[0]}".replace("model.settle.", "").replace("=", "-").replace("name-", "name=")
        done = warm("ncf-train", *RUN, BETA, f"model={model}", f"model.constraint.kind={kind}", *settings, name, cwd=tmp_path)
        run = tmp_path / "outputs/runs" / name.removeprefix("name=")
        require_stopped(done, run, "settling diverged in epoch 1, batch 1", "states of z1", "model.settle.beta", "model.settle.steps")
        assert list((run / "checkpoints").iterdir()) == []
    done = warm("ncf-train", *RUN, BETA, f"model={model}", f"model.constraint.kind={kind}", *settings, name, "seed=9", cwd=tmp_path)
    require_one_line(done, "exists with another config: seed", "it has no checkpoint yet: if it failed, remove it")


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("model", MODELS)
def test_a_learning_rate_a_million_times_too_large(model, rate, tmp_path):
    done = warm("ncf-train", *RUN, *rate.split(), f"model={model}", cwd=tmp_path)
    require_stopped(
        done, tmp_path / "outputs/runs/run", "learning diverged", "column norms", "lower optimizer.lr, model.settle.beta or model.settle.steps"
    )


def test_a_learning_rate_that_breaks_a_covariance(tmp_path):
    done = warm("ncf-train", *RUN, "model=gncn_t1_sigma", *RELEASED, "optimizer.lr=1", cwd=tmp_path)
    require_stopped(done, tmp_path / "outputs/runs/run", "Sigma", "positive definite", "optimizer.lr")


def poison_an_update() -> None:
    honest = GNCN.local_updates

    def poisoned(self, *arguments):
        updates = honest(self, *arguments)
        updates["E1"][2, 3] = float("nan")
        return updates

    GNCN.local_updates = poisoned


def poison_a_figure() -> None:
    honest = ncf.training.measure
    ncf.training.measure = lambda *arguments: {name: figure | {"value": float("nan")} for name, figure in honest(*arguments).items()}


@pytest.mark.parametrize(
    "poison, words",
    [
        (poison_an_update, "learning diverged in epoch 1, batch 1: the update of E1"),
        (poison_a_figure, "in the validation after epoch 1: validation_bce"),
    ],
    ids=["an update", "a figure"],
)
def test_a_number_that_is_none_stops_a_run_before_it_is_applied_or_saved(poison, words, tmp_path):
    require_one_line(warm("ncf-train", *RUN, cwd=tmp_path, prepare=poison), words, "is not finite; lower")
    assert list((tmp_path / "outputs/runs/run/checkpoints").iterdir()) == []


def test_a_run_that_diverges_late_keeps_its_good_checkpoints(tmp_path):
    """Two healthy epochs; then the run goes on from a checkpoint whose synapses somebody has blown up."""
    done = warm("ncf-train", *RUN, cwd=tmp_path)
    assert done.returncode == 0
    run = tmp_path / "outputs/runs/run"
    last = run / "checkpoints/last.pt"
    content = checkpoint.load(last)
    content["weights"]["E1"].mul_(1e30)
    checkpoint.save(last, {name: value for name, value in content.items() if name not in ("kind", "format")})
    before = {path: checkpoint.load(path) for path in (run / "checkpoints").glob("*.pt")}
    require_one_line(warm("ncf-train", *RUN, "epochs=3", cwd=tmp_path), "settling diverged in epoch 3, batch 1", "states of z1")
    for path, content in before.items():  # (they know of the epochs asked for since)
        now = checkpoint.load(path)
        assert now["progress"] == content["progress"]
        assert all(torch.equal(now["weights"][name], value) for name, value in content["weights"].items())
    assert [row["epoch"] for row in rows(run)] == [1, 2]


UNUSUAL = [  # settings far from the usual ones under which nothing has gone wrong
    "model=gncn_t1 optimizer.lr=0.1",
    "model=gncn_t1 optimizer.lr=1",
    "model=gncn_t1 optimizer=sgd optimizer.lr=1",
    "model=gncn_t1 model.settle.beta=0.4 model.settle.steps=200",
    "model=gncn_t1 model.constraint.kind=none model.init_sd=1",
    "model=gncn_t1 model.likelihood=gaussian dataset.binarize=none",
    "model=gncn_t1_sigma optimizer.lr=0.01 model.constraint.kind=unit",
    "model=gncn_t1_sigma model.init_sd=0.000001",
    "model=gncn_pdh model.settle.steps=400 optimizer=adam model.constraint.kind=limit",  # eight times the usual time: its states grow to hundreds
    "model=gncn_pdh model.settle.beta=0.4 model.settle.steps=50 optimizer=adam model.constraint.kind=limit",
    "model=gncn_pdh model.constraint.kind=unit optimizer.lr=0.01",
    "model=gncn_pdh model.precision.kind=published optimizer.lr=0.1",
    "model=gncn_t2_l_sigma model.settle.solver=momentum model.settle.beta=0.2",
]


@pytest.mark.parametrize("settings", UNUSUAL)
def test_unusual_settings_that_work_raise_no_false_alarm(settings, tmp_path):
    done = warm("ncf-train", *RUN, *settings.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


class Network:
    """What the guards look at."""

    def __init__(self, **parameters: torch.Tensor):
        self.parameters, self.sigma, self.abilities = parameters, {}, frozenset()
        self.names = ["image", "z1", "z2", "z3"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), -1e5])
@pytest.mark.parametrize("layer", [1, 3])
def test_a_single_bad_state_is_found_and_its_layer_named(bad, layer):
    class State:
        z = [torch.zeros(4, size) for size in (9, 5, 6, 7)]
        free = (1, 2, 3)

    State.z[layer][2, 3] = bad
    with pytest.raises(UserError, match=f"in HERE: the states of z{layer} reach"):
        guards.require_settled(Network(), State, "HERE")
    State.z[layer][2, 3] = 1000
    guards.require_settled(Network(), State, "HERE")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_single_bad_number_in_an_update_or_a_figure_is_found(bad):
    updates = {"W1": torch.zeros(3, 4), "M2": torch.zeros(3, 4)}
    guards.require_finite(Network(), updates, "HERE")
    updates["M2"][1, 2] = bad
    with pytest.raises(UserError, match="HERE: the update of M2 is not finite"):
        guards.require_finite(Network(), updates, "HERE")
    with pytest.raises(UserError, match="validation_bce is not finite"):
        guards.require_numbers(Network(), {"validation_bce": bad}, "HERE")


@pytest.mark.parametrize("factor, stopped", [(99, False), (101, True), (float("nan"), True), (0, False)])
def test_a_step_that_leaves_a_hundredth_of_what_was_learned_is_refused(factor, stopped):
    network = Network(W1=torch.ones(4, 6) / 2, b1=torch.ones(6))  # columns of norm 1
    if not stopped:
        with guards.steady(network, "HERE"):
            network.parameters["W1"].mul_(factor)
        return
    with pytest.raises(UserError, match="HERE: one step took W1 from column norms of 1 to"):
        with guards.steady(network, "HERE"):
            network.parameters["W1"].mul_(factor)


def test_synapses_that_start_tiny_may_grow():
    network = Network(W1=torch.full((4, 6), 1e-9))
    with guards.steady(network, "HERE"):
        network.parameters["W1"].add_(0.001)

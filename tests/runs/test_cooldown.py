"""The last epochs of a run, in which its learning rate falls to zero."""

import pytest
import torch
from installed import TINY, require_one_line, summary, warm

from ncf import training
from ncf.config.compose import compose_train
from ncf.network.optimizer import Optimizer
from ncf.runs import checkpoint

STEPS = 3  # batches of an epoch


def trained(tmp_path, name: str, *overrides: str, stop_at: int | None = None) -> list[float]:
    """Train a run in this process; the share of the learning rate of every batch. `stop_at`: interrupted before that batch."""
    shares = []

    class Watched(Optimizer):
        def slow_to(self, share: float) -> None:
            if len(shares) == stop_at:
                raise KeyboardInterrupt
            shares.append(share)
            super().slow_to(share)
            assert self.rule.param_groups[0]["lr"] == pytest.approx(share * self.config.lr)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "Optimizer", Watched)
        config = compose_train(
            "dataset=digits", "dataset.n_train=120", "batch_size=40", "model=gncn_t1", "model.layers=[8,8]", "metrics=basic", *overrides
        )
        try:
            training.train(config, tmp_path / name, named=True)
        except KeyboardInterrupt:
            assert stop_at is not None
    return shares


def test_the_rate_falls_in_a_straight_line_over_the_last_epochs(tmp_path):
    assert trained(tmp_path, "plain", "epochs=2") == [1.0] * 2 * STEPS
    shares = trained(tmp_path, "cooled", "epochs=4", "optimizer.cooldown=2")
    assert shares == pytest.approx([1.0] * 2 * STEPS + [1 - k / (2 * STEPS) for k in range(2 * STEPS)])
    assert summary(tmp_path / "cooled")["epochs_trained"] == 4


def test_what_patience_ends_cools_down_first(tmp_path):
    """Patience runs out after the second epoch; what validations say during the cooldown ends it no sooner."""
    shares = trained(tmp_path, "run", "epochs=9", "optimizer.cooldown=3", "patience=1", "patience_gain=1000")
    assert shares == pytest.approx([1.0] * 2 * STEPS + [1 - k / (3 * STEPS) for k in range(3 * STEPS)])
    assert summary(tmp_path / "run")["epochs_trained"] == 5
    late = trained(tmp_path, "late", "epochs=3", "optimizer.cooldown=2", "patience=1", "patience_gain=1000")  # it had begun before
    assert late == pytest.approx([1.0] * STEPS + [1 - k / (2 * STEPS) for k in range(2 * STEPS)])


@pytest.mark.parametrize("patience", [[], ["patience=1", "patience_gain=1000"]])
def test_a_run_interrupted_as_it_cools_down_goes_on_to_the_same_bits(patience, tmp_path):
    told = ["epochs=4", "optimizer.cooldown=2", "checkpoint.every_steps=1", *patience]
    whole = trained(tmp_path, "once", *told)
    first = trained(tmp_path, "cut", *told, stop_at=2 * STEPS + 2)
    assert first + trained(tmp_path, "cut", *told) == whole
    one, other = (checkpoint.load(tmp_path / name / "checkpoints/last.pt") for name in ("once", "cut"))
    assert one["weights"].keys() == other["weights"].keys()
    assert all(torch.equal(value, other["weights"][name]) for name, value in one["weights"].items())


def test_a_cooldown_longer_than_the_run_is_refused(tmp_path):
    done = warm("ncf-train", *TINY, "epochs=1", "optimizer.cooldown=2", "run_dir=run", cwd=tmp_path)
    require_one_line(done, "optimizer.cooldown=2 is longer than the run: give it at most epochs=1")
    assert not (tmp_path / "run").exists()

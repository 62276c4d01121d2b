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


def test_an_epoch_has_as_many_batches_as_its_last_incomplete_one_makes_it(tmp_path):
    shares = trained(tmp_path, "run", "epochs=2", "optimizer.cooldown=2", "dataset.n_train=90")  # 40, 40 and 10 images
    assert shares == pytest.approx([1 - k / (2 * STEPS) for k in range(2 * STEPS)])


def test_patience_may_end_a_run_before_its_cooldown_and_says_so(tmp_path, capsys):
    shares = trained(tmp_path, "run", "epochs=9", "optimizer.cooldown=3", "patience=1", "patience_gain=1000")
    assert shares == [1.0] * 2 * STEPS and summary(tmp_path / "run")["epochs_trained"] == 2
    assert "optimizer.cooldown=3 is for the last of all epochs" in capsys.readouterr().out


def test_a_run_interrupted_as_it_cools_down_goes_on_to_the_same_bits(tmp_path):
    told = ["epochs=4", "optimizer.cooldown=2", "checkpoint.every_steps=1"]
    whole = trained(tmp_path, "once", *told)
    first = trained(tmp_path, "cut", *told, stop_at=2 * STEPS + 2)
    assert first + trained(tmp_path, "cut", *told) == whole
    one, other = (checkpoint.load(tmp_path / name / "checkpoints/last.pt") for name in ("once", "cut"))
    assert one["weights"].keys() == other["weights"].keys()
    assert all(torch.equal(value, other["weights"][name]) for name, value in one["weights"].items())


def test_a_run_that_has_cooled_down_is_not_raised_and_keeps_its_result(tmp_path):
    assert warm("ncf-train", *TINY, "epochs=2", "optimizer.cooldown=1", "run_dir=run", cwd=tmp_path).returncode == 0
    before = summary(tmp_path / "run")
    done = warm("ncf-train", *TINY, "epochs=3", "optimizer.cooldown=1", "run_dir=run", cwd=tmp_path)
    require_one_line(
        done, "epochs (2 there, 3 now: optimizer.cooldown=1 has the learning rate fall towards the end; a new run may go on with start_from=)"
    )
    assert summary(tmp_path / "run") == before and before["status"] == "complete"


def test_a_cooldown_whose_end_is_not_validated_is_refused(tmp_path):
    done = warm("ncf-train", *TINY, "epochs=3", "validate_every=2", "optimizer.cooldown=2", "run_dir=run", cwd=tmp_path)
    require_one_line(done, "validate_every=2 makes no validation after the last of epochs=3, for which optimizer.cooldown is")
    assert not (tmp_path / "run").exists()


def test_a_cooldown_longer_than_the_run_is_refused(tmp_path):
    done = warm("ncf-train", *TINY, "epochs=1", "optimizer.cooldown=2", "run_dir=run", cwd=tmp_path)
    require_one_line(done, "optimizer.cooldown=2 is longer than the run: give it at most epochs=1")
    assert not (tmp_path / "run").exists()

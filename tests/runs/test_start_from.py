"""Training that starts from the synapses of another run."""

import pytest
import torch
from installed import TINY, require_one_line, summary, warm

from ncf import training
from ncf.config.compose import compose_train
from ncf.data import datasets
from ncf.network import last_phase
from ncf.runs import checkpoint


def synapses(run, name: str = "last") -> dict:
    weights = torch.load(run / f"checkpoints/{name}.pt", weights_only=True)["weights"]
    return {name: value for name, value in weights.items() if name[0] in "WEM"}  # precision moves with every batch


def test_training_starts_from_the_best_synapses_of_the_run_and_goes_on_alone(tmp_path):
    assert warm("ncf-train", *TINY, "epochs=2", "run_dir=first", cwd=tmp_path).returncode == 0
    still = warm("ncf-train", *TINY, "epochs=1", "start_from=first", "optimizer.lr=1e-12", "run_dir=still", cwd=tmp_path)
    assert still.returncode == 0 and "first/checkpoints/best.pt, sha256" in still.stdout
    for name, value in synapses(tmp_path / "first", "best").items():
        torch.testing.assert_close(synapses(tmp_path / "still")[name], value, atol=1e-5, rtol=1e-5)
    moved = warm("ncf-train", *TINY, "epochs=1", "start_from=first", "run_dir=moved", cwd=tmp_path)
    assert moved.returncode == 0 and not torch.equal(synapses(tmp_path / "moved")["W1"], synapses(tmp_path / "first", "best")["W1"])
    (tmp_path / "first").rename(tmp_path / "gone")
    longer = warm("ncf-train", "resume=moved", "epochs=2", cwd=tmp_path)  # its own checkpoint is all it needs
    assert longer.returncode == 0 and summary(tmp_path / "moved")["epochs_trained"] == 2


def test_a_run_that_was_ended_before_it_had_anything_to_resume_from_starts_again_from_them(tmp_path):
    assert warm("ncf-train", *TINY, "epochs=1", "run_dir=first", cwd=tmp_path).returncode == 0
    given = [*TINY, "epochs=1", "start_from=first", "optimizer.lr=1e-12", "run_dir=cut"]
    assert warm("ncf-train", *given, cwd=tmp_path).returncode == 0
    for name in ("checkpoints/last.pt", "summary.json"):  # ended between best.pt and the first last.pt
        (tmp_path / "cut" / name).unlink()
    assert warm("ncf-train", *given, cwd=tmp_path).returncode == 0
    torch.testing.assert_close(synapses(tmp_path / "cut")["W1"], synapses(tmp_path / "first", "best")["W1"], atol=1e-5, rtol=1e-5)


def test_an_unnamed_run_that_finds_its_folder_taken_starts_from_what_it_was_told(tmp_path):
    """Two runs that begin in the same second want the same folder."""
    words = [*TINY, "epochs=1", f"output_dir={tmp_path}", "optimizer.lr=1e-12"]
    training.train(compose_train(*TINY, "epochs=2"), tmp_path / "first", named=True)
    for _ in range(2):
        training.train(compose_train(*words, f"start_from={tmp_path / 'first'}"), tmp_path / "wanted", named=False)
    for name in ("wanted", "wanted-2"):
        torch.testing.assert_close(synapses(tmp_path / name)["W1"], synapses(tmp_path / "first", "best")["W1"], atol=1e-5, rtol=1e-5)


def test_another_split_of_the_same_images_is_warned_of(tmp_path):
    assert warm("ncf-train", *TINY, "epochs=1", "run_dir=first", cwd=tmp_path).returncode == 0
    runs = {seed: warm("ncf-train", *TINY, "epochs=1", "start_from=first", f"dataset.split_seed={seed}", cwd=tmp_path) for seed in (0, 7)}
    assert [done.returncode for done in runs.values()] == [0, 0], [done.stderr for done in runs.values()]
    assert [("another validation split" in done.stdout) for done in runs.values()] == [False, True]


def test_a_last_phase_is_part_of_training(tmp_path):
    """On, off, and under another noise: three different networks."""
    told = {"off": [], "on": ["model.last_phase.steps=3"], "still": ["model.last_phase.steps=3", "model.last_phase.temperature=0"]}
    for name, given in told.items():
        assert warm("ncf-train", *TINY, "epochs=1", "optimizer.lr=0.001", *given, f"run_dir={name}", cwd=tmp_path).returncode == 0
    found = [synapses(tmp_path / name)["W1"] for name in told]
    assert all(not torch.equal(one, other) for one, other in zip(found, found[1:] + found[:1]))


def test_synapses_that_do_not_fit_are_refused_before_a_run_begins(tmp_path):
    assert warm("ncf-train", *TINY, "epochs=1", "run_dir=first", cwd=tmp_path).returncode == 0
    for source, words in (("first", "W1 has shape"), ("nowhere", "nowhere")):
        done = warm("ncf-train", *TINY, "epochs=1", f"start_from={source}", "model.layers=[18,24,24]", "run_dir=other", cwd=tmp_path)
        require_one_line(done, f"start_from={tmp_path / source}: ")
        assert words in done.stderr and not (tmp_path / "other").exists()


PRIOR = ["model.last_phase.steps=3", "model.last_phase.components=2", "optimizer.lr=0.001", "batch_size=4"]  # long enough to warm up


def everything(run) -> dict:
    return torch.load(run / "checkpoints/last.pt", weights_only=True)["weights"]


def test_a_prior_that_learns_with_the_synapses_goes_on_where_the_run_was_stopped(tmp_path):
    for name, epochs in (("whole", 2), ("cut", 1)):
        done = warm("ncf-train", *TINY, *PRIOR, f"epochs={epochs}", f"run_dir={name}", cwd=tmp_path)
        assert done.returncode == 0 and ("warning: the prior" in done.stdout) is False
    assert warm("ncf-train", "resume=cut", "epochs=2", cwd=tmp_path).returncode == 0
    cold = warm("ncf-train", *TINY, *PRIOR, "epochs=1", "batch_size=100", "run_dir=cold", cwd=tmp_path)
    assert "warning: the prior has learned from 2 batches, and synapses learn in the last phase after 50; train longer" in cold.stdout
    whole, cut = everything(tmp_path / "whole"), everything(tmp_path / "cut")
    assert set(whole) == set(cut) and all(torch.equal(value, cut[name]) for name, value in whole.items())
    assert whole["Prior.learned"].item() > 0 and whole["Prior.means"].any()


def test_remembered_tops_go_on_too_and_are_no_part_of_what_the_network_is(tmp_path):
    """With synapses that learn in draws alone, whose chains go on from epoch to epoch."""
    for name, epochs in (("whole", 3), ("cut", 2)):
        done = warm("ncf-train", *TINY, *PRIOR, "model.last_phase.alone=true", f"epochs={epochs}", f"run_dir={name}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert warm("ncf-train", "resume=cut", "epochs=3", cwd=tmp_path).returncode == 0
    whole, cut = everything(tmp_path / "whole"), everything(tmp_path / "cut")
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())
    kept = {name: torch.load(tmp_path / f"whole/checkpoints/{name}.pt", weights_only=True) for name in ("last", "best")}
    tops = kept["last"]["optimizer"]["tensors"]["Prior.tops"]
    assert tops.isfinite().all() and len(tops) == 200
    assert "Prior.tops" not in kept["best"]["optimizer"]["tensors"] and "Prior.tops" not in whole


def test_a_prior_is_fresh_kept_or_dropped_as_the_new_run_has_it(tmp_path):
    still = [*TINY, "epochs=1", "optimizer.lr=1e-12", "batch_size=4"]
    assert warm("ncf-train", *still, "run_dir=without", cwd=tmp_path).returncode == 0
    runs = {"fresh": ("without", PRIOR[:2]), "kept": ("fresh", PRIOR[:2]), "dropped": ("kept", [])}
    for name, (source, given) in runs.items():
        done = warm("ncf-train", *still, *given, f"start_from={source}", f"run_dir={name}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    learned = {name: everything(tmp_path / name).get("Prior.learned") for name in runs}
    assert learned["kept"] == 2 * learned["fresh"] and learned["dropped"] is None
    figures = warm(
        "ncf-eval",
        "checkpoint=kept",
        "metrics=density",
        "split=test",
        "metrics.annealing.images=2",
        "metrics.annealing.steps=3",
        "metrics.samples=20",
        cwd=tmp_path,
    )
    assert figures.returncode == 0 and "log p(x), annealed, own prior" in figures.stdout


@pytest.mark.parametrize("binarize", ["threshold", "bernoulli"])
def test_from_the_second_epoch_on_every_batch_has_the_tops_of_its_own_images(binarize, tmp_path, monkeypatch):
    """Images that are drawn anew in every epoch are settled in all of them."""
    batches, explain = [], last_phase.recalled_state

    def watched(network, x, y, images):
        state = explain(network, x, y, images)
        batches.append((x, images, state is not None))
        return state

    monkeypatch.setattr(training, "recalled_state", watched)
    config = compose_train(*TINY, *PRIOR, "model.last_phase.alone=true", "epochs=2", f"dataset.binarize={binarize}", "validate_every=0")
    training.train(config, tmp_path / "run", named=True)
    data = datasets.load(config.dataset, config.data_dir).splits["train"].x
    first, second = batches[: len(batches) // 2], batches[len(batches) // 2 :]
    assert len(first) == len(second) == 50
    assert not any(known for _, _, known in first) and {known for _, _, known in second} == {binarize == "threshold"}
    if binarize == "threshold":
        assert all(torch.equal(data[images], x) for x, images, _ in batches)
    best = torch.load(tmp_path / "run/checkpoints/best.pt", weights_only=True)["optimizer"]["tensors"]
    last = torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["optimizer"]["tensors"]
    assert "Prior.tops" not in best and ("Prior.tops" in last) == (binarize == "threshold")


def test_a_run_of_before_without_tops_is_gone_on_with_and_one_of_other_images_is_not(tmp_path):
    given = [*TINY, *PRIOR, "model.last_phase.alone=true", "run_dir=run"]
    assert warm("ncf-train", *given, "epochs=1", cwd=tmp_path).returncode == 0
    path = tmp_path / "run/checkpoints/last.pt"
    whole = checkpoint.load(path)
    tensors = whole["optimizer"]["tensors"]

    def keep(**changes) -> None:
        kept = {name: value for name, value in (tensors | changes).items() if value is not None}
        checkpoint.save(path, {name: whole[name] for name in checkpoint.FIELDS} | {"optimizer": whole["optimizer"] | {"tensors": kept}})

    keep(**{"Prior.tops": tensors["Prior.tops"][:7]})
    require_one_line(warm("ncf-train", "resume=run", "epochs=2", cwd=tmp_path), "Prior.tops has shape (7, ")
    keep(**{"Prior.tops": None})
    done = warm("ncf-train", "resume=run", "epochs=2", cwd=tmp_path)
    assert done.returncode == 0 and "warning: the checkpoint has no tops" in done.stdout

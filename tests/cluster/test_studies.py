"""Sweeps by Optuna: a study whose command is killed is continued by the same command, and keeps what it has found."""

import signal
from pathlib import Path

import pytest
from installed import TINY, warm
from omegaconf import OmegaConf
from strikes import OnCall

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")

STUDY = ["--multirun", *TINY, "metrics=basic", "epochs=1", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2"]
STUDY += ["hydra.sweeper.sampler.seed=3", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "name=study"]


def trials(cwd: Path, storage: str = "outputs/sweeps/study/study.db", name: str = "study") -> list:
    import optuna

    return optuna.load_study(study_name=name, storage=f"sqlite:///{cwd / storage}").trials


def best(cwd: Path) -> dict:
    return OmegaConf.to_container(OmegaConf.load(cwd / "outputs/sweeps/study/optimization_results.yaml"))


@pytest.mark.parametrize("own", [False, True], ids=["kept in its folder", "in a storage of the user's"])
def test_a_killed_study_is_continued_with_the_trial_that_was_running(own, tmp_path):
    words = [*STUDY, *(["hydra.sweeper.storage=sqlite:///mine.db", "hydra.sweeper.study_name=mine"] if own else [])]
    place = ("mine.db", "mine") if own else ()
    killed = warm("ncf-train", *words, cwd=tmp_path, prepare=OnCall("ncf.training", "validate", signal.SIGKILL, n=3))  # the third trial
    assert killed.returncode == -9
    before = trials(tmp_path, *place)
    assert [trial.state.name for trial in before] == ["COMPLETE", "COMPLETE", "RUNNING", "RUNNING"]
    done = warm("ncf-train", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = trials(tmp_path, *place)
    complete = [trial for trial in after if trial.state.name == "COMPLETE"]
    assert [trial.number for trial in complete[:3]] == [0, 1, 2] and len(complete) == 4
    assert [trial.params for trial in after[:3]] == [trial.params for trial in before[:3]]
    assert len({trial.params["optimizer.lr"] for trial in complete}) == 4  # none is drawn twice
    assert best(tmp_path)["best_value"] == min(trial.value for trial in complete)
    folders = [path.name for path in (tmp_path / "outputs/sweeps/study").glob("optimizer.lr=*")]
    assert all(f"optimizer.lr={trial.params['optimizer.lr']}" in folders for trial in complete)
    table = done.stdout[done.stdout.rindex("\njob ") :]
    assert table.count(" complete ") == 4 and "\nbest: " in table


def test_a_complete_study_runs_nothing_again_and_more_trials_are_added(tmp_path):
    assert warm("ncf-train", *STUDY, "hydra.sweeper.n_trials=2", cwd=tmp_path).returncode == 0
    first = best(tmp_path)
    again = warm("ncf-train", *STUDY, "hydra.sweeper.n_trials=2", cwd=tmp_path)
    assert (again.returncode, best(tmp_path), again.stdout.count(" complete ")) == (0, first, 2), again.stderr
    more = warm("ncf-train", *STUDY, "hydra.sweeper.n_trials=3", cwd=tmp_path)
    assert (more.returncode, more.stdout.count(" complete "), len(trials(tmp_path))) == (0, 3, 3)
    assert best(tmp_path)["best_value"] <= first["best_value"]


def test_a_storage_that_cannot_be_opened_is_one_line(tmp_path):
    done = warm("ncf-train", *STUDY, "hydra.sweeper.storage=sqlite:///no/such/folder/study.db", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr and "hydra.sweeper.storage=sqlite:///no/such/folder/study.db" in done.stderr
    assert not (tmp_path / "outputs/sweeps/study").exists()

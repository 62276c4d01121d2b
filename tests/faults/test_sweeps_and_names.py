"""Sweeps take all that a single run takes, and a path or a name is a text, whatever is in it."""

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from installed import Warm, require_one_line, summary, warm
from strikes import OnCall

from ncf import sweep
from ncf.config.schema import configs_folder

LEAST = ["model.settle.steps=2", "dataset.n_train=60", "dataset.n_validation=20", "epochs=1", "metrics=basic", "metrics.n_images=9", "threads=1"]
ODD = "на ука (1)=#, [x]{y} 'z' ~&;!"


def jobs(folder) -> dict[str, str]:
    """Folder of a job within the sweep's -> its status."""
    return {str(path.parent.relative_to(folder)): summary(path.parent)["status"] for path in folder.rglob("summary.json")}


@pytest.mark.parametrize(
    "words, expected",
    [
        (["model=gvae_cv,rae", "model.refills=3", "model.layers=[24,8]"], {"model=gvae_cv", "model=rae"}),
        (["optimizer=adam,sgd", "optimizer.beta1=0.5"], {"optimizer=adam", "optimizer=sgd"}),
        (["model=glob(gncn_t*, exclude=*2*)"], {"model=gncn_t1", "model=gncn_t1_sigma"}),
        (["model=gncn_t1", "seed=0,1", "hydra.sweep.subdir=${model.name}/seed_${seed}"], {"gncn_t1/seed_0", "gncn_t1/seed_1"}),
        (
            ["model=gncn_t1,gncn_pdh", "hydra.sweep.subdir=${model.name}/one"],  # the last part alone tells them not apart
            {"gncn_t1/one", "gncn_pdh/one"},
        ),
    ],
)
def test_a_sweep_takes_what_a_single_run_takes(words, expected, tmp_path):
    least = LEAST[1:] if "model.refills=3" in words else LEAST  # an autoencoder does not settle
    done = warm("ncf-train", "--multirun", *least, *words, "name=sweep", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert jobs(tmp_path / "outputs/sweeps/sweep") == dict.fromkeys(expected, "complete")
    assert all(f"\n{name} " in done.stdout for name in expected)  # each has its line in the table


def test_a_glob_that_matches_nothing_and_names_that_are_no_folder_are_told_at_once(tmp_path):
    for words, told in (
        (["model=glob(gcn*)"], "there is no such option (model: discriminative_t1, discriminative_t2_sigma, gan_ae, gmm"),
        (["seed=glob(*)"], "glob() stands for the options of a group"),
        (["seed=0,1", "name=.."], "name=..: a name is one folder"),
        (["seed=0,1", "name=a/b"], "name=a/b: a name is one folder"),
        (["seed=0,1", "+run_dir=x"], "run_dir= is for a single run"),
    ):
        require_one_line(warm("ncf-train", "--multirun", *LEAST, *words, cwd=tmp_path), told)
    require_one_line(warm("ncf-train", *LEAST, "name=..", cwd=tmp_path), "name=..: a name is one folder")
    assert list(tmp_path.iterdir()) == []


def test_any_text_is_a_path_or_a_name_in_single_runs_and_what_follows_them(tmp_path):
    np.savez(tmp_path / f"{ODD}.npz", x_train=np.eye(4)[None].repeat(60, 0))
    words = [*LEAST, "dataset=npz", f"dataset.path={ODD}.npz", f"output_dir={ODD}", f"name={ODD}", f"model.name={ODD}", f"dataset.mirror={ODD}"]
    words = [word for word in words if not word.startswith("dataset.n_train")]
    done = warm("ncf-train", *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    run = tmp_path / ODD / "runs" / ODD
    assert summary(run)["model"] == ODD
    done = warm("ncf-train", f"resume={ODD}/runs/{ODD}", "epochs=2", cwd=tmp_path)
    assert (done.returncode, summary(run)["epochs_trained"]) == (0, 2), done.stderr
    done = warm("ncf-eval", f"checkpoint={run}", f"output={tmp_path}/{ODD}.json", "threads=1", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / f"{ODD}.json").exists(), done.stderr
    assert warm("ncf-report", run, cwd=tmp_path).returncode == 0
    done = warm("ncf-train", *words, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and f"name={ODD.replace(' ', '')} " in done.stdout


def test_any_text_is_a_folder_of_ones_own_configs(tmp_path):
    (tmp_path / ODD / "model").mkdir(parents=True)
    shutil.copy(Path(configs_folder()) / "model" / "gncn_t1.yaml", tmp_path / ODD / "model" / "own.yaml")
    for flag in ([f"--config-dir={ODD}"], ["--config-dir", ODD], ["-cd", ODD]):
        done = warm("ncf-train", *flag, "model=own", "--help", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "") and "| own |" in done.stdout, flag
    words = ["--config-dir", ODD, *LEAST, "model=own", "model.layers=[8,8,8]"]
    assert warm("ncf-train", *words, "name=one", cwd=tmp_path).returncode == 0
    done = warm("ncf-train", "--multirun", *words, "seed=0,1", "name=two", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.count("complete") == 2, done.stderr
    assert warm("ncf-report", tmp_path / "outputs" / "runs" / "one", cwd=tmp_path).returncode == 0


def test_any_text_is_a_path_or_a_name_in_a_sweep_and_a_comma_parts_files_only_where_no_file_has_it(tmp_path):
    for name in ("a b(1).npz", "в=#.npz", "one, file.npz"):
        np.savez(tmp_path / name, x_train=np.eye(4)[None].repeat(60, 0))
    words = ["--multirun", *(word for word in LEAST if not word.startswith("dataset.")), "dataset=npz", f"output_dir={ODD}"]
    done = warm("ncf-train", *words, "dataset.path=a b(1).npz,в=#.npz", f"name={ODD}", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert len(jobs(tmp_path / ODD / "sweeps" / ODD)) == 2
    done = warm("ncf-train", *words, "dataset.path=one, file.npz", "seed=0,1", "name=commas", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert jobs(tmp_path / ODD / "sweeps/commas") == dict.fromkeys(["seed=0", "seed=1"], "complete")
    place = f"{tmp_path}/{ODD}/elsewhere"
    done = warm("ncf-train", *words, "dataset.path=в=#.npz", "seed=0,1", f"hydra.sweep.dir={place}", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert len(jobs(tmp_path / ODD / "elsewhere")) == 2


def test_values_that_look_alike_without_their_slashes_and_blanks_are_jobs_of_their_own(tmp_path):
    for name in ("a b.npz", "a-b.npz"):
        np.savez(tmp_path / name, x_train=(np.arange(960).reshape(60, 4, 4) % len(name) > 3))
    words = ["--multirun", *(word for word in LEAST if not word.startswith("dataset.")), "dataset=npz", "name=sweep"]
    done = warm("ncf-train", *words, "dataset.path=a b.npz,a-b.npz", cwd=tmp_path)
    assert (done.returncode, len(jobs(tmp_path / "outputs/sweeps/sweep"))) == (0, 2), done.stderr


def test_a_long_name_beyond_ascii_is_cut_by_what_a_file_system_counts(tmp_path):
    long = "試" * 75
    np.savez(tmp_path / f"{long}.npz", x_train=np.eye(4)[None].repeat(60, 0))
    shutil.copy(tmp_path / f"{long}.npz", tmp_path / "short.npz")
    words = ["--multirun", *(word for word in LEAST if not word.startswith("dataset.")), "dataset=npz", "name=sweep"]
    done = warm("ncf-train", *words, f"dataset.path={long}.npz,short.npz", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert len(jobs(tmp_path / "outputs/sweeps/sweep")) == 2


def test_a_sweep_that_a_command_runs_is_refused_to_another_and_may_grow_afterwards(tmp_path):
    words = ["--multirun", *LEAST, "name=sweep"]
    first = Warm("ncf-train", *words, "seed=0,1,2", cwd=tmp_path, prepare=OnCall("ncf.training", "validate", signal.SIGSTOP))
    while (status := Path(f"/proc/{first.process.pid}/stat").read_text().rpartition(")")[2].split()[0]) != "T":
        assert status not in "XZ"
        time.sleep(0.05)
    require_one_line(warm("ncf-train", *words, "seed=0,1", cwd=tmp_path), "sweeps/sweep: another command runs it", "choose another name=")
    first.send(signal.SIGCONT)
    done = first.wait()
    assert (done.returncode, done.stdout.count(" complete ")) == (0, 3), done.stderr
    killed = warm("ncf-train", *words, "seed=0,1,2,3,4", cwd=tmp_path, prepare=OnCall("ncf.training", "validate", signal.SIGKILL))
    assert killed.returncode == -9
    done = warm("ncf-train", *words, "seed=0,1,2,3,4", cwd=tmp_path)
    assert (done.returncode, done.stdout.count(" complete ")) == (0, 5), done.stderr
    assert jobs(tmp_path / "outputs/sweeps/sweep") == dict.fromkeys((f"seed={seed}" for seed in range(5)), "complete")


def test_jobs_are_in_the_order_of_their_numbers():
    names = ["steps=10,seed=1", "steps=5,seed=0", "steps=10,seed=0", "beta=0.05", "beta=0.1", "lr=1e-3", "model=b", "model=a", "20", "3"]
    in_order = ["3", "20", "beta=0.05", "beta=0.1", "lr=1e-3", "model=a", "model=b", "steps=5,seed=0", "steps=10,seed=0", "steps=10,seed=1"]
    assert sorted(names, key=sweep.in_order) == in_order


def no_programs() -> None:
    """In the command's process: nothing is on the PATH, wherever Slurm is installed."""
    os.environ["PATH"] = os.getcwd()


@pytest.mark.parametrize(
    "name, arguments, words",
    [
        ("ncf-train", ["--epochs", "3"], "epochs=VALUE"),
        ("ncf-train", ["--lr=0.1"], "optimizer.lr=0.1"),
        ("ncf-eval", ["there"], "write checkpoint=there"),
        ("ncf-train", ["--multirun", "hydra/launcher=submitit_slurm", "seed=0,1"], "no srun on the PATH"),
    ],
)
def test_what_people_type_at_first_is_answered_with_what_to_write(name, arguments, words, tmp_path):
    (tmp_path / "there").mkdir()
    require_one_line(warm(name, *arguments, cwd=tmp_path, prepare=no_programs), words)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]

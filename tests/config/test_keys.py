"""What people type who have not read the help: each gets the key that is meant."""

import pytest
from installed import TINY, require_one_line, warm

WORDS = {
    "ncf-train": {
        "steps=20": "did you mean 'model.settle.steps'",
        "K=20": "did you mean 'model.settle.steps'",
        "beta=0.1": "did you mean 'model.settle.beta' or 'model.last_phase.beta'?",
        "lr=0.01": "did you mean 'optimizer.lr'?",
        "+lr=0.01": "did you mean 'optimizer.lr'?",
        "learning_rate=0.01": "did you mean 'optimizer.lr'?",
        "hidden=64": "did you mean 'model.layers'?",
        "precision=none": "did you mean 'model.precision.kind'?",
        "prior=laplace": "did you mean 'model.prior.kind'?",
        "model.setle.beta=0.1": "did you mean 'model.settle.beta'?",
        "model.lateral=false": "model.lateral.enabled=false?",
        "model.precision=none": "model.precision.kind=none?",
        "model.settle=3": "set one of model.settle.steps, model.settle.beta",
        "model.layers=24": "write 'model.layers=[24]'",
        "metrics.names=bce": "write 'metrics.names=[bce]'",
        "metrics=bce": "a single one is written 'metrics.names=[bce]'",
        "model=my_net": "a file FOLDER/model/my_net.yaml, with --config-dir=FOLDER",
        "model=gncn_phd": "did you mean 'gncn_pdh'? (model: ",
        "--config-dir=nowhere": "--config-dir=nowhere: no such folder",
        "dataset.path=pictures": "dataset.path=pictures: digits is read from data_dir; say what is there, dataset=folder, npz or idx",
        "--config-dir=mine/model": "--config-dir=mine/model: no such folder",
        "progress=loud": "progress=loud: unknown; allowed: auto, bar, plain, off",
        "metrics.mask=[left,right]": "--multirun metrics.mask=left,right makes a run of each",
        "split=test": "(it is a key of ncf-eval): did you mean 'dataset.split_seed'?",
        "hydra/sweeper=optuna": "is for sweeps; add --multirun",
        "+seed=1": "+seed: the key is there already; leave out the +",
        "optimizer.momentum=0.9": "did you mean 'optimizer.beta1'?",
        "seed=1,2": "several values make a sweep, add --multirun",
    },
    "ncf-eval": {
        "model.settle.steps=20": "did you mean 'steps'",
        "model.settle.beta=0.2": "did you mean 'beta'?",
        "masks=[left]": "(it is a key of ncf-sample): did you mean 'metrics.mask'?",
        "epochs=3": "it is a key of ncf-train, which ncf-eval does not have",
        "+split=test": "+split: the key is there already; leave out the +",
        "split=validation,test": "split=validation,test: run the command once for each value",
        "metrics.mask=[left,right]": "run the command once for each",
    },
    "ncf-sample": {"masks=left": "write 'masks=[left]'", "mask=left": "did you mean 'masks'?"},
}


@pytest.mark.parametrize("name, typed, answer", [(name, *pair) for name, pairs in WORDS.items() for pair in pairs.items()])
def test_the_words_everybody_types_get_the_right_answer(name, typed, answer, tmp_path):
    require_one_line(warm(name, typed, cwd=tmp_path), answer)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong, words",
    [
        ("bundles: {z1: image}", "model/own.yaml: a list stands where keys with values are expected, or the other way round"),
        ("populations: [image, z1]", "model/own.yaml: a list stands where keys with values are expected, or the other way round"),
        ("settle: 3", "model/own.yaml: 3 stands where keys with values are expected"),
        ("settle: {steps: many}", "model/own.yaml: model.settle.steps: 'many' is not a whole number"),
    ],
)
def test_a_file_of_ones_own_that_does_not_fit_is_told_in_words(wrong, words, tmp_path):
    (tmp_path / "mine/model").mkdir(parents=True)
    (tmp_path / "mine/model/own.yaml").write_text(f"defaults: [circuit_schema, _self_]\nname: own\n{wrong}\n")
    require_one_line(warm("ncf-train", "--config-dir=mine", "model=own", cwd=tmp_path), words)


def test_the_folder_of_a_group_is_not_the_folder_that_holds_it(tmp_path):
    (tmp_path / "mine/model").mkdir(parents=True)
    (tmp_path / "mine/model/own.yaml").write_text("defaults: [gncn_schema, _self_]\nname: own\npopulations: {}\n")
    require_one_line(warm("ncf-train", "--config-dir=mine/model", "model=own", cwd=tmp_path), "give the folder that holds it, --config-dir=mine")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/plugin.py").write_text("")
    assert warm("ncf-train", "--config-dir=experiment", "--cfg", "job", cwd=tmp_path).returncode == 0


def without_optuna() -> None:
    """In the command's process: Hydra finds no plugins beside its own."""
    import hydra_plugins

    hydra_plugins.__path__ = []


def test_a_sweeper_that_is_not_installed_names_its_extra(tmp_path):
    for plugin, extra in (("sweeper=optuna", "optuna"), ("launcher=joblib", "joblib"), ("launcher=submitit_slurm", "slurm")):
        done = warm("ncf-train", *TINY, "--multirun", f"hydra/{plugin}", "seed=0,1", cwd=tmp_path, prepare=without_optuna)
        require_one_line(done, f"hydra/{plugin}: not installed; pip install 'ncf[{extra}]'")
    assert list(tmp_path.iterdir()) == []


def test_flags_may_stand_between_overrides_and_help_lists_the_users_own_models(tmp_path):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "shallow.yaml").write_text("defaults: [gncn_schema, _self_]\nname: shallow\nlayers: [17]\n")
    done = warm("ncf-train", "seed=3", "--cfg", "job", "epochs=7", "--config-dir", "mine", "model=shallow", cwd=tmp_path)
    assert done.returncode == 0 and "seed: 3" in done.stdout and "epochs: 7" in done.stdout and "- 17" in done.stdout, done.stderr
    done = warm("ncf-train", "model=shallow", "--help", "--config-dir=mine", cwd=tmp_path)
    assert done.returncode == 0 and "| shallow" in done.stdout and "model.layers=[17]" in done.stdout, done.stderr


def test_an_experiment_that_sets_by_model_is_explained_and_repeated_like_any_other(tmp_path):
    done = warm("ncf-train", "experiment=published_digits", "model=gncn_t1_sigma", "--help", cwd=tmp_path)
    assert done.returncode == 0 and "optimizer.lr=0.05" in done.stdout and "${" not in done.stdout, done.stderr
    printed = warm("ncf-train", "experiment=published_digits", "model=gncn_t1_sigma", "--cfg", "job", cwd=tmp_path)
    (tmp_path / "printed.yaml").write_text(printed.stdout)
    done = warm("ncf-train", "config=printed.yaml", *TINY[3:], "name=again", cwd=tmp_path)
    assert done.returncode == 0 and "lr: 0.05" in (tmp_path / "outputs/runs/again/config.yaml").read_text(), done.stderr


def test_a_slip_in_an_experiment_of_one_s_own_is_named(tmp_path):
    (tmp_path / "mine/experiment").mkdir(parents=True)
    for content, told in (
        ("optimizer: {lrr: 0.1}", "unknown key 'lrr' in 'experiment/my-own'; did you mean 'lr'"),
        ("model: {settle: {stepz: 5}}", "unknown key 'stepz'"),
    ):
        (tmp_path / "mine/experiment/my-own.yaml").write_text(f"# @package _global_\n{content}\n")
        require_one_line(warm("ncf-train", "--config-dir=mine", "experiment=my-own", cwd=tmp_path), told)


@pytest.mark.parametrize("name, sweeps", [("ncf-train", True), ("ncf-eval", False), ("ncf-sample", False)])
def test_the_help_offers_no_sweep_that_the_command_refuses(name, sweeps, tmp_path):
    assert ("--multirun" in warm(name, "--help", cwd=tmp_path).stdout) == sweeps

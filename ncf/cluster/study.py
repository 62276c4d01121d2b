"""An Optuna sweep that resumes: its study is kept with its jobs, and the same command runs the trials that are left."""

from pathlib import Path

from omegaconf import DictConfig

from ncf.errors import UserError

OPTUNA = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
KEPT = "study.db"


def sweeper_overrides(config: DictConfig, folder: Path, job_name) -> list[str]:
    """The study's place and name, the trials that are left to do, and draws that are not those made before."""
    sweeper = config.hydra.sweeper
    place = sweeper.storage or f"sqlite:///{folder.resolve() / KEPT}"
    name = sweeper.study_name or folder.name
    before = taken_up(str(place), name, folder, mine=not sweeper.storage, job_name=job_name)
    complete = sum(trial.state.name == "COMPLETE" for trial in before)
    wanted = {"storage": f'"{place}"', "study_name": f'"{name}"', "n_trials": max(sweeper.n_trials - complete, 0)}
    if before and sweeper.sampler.get("seed") is not None:  # a sampler begins anew with every command
        wanted["sampler.seed"] = sweeper.sampler.seed + len(before)
    return [f"hydra.sweeper.{key}={value}" for key, value in wanted.items()]


def taken_up(place: str, name: str, folder: Path, mine: bool, job_name) -> list:
    """The trials of the study so far, none where it is new. Those that a killed command left running are asked for again, first."""
    if mine and not (folder / KEPT).exists():
        return []
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    waiting, running = optuna.trial.TrialState.WAITING, optuna.trial.TrialState.RUNNING
    try:
        storage = optuna.storages.get_storage(place)
        try:
            study = storage.get_study_id_from_name(name)
        except KeyError:
            return []
        trials = storage.get_all_trials(study, deepcopy=False)
        for trial in trials:
            # In a storage that other commands share, a trial that runs is ours only if it has a job's folder here.
            if trial.state == running and (mine or (folder / job_name(",".join(sorted(f"{k}={v}" for k, v in trial.params.items())))).is_dir()):
                storage.set_trial_state(trial._trial_id, waiting)
    except SQLAlchemyError as error:
        raise UserError(f"hydra.sweeper.storage={place}: {str(error).splitlines()[0]}") from error
    return trials


def best(folder: Path) -> str:
    """A line for the best trial, empty where the sweep has no study."""
    from omegaconf import OmegaConf

    path = folder / "optimization_results.yaml"
    found = OmegaConf.load(path) if path.exists() else {}
    if "best_params" not in found:
        return ""
    return f"\nbest: {found.best_value:.4f} at {' '.join(f'{key}={value}' for key, value in found.best_params.items())}"

"""The commands: Hydra entry points, one-line errors, exit codes.

A single run makes nothing on disk before its config, data and device are known to be good. In a sweep Hydra makes a folder per
job; a job that fails tells the sweep, which runs the others and ends with exit code 1.
"""

import os
import sys
import traceback
from contextlib import contextmanager, nullcontext
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ncf import __version__, plugins, sweep
from ncf.charsets import print_losslessly
from ncf.cluster import requeue
from ncf.config import overrides
from ncf.config.arguments import of_sweep, quote_paths
from ncf.config.checks import build
from ncf.config.help import help_text
from ncf.config.schema import EvalConfig, SampleConfig, TrainConfig, configs_folder
from ncf.errors import Abort, UserError

OmegaConf.register_new_resolver("ncf.job_name", sweep.job_name, replace=True)


def train() -> None:
    """ncf-train"""
    run_command("train", train_job)


def evaluate() -> None:
    """ncf-eval"""
    run_command("eval", eval_job)


def report() -> None:
    """ncf-report: no Hydra behind it, only paths."""
    from ncf.report import command as report_command

    print_losslessly()
    status = 0
    try:
        report_command.write_pages(report_command.arguments())
    except KeyboardInterrupt:
        status = 130
    except BaseException as error:
        status = report_error("report", error)
    sys.exit(status)


def sample() -> None:
    """ncf-sample"""
    run_command("sample", sample_job)


@requeue.submitted()
def train_job(cfg: DictConfig) -> float:
    """One training run, alone or as a job of a sweep; returns the best validation BCE (nats per image) for a sweeper to minimise."""
    from ncf.runs.run import run_folder, speak
    from ncf.training import train as train_run

    job = HydraConfig.get()
    if job.mode == RunMode.MULTIRUN:
        folder = Path(job.runtime.output_dir)
        speak(f"\njob {job.job.num}: {folder.name}")
        sweep.note(folder, "unfinished")
        try:
            if cfg.resume not in ("auto", "never", None):
                raise UserError(f"resume={cfg.resume}: a sweep resumes with the same command and name=; a folder is for a single run")
            config = train_config(cfg)
            summary = train_run(config, folder, named=True)
        except UserError as error:
            sweep.note_failure(folder, error)
            if job.sweeper._target_ != sweep.BASIC:  # others make something of the value
                raise
            return float("nan")
        sweep.note(folder, "complete")
    else:
        with past_hydra():
            config = train_config(cfg)
            folder, named = run_folder(config)
            summary = train_run(config, folder, named)
    return summary["validation_bce"]


@contextmanager
def past_hydra():
    """In a single run, an error leaves the job as `Abort`, on which Hydra does not comment."""
    try:
        yield
    except Exception as error:
        raise Abort(error) from error


def train_config(cfg: DictConfig) -> TrainConfig:
    """The config of a run: composed, or that of another run (config=RUN, resume=RUN) with what the command line gives on top."""
    from ncf.runs import again

    job = HydraConfig.get()
    own = config_dir()
    plugins.load(own)  # again: a job of a sweep may run in another process
    config = again.of_another(cfg, job.overrides.task)
    if config is None:
        config = build(cfg, TrainConfig)
        config.chosen = {group: job.runtime.choices[group] for group in ("model", "dataset", "optimizer") if job.runtime.choices.get(group)}
        config.config_dir = own
    again.tell_idle(config, job.overrides.task)
    return config


def config_dir() -> str | None:
    """The folder that --config-dir named."""
    return next((source.path for source in HydraConfig.get().runtime.config_sources if source.provider == "command-line"), None)


def eval_job(cfg: DictConfig) -> float:
    """One evaluation; returns the BCE of the last split measured, if it was measured."""
    from ncf.evaluate import evaluate as evaluate_checkpoint
    from ncf.runs.again import dotted

    with past_hydra():
        figures = evaluate_checkpoint(build(cfg, EvalConfig), {dotted(o) for o in HydraConfig.get().overrides.task})["metrics"]
    return list(figures.values())[-1].get("bce", {}).get("value", float("nan"))


def sample_job(cfg: DictConfig) -> None:
    """Samples and completions of one checkpoint."""
    from ncf.runs.again import dotted
    from ncf.sample import sample as sample_checkpoint

    with past_hydra():
        sample_checkpoint(build(cfg, SampleConfig), {dotted(o) for o in HydraConfig.get().overrides.task})


def run_command(name: str, job) -> None:
    """Run a Hydra job from sys.argv and exit: 0 done, 1 user error (one line), 128 + signal when stopped."""
    print_losslessly()
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands every exception on instead of printing it
    sys.argv[0] = f"ncf-{name}"
    arguments = sys.argv[1:]
    status = 0
    try:
        arguments = overrides.renamed(overrides.flags_first(name, arguments))
        plugins.load(overrides.config_dir_of(arguments))
        if name == "train" and any(argument.startswith(("config=", "resume=")) for argument in arguments):
            from ncf.runs import again

            arguments = again.with_its_model(arguments)
        overrides.require_fitting(name, arguments)
        overrides.require_plugins(arguments, bool({"-m", "--multirun"} & set(arguments)))
        sys.argv[1:] = arguments
        if {"-h", "--help"} & set(arguments):
            print(help_text(name, arguments, configs_folder()))
            if name == "train":
                print(circuit_text([a for a in arguments if "=" in a and not a.startswith("-")], overrides.config_dir_of(arguments)))
        elif "--version" in arguments:
            print(f"ncf {__version__}")
        elif {"-m", "--multirun"} & set(arguments):
            if name != "train":
                raise UserError(f"ncf-{name} makes no sweeps; run it once per checkpoint")
            from ncf.runs.distributed import started_by_torchrun

            if started_by_torchrun():
                raise UserError("a sweep's jobs cannot share processes: start a single run with torchrun, or the sweep without it")
            if any(argument.lstrip("+").startswith("run_dir=") for argument in arguments):
                raise UserError("run_dir= is for a single run; a sweep makes a folder per job in OUTPUT_DIR/sweeps/NAME: give output_dir= and name=")
            arguments = sys.argv[1:] = of_sweep(quote_paths(arguments, sweep=True))
            if shown := [a for a in arguments if a in ("-c", "--cfg") or a.startswith(("-c=", "--cfg="))]:
                print(sweep.planned(name, [a for a in arguments if a not in shown]))
            else:
                status = sweep.run_sweep(name, arguments, configs_folder(), lambda: start(name, job))
        else:
            sys.argv[1:] = quote_paths(arguments)
            start(name, job)
    except KeyboardInterrupt:
        status = 130
    except BaseException as error:
        if wants_traceback:
            traceback.print_exc()
        status = report_error(name, error)
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:  # nobody reads any more: nothing to say about it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(status)


def circuit_text(given: list[str], config_dir: str | None) -> str:
    """The circuit that the overrides choose, in words; nothing for a model that is none."""
    from ncf.config.checks import build_node
    from ncf.config.compose import composed
    from ncf.config.schema import MODEL_FAMILIES, TermsConfig
    from ncf.network.expand import circuit_of
    from ncf.report.circuit_picture import describe

    model = OmegaConf.to_container(composed("train", given, config_dir).model, resolve=True)
    schema = MODEL_FAMILIES.get(model.get("family"))
    if schema is None or not issubclass(schema, TermsConfig):
        return ""
    lines = describe(circuit_of(build_node(model, schema, "model."), {"image": 1, "label": 1}))
    return "\n".join(["", "the circuit, from the top down:", *(f"  {line}" for line in lines)])


def start(name: str, job) -> None:
    with requeue.batch_job() if name == "train" else nullcontext():
        hydra.main(version_base="1.3", config_path=configs_folder(), config_name=name)(job)()


def report_error(name: str, error: BaseException) -> int:
    """Print what went wrong, in one line where the user can mend it, and give the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, Abort):
        error = error.error
    if isinstance(error, BrokenPipeError):  # the reader of our output went away
        return 128 + 13
    if hasattr(error, "exit_code"):  # Stopped, which has said so itself
        return error.exit_code
    line = overrides.explain(error, name, configs_folder())
    if line is None:
        traceback.print_exception(error)
        return 1
    print(f"error: {' '.join(line.split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit("error: python -m ncf.cli is no command; python -m ncf train ... is one, as is ncf-train")

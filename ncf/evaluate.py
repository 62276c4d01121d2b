"""Metrics of one checkpoint: the same code at the end of training and in ncf-eval, so that they agree to the last digit."""

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ncf.config.checks import build, check_dataset
from ncf.config.idle import idle
from ncf.config.schema import DatasetConfig, EvalConfig, MetricsConfig, SampleConfig, TermsConfig, TrainConfig, flatten
from ncf.data import datasets, wording
from ncf.errors import UserError
from ncf.measure.diagnostics import alternation
from ncf.measure.latents import TrainingLatents
from ncf.measure.metrics import METRICS, left_out, measure, require_known, require_measurable
from ncf.models import Restored, images_for, restore
from ncf.network.settling import multiply_adds
from ncf.network.solvers import solver_words
from ncf.report import run_page
from ncf.report.tables import draw_reconstructions, metric_table
from ncf.runs import checkpoint, files, guards
from ncf.runs.files import as_npz, write_whole
from ncf.runs.provenance import git_state, hardware, n_synapses, packages, products, versions
from ncf.runs.run import Run, speak

SWINGING = -0.5  # cosine between changes; one direction of many that still alternates after an epoch gives -0.2, and metrics do not depend on it


def measure_splits(
    network, data: datasets.Dataset, config: MetricsConfig, splits: list[str], path: Path, say, failed: dict[str, str] | None = None
) -> tuple[dict, dict]:
    """split -> metric -> value, unit, n, stderr, for the weights of the checkpoint at `path`, and the values of the single images.

    Says which metrics do not apply. Those that need a fit which is not possible go into `failed` with the reason, where that is given.
    """
    require_measurable(network, data, config)
    absent = left_out(network, data, config.names, config.mask, config.reader)
    for reason in dict.fromkeys(absent.values()):
        say(f"left out, {reason}: {', '.join(METRICS[name].label for name in absent if absent[name] == reason)}")
    config = replace(config, names=[name for name in config.names if name not in absent])
    training = TrainingLatents(network, data, config, path)
    per_image: dict[str, np.ndarray] = {}
    figures = {split: measure(network, data, split, config, training, per_image, failed) for split in splits}
    whole = {split: {name: figure for name, figure in found.items() if name not in (failed or {})} for split, found in figures.items()}
    return whole, per_image


def final_report(run: Run, data: datasets.Dataset, network, progress: dict) -> dict:
    """Measure best.pt on validation and test, draw, and write summary.json last; returns the summary."""
    config = run.config
    best = run.checkpoints / "best.pt"
    try:
        network.load_tensors(checkpoint.load(best)["weights"])
    except UserError as error:
        raise UserError(f"{error}; ncf-eval checkpoint={best.with_name('last.pt')} measures the newest state") from error
    device = data.splits["test"].x.device
    failed: dict[str, str] = {}
    figures, per_image = measure_splits(network, data, config.metrics, ["validation", "test"], best, run.say, failed)
    rows = run.rows()
    try:
        if "project" in network.abilities:  # a classifier has no images to show
            draw_reconstructions(network, data, run.folder / "reconstructions.png")
    except Exception as error:  # a picture must never cost a result
        run.say(f"warning: reconstructions.png could not be drawn ({error})")
    summary = {
        "status": "complete",
        "model": config.model.name,
        "dataset": config.dataset.name,
        "seed": config.seed,
        "images": wording.sizes(data),
        "synapses": n_synapses(network),
        **budget(config, network),
        "measured_with": {"dataset": asdict(config.dataset), "metrics": asdict(config.metrics)},
        "epochs": config.epochs,
        "epochs_trained": progress["epoch"],
        "best_epoch": progress["best_epoch"],
        "validation_bce": progress["best_bce"],
        "metrics": figures,
        "seconds": sum(row["seconds"] for row in rows),
        "versions": versions(),
        "packages": packages(),
        "git": git_state(),
        "hardware": hardware(device),
    }
    summary["warnings"] = [*not_measured(failed), *swings(config, network, data)]
    run.say(metric_table(figures, result_title(summary)))
    for warning in summary["warnings"]:
        run.say(f"warning: {warning}")
    picture = f"reconstructions: {run.folder / 'reconstructions.png'}\n" if (run.folder / "reconstructions.png").exists() else ""
    run.say(f"checkpoint:      {best}\n{picture}summary:         {run.folder / 'summary.json'}")
    write_whole(run.folder / "per_image.npz", as_npz(per_image, compressed=True))
    run.write_summary(summary)
    if config.report:
        write_report(run, data, network)
    return summary


def not_measured(failed: dict[str, str]) -> list[str]:
    """A warning for each reason why metrics could not be measured."""
    labels = {reason: ", ".join(METRICS[name].label for name in failed if failed[name] == reason) for reason in failed.values()}
    return [f"{names} not measured: {reason}" for reason, names in labels.items()]


def swings(config: TrainConfig, network, data: datasets.Dataset) -> list[str]:
    """A warning where the states still swing to and fro at step K: metrics taken there depend on K being odd or even."""
    if "settle" not in network.abilities or alternation(network, data.splits["validation"].x[:100]) > SWINGING:
        return []
    settle = config.model.settle
    return [
        f"settling still swings to and fro at K = {settle.steps}: a step of beta = {settle.beta:g} is too large for these synapses; lower model.settle.beta"
    ]


def write_report(run: Run, data: datasets.Dataset, network) -> None:
    """The pages that people look at, once the result is safe: whatever fails here is a warning."""
    try:
        path, missing = run_page.write(run.folder, network, data)
        for line in missing:
            run.say(f"warning: {path}: {line}")
        run.say(f"report:          {path}")
    except Exception as error:
        run.say(f"warning: report.html could not be written ({error}); the run is complete, ncf-report {run.folder} tries again")


@dataclass
class Opened(Restored):
    """A checkpoint with its model, on the images asked for (else its own)."""

    dataset: DatasetConfig
    data: datasets.Dataset


def open_checkpoint(config: EvalConfig | SampleConfig, given: set[str] = frozenset()) -> Opened:
    """The checkpoint that a config names. `given` are the keys of the command line: whatever is not among them is as in training."""
    adjust = (lambda trained: settle_anew(trained, config)) if isinstance(config, EvalConfig) else lambda trained: None
    restored = restore(Path(config.checkpoint), config.device, config.threads, adjust)
    dataset = own_dataset(restored.config.dataset, config.dataset, given)
    check_dataset(dataset)
    return Opened(**vars(restored), dataset=dataset, data=images_for(restored, dataset, config.data_dir))


def evaluate(config: EvalConfig, given: set[str] = frozenset()) -> dict:
    """Measure a checkpoint and write eval-CHECKPOINT-DATASET-SPLIT.json beside it (or to `output`); returns what was written."""
    opened = open_checkpoint(config, given)
    path, trained, data = opened.path, opened.config, opened.data
    metrics = own_metrics(trained.metrics, config.metrics, given)
    require_known(metrics)
    splits = ["validation", "test"] if config.split == "all" else [config.split]
    target = Path(config.output) if config.output else path.with_name(file_name(path, opened.dataset, config, given))
    files.require_writable(target, "output=FILE")
    failed: dict[str, str] = {}
    figures, per_image = measure_splits(opened.network, data, metrics, splits, path, speak, failed)
    if metrics.names and not any(figures.values()):
        raise UserError(not_measured(failed)[0] if failed else "nothing is left to measure; name other metrics.names, for the reasons above")
    for split, found in figures.items():
        values = {METRICS[name].label: figure["value"] for name, figure in found.items()}
        guards.require_numbers(opened.network, values, f"evaluation on {split} images", measuring=True)
    result = {
        "checkpoint": str(path),
        "model": trained.model.name,
        "trained_on": trained.dataset.name,
        "epoch": opened.content["progress"]["epoch"],
        "seed": trained.seed,
        "dataset": data.name,
        **budget(trained, opened.network),
        "measured_with": {"dataset": asdict(opened.dataset), "metrics": asdict(metrics)},
        "metrics": figures,
        "versions": versions(),
        "hardware": hardware(data.splits["test"].x.device),
    }
    title = f"{trained.model.name}{budget_words(result)}, epoch {result['epoch']}, trained on {trained.dataset.name}, measured on {data.name}"
    speak(metric_table(figures, title))
    for warning in not_measured(failed):
        speak(f"warning: {warning}")
    write_json(target, result)
    write_file(target.with_name(f"{target.stem}-per-image.npz"), as_npz(per_image, compressed=True))
    speak(f"written: {target}")
    return result


def file_name(path: Path, dataset: DatasetConfig, config: EvalConfig, given: set[str]) -> str:
    """``eval-best-mnist-test.json``, with what else was given: another evaluation does not overwrite this one."""
    parts = ["eval", path.stem, dataset.name, config.split]
    plain = flatten(asdict(config))
    for key in sorted(given - {"checkpoint", "dataset", "split", "output", "threads", "device", "data_dir"}):
        value = "+".join(config.metrics.names) if key == "metrics" else plain.get(key)
        parts.append(re.sub(r"[^\w.+]+", "_", f"{key}_{value}"))
    name = "-".join(parts)
    raw = os.fsencode(name)  # a file system counts bytes
    return (name if len(raw) <= 120 else f"{raw[:100].decode(errors='ignore')}-{hashlib.sha256(raw).hexdigest()[:10]}") + ".json"


def own_dataset(trained: DatasetConfig, composed: DatasetConfig, given: set[str]) -> DatasetConfig:
    """The images of training, with the given ``dataset.*`` keys; other images (another name) are binarised and split as those were."""
    keys = {f for f in vars(trained) if f"dataset.{f}" in given}
    other = {}
    if "dataset" in given and composed.name != trained.name:
        keys |= {"name", "folder", "path", "mirror", "size", "grey", "invert"}
        other = {"n_train": None, "n_validation": None}
    chosen = replace(trained, **(other | {f: getattr(composed, f) for f in keys}))
    inherited = "path" not in keys and chosen.name != trained.name
    return replace(chosen, path=None) if inherited else chosen


def own_metrics(trained: MetricsConfig, composed: MetricsConfig, given: set[str]) -> MetricsConfig:
    """The metrics of the training report, or the chosen group, with the given ``metrics.*`` keys."""
    keys = {f for f in vars(trained) if any(g == f"metrics.{f}" or g.startswith(f"metrics.{f}.") for g in given)}
    return composed if "metrics" in given else replace(trained, **{f: getattr(composed, f) for f in keys})


def settle_anew(trained: TrainConfig, config: EvalConfig) -> None:
    """Put the evaluation's own K, beta and solver in place of those of training."""
    changed = {
        name: getattr(config, name)
        for name in ("steps", "beta", "solver", "momentum", "growth", "damping", "rounds")
        if getattr(config, name) is not None
    }
    if changed and not isinstance(trained.model, TermsConfig):
        raise UserError(f"{', '.join(changed)}: {trained.model.name} does not settle; leave it out")
    for name, value in changed.items():
        setattr(trained.model.settle, name, value)
    build(asdict(trained), TrainConfig)  # checks what relates them to other keys
    for line in idle(trained, [f"model.settle.{name}" for name in changed]):
        speak(f"note: {line.replace('model.settle.', '')}")


def budget(config: TrainConfig, network) -> dict:
    """K, beta and the solver where it is not Euler's, which every figure of a settling network depends on, and what that costs per image."""
    settle = getattr(config.model, "settle", None)
    if settle is None:
        return {}
    words = solver_words(asdict(settle))
    solver = {} if words == "euler" else {"solver": words}
    cost = {"multiply_adds": multiply_adds(network, settle.steps), "products": products(network)}
    return {"settle": {"steps": settle.steps, "beta": settle.beta, **solver, **cost}}


def budget_words(result: dict) -> str:
    if "settle" not in result:
        return ""
    settle = result["settle"]
    return f" (K = {settle['steps']}, beta = {settle['beta']:g}" + (f", {settle['solver']})" if "solver" in settle else ")")


def result_title(summary: dict) -> str:
    dataset = wording.title(summary["measured_with"]["dataset"]) if "measured_with" in summary else summary["dataset"]
    return f"{summary['model']}{budget_words(summary)} on {dataset}, best epoch {summary['best_epoch']} of {summary['epochs_trained']}"


def write_json(target: Path, content: dict) -> None:
    write_file(target, (json.dumps(content, indent=2) + "\n").encode())


def write_file(target: Path, content: bytes | memoryview) -> None:
    try:
        write_whole(target, content)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror}); give output=FILE") from error

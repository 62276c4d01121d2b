"""Metrics of one checkpoint: used at the end of training and by ncf-eval, on the same path, so that they agree to the last digit."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from ncf import checkpoint, datasets, run_report
from ncf.config import EvalConfig, TrainConfig, build, check_metrics
from ncf.errors import UserError
from ncf.files import write_whole
from ncf.latents import TrainingLatents
from ncf.metrics import METRICS, left_out, measure
from ncf.models import build_model
from ncf.provenance import choose_device, hardware, versions
from ncf.report import draw_reconstructions, metric_table
from ncf.run import Run, speak
from ncf.streams import stream


def measure_splits(network, data: datasets.Dataset, config, splits: list[str], path: Path, say) -> dict[str, dict]:
    """split -> metric -> value, unit, n, stderr, for the weights of the checkpoint at `path`; says which metrics do not apply."""
    for name, reason in left_out(network, data, config.names).items():
        say(f"{METRICS[name].label} is left out: {reason}")
    training = TrainingLatents(network, data, config, path)
    return {split: measure(network, data, split, config, training) for split in splits}


def final_report(run: Run, data: datasets.Dataset, network, progress: dict) -> dict:
    """Measure best.pt on validation and test, draw, and write summary.json last; returns the summary."""
    config = run.config
    best = run.checkpoints / "best.pt"
    network.load_tensors(checkpoint.load(best)["weights"])
    device = data.splits["test"].x.device
    figures = measure_splits(network, data, config.metrics, ["validation", "test"], best, run.say)
    rows = run.rows()
    try:
        draw_reconstructions(network, data, run.folder / "reconstructions.png")
    except Exception as error:  # a picture must never cost a result
        run.say(f"warning: reconstructions.png could not be drawn ({error})")
    summary = {
        "status": "complete",
        "model": config.model.name,
        "dataset": config.dataset.name,
        "seed": config.seed,
        **budget(config),
        "epochs": config.epochs,
        "epochs_trained": progress["epoch"],
        "best_epoch": progress["best_epoch"],
        "validation_bce": progress["best_bce"],
        "metrics": figures,
        "seconds": sum(row["seconds"] for row in rows),
        "versions": versions(),
        "hardware": hardware(device),
    }
    run.say(metric_table(figures, result_title(summary)))
    run.say(f"checkpoint:      {run.checkpoints / 'best.pt'}\nreconstructions: {run.folder / 'reconstructions.png'}\nsummary:         {run.folder / 'summary.json'}")
    run.write_summary(summary)
    write_report(run, data, network)
    return summary


def write_report(run: Run, data: datasets.Dataset, network) -> None:
    """The pages that people look at, once the result is safe: whatever fails here is a warning."""
    try:
        path, missing = run_report.write(run.folder, network, data)
        for line in missing:
            run.say(f"warning: {path}: {line}")
        run.say(f"report:          {path}")
    except Exception as error:
        run.say(f"warning: report.html could not be written ({error}); the run is complete, ncf-report {run.folder} tries again")


def evaluate(config: EvalConfig, given: set[str] = frozenset()) -> dict:
    """Measure a checkpoint and write eval-DATASET-SPLIT.json beside it (or to `output`); returns what was written.

    `given` are the keys of the command line. Other images are treated as those of training were (binarisation, splits), but for
    the ``dataset.*`` keys among them.
    """
    path = Path(config.checkpoint)
    if path.is_dir():
        path = path / "checkpoints" / "best.pt"
    content = checkpoint.load(path)
    trained: TrainConfig = build(content["config"], TrainConfig)
    device = choose_device(config.device, config.threads)
    metrics = config.metrics or trained.metrics
    check_metrics(metrics)
    dataset = trained.dataset
    if config.dataset:
        named = ("name", "folder", "path", "mirror")
        changed = {f: getattr(config.dataset, f) for f in vars(dataset) if f in named or f"dataset.{f}" in given}
        dataset = replace(dataset, **({"n_train": None} | changed))
    settle_anew(trained, config)
    data = datasets.load(dataset, config.data_dir)
    if list(data.image_shape) != list(content["data"]["image_shape"]):
        raise UserError(
            f"dataset={dataset.name}: its images are {data.image_shape[0]} x {data.image_shape[1]}, "
            f"the checkpoint was trained on {content['data']['image_shape'][0]} x {content['data']['image_shape'][1]}"
        )
    data = data.to(device)
    network = build_model(trained, data, stream(0, "synapses"), device)
    try:
        network.load_tensors(content["weights"])
    except ValueError as error:
        raise UserError(f"checkpoint {path}: {error}") from error
    splits = ["validation", "test"] if config.split == "all" else [config.split]
    figures = measure_splits(network, data, metrics, splits, path, speak)
    result = {
        "checkpoint": str(path),
        "model": trained.model.name,
        "trained_on": trained.dataset.name,
        "epoch": content["progress"]["epoch"],
        "seed": trained.seed,
        "dataset": dataset.name,
        **budget(trained),
        "metrics": figures,
        "versions": versions(),
        "hardware": hardware(device),
    }
    target = Path(config.output) if config.output else path.with_name(f"eval-{dataset.name}-{config.split}.json")
    write_json(target, result)
    speak(metric_table(figures, f"{trained.model.name}{budget_words(result)}, epoch {result['epoch']}, trained on {trained.dataset.name}, measured on {dataset.name}"))
    speak(f"written: {target}")
    return result


def settle_anew(trained: TrainConfig, config: EvalConfig) -> None:
    """Put the evaluation's own K and beta in place of those of training."""
    changed = {name: getattr(config, name) for name in ("steps", "beta") if getattr(config, name) is not None}
    if changed and not hasattr(trained.model, "settle"):
        raise UserError(f"{', '.join(changed)}: {trained.model.name} does not settle; leave it out")
    for name, value in changed.items():
        setattr(trained.model.settle, name, value)
    build(asdict(trained), TrainConfig)  # checks what relates them to other keys


def budget(config: TrainConfig) -> dict:
    """K and beta, which every figure of a settling network depends on."""
    settle = getattr(config.model, "settle", None)
    return {"settle": {"steps": settle.steps, "beta": settle.beta}} if settle else {}


def budget_words(result: dict) -> str:
    return f" (K = {result['settle']['steps']}, beta = {result['settle']['beta']:g})" if "settle" in result else ""


def result_title(summary: dict) -> str:
    return f"{summary['model']}{budget_words(summary)} on {summary['dataset']}, best epoch {summary['best_epoch']} of {summary['epochs_trained']}"


def write_json(target: Path, content: dict) -> None:
    try:
        write_whole(target, (json.dumps(content, indent=2) + "\n").encode())
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror}); give output=FILE") from error

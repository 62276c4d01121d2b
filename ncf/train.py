"""Training, written out: batch, settle, local update, precision, norm limit; then validate, save, report."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from ncf import datasets, live
from ncf.config import TrainConfig, science
from ncf.errors import UserError
from ncf.evaluate import final_report
from ncf.metrics import losses, measure
from ncf.models import build_model
from ncf.optimizer import Optimizer
from ncf.progress import Display
from ncf.provenance import choose_device, versions
from ncf.run import Interrupts, Run, Stopped
from ncf.streams import stream


@dataclass
class Progress:
    """Where a run stands; part of every checkpoint. Sums run over the batches of the unfinished epoch."""

    epoch: int = 0  # finished epochs
    step: int = 0  # finished batches of the next epoch
    bce_sum: float = 0.0
    tod_sum: float = 0.0
    images: int = 0
    seconds: float = 0.0
    rows: int = 0  # lines of metrics.jsonl
    best_bce: float | None = None  # nats per image, validation
    best_epoch: int = 0
    stale: int = 0  # validations since the best one

    def restart_sums(self) -> None:
        self.step, self.bce_sum, self.tod_sum, self.images, self.seconds = 0, 0.0, 0.0, 0, 0.0


def train(config: TrainConfig, folder: Path, named: bool) -> dict:
    """Train (or go on training) the run in `folder` to its end; returns its summary. Raises UserError or Stopped."""
    device = choose_device(config.device, config.threads)
    live.require(config.logger)
    data = datasets.load(config.dataset, config.data_dir).to(device)
    network = build_model(config, data, stream(config.seed, "synapses"), device)
    optimizer = Optimizer(config.optimizer, network.parameters)
    run = Run.open(folder, config, named)
    try:
        summary = run.summary()
        if summary and summary["status"] == "complete" and summary["epochs"] == config.epochs:
            run.say(f"already complete: {run.folder}")
            return summary
        progress = restore(run, network, optimizer)
        with Interrupts() as interrupts:
            learn(run, data, network, optimizer, progress, interrupts)
        return final_report(run, data, network, asdict(progress))
    except (UserError, Stopped) as end:
        run.say(str(end) if isinstance(end, Stopped) else f"error: {end}")
        run.write_summary({"status": "stopped" if isinstance(end, Stopped) else "failed", "reason": str(end)})
        raise
    except OSError as error:
        raise UserError(f"run {run.folder}: {error.strerror or error} ({error.filename or 'while writing'}); the last checkpoint is intact") from error
    finally:
        run.close()


def learn(run: Run, data: datasets.Dataset, network, optimizer: Optimizer, progress: Progress, interrupts: Interrupts) -> None:
    """The loop. Everything random in it is a function of (seed, epoch, step)."""
    config = run.config
    n_steps = -(-len(data.splits["train"]) // config.batch_size)
    display = Display(config.progress, config.epochs, n_steps)
    events = live.Events(run, progress.epoch + 1)
    saved_at = time.monotonic()

    def content() -> dict:
        return checkpoint_content(config, data, network, optimizer, progress)

    while progress.epoch < config.epochs and not (config.patience and progress.stale >= config.patience):
        epoch = progress.epoch + 1
        started = time.monotonic() - progress.seconds
        for step, x, y in datasets.batches(data, config.batch_size, config.seed, epoch, start=progress.step):
            state = network.settle(x)
            updates = network.local_updates(state, y, stream(config.seed, "noise", epoch, step))
            require_finite(state, updates, epoch, step)
            optimizer.step(updates)
            network.adapt_precision(state)
            network.limit_norms()

            batch_bce, batch_tod = losses(network, state, y)
            progress.bce_sum += batch_bce.sum().item()
            progress.tod_sum += batch_tod.sum().item()
            progress.images += len(x)
            progress.step = step + 1
            progress.seconds = time.monotonic() - started
            display.batch(epoch, progress)
            due = time.monotonic() - saved_at > 60 * config.checkpoint.every_minutes > 0
            due = due or (config.checkpoint.every_steps and (step + 1) % config.checkpoint.every_steps == 0)
            if interrupts.signum or (due and step + 1 < n_steps):
                run.save_last(content())
                saved_at = time.monotonic()
            if interrupts.signum:
                display.close()
                raise Stopped(interrupts.signum, f"go on with: ncf-train resume={run.folder}")

        row = {
            "epoch": epoch,
            "train_bce": progress.bce_sum / progress.images,
            "train_tod": progress.tod_sum / progress.images,
        }
        speed = {"seconds": progress.seconds, "images_per_second": progress.images / progress.seconds}
        progress.epoch = epoch
        progress.rows += 1
        progress.restart_sums()
        better = False
        if epoch == config.epochs or (config.validate_every and epoch % config.validate_every == 0):
            figures = validate(network, data, config)
            row |= figures
            better = progress.best_bce is None or figures["validation_bce"] < progress.best_bce
            progress.stale = 0 if better else progress.stale + 1
        if better:
            progress.best_bce, progress.best_epoch = row["validation_bce"], epoch
            run.save_best(content())
        run.add_row(row | speed)
        events.epoch(row | speed, network, data.splits["validation"].x, data.image_shape)
        run.save_last(content())
        saved_at = time.monotonic()
        display.epoch(run, row | speed)
    display.close()
    events.close()


def validate(network, data: datasets.Dataset, config: TrainConfig) -> dict[str, float]:
    basic = type(config.metrics)(names=["bce", "tod"], batch_size=config.metrics.batch_size)
    figures = measure(network, data, "validation", basic)
    return {f"validation_{name}": figure["value"] for name, figure in figures.items()}


def require_finite(state, updates: dict[str, torch.Tensor], epoch: int, step: int) -> None:
    """Stop before an update that would poison the synapses. One look at each bundle: a sum is finite only if all of it is."""
    bad = [name for name, update in updates.items() if not torch.isfinite(update.sum())]
    if bad:
        raise UserError(
            f"the update of {', '.join(bad)} is not finite in epoch {epoch}, batch {step + 1}: settling diverged; "
            "lower model.settle.beta, model.settle.steps or optimizer.lr"
        )


def checkpoint_content(config: TrainConfig, data: datasets.Dataset, network, optimizer: Optimizer, progress: Progress) -> dict:
    return {
        "versions": versions(),
        "config": science(config),
        "data": {"name": data.name, "image_shape": list(data.image_shape), "n_classes": data.n_classes},
        "weights": {name: tensor.cpu() for name, tensor in network.tensors().items()},
        "optimizer": {"t": optimizer.t, "tensors": {name: tensor.cpu() for name, tensor in optimizer.tensors().items()}},
        "progress": asdict(progress),
    }


def restore(run: Run, network, optimizer: Optimizer) -> Progress:
    """Put the newest checkpoint of the run into network and optimizer; a fresh `Progress` when there is none."""
    content = run.newest()
    if content is None:
        run.rewind_rows(0)
        run.say(f"run folder: {run.folder}")
        return Progress()
    try:
        network.load_tensors(content["weights"])
    except ValueError as error:
        raise UserError(f"run {run.folder}: its checkpoint {error}") from error
    optimizer.load(content["optimizer"]["t"], content["optimizer"]["tensors"])
    progress = Progress(**content["progress"])
    run.rewind_rows(progress.rows)
    run.say(f"run folder: {run.folder}, going on after epoch {progress.epoch}" + (f", batch {progress.step}" if progress.step else ""))
    return progress

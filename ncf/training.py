"""Training, written out: batch, settle, local update, precision, norm limit; then validate, save, report."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from ncf.config.checks import require_stoppable
from ncf.config.schema import TrainConfig
from ncf.data import datasets, wording
from ncf.data.streams import stream
from ncf.errors import Stopped, UserError
from ncf.evaluate import final_report, result_title
from ncf.measure.frames import frames_of
from ncf.measure.metrics import measure, require_known, require_measurable
from ncf.models import build_model, seen_of
from ncf.network.langevin import noise_for
from ncf.network.last_phase import recalled_state, remember_tops, remembers_tops
from ncf.network.model import Model
from ncf.network.optimizer import Optimizer
from ncf.network.state import State
from ncf.network.top_prior import WARM, prior_of
from ncf.report import loggers
from ncf.report.html import count
from ncf.report.tables import metric_table
from ncf.runs import guards, memory
from ncf.runs.display import Display
from ncf.runs.distributed import Ranks, require_parallel
from ncf.runs.existing import require_images, require_mine, stored_result
from ncf.runs.interrupts import Interrupts, how_to_go_on
from ncf.runs.progress import Progress, checkpoint_content, is_due, remembered_tops, restore, start_from
from ncf.runs.provenance import choose_device, git_state, n_synapses, packages, versions
from ncf.runs.run import Follower, Run, speak, tidy


def train(config: TrainConfig, folder: Path, named: bool) -> dict:
    """Train (or resume) the run in `folder` to its end; returns its summary. Raises UserError or Stopped."""
    device = choose_device(config.device, config.threads)
    if config.start_from:
        config.start_from = str(Path(config.start_from).absolute())
    if config.metrics.reader:
        config.metrics.reader = str(Path(config.metrics.reader).absolute())
    require_known(config.metrics)
    require_stoppable(config)
    loggers.require(config.logger)
    require_parallel(config)
    if named:
        require_mine(folder, config)
        if summary := stored_result(folder, config):
            if os.environ.get("RANK", "0") == "0":
                tidy(folder)
                more = "" if summary["epochs_trained"] < config.epochs or config.optimizer.cooldown else " (a larger epochs= goes on)"
                speak(f"already complete: {folder}{more}\n{metric_table(summary['metrics'], result_title(summary))}")
            return summary
    data = datasets.load(config.dataset, config.data_dir)
    about = data.about()
    if named:
        require_images(folder, about)
    data = data.to(device)
    memory.require_room(config.model, data.image_shape)
    network = build_model(config, seen_of(data), stream(config.seed, "synapses"), device)
    source = start_from(network, config.start_from, folder if named else None, about) if config.start_from else None
    require_labels(network, data, config)
    keep_draws(network, data)
    n_sequences = len(data.splits["train"]) // frames_of(network, data)
    require_measurable(network, data, config.metrics)
    optimizer = Optimizer(config.optimizer, network.parameters)
    ranks = Ranks(device)
    run = Run.open(folder, config, named) if ranks.rank == 0 else Follower(folder, config)
    try:
        with Interrupts(run.folder) as interrupts:
            progress = restore(run, network, optimizer, ranks)
            introduce(run, data, network, source)
            compile_settling(run, network, data)
            loss, _ = wording.loss(asdict(config.dataset))
            n_steps = -(-n_sequences // config.batch_size)
            with interrupts.saving(), Display("off" if ranks.rank else config.progress, config.epochs, n_steps, loss) as display:
                learn(run, data, about, network, optimizer, progress, display, interrupts, ranks)
            chosen = choose(run, data, about, network, optimizer, progress, ranks)
            if ranks.rank:
                return {"validation_bce": chosen.best_bce}
            warn_of_cold_prior(run, network)
            return final_report(run, data, network, asdict(chosen))
    except OSError as error:
        what = f"{error.strerror or error} ({error.filename or 'while writing'})"
        run.end("failed", what)
        raise UserError(f"run {run.folder}: {what}; its last checkpoint is intact: make room, then {how_to_go_on(run.folder)}") from error
    except BaseException as end:
        stopped = isinstance(end, (Stopped, KeyboardInterrupt))
        reason = str(end) or type(end).__name__
        run.say(f"stopped at once; {how_to_go_on(run.folder)}" if isinstance(end, KeyboardInterrupt) else reason, show=stopped)
        run.end("stopped" if stopped else "failed", reason)
        raise
    finally:
        run.close()
        ranks.close()


def introduce(run: Run, data: datasets.Dataset, network, source: tuple[str, list[str]] | None) -> None:
    """What is trained on what, and from which `source`: for the person, and with what it is made for the log."""
    dataset, model = asdict(run.config.dataset), run.config.model.name
    run.say(f"{wording.title(dataset)}: {wording.images(dataset, wording.sizes(data), data.image_shape)}{wording.split_off(data)}")
    for remark in data.remarks:
        run.say(remark)
    run.say(f"{model}: {n_synapses(network):,} synapses")
    if remembered_tops(network) is not None:
        run.say("a draw of every image's top goes on from epoch to epoch; from the second epoch on, train BCE is of what these tops predict")
    if source:
        run.say(f"starts from what {source[0]} has learned")
        for warning in source[1]:
            run.say(warning)
    made = {**versions(), **packages(), **{f"git of {name}": state for name, state in git_state().items()}}
    run.say(f"made with: {made}", show=False)


def keep_draws(network, data: datasets.Dataset) -> None:
    """Where a last phase goes on from draws, keep those of all training images; not of images that are drawn anew in every epoch. UserError where they,
    and what a checkpoint takes while it is written, do not fit into memory."""
    n = len(data.splits["train"])
    if not data.resample and remembers_tops(network):
        remedy = "use fewer (dataset.n_train), or model.last_phase.alone=false"
        memory.require(5 * 4 * n * network.code_size, f"the tops of {n:,} training images", remedy)
        remember_tops(network, n)


def warn_of_cold_prior(run: Run, network) -> None:
    prior = prior_of(network)
    if prior and not prior.warm:
        run.say(
            f"warning: the prior has learned from {prior.learned.item():.0f} batches, and synapses learn in the last phase after {WARM}; train longer"
        )


def learn(
    run: Run, data, about: dict, network, optimizer: Optimizer, progress: Progress, display: Display, interrupts: Interrupts, ranks: Ranks
) -> None:
    """The loop. Everything random in it is a function of (seed, epoch, step)."""
    config, frames = run.config, frames_of(network, data)
    events = loggers.Loggers(run, progress.epoch + 1)
    warned, saved_at = False, time.monotonic()

    def content(tops: bool = True) -> dict:
        return checkpoint_content(config, about, network, optimizer, progress, tops)

    while progress.epoch < config.epochs and not progress.exhausts(config.patience):
        epoch = progress.epoch + 1
        started = time.monotonic() - progress.seconds
        images = datasets.epoch_order(data, config.seed, epoch, frames).split(config.batch_size)
        for step, sequences, labels in datasets.batches(data, config.batch_size, config.seed, epoch, start=progress.step, frames=frames):
            optimizer.slow_to(progress.share(config, len(images)))
            where, rng, state = f"epoch {epoch}, batch {step + 1}", stream(config.seed, "noise", epoch, step), None
            for x, y in datasets.in_order(sequences, labels, frames):
                state = train_step(network, optimizer, x, y, rng, where, ranks, before=state, images=images[step])
                if state.moving and not warned:
                    run.say(f"warning: model.settle.tolerance was not met in all {state.steps} steps ({where}); more steps, or a larger tolerance")
                    warned = True

                batch_bce, batch_tod = network.losses(state, y)
                sums = ranks.total({"bce": batch_bce.sum(), "tod": batch_tod.sum()}, len(x))
                progress.bce_sum += sums["bce"].item()
                progress.tod_sum += sums["tod"].item()
                progress.images += len(x)
            progress.step = step + 1
            progress.seconds = time.monotonic() - started
            display.batch(epoch, progress)
            due = time.monotonic() - saved_at > 60 * config.checkpoint.every_minutes > 0
            due = due or (config.checkpoint.every_steps and (step + 1) % config.checkpoint.every_steps == 0)
            signum = ranks.largest(interrupts.signum)
            if due or signum:
                run.save_last(content())
                saved_at = time.monotonic()
            interrupts.stop(signum)

        speed = {"seconds": progress.seconds, "images_per_second": progress.images / progress.seconds}
        row, better = close_epoch(network, data, config, progress, ranks)
        if better:
            run.save_best(content(tops=False))
        run.add_row(row | speed)
        events.epoch(row | speed, network, data.splits["validation"].x, data.image_shape)
        run.save_last(content())
        saved_at = time.monotonic()
        display.epoch(run, row | speed)
        interrupts.stop(ranks.largest(interrupts.signum))
    events.close()


def require_labels(network, data: datasets.Dataset, config: TrainConfig) -> None:
    if config.dataset.n_labels is not None and not {"project", "frames"} & network.abilities:
        raise UserError(
            f"dataset.n_labels={config.dataset.n_labels}: {config.model.name} learns from labels alone; give dataset.n_train in its place"
        )


def train_step(
    network: Model,
    optimizer: Optimizer,
    x: Tensor,
    y: Tensor | None = None,
    rng: np.random.Generator | None = None,
    where: str = "this batch",
    ranks: Ranks | None = None,
    lap: Callable[[str], None] = lambda part: None,
    before: State | None = None,
    images: Tensor | None = None,
) -> State:
    """One batch: settle; all local updates from that one state; add them; precision; norm limit.

    Images x (B, J_0), classes y (B,); each of the `ranks` settles its own rows. `lap` is told what was just done; `before` is the state that
    the frame before left, where there was one; `images` (B,) says which training images they are: where a last phase
    remembers them, that stands in for settling (`ncf.network.last_phase`). Raises UserError, before anything of it reaches a checkpoint, where settling or learning diverges.
    """
    rows = ranks.rows(len(x)) if ranks else slice(None)
    noise = noise_for(network, rng, len(x), rows)
    further = {name: value for name, value in (("before", before), ("noise", noise)) if value is not None}
    shown, classes, which = x[rows], None if y is None else y[rows], None if images is None else images[rows]
    state = recalled_state(network, shown, classes, which) or network.settle(shown, y=classes, **further)
    state.batch, state.rows, state.images = len(x), rows, which
    lap("settle")
    guards.require_settled(network, state, where)
    lap("guards")
    updates = network.local_updates(state, y, rng)
    updates = ranks.total(updates, len(x)) if ranks else updates
    lap("update")
    guards.require_finite(network, updates, where)
    with guards.steady(network, where):
        lap("guards")
        optimizer.step(updates)
        lap("update")
        network.adapt_precision(updates)
        lap("constrain")
    lap("guards")
    network.limit_norms()
    lap("constrain")
    return state


def close_epoch(network, data: datasets.Dataset, config: TrainConfig, progress: Progress, ranks: Ranks) -> tuple[dict[str, float], bool]:
    """The row of an epoch that is through, with the validation that is due after it, and whether its BCE is the best so far."""
    progress.epoch += 1
    row = {"epoch": progress.epoch, "train_bce": progress.bce_sum / progress.images, "train_tod": progress.tod_sum / progress.images}
    progress.rows += 1
    progress.restart_sums()
    if not is_due(config, progress.epoch):
        return row, False
    row |= validate(network, data, config, progress.epoch, ranks)
    better = progress.best_bce is None or row["validation_bce"] < progress.best_bce
    progress.be_patient(row["validation_bce"], config.patience_gain)
    if better:
        progress.best_bce, progress.best_epoch = row["validation_bce"], progress.epoch
    return row, better


def choose(run: Run, data: datasets.Dataset, about: dict, network, optimizer: Optimizer, progress: Progress, ranks: Ranks) -> Progress:
    """What the report is of: the state that was best when a validation was due, or the last one where none was.

    That last one is no part of the run's progress: with more epochs it is chosen again.
    """
    config = run.config
    if progress.epoch < config.epochs:
        run.say(
            f"stopped after epoch {progress.epoch} of {config.epochs}, by patience={config.patience}: {count(progress.stale, 'validation')} in a "
            f"row not better by patience_gain={config.patience_gain:g}; to continue, raise patience= or set it to null"
            + (f"; optimizer.cooldown={config.optimizer.cooldown} is for the last of all epochs" if config.optimizer.cooldown else "")
        )
    if progress.best_bce is None:
        bce = validate(network, data, config, progress.epoch, ranks)["validation_bce"]
        run.save_best(checkpoint_content(config, about, network, optimizer, progress, tops=False))
        return replace(progress, best_bce=bce, best_epoch=progress.epoch)
    if not is_due(config, progress.epoch):
        seen = progress.epoch - progress.epoch % config.validate_every
        run.say(
            f"best.pt is chosen up to epoch {seen}, the last validation by validate_every={config.validate_every}; last.pt is of epoch {progress.epoch}"
        )
    return progress


def compile_settling(run: Run, network, data: datasets.Dataset) -> None:
    """Settle once before the clock runs: the first time on a machine, what stands between the products is compiled for its processor."""
    if data.splits["train"].x.device.type != "cpu":
        return
    start = time.monotonic()
    network.settle(data.splits["train"].x[:1], steps=2)  # the first moves nothing
    if time.monotonic() - start > 5:
        run.say(f"settling was compiled in {time.monotonic() - start:.0f} s; this machine keeps it for the next run")


def validate(network, data: datasets.Dataset, config: TrainConfig, epoch: int, ranks: Ranks) -> dict[str, float]:
    basic = type(config.metrics)(names=["bce", "tod"], batch_size=config.metrics.batch_size)
    n, frames = len(data.splits["validation"]), frames_of(network, data)
    own = ranks.rows(n // frames)
    part = data.part("validation", slice(own.start * frames, own.stop * frames))
    figures = {f"validation_{name}": figure["value"] for name, figure in measure(network, part, "validation", basic).items()}
    figures = ranks.mean(figures, len(part.splits["validation"]) // frames, n // frames)
    guards.require_numbers(network, figures, f"the validation after epoch {epoch}")
    return figures

"""Where a run stands: what a checkpoint holds of it, and taking it up again."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from ncf.config.schema import TrainConfig, science
from ncf.errors import UserError
from ncf.network.top_prior import PREFIX, prior_of
from ncf.runs import checkpoint
from ncf.runs.distributed import Ranks
from ncf.runs.existing import changes
from ncf.runs.provenance import products, versions
from ncf.runs.run import Run


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
    patience_bce: float | None = None  # the last one that was better by patience_gain
    stale: int = 0  # validations since that one

    def exhausts(self, patience: int | None) -> bool:
        return patience is not None and self.stale >= patience

    def share(self, config: TrainConfig, n_steps: int) -> float:
        """Of the learning rate, for the next of an epoch's `n_steps` batches: 1, and (epochs - t) / C in a cooldown of C epochs, after t epochs."""
        left = config.epochs - self.epoch - self.step / n_steps
        return min(1.0, left / config.optimizer.cooldown) if config.optimizer.cooldown else 1.0

    def be_patient(self, bce: float, gain: float) -> None:
        if self.patience_bce is None or bce < self.patience_bce - gain:
            self.patience_bce, self.stale = bce, 0
        else:
            self.stale += 1

    def restart_sums(self) -> None:
        self.step, self.bce_sum, self.tod_sum, self.images, self.seconds = 0, 0.0, 0.0, 0, 0.0


def is_due(config: TrainConfig, epoch: int) -> bool:
    """Whether a validation is due after an epoch: wherever the run's end lies, or it would tell of that end for good."""
    return config.validate_every > 0 and epoch % config.validate_every == 0


TOPS = PREFIX + "tops"  # beside the optimizer's tensors: what training needs, and nothing else


def checkpoint_content(config: TrainConfig, about: dict, network, optimizer, progress: Progress, tops: bool = True) -> dict:
    """What a checkpoint holds; `tops`: also those of all training images that a prior remembers, which nothing but training needs."""
    remembered = remembered_tops(network)
    chains = {} if not tops or remembered is None else {TOPS: remembered}
    return {
        "versions": made_with(network),
        "config": science(config),
        "data": about,
        "weights": {name: tensor.cpu() for name, tensor in network.tensors().items()},
        "optimizer": {"t": optimizer.t, "tensors": {name: tensor.cpu() for name, tensor in (optimizer.tensors() | chains).items()}},
        "progress": asdict(progress),
    }


def remembered_tops(network) -> Tensor | None:
    """The tops of training images that the network's prior remembers, (N, J)."""
    prior = prior_of(network)
    return prior.tops if prior else None


def take_up_tops(run: Run, network, tops: Tensor | None) -> None:
    """Go on with the tops that a checkpoint kept, where the network remembers any; ValueError where they are of other images."""
    own = remembered_tops(network)
    if own is None:
        return
    if tops is None:
        run.say("warning: the checkpoint has no tops of the training images (an earlier version made it): they are begun anew")
    elif tops.shape != own.shape:
        raise ValueError(f"{TOPS} has shape {tuple(tops.shape)}, not {tuple(own.shape)}")
    else:
        own.copy_(tops)


def made_with(network) -> dict[str, str]:
    """What the digits of a run depend on besides its config: versions, and the type of products that this machine is best at."""
    return {**versions(), "products": products(network)}


def restore(run: Run, network, optimizer, ranks: Ranks) -> Progress:
    """Put the newest checkpoint of the run into network and optimizer; a fresh `Progress` when there is none. UserError, the folder left as it is, where it
    does not go on from there."""
    content = ranks.share(run.newest())
    if content is None:
        run.rewind_rows(0)
        run.say(f"run folder: {run.folder}")
        return Progress()
    changed = changes(content["config"], run.config)
    if changed:
        raise UserError(f"run {run.folder}: its checkpoint is of another config: {', '.join(changed)}; choose another name=")
    try:
        network.load_tensors(content["weights"])
        optimizer.load(content["optimizer"]["t"], content["optimizer"]["tensors"])
        take_up_tops(run, network, content["optimizer"]["tensors"].get(TOPS))
        progress = Progress(**content["progress"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"run {run.folder}: its checkpoint does not fit the network: {error}") from error
    run.require_rows(progress.rows)
    run.begin()
    run.rewind_rows(progress.rows)
    remember_patience(progress, ranks.share(run.rows()), run.config)
    run.renew(science(run.config))
    run.say(f"run folder: {run.folder}, resuming after epoch {progress.epoch}" + (f", batch {progress.step}" if progress.step else ""))
    if content["versions"] != made_with(network):
        run.say(f"warning: begun with {content['versions']}, resuming with {made_with(network)}: results may differ in the last digits")
    return progress


def start_from(network, name: str, folder: Path | None, about: dict) -> tuple[str, list[str]] | None:
    """Give the network of a run that has nothing to resume from in its `folder` what the run or checkpoint `name` has learned; its path with a digest, and
    warnings. None where the run resumes; without a folder of its own yet, none does. UserError where it does not fit."""
    if folder and any((folder / "checkpoints" / kept).exists() for kept in ("last.pt", "previous.pt")):
        return None
    path = checkpoint.locate(Path(name))
    try:
        content = checkpoint.load(path)
        network.load_tensors(with_own_prior(network, content["weights"]))
    except (UserError, ValueError) as error:
        raise UserError(f"start_from={name}: {error}") from error
    theirs = content["data"]
    split = theirs["name"] == about["name"] and theirs["splits"].get("validation") != about["splits"].get("validation")
    warning = "warning: start_from has another validation split of these images: it may have learned from images that are held out here"
    return f"{path}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}", [warning] * split


def with_own_prior(network, tensors: dict) -> dict:
    """What another network has learned, but for a prior of the top: that one is kept where both have it, dropped where this network has none, and fresh
    where the other had none."""
    prior = {name: tensor for name, tensor in network.tensors().items() if name.startswith(PREFIX)}
    mass = PREFIX + "mass"
    if mass in prior and mass in tensors and len(prior[mass]) != len(tensors[mass]):
        raise ValueError(f"its prior has {len(tensors[mass])} components, not model.last_phase.components={len(prior[mass])}")
    return prior | {name: tensor for name, tensor in tensors.items() if name in prior or not name.startswith(PREFIX)}


def remember_patience(progress: Progress, rows: list[dict], config: TrainConfig) -> None:
    """Patience by the rows so far: what the run waits for may have changed since."""
    progress.patience_bce, progress.stale = None, 0
    for row in rows:
        if is_due(config, row["epoch"]) and "validation_bce" in row:
            progress.be_patient(row["validation_bce"], config.patience_gain)

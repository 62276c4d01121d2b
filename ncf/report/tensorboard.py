"""Watching a run from elsewhere while it trains: its rows and pictures as TensorBoard events (logger=tensorboard)."""

import numpy as np
from torch import Tensor

from ncf.errors import UserError
from ncf.report.sections import grey, mosaic
from ncf.runs.run import Run

N_IMAGES = 16  # validation images whose reconstructions are shown


def require(logger: str) -> None:
    """UserError where the logger that a config names is not installed."""
    if logger == "tensorboard":
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError:
            raise UserError("logger=tensorboard: the package tensorboard is not installed; pip install tensorboard, or leave logger=none") from None


class Events:
    """Event files in RUN/tensorboard, if the config asks for them; the step is the epoch. What fails here is said once and costs the run nothing.

    Events from epoch `first` on that an earlier life of the run left behind are marked as void.
    """

    def __init__(self, run: Run, first: int):
        self.run, self.writer = run, None
        if run.config.logger == "tensorboard":
            self.attempt(self.open, first)

    def attempt(self, action, *arguments) -> None:
        try:
            action(*arguments)
        except Exception as error:
            self.run.say(f"warning: no more events for TensorBoard ({error or type(error).__name__})")
            self.writer = None

    def open(self, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.run.folder / "tensorboard"), purge_step=first)

    def epoch(self, row: dict, network, x: Tensor, image_shape: tuple[int, int]) -> None:
        """A row of metrics.jsonl as scalars, and after a validation some of its images x above their reconstructions."""
        if self.writer:
            self.attempt(self.write, row, network, x[:N_IMAGES], image_shape)

    def write(self, row: dict, network, x: Tensor, image_shape: tuple[int, int]) -> None:
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, row["epoch"])
        if "validation_bce" in row and getattr(network, "project", None):  # a classifier makes no images
            sheet = mosaic(above_below(grey(x), grey(network.settle(x).mu[0])), image_shape)
            self.writer.add_image("reconstructions", sheet, row["epoch"], dataformats="HW")
        self.writer.flush()

    def close(self) -> None:
        if self.writer:
            self.attempt(self.writer.close)


def above_below(images: np.ndarray, others: np.ndarray, columns: int = 8) -> np.ndarray:
    """Images and their counterparts in lines of eight, each line of images above its counterparts; a last line is filled up with white."""
    padding = ((0, -len(images) % columns), (0, 0))
    lines = [np.pad(rows, padding, constant_values=255).reshape(-1, columns, rows.shape[1]) for rows in (images, others)]
    return np.stack(lines, axis=1).reshape(-1, images.shape[1])

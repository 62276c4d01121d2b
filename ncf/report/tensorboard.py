"""A run's rows and pictures as TensorBoard events while it trains (logger=tensorboard)."""

import numpy as np
from torch import Tensor

from ncf.config.schema import REAL_VALUED
from ncf.data.datasets import shades
from ncf.report.loggers import Logger
from ncf.report.sections import grey, mosaic

N_IMAGES = 16  # validation images whose reconstructions are shown


class Events(Logger):
    """Event files in RUN/tensorboard; those of epochs that did not happen are marked as void."""

    name = "TensorBoard"

    def open(self, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.run.folder / "tensorboard"), purge_step=first)

    def write(self, row: dict, network, x: Tensor, image_shape: tuple[int, int]) -> None:
        """Scalars, and after a validation some of its images x above their reconstructions."""
        x = x[:N_IMAGES]
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, row["epoch"])
        if "validation_bce" in row and "project" in network.abilities:  # a classifier makes no images
            real = self.run.config.dataset.name in REAL_VALUED
            images, settled = (grey(shades(part, real)) for part in (x, network.settle(x).mu[0]))
            sheet = mosaic(above_below(images, settled), image_shape)
            self.writer.add_image("reconstructions", sheet, row["epoch"], dataformats="HW")
        self.writer.flush()

    def finish(self) -> None:
        self.writer.close()


def above_below(images: np.ndarray, others: np.ndarray, columns: int = 8) -> np.ndarray:
    """Images and their counterparts in lines of eight, each line of images above its counterparts; a last line is filled up with white."""
    padding = ((0, -len(images) % columns), (0, 0))
    lines = [np.pad(rows, padding, constant_values=255).reshape(-1, columns, rows.shape[1]) for rows in (images, others)]
    return np.stack(lines, axis=1).reshape(-1, images.shape[1])

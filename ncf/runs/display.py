"""Progress while it trains: a line per epoch, on a terminal a bar below them, or nothing."""

import os
import sys


class Display:
    def __init__(self, kind: str, epochs: int, n_steps: int, loss: str = "BCE"):
        if kind == "auto":
            kind = "bar" if columns() else "plain"
        self.kind, self.epochs, self.n_steps, self.loss = kind, epochs, n_steps, loss
        self.bar = None

    def batch(self, epoch: int, progress) -> None:
        if self.kind != "bar":
            return
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=self.epochs * self.n_steps, unit="batch", dynamic_ncols=True, leave=False)
        self.bar.n = (epoch - 1) * self.n_steps + progress.step
        self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
        self.bar.set_postfix_str(
            f"{self.loss} {progress.bce_sum / progress.images:.2f}, ToD {progress.tod_sum / progress.images:.2f}, "
            f"{progress.images / progress.seconds:.0f} images/s",
            refresh=False,
        )
        self.bar.update(0)

    def epoch(self, run, row: dict) -> None:
        """The line of a finished epoch: to the terminal (unless off) and always to run.log."""
        validation = f"  validation {self.loss} {row['validation_bce']:.2f}  ToD {row['validation_tod']:.2f}" if "validation_bce" in row else ""
        line = (
            f"epoch {row['epoch']:>3}/{self.epochs}  train {self.loss} {row['train_bce']:.2f}  ToD {row['train_tod']:.2f}"
            f"{validation}  {row['images_per_second']:.0f} images/s"
        )
        if self.bar is not None:  # the line takes the bar's place, and the bar comes again below it
            self.bar.clear()
        run.say(line, show=self.kind != "off")

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def columns() -> int:
    """The width of the terminal that the bar is drawn on; 0 where there is none, or one that does not tell."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (AttributeError, OSError, ValueError):
        return 0

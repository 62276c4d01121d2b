"""Tables for the terminal and pictures for the run folder."""

import io
from pathlib import Path

import numpy as np

from ncf.files import write_whole
from ncf.metrics import METRICS


def metric_table(figures: dict[str, dict], title: str) -> str:
    """split -> metric -> figure, as an aligned table: one row per metric, one column per split, value +- standard error."""
    splits = list(figures)
    rows = [["", *splits, "unit"]]
    for name in figures[splits[0]]:
        cells = [f"{figures[split][name]['value']:.2f} +- {figures[split][name]['stderr']:.2f}" for split in splits]
        rows.append([METRICS[name].label, *cells, figures[splits[0]][name]["unit"]])
    rows.append(["images", *(str(next(iter(figures[split].values()))["n"]) for split in splits), ""])
    return title + "\n" + aligned(rows)


def aligned(rows: list[list[str]]) -> str:
    """Columns padded to their widest cell: texts left, the rest right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) if i in (0, len(row) - 1) else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    )


def draw_reconstructions(network, data, path: Path, n: int = 16) -> None:
    """The first n test images above what the network settles to on them, as a PNG."""
    x = data.splits["test"].x[:n]
    mu = network.settle(x).mu[0]
    height, width = data.image_shape
    save_picture(path, [("image", x.cpu().numpy()), ("settled", mu.cpu().numpy())], height, width)


def save_picture(path: Path, rows: list[tuple[str, np.ndarray]], height: int, width: int) -> None:
    """Rows of images (n, J_0) with a label each, pixels kept crisp, written whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n = max(len(images) for _, images in rows)
    figure = Figure(figsize=(0.6 * n + 0.9, 0.6 * len(rows) * height / width), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), n, squeeze=False, gridspec_kw={"wspace": 0.06, "hspace": 0.06})
    figure.subplots_adjust(left=0.9 / (0.6 * n + 0.9), right=1, top=1, bottom=0)
    for (label, images), line in zip(rows, axes):
        for i, axis in enumerate(line):
            axis.set_axis_off()
            if i < len(images):
                axis.imshow(images[i].reshape(height, width), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        line[0].text(-0.15, 0.5, label, transform=line[0].transAxes, ha="right", va="center", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_whole(path, buffer.getbuffer())

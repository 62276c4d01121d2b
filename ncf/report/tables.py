"""Tables for the terminal and pictures for the run folder."""

import io
from math import floor, log10
from pathlib import Path

import numpy as np

from ncf.measure.metrics import METRICS
from ncf.runs.files import write_whole


def metric_table(figures: dict[str, dict], title: str) -> str:
    """split -> metric -> figure, as an aligned table: one row per metric, one column per split, value +- standard error."""
    splits = list(figures)
    names = list(figures[splits[0]])
    common = [figures[split][names[0]]["n"] if names else 0 for split in splits]
    rows = [["", *splits, "unit"]]
    for name in names:
        found = [figures[split][name] for split in splits]
        fewer = (
            ""
            if [figure["n"] for figure in found] == common
            else f" ({found[-1]['n']} {'sequences' if METRICS[name].needs == 'sequences' else 'images'})"
        )
        rows.append([METRICS[name].label + fewer, *(with_error(figure["value"], figure["stderr"]) for figure in found), found[0]["unit"]])
        if "held_out_stderr" in found[0]:  # (older runs have none)
            rows.append(["  held-out images", *(with_error(figure["held_out"], figure["held_out_stderr"]) for figure in found), ""])
    wrong = [[figure["reader_wrong"] for figure in figures[split].values() if figure.get("reader_wrong") is not None] for split in splits]
    if all(wrong):
        rows.append(["metrics.reader's error", *(f"{by_split[0]:.2f}" for by_split in wrong), "% of test images"])
    rows.append(["images", *map(str, common), ""])
    return title + "\n" + aligned(rows)


def with_error(value: float, error: float | None) -> str:
    if error is None:
        return f"{value:.2f}"
    return f"{value:.{(d := digits(error))}f} +- {error:.{d}f}"


def digits(error: float) -> int:
    """Decimals of a value with such an error: two, or as many as show two digits of a smaller one."""
    return 1 - floor(log10(error)) if 0 < error < 0.01 else 2


def aligned(rows: list[list[str]], left: int | None = None) -> str:
    """Columns padded to their widest cell: the first and the last left (or the first `left`), the rest right."""
    leftmost = {0, len(rows[0]) - 1} if left is None else set(range(left))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) if i in leftmost else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in rows
    )


def sweep_table(jobs: dict[str, dict]) -> str:
    """All jobs of a sweep: status, best epoch, and each metric on validation and test."""
    names = [n for n in METRICS if any(n in split for s in jobs.values() for split in s.get("metrics", {}).values())]
    columns = [(split, n) for n in names for split in ("validation", "test")]
    rows = [["job", "status", "epoch", *(f"{METRICS[n].label} {split}" for split, n in columns), "training s"]]
    for job, s in jobs.items():
        cells = [s.get("metrics", {}).get(split, {}).get(n, {}).get("value") for split, n in columns]
        done = s.get("status") == "complete"
        rows.append(
            [job, s["status"] + ("!" if s.get("warnings") else ""), str(s["best_epoch"]) if done else "-"]
            + ["-" if cell is None else f"{cell:.2f}" for cell in cells]
            + [f"{s['seconds']:.0f}" if done else "-"]
        )
    warnings = dict.fromkeys(warning for s in jobs.values() for warning in s.get("warnings", []))
    return "\n".join([aligned(rows), *(f"! {warning}" for warning in warnings)])


def draw_reconstructions(network, data, path: Path, n: int = 16) -> None:
    """The first n test images above what the network settles to on them, as a PNG."""
    x = data.splits["test"].x[:n]
    x, mu = data.shades(x), data.shades(network.settle(x).mu[0])
    height, width = data.image_shape
    save_picture(path, [("image", x.cpu().numpy()), ("settled", mu.cpu().numpy())], height, width)


FRAME = 0.6  # grey: an image's white strokes end where the white page begins


def save_picture(path: Path, rows: list[tuple[str, np.ndarray]], height: int, width: int, group: int | None = None) -> None:
    """Rows of images (n, J_0) with a label each, every `group` rows set apart, pixels kept crisp, written whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n = max(len(images) for _, images in rows)
    heights = [1.0 if i % (size + 1) < size else 0.35 for size in [group or len(rows)] for i in range(len(rows) + (len(rows) - 1) // size)]
    shape = min(max(height / width, 0.1), 3.0)  # of a picture's place: a vector's would be a line, or a tower
    figure = Figure(figsize=(0.6 * n + 0.9, 0.6 * sum(heights) * shape), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"hspace": 0.06, "height_ratios": heights})[:, 0]
    for axis in axes:
        axis.set_axis_off()
    axes = [axis for axis, size in zip(axes, heights) if size == 1.0]
    figure.subplots_adjust(left=0.9 / (0.6 * n + 0.9), right=1, top=1, bottom=0)
    dot = max(1, 64 // max(height, width))  # a pixel is so many dots wide; the frame and what is between the images are finer
    gap = max(1, dot * width // 16)
    for (label, images), axis in zip(rows, axes):
        framed = np.pad(images.reshape(-1, height, width).repeat(dot, 1).repeat(dot, 2), ((0, 0), (1, 1), (1, 1)), constant_values=FRAME)
        line = np.ones((framed.shape[1], n, framed.shape[2] + gap))  # white between the images, and after the last of a short row
        line[:, : len(images), : framed.shape[2]] = framed.swapaxes(0, 1)
        axis.imshow(
            line.reshape(len(line), -1)[:, :-gap],
            cmap="gray",
            vmin=0,
            vmax=1,
            interpolation="nearest",
            aspect="equal" if shape == height / width else "auto",
        )
        axis.text(-0.02 * 10 / n, 0.5, label, transform=axis.transAxes, ha="right", va="center", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_whole(path, buffer.getbuffer())

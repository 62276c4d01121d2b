"""The learning curve of docs/results.md: test figures against the number of training images, as tables and in one picture."""

from pathlib import Path
from statistics import mean

from table.cells import Cell
from table.rows import AUTOENCODERS, DATASETS, row_title
from table.text import markdown, shown
from table.verdicts import compare, measured

from ncf.measure.metrics import METRICS
from ncf.report.charts import COLOURS

RIVAL = "gvae"
METRICS_DRAWN = ("bce", "m_mse", "class_err", "log_p")


def section(cells: list[Cell], picture: Path) -> str:
    """Test figures against the number of training images, as tables and in one picture: the second claim, that the network needs fewer of them."""
    parts, axes = [], {}
    for dataset, title in DATASETS.items():
        mine = [cell for cell in cells if cell.dataset == dataset]
        sizes = sorted({cell.n_train for cell in mine if cell.n_train})
        at = {(cell.row, cell.n_train): cell for cell in mine}
        names = sorted({cell.row for cell in mine if cell.n_train}, key=lambda name: name == RIVAL)
        rows = []
        for metric in METRICS_DRAWN if names else ():
            rows += [
                [METRICS[metric].label, row_title(name), *(shown(at[name, n], metric) if (name, n) in at else "not run" for n in [*sizes, None])]
                for name in names
            ]
            for name in names[:-1] if names[-1] == RIVAL else ():
                pairs = [(at.get((name, n)), at.get((RIVAL, n))) for n in [*sizes, None]]
                rows.append(
                    [
                        "",
                        f"{row_title(name)} ahead by",
                        *(str(compare(one, other, metric)) if measured(metric, one, other) else "–" for one, other in pairs),
                    ]
                )
        if rows:
            parts.append(f"{title}\n\n" + markdown(["figure", "method", *(f"{n:,}" for n in sizes), "all"], rows))
            axes[title] = {name: [at[name, n] for n in [*sizes, None] if (name, n) in at] for name in names}
    if not parts:
        return "Not run yet."
    draw(axes, picture)
    lead = "Few images make short epochs: training is given at least 2,000 updates, and stops where validation stands still. A lead is positive where the network is better."
    return "\n\n".join([lead, f"![Test figures against the number of training images]({picture.name})", *parts])


def fair(metric: str, cell: Cell) -> bool:
    """Whether a completion was by inference, as a network's is: an autoencoder's by zero filling or refilling is not drawn."""
    return metric != "m_mse" or cell.inferred or not cell.row.startswith(AUTOENCODERS)


def draw(axes: dict[str, dict[str, list[Cell]]], picture: Path) -> None:
    """A row of axes per dataset, one per figure: a line per method over the number of training images ("all" at the right end)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(METRICS_DRAWN), 2.6 * len(axes)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(axes), len(METRICS_DRAWN), squeeze=False)
    for row, (title, methods) in zip(grid, axes.items(), strict=True):
        sizes = {cell.n_train for cells in methods.values() for cell in cells}
        largest = max(n or 0 for n in sizes)
        for axis, metric in zip(row, METRICS_DRAWN, strict=True):
            for colour, (name, cells) in zip(COLOURS, methods.items()):
                places = [cell.n_train or 2 * largest for cell in cells]
                alike = [(place, cell) for place, cell in zip(places, cells) if measured(metric, cell) and fair(metric, cell)]
                points = [(place, mean(cell.values(metric)), cell.spread(metric)) for place, cell in alike]
                axis.errorbar(*zip(*points) if points else ((), (), ()), marker="o", markersize=3, label=row_title(name), color=colour)
            axis.set_xscale("log")
            axis.set_xticks([n or 2 * largest for n in sizes], [f"{n:,}" if n else "all" for n in sizes], rotation=45, fontsize=7)
            axis.minorticks_off()
            axis.set_title(f"{title}: {METRICS[metric].label}", fontsize=9)
            axis.set_ylabel(METRICS[metric].unit, fontsize=8)
            axis.set_xlabel("training images", fontsize=8)
            axis.tick_params(axis="y", labelsize=7)
    grid[0][0].legend(fontsize=7, frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)

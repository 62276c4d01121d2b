"""The learning curves of docs/results.md: test figures against the number of training images, as tables and in one picture."""

from pathlib import Path
from statistics import mean

from table.cells import Cell
from table.rows import AUTOENCODERS, DATASETS, row_title
from table.text import markdown, shown
from table.verdicts import best, compare, measured

from ncf.measure.metrics import METRICS
from ncf.report.charts import COLOURS

SHARES = (0.02, 0.1, 0.2, 0.5, 0.75)  # of the training images, the article's
METRICS_TOLD = {"bce": "bce", "bce_inferred": "bce", "m_mse": "m_mse", "class_err": "class_err", "log_p": "log_p"}  # -> the network's beside it
METRICS_DRAWN = ("bce", "m_mse", "class_err")  # Monte Carlo log p(x) was not measured at every size


def section(cells: list[Cell], picture: Path) -> str:
    """Test figures against the number of training images, a table per network and one picture: the claim that networks need fewer of them."""
    parts, axes = [], {}
    for dataset, title in DATASETS.items():
        at = {(cell.row, cell.n_train): cell for cell in cells if cell.dataset == dataset}
        names = sorted({row for row, n in at if n}, key=lambda name: (name.startswith(AUTOENCODERS), name))
        for name in names:
            if not name.startswith(AUTOENCODERS):
                sizes = [*sorted(n for row, n in at if row == name and n), None]
                rivals = [row for row in names if row.startswith(AUTOENCODERS) and any((row, n) in at for n in sizes[:-1])]
                parts.append(f"{title}\n\n{network_table(at, name, rivals, sizes)}")
        if names:
            axes[title] = {name: [at[name, n] for n in [*sorted(n for row, n in at if row == name and n), None] if (name, n) in at] for name in names}
    if not parts:
        return "Not run yet."
    draw(axes, picture)
    lead = (
        "The article's shares of the training images, 2, 10, 20, 50 and 75 %, for ncf's defaults. Few images make short\n"
        "epochs: training is given at least 2,000 updates, and stops where validation stands still. It is validated about twenty times then: at the smallest sizes the best\n"
        "epoch may be the first of these, and either side may have been better before. Validation images are as many as with all training images (10,000 of MNIST). A lead is\n"
        "positive where the network is better (over BCE by inferred latents: of its own BCE), its error by the spread over seeds of all images (¹; few may vary more) where there is one (⁰: none)."
    )
    return "\n\n".join([lead, f"![Test figures against the number of training images]({picture.name})", *parts])


def network_table(at: dict[tuple[str, int | None], Cell], name: str, rivals: list[str], sizes: list[int | None]) -> str:
    """A network's figures at every size, those of its rivals, and by how much it is ahead of each."""
    rows = []
    for metric, own in METRICS_TOLD.items():
        known = [row for row in rivals if any((row, n) in at and at[row, n].values(metric) for n in sizes)]
        for row in (name, *known) if metric == own else known:
            rows.append([METRICS[metric].label, row_title(row), *(shown(at[row, n], metric) if (row, n) in at else "not run" for n in sizes)])
        for rival in known:
            pairs = [(at.get((name, n)), at[rival, n].renamed({own: metric}) if (rival, n) in at else None) for n in sizes]
            leads = [str(compare(one, other, own)) if measured(own, one, other) else "–" for one, other in pairs]
            rows.append(["", f"{row_title(name)} ahead of {row_title(rival)} by", *leads])
    return markdown(["figure", "method", *(f"{n:,}" if n else "all" for n in sizes)], rows)


def fewer_images(cells: list[Cell], network: str = "gncn_pdh_sgd") -> list[str]:
    """The claim that the network needs fewer images, by BCE at every share that was measured: a verdict and what decides. Each share asks for the network
    to be ahead of the autoencoder that reconstructs best of those trained on it; a set with fewer than `SHARES`, or a share with fewer autoencoders, makes it a part, and who is missing is told."""
    told, words, whole = [], set(), True
    for dataset, title in DATASETS.items():
        at = {(cell.row, cell.n_train): cell for cell in cells if cell.dataset == dataset and cell.values("bce")}
        sizes = sorted(n for row, n in at if row == network and n)
        everyone = {row for row, n in at if n in sizes and row.startswith(AUTOENCODERS)}
        whole &= len(sizes) == len(SHARES)
        for n in sizes:
            rivals = [cell for (row, size), cell in at.items() if size == n and row.startswith(AUTOENCODERS)]
            absent = sorted(everyone - {cell.row for cell in rivals})
            whole &= bool(rivals) and not absent
            if rivals:
                rival = best(rivals, "bce")
                verdict = compare(at[network, n], rival, "bce")
                words.add(verdict.word)
                told.append(
                    f"{title}, {n:,} images: BCE {shown(at[network, n], 'bce')}, {row_title(rival.row)} {shown(rival, 'bce')}, {verdict.phrase}"
                    + (f" (not run: {'; '.join(map(row_title, absent))})" if absent else "")
                )
    if not told:
        return ["not measured", ""]
    mixed = "opposite at some sizes" if "behind" in words else "undecided" if words - {"ahead"} == {"undecided"} else "not reproduced"
    verdict = {("ahead",): "reproduced", ("behind",): "opposite"}.get(tuple(words), mixed)
    return [verdict if whole else f"{verdict}, measured in part", "<br>".join(told)]


def draw(axes: dict[str, dict[str, list[Cell]]], picture: Path) -> None:
    """A column of axes per dataset, one per figure: a line per method over the number of training images ("all" at the right end)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(3.2 * len(axes), 2.5 * len(METRICS_DRAWN)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(METRICS_DRAWN), len(axes), squeeze=False).T
    colours = dict(zip(dict.fromkeys(name for methods in axes.values() for name in methods), COLOURS))
    drawn, dashed = {}, []
    for row, (title, methods) in zip(grid, axes.items(), strict=True):
        sizes = {cell.n_train for cells in methods.values() for cell in cells}
        largest = max(n or 0 for n in sizes)
        decades = [n for n in (10, 100, 1000, 10_000, 100_000) if min(filter(None, sizes)) <= n <= largest]
        for axis, metric in zip(row, METRICS_DRAWN, strict=True):
            for name, cells in methods.items():
                places = [cell.n_train or 2 * largest for cell in cells]
                alike = [(place, cell) for place, cell in zip(places, cells) if measured(metric, cell)]
                points = [(place, mean(cell.values(metric)), cell.spread(metric)) for place, cell in alike]
                drawn[name] = axis.errorbar(
                    *zip(*points) if points else ((), (), ()), marker="o", markersize=3, label=row_title(name), color=colours[name]
                )
                inferred = [(place, mean(found)) for place, cell in zip(places, cells) if metric == "bce" and (found := cell.values("bce_inferred"))]
                if inferred:
                    axis.plot(*zip(*inferred), linestyle="--", marker=".", color=colours[name])
                    dashed = [Line2D([], [], linestyle="--", marker=".", color="black", label="latents inferred")]
            axis.set_xscale("log")
            axis.set_xticks([*decades, 2 * largest], [*(f"{n:,}" for n in decades), "all"], fontsize=7)
            axis.minorticks_off()
            axis.set_title(f"{title}: {METRICS[metric].label}", fontsize=9)
            axis.set_ylabel(METRICS[metric].unit, fontsize=8)
            axis.set_xlabel("training images", fontsize=8)
            axis.tick_params(axis="y", labelsize=7)
    figure.legend(handles=[*drawn.values(), *dashed], loc="outside upper center", ncols=len(drawn) + len(dashed), fontsize=8, frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)

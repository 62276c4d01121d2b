"""docs/results.md and the rows behind it, from the runs that scripts/reproduce made: nothing on the page is written by hand.

The rows (.jsonl) hold all that the page says, so that runs which lie here are added to those that were measured before or elsewhere.
"""

import json
import os
import re
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

from omegaconf import OmegaConf

from ncf.defaults import command
from ncf.metrics import METRICS

SHARED = ("epochs_trained", "best_epoch", "seconds", "command", "folder", "settle", "versions", "hardware")  # by all figures of a run
NETWORKS, RIVAL = ("gncn_pdh", "gncn_pdh_tuned", "gncn_t1_sigma_tuned"), "gvae"  # whom the claims compare
CURVE_METRICS = ("bce", "m_mse", "class_err", "log_p")
DATASETS = {"digits": "Digits", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "kmnist": "KMNIST", "caltech101_silhouettes": "CalTech-101 Silhouettes"}


@dataclass
class Cell:
    """One row of one dataset: its runs, seed -> what the run left."""

    dataset: str
    row: str
    n_train: int | None
    runs: dict[int, dict]

    def values(self, metric: str) -> list[float]:
        found = (run["figures"].get(metric) for _, run in sorted(self.runs.items()))
        return [figure["value"] for figure in found if figure]

    def spread(self, metric: str) -> float:
        """Over the seeds; of a single one, the standard error over its images."""
        values = self.values(metric)
        if len(values) > 1:
            return stdev(values)
        return next(run["figures"][metric]["stderr"] for run in self.runs.values() if metric in run["figures"])


# --- reading ----------------------------------------------------------------------------------------------------------


def read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}


def status(folder: Path) -> str:
    return read_json(folder / "summary.json").get("status", "not run")


def figures(folder: Path, split: str) -> dict[str, float]:
    """Metric -> value of a complete run; none of one that is not."""
    return {metric: measured["value"] for metric, measured in read_json(folder / "summary.json").get("metrics", {}).get(split, {}).items()}


def read_run(folder: Path) -> dict | None:
    """What a complete run left: test figures (those of density.json with them), config, command, time, versions, hardware."""
    summary = read_json(folder / "summary.json")
    if summary.get("status") != "complete":
        return None
    config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    density = read_json(folder / "density.json").get("metrics", {}).get("test", {})
    new = {name: value for name, value in density.items() if name not in summary["metrics"]["test"]}
    kept = {name: summary[name] for name in ("seed", "epochs_trained", "best_epoch", "seconds", "versions", "hardware")}
    made = {"command": command_of(config), "folder": config["dataset"]["folder"], "settle": summary.get("settle")}
    return {"figures": summary["metrics"]["test"] | new, **made, **kept}


def command_of(config: dict) -> str | None:
    from ncf.config import TrainConfig, build, science

    return command(science(build(config, TrainConfig)))


def collect(output: Path, rows: Path) -> list[Cell]:
    """Every cell that has a complete run, from OUTPUT/DATASET/ROW/seedN[-nSIZE] and, where there is none, from the rows written before."""
    cells = stored(rows)
    for folder in sorted(output.glob("*/*/seed*")):
        match = re.fullmatch(r"seed(\d+)(?:-n(\d+))?", folder.name)
        dataset, row = folder.parts[-3:-1]
        run = read_run(folder) if match and dataset in DATASETS else None
        if run:
            n_train = int(match[2]) if match[2] else None
            cells.setdefault((dataset, row, n_train), Cell(dataset, row, n_train, {})).runs[int(match[1])] = run
    return list(cells.values())


def stored(rows: Path) -> dict[tuple, Cell]:
    """The cells of a .jsonl that `lines` made."""
    cells: dict[tuple, Cell] = {}
    for text in rows.read_text().splitlines() if rows.exists() else []:
        line = json.loads(text)
        key = (line.pop("dataset"), line.pop("row"), line.pop("n_train"))
        runs = cells.setdefault(key, Cell(*key, {})).runs
        run = {name: line.pop(name) for name in SHARED}
        seed, metric = line.pop("seed"), line.pop("metric")
        line.pop("split")
        runs.setdefault(seed, {"figures": {}, "seed": seed, **run})["figures"][metric] = line
    return cells


# --- writing ----------------------------------------------------------------------------------------------------------


def write(output: Path, page: Path, table: dict[str, dict]) -> None:
    """The page, and beside it its rows: one JSON line per dataset, row, seed and metric."""
    rows = page.with_suffix(".jsonl")
    cells = collect(output, rows)
    full = {(cell.dataset, cell.row): cell for cell in cells if cell.n_train is None}
    parts = [heading(cells)]
    for dataset, title in DATASETS.items():
        if any(cell.dataset == dataset for cell in full.values()):
            parts += [f"## {title}", dataset_table(dataset, table, full, output)]
    parts += ["## What holds", claims(full), "## Targets", targets(table, full), "## Fewer training images", curve(cells, page.with_name("learning_curve.png")), "## Choices", choices(table, page.with_name("tuning.jsonl")), "## Commands", commands(full)]
    page.parent.mkdir(parents=True, exist_ok=True)
    put(page, "\n\n".join(parts) + "\n")
    put(rows, "".join(json.dumps(line) + "\n" for line in lines(cells)))
    print(f"written: {page}, {rows}")


def put(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def lines(cells: list[Cell]) -> list[dict]:
    found = []
    for cell in cells:
        for seed, run in sorted(cell.runs.items()):
            shared = {name: run[name] for name in SHARED}
            for metric, measured in run["figures"].items():
                found.append({"dataset": cell.dataset, "row": cell.row, "n_train": cell.n_train, "seed": seed, "metric": metric, "split": "test", **measured, **shared})
    return found


def heading(cells: list[Cell]) -> str:
    machines = sorted({f"{run['hardware']['name']}, {run['hardware']['device']}, {run['hardware']['threads']} threads" for cell in cells for run in cell.runs.values()})
    versions = sorted({", ".join(f"{name} {v}" for name, v in run["versions"].items()) for cell in cells for run in cell.runs.values()})
    return (
        "# Results\n\nWritten by `scripts/reproduce`; the rows behind every figure are in `results.jsonl` beside this page. Figures are of test images,\n"
        "of the checkpoint with the best validation figure: mean ± standard deviation over seeds, or, of a single seed (marked ¹), the value ± its\n"
        "standard error over images. log p(x) is by Monte Carlo from the fitted mixture unless it says otherwise; \"annealed\" is on few images.\n"
        "Where fewer than three seeds stand, or a command limits epochs, machine time was short; the same command with other seeds adds to the page.\n\n"
        f"Hardware: {'; '.join(machines) or 'none yet'}. Versions: {'; '.join(versions) or 'none yet'}."
    )


def dataset_table(dataset: str, table: dict[str, dict], full: dict[tuple, Cell], output: Path) -> str:
    present = [full[dataset, row] for row in table if (dataset, row) in full]
    metrics = [name for name in METRICS if any(cell.values(name) for cell in present)]
    head = ["method", *(METRICS[name].label for name in metrics), "settling", "seeds", "epochs", "minutes"]
    rows = []
    for row in table:
        cell = full.get((dataset, row))
        if cell is None:
            rows.append([row, *["not run"] * len(metrics), "", "0", "", ""])
            continue
        settle = next(iter(cell.runs.values()))["settle"]
        told = [f"K {settle['steps']}", f"β {settle['beta']}", settle.get("solver"), settle.get("products")] if settle else ["–"]
        budget = ", ".join(filter(None, told))
        epochs = mean(run["best_epoch"] for run in cell.runs.values())
        minutes = mean(run["seconds"] for run in cell.runs.values()) / 60
        rows.append([row, *(shown(cell, name) for name in metrics), budget, str(len(cell.runs)), f"{epochs:.0f}", f"{minutes:.1f}"])
    note = "`epochs`: of the best checkpoint; `minutes`: of training, per seed, whatever else the machine did meanwhile; –: does not apply to the method."
    folders = {run["folder"] for cell in present for run in cell.runs.values()} - {None}
    if folders:
        note += f" Images from the folder {', '.join(sorted(folders))} in place of the published set."
    return f"{markdown(head, rows)}\n\n{note}"


def shown(cell: Cell, metric: str) -> str:
    values = cell.values(metric)
    if not values:
        return "–"
    return f"{mean(values):.2f} ± {cell.spread(metric):.2f}" + ("¹" if len(values) == 1 else "")


def markdown(head: list[str], rows: list[list[str]]) -> str:
    every = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in every)


def claims(full: dict[tuple, Cell]) -> str:
    """The network against the variational autoencoder, figure by figure: ahead beyond the spread, within it, or behind beyond it."""
    rows = []
    for dataset, title in DATASETS.items():
        for name in NETWORKS:
            one, other = full.get((dataset, name)), full.get((dataset, RIVAL))
            for metric in METRICS if one and other else ():
                if metric != "tod" and one.values(metric) and other.values(metric):
                    rows.append([title, name, METRICS[metric].label, shown(one, metric), shown(other, metric), *verdict(one, other, metric)])
    if not rows:
        return "Not run yet."
    lead = f"The claim is that the network is competitive with the variational autoencoder or better. Ahead and behind mean beyond the joint spread of {RIVAL} and the row."
    return lead + "\n\n" + markdown(["dataset", "row", "figure", "row's", f"{RIVAL}'s", "by", "the claim is"], rows)


def verdict(one: Cell, other: Cell, metric: str) -> tuple[str, str]:
    lead = mean(one.values(metric)) - mean(other.values(metric))
    lead = lead if METRICS[metric].higher else -lead
    spread = sqrt(one.spread(metric) ** 2 + other.spread(metric) ** 2)
    word = "reproduced (ahead)" if lead > spread else "opposite (behind)" if lead < -spread else "reproduced (level)"
    return f"{lead:+.2f} ± {spread:.2f}", word


def targets(table: dict[str, dict], full: dict[tuple, Cell]) -> str:
    """The figures that the rows' `targets` ask for against those measured."""
    rows = []
    for name, row in table.items():
        for dataset, wanted in row.get("targets", {}).items():
            cell = full.get((dataset, name))
            for metric, target in wanted.items():
                bound = f"{METRICS[metric].label} at {'least' if METRICS[metric].higher else 'most'} {target}"
                if cell is None:
                    rows.append([DATASETS[dataset], name, bound, "not run", ""])
                    continue
                miss = (target - mean(cell.values(metric))) * (1 if METRICS[metric].higher else -1)
                rows.append([DATASETS[dataset], name, bound, shown(cell, metric), "reached" if miss <= 0 else f"missed by {miss:.2f}"])
    return "Named before the runs; settings were chosen by validation figures.\n\n" + markdown(["dataset", "row", "target", "measured", ""], rows)


def curve(cells: list[Cell], picture: Path) -> str:
    """Test figures against the number of training images, as tables and in one picture: the second claim, that the network needs fewer of them."""
    parts, axes = [], {}
    for dataset, title in DATASETS.items():
        mine = [cell for cell in cells if cell.dataset == dataset]
        sizes = sorted({cell.n_train for cell in mine if cell.n_train})
        at = {(cell.row, cell.n_train): cell for cell in mine}
        names = sorted({cell.row for cell in mine if cell.n_train}, key=lambda name: name == RIVAL)
        rows = []
        for metric in CURVE_METRICS if names else ():
            rows += [[METRICS[metric].label, name, *(shown(at[name, n], metric) if (name, n) in at else "not run" for n in [*sizes, None])] for name in names]
            for name in names[:-1] if names[-1] == RIVAL else ():
                pairs = [(at.get((name, n)), at.get((RIVAL, n))) for n in [*sizes, None]]
                rows.append(["", f"{name} ahead by", *(verdict(one, other, metric)[0] if one and other else "–" for one, other in pairs)])
        if rows:
            parts.append(f"{title}\n\n" + markdown(["figure", "method", *(f"{n:,}" for n in sizes), "all"], rows))
            axes[title] = {name: [at[name, n] for n in [*sizes, None] if (name, n) in at] for name in names}
    if not parts:
        return "Not run yet."
    draw_curve(axes, picture)
    lead = "Few images make short epochs: training is given at least 2,000 updates, and stops where validation stands still. A lead is positive where the network is better."
    return "\n\n".join([lead, f"![Test figures against the number of training images]({picture.name})", *parts])


def draw_curve(axes: dict[str, dict[str, list[Cell]]], picture: Path) -> None:
    """A row of axes per dataset, one per figure: a line per method over the number of training images ("all" at the right end)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(CURVE_METRICS), 2.6 * len(axes)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(axes), len(CURVE_METRICS), squeeze=False)
    for row, (title, methods) in zip(grid, axes.items(), strict=True):
        for axis, metric in zip(row, CURVE_METRICS, strict=True):
            for name, cells in methods.items():
                largest = max(cell.n_train or 0 for cell in cells)
                numbers = [cell.n_train or 2 * largest for cell in cells]
                axis.errorbar(numbers, [mean(cell.values(metric)) for cell in cells], [cell.spread(metric) for cell in cells], marker="o", markersize=3, label=name)
            axis.set_xscale("log")
            axis.set_xticks(numbers, [f"{cell.n_train:,}" if cell.n_train else "all" for cell in cells], rotation=45, fontsize=7)
            axis.minorticks_off()
            axis.set_title(f"{title}: {METRICS[metric].label}", fontsize=9)
            axis.tick_params(axis="y", labelsize=7)
    grid[0][0].legend(fontsize=7, frameon=False)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)


def choices(table: dict[str, dict], tuning: Path) -> str:
    """What each row sets, the grid it was chosen from, and what validation said."""
    rows = []
    for name, row in table.items():
        sets = [*row.get("sets", []), *(f"{d}: {' '.join(s)}" for d, s in row.get("sets_for", {}).items())]
        grid = "; ".join(f"{key} {', '.join(map(str, values))}" for key, values in row.get("grid", {}).items())
        rows.append([name, f"`model={row['model']}`", ", ".join(f"`{s}`" for s in sets) or "the model's defaults", grid or "none", deciding(row)])
    text = "Test images play no part in any setting. A grid is gone through one key after the other, each left at its best value.\n\n"
    text += markdown(["row", "model", "sets", "grid", "figure that decides"], rows)
    calls = [json.loads(line) for line in tuning.read_text().splitlines()] if tuning.exists() else []
    if not calls:
        return text + "\n\nThe grids have not been run yet: what the rows set was set beforehand."
    found = []
    for tuned in calls:
        best = tuned["tried"][tuned["best"]]
        measured = ", ".join(f"{METRICS[metric].label} {value:.2f}" for metric, value in best.items() if metric in deciders(tuned["choose_by"]))
        dataset = tuned["dataset"]
        taken = is_set(tuned["best"].split(), table.get(tuned["row"]), dataset)
        found.append([dataset, tuned["row"], f"`{tuned['best'] or 'defaults'}`", "yes" if taken else "", measured, str(len(tuned["tried"])), f"`{tuned['trial']}`", tuned.get("note", "")])
    text += f"\n\nWhat `scripts/reproduce --tune` found best, call by call (a note says where a line came about otherwise), by validation figures of its trials, and whether the row sets it; all that was tried, with\n"
    text += f"its figures, is in `{tuning.name}` beside this page. A row that is not here for a dataset has not been tuned on it: what it sets there was chosen on\n"
    text += "another, or beforehand. Short trials have misled (a step size that was best after six epochs diverged later): full-length ones overrule them.\n\n"
    return text + markdown(["dataset", "row", "best", "set", "its validation figures", "of", "trials with", "note"], found)


def settings(row: dict, dataset: str) -> list[str]:
    """What a row sets on a dataset."""
    return [*row.get("sets", []), *row.get("sets_for", {}).get(dataset, [])]


def is_set(found: list[str], row: dict | None, dataset: str) -> bool:
    """Whether a row's runs on a dataset are what --tune found: the same config, its defaults with it."""
    from hydra.errors import HydraException

    try:
        return row is not None and composed(dataset, row["model"], found) == composed(dataset, row["model"], settings(row, dataset))
    except HydraException:  # a key that there is no more
        return False


def composed(dataset: str, model: str | None, overrides: list[str]):
    """The config of a run of the table with further overrides."""
    from hydra import compose, initialize_config_dir

    from ncf.config import TrainConfig, build, configs_folder, register_schemas

    register_schemas()
    with initialize_config_dir(config_dir=configs_folder(), version_base="1.3"):
        return build(compose("train", overrides=[f"experiment=table_{dataset}", *([f"model={model}"] if model else []), *overrides]), TrainConfig)


def deciders(choose_by: str | list[str]) -> list[str]:
    return choose_by if isinstance(choose_by, list) else [choose_by]


def deciding(row: dict) -> str:
    choose_by = row.get("choose_by", "–")
    by = f"geometric mean of {', '.join(choose_by)}" if isinstance(choose_by, list) else choose_by
    aim = ", ".join(f"{metric} at most {most}" for metric, most in row.get("aim", {}).items())
    return f"{by}, of those with {aim} if there are any" if aim else by


def commands(full: dict[tuple, Cell]) -> str:
    rows = []
    for (dataset, row), cell in sorted(full.items()):
        seed, run = min(cell.runs.items())
        rows.append([dataset, row, str(seed), f"`{run['command'] or '-'}`", f"{run['seconds']:.0f}"])
    return "A cell comes out again with its command; other seeds by `seed=`.\n\n" + markdown(["dataset", "row", "seed", "command", "seconds"], rows)

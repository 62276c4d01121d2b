"""docs/results.md, from the cells of the comparison: nothing on the page is written by hand."""

import json
import shlex
from collections import Counter
from contextlib import suppress
from itertools import product
from pathlib import Path
from statistics import mean

from table import comparison, curve, replication, sections
from table.cells import LATER, Cell, collect, lines, read_json
from table.claims import as_printed
from table.rows import DATASETS, deciders, deciding, is_set, row_title
from table.text import markdown, shown
from table.verdicts import compare, measured

from ncf.measure.metrics import METRICS
from ncf.runs import files

CLAIMANTS = ("gncn_pdh_sgd", "gncn_pdh", "gncn_pdh_tuned", "gncn_t1_sigma_tuned")  # whom the claims spell out
CLAIMED = ("bce", "m_mse", "class_err", "log_p", "log_p_annealed")
COUNTED = ("bce", "m_mse", "class_err", "log_p_annealed")  # not the Monte Carlo estimate, which rewards coarse codes


def write(output: Path, page: Path, table: dict[str, dict]) -> None:
    """The page, and beside it its runs, one JSON line each."""
    rows = page.with_suffix(".jsonl")
    cells = collect(output, rows)
    full = {(cell.dataset, cell.row): cell for cell in cells if cell.n_train is None}
    yardsticks = read_json(page.with_name("without_model.json"))
    parts = [heading(cells)]
    for dataset, title in DATASETS.items():
        if any(cell.dataset == dataset for cell in full.values()):
            parts += [f"## {title}", *sections.of_dataset(dataset, table, full, yardsticks.get(dataset, {}))]
    parts += [
        "## What holds",
        claims(table, full),
        "## Targets",
        targets(table, full),
        "## Fewer training images",
        curve.section(cells, page.with_name("learning_curve.png")),
        "## Choices",
        choices(table, page.with_name("tuning.jsonl")),
        "## Commands",
        commands(full),
    ]
    page.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(page, ("\n\n".join(parts) + "\n").encode())
    files.write_whole(rows, "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines(cells)).encode())
    beside = page.with_name("replication.md")
    measured = {name: read_json(page.with_name(f"{name}.json")) or None for name in ("masked", "switches", "trials", "readout")}
    fewer = [curve.fewer_images(some) for some in ([cell for cell in cells if as_printed(cell.row)], cells, [cell.inferring for cell in cells])]
    files.write_whole(beside, replication.page(full, fewer, **measured).encode())
    if (by_hand := page.with_name("comparison.md")).exists():
        files.write_whole(by_hand, comparison.filled(by_hand.read_text(encoding="utf-8"), full).encode())
    print(f"written: {page}, {beside}, {rows}")


def heading(cells: list[Cell]) -> str:
    machines = sorted(
        {
            f"{run['hardware']['name']}, {run['hardware']['device']}, {run['hardware']['threads']} thread{'s' * (run['hardware']['threads'] != 1)}"
            for cell in cells
            for run in cell.runs.values()
        }
    )
    versions = sorted({", ".join(f"{name} {v}" for name, v in run["versions"].items()) for cell in cells for run in cell.runs.values()})
    return (
        "# Results\n\nWritten by `scripts/reproduce`; the runs behind every figure are in `results.jsonl` beside this page, one per line. Figures ([what they measure](concepts.md#metrics)) are of test images,\n"
        "of the checkpoint with the best validation BCE (the classifier's: cross-entropy): mean ± standard deviation over seeds, or, of a single seed (marked ¹), the value ± its\n"
        'standard error over images (of Monte Carlo: and over its draws). log p(x) is by Monte Carlo from the fitted mixture unless it says otherwise; "annealed" is on few images.\n'
        "Where fewer than three seeds stand, or a command limits epochs, machine time was short; the same command with other seeds adds to the page.\n\n"
        f"Hardware: {'; '.join(machines) or 'none yet'}. Versions: {'; '.join(versions) or 'none yet'}."
    )


def claims(table: dict[str, dict], full: dict[tuple, Cell]) -> str:
    """Each network against each variational autoencoder, figure by figure: ahead or behind where a test at 5 % says so, else level."""
    networks, rivals = ([name for name, row in table.items() if row["model"].startswith(kind)] for kind in ("gncn", "gvae"))
    counts, details, n_tests = [], [], 0
    for name, rival in product(networks, rivals):
        pairs = {dataset: (full[dataset, name], full[dataset, rival]) for dataset in DATASETS if (dataset, name) in full and (dataset, rival) in full}
        found = {dataset: {metric: compare(*pair, metric) for metric in CLAIMED if measured(metric, *pair)} for dataset, pair in pairs.items()}
        if found:
            told = Counter(verdict.word for verdicts in found.values() for metric, verdict in verdicts.items() if metric in COUNTED)
            n_tests += told.total()
            counts.append([row_title(name), row_title(rival), *(str(told[word]) for word in ("ahead", "level", "undecided", "behind"))])
        if name in CLAIMANTS:
            details += [
                [
                    DATASETS[dataset],
                    row_title(name),
                    row_title(rival),
                    *(f"{verdicts[metric].word} {verdicts[metric]}" if metric in verdicts else "–" for metric in CLAIMED),
                ]
                for dataset, verdicts in found.items()
            ]
    if not counts:
        return "Not run yet."
    lead = (
        "The claim is that the network is competitive with the variational autoencoder or better: reproduced where it is ahead or level, opposite where it is\n"
        "behind. What these words and the marks ¹ and ⁰ say stands [beside the article's claims](replication.md#the-claims); ± is the standard error of the difference, which is positive where the\n"
        f"network is better. Of tests that are counted here, {n_tests:,}, five in a hundred would find a difference where there is none. %Err is by a regression whose\n"
        "penalty validation images chose. (Most runs' was measured when the regression was sought less closely: of 37 measured again, most of them of\n"
        "encoders' units, it moved by up to 0.2 points, on the digits' few images by 0.3, and twice, by another penalty, by 0.7 and 1.3; `results.jsonl` has both in its history.) What chose the\n"
        f"autoencoders: {'; '.join(f'{row_title(rival)}: {deciding(table[rival])}' for rival in rivals if 'choose_by' in table[rival])}; the others have the settings of these but those that Choices tells. How often, over the datasets and the figures below but the Monte Carlo\n"
        "log p(x), by which remembered training images beat every row of MNIST:"
    )
    spelt = "One by one, for the network of the claim, by ncf's defaults, at the released settings and tuned, and for GNCN-t1-Σ, tuned:"
    order = list(DATASETS.values())
    details.sort(key=lambda line: order.index(line[0]))
    return "\n\n".join(
        [
            lead,
            markdown(["network", "against", "ahead", "level", "undecided", "behind"], counts),
            spelt,
            markdown(["dataset", "network", "against", *(METRICS[metric].label for metric in CLAIMED)], details),
        ]
    )


def targets(table: dict[str, dict], full: dict[tuple, Cell]) -> str:
    """The figures that the rows' `targets` ask for against those measured."""
    rows = []
    for name, row in table.items():
        for dataset, wanted in row.get("targets", {}).items():
            cell = full.get((dataset, name))
            for metric, target in wanted.items():
                bound = f"{METRICS[metric].label} at {'least' if METRICS[metric].higher else 'most'} {target}"
                if not measured(metric, cell):
                    rows.append([DATASETS[dataset], row_title(name), bound, "not run", ""])
                    continue
                miss = (target - mean(cell.values(metric))) * (1 if METRICS[metric].higher else -1)
                rows.append([DATASETS[dataset], row_title(name), bound, shown(cell, metric), "reached" if miss <= 0 else f"missed by {miss:.2f}"])
    lead = "Named before the runs (those of the released settings after a first sketch); settings were chosen by validation figures. What was tried where one is missed stands under Choices."
    return lead + "\n\n" + markdown(["dataset", "row", "target", "measured", ""], rows)


def choices(table: dict[str, dict], tuning: Path) -> str:
    """What each row sets, the grid it was chosen from, and what validation said."""
    rows = []
    for name, row in table.items():
        sets = [*row.get("fixed", []), *row.get("sets", []), *(f"{d}: {' '.join(s)}" for d, s in row.get("sets_for", {}).items())]
        grid = "; ".join(f"{key} {', '.join(map(str, values))}" for key, values in row.get("grid", {}).items())
        rows.append(
            [row_title(name), f"`model={row['model']}`", ", ".join(f"`{s}`" for s in sets) or "the model's defaults", grid or "none", deciding(row)]
        )
    text = "Test images play no part in any setting but those of GNCN-PDH with learning in the last phase and with a prior that learns, and the epochs of GNCN-t1 cooled down, as their remarks say; and ncf's defaults (the rows by SGD), which have no grid: optimizer, rates and norms were compared in short runs of 15,000 images of MNIST, seed 0, by BCE of validation images and of test images ([Optimizer](concepts.md#released-published-oracle)). The choices of RAE, GVAE-CV, GAN-AE and GMM, and of the published protocol, are by validation images too, but were made anew after test figures of an earlier choice had been seen. A grid is gone through one key after the other, each left at its best value.\n\n"
    text += markdown(["row", "model", "sets", "grid", "figure that decides"], rows)
    remarks = [f"- {row_title(name)}: {' '.join(row['remark'].split())}" for name, row in table.items() if "remark" in row]
    text += "\n\n" + "\n".join(remarks) if remarks else ""
    calls = [json.loads(line) for line in tuning.read_text().splitlines()] if tuning.exists() else []
    if not calls:
        return text + "\n\nThe grids have not been run yet: what the rows set was set beforehand."
    found = []
    for tuned in calls:
        best = tuned["tried"][tuned["best"]]
        by = ", ".join(f"{METRICS[metric].label} {value:.2f}" for metric, value in best.items() if metric in deciders(tuned["choose_by"]))
        dataset = tuned["dataset"]
        taken = is_set(tuned["best"].split(), table.get(tuned["row"]), dataset)
        edge = ", ".join(f"`{key}`" for key in at_the_edge(tuned, table.get(tuned["row"], {}).get("grid", {})))
        different = len({json.dumps(figures) for figures in tuned["tried"].values()})  # a default that is named is no other trial
        made = f"`{tuned['trial']}`" if tuned["trial"] else "whole runs"
        found.append(
            [
                DATASETS[dataset],
                row_title(tuned["row"]),
                f"`{tuned['best'] or 'defaults'}`",
                "yes" if taken else "",
                edge,
                by,
                str(different),
                made,
                tuned.get("note", ""),
            ]
        )
    text += (
        "\n\nWhat `scripts/reproduce --tune` found best, call by call (a note says where a line came about otherwise), by validation figures of its trials, whether\n"
        "the row sets it, and which keys have their best value at the edge of what was tried: more of it might be better still. All that was tried, with its\n"
        f"figures, is in `{tuning.name}` beside this page. A row that is not here for a dataset has not been tuned on it: what it sets there was chosen on\n"
        "another, or beforehand. Short trials have misled (a step size that was best after six epochs diverged later): full-length ones overrule them.\n\n"
    )
    return text + markdown(["dataset", "row", "best", "set", "at the edge", "its validation figures", "of", "trials with", "note"], found)


def at_the_edge(tuned: dict, grid: dict[str, list]) -> list[str]:
    """The keys whose best value is the least or the largest that was tried, in the grid or beside it (zero is no edge)."""
    tried = {key: {value for value in values if isinstance(value, (int, float))} for key, values in grid.items()}
    for setting in tuned["tried"]:
        for key, value in numbers(setting).items():
            tried.setdefault(key, set()).add(value)
    return [key for key, value in numbers(tuned["best"]).items() if value and len(tried[key]) > 1 and value in (min(tried[key]), max(tried[key]))]


def numbers(setting: str) -> dict[str, float]:
    """The keys of a setting that are set to a number."""
    found = {}
    for key, value in (pair.split("=", 1) for pair in setting.split()):
        with suppress(ValueError):
            found[key] = float(value)
    return found


def commands(full: dict[tuple, Cell]) -> str:
    rows = []
    for (dataset, row), cell in sorted(full.items()):
        seed, run = min(cell.runs.items())
        rows.append([DATASETS[dataset], row_title(row), str(seed), f"`{run['command'] or '-'}`", f"{run['seconds']:.0f}"])
    return (
        "A cell comes out again with its command; other seeds by `seed=`, annealed figures by\n"
        f"`ncf-eval checkpoint=... split=test {shlex.join(LATER['density'])}` (of more images by their number), those of samples by `metrics=samples`.\n\n"
        + markdown(["dataset", "row", "seed", "command", "seconds"], rows)
    )

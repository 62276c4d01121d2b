"""scripts/reproduce: the whole comparison as a resumable sweep of ncf-train runs, and docs/results.md from what they measured.

A cell of the table is a run folder, OUTPUT/DATASET/ROW/seedN; one that is complete is not run again, one that was stopped goes on. The
rows are in scripts/table/rows.yaml, what all runs on a dataset share in configs/experiment/table_DATASET.yaml.
"""

import argparse
import itertools
import shlex
import sys
from pathlib import Path

from table import cells as results
from table import page as results_page
from table.commands import READER, eval_command, run, train_command, training_images
from table.curve import SHARES
from table.rows import AUTOENCODERS, DATASETS, is_for, read_table
from table.sections import applies, difference, model_of, words
from table.tuning import tune

from ncf.config.checks import build
from ncf.config.compose import compose_train
from ncf.config.schema import TrainConfig
from ncf.errors import UserError, nearest
from ncf.runs.existing import stored_config

CURVE_ROWS = ("gncn_pdh_sgd", "gvae", "rae", "gvae_many", "rae_many")


def main() -> None:
    try:
        arguments = read_arguments()
        done = reproduce(arguments)
    except KeyboardInterrupt:
        print("\nstopped; the same command resumes", file=sys.stderr)
        sys.exit(130)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0 if done else 1)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), metavar="NAME", help=f"of {', '.join(DATASETS)}")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="rows of scripts/table/rows.yaml; all by default")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument("--epochs", type=int, help="in place of the experiment's")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="further overrides for every run, or DATASET:KEY=VALUE, e.g. kmnist:dataset.folder=kmnist_6k",
    )
    parser.add_argument(
        "--annealed",
        nargs="?",
        type=int,
        const=0,
        metavar="IMAGES",
        help="also annealed importance sampling, for the first of --seeds of every row; of 100 test images unless told, or measured anew where fewer were",
    )
    parser.add_argument("--refit", action="store_true", help="also the same, for all of --seeds, under a prior refitted to what images leave open")
    parser.add_argument("--samples", action="store_true", help="also how like the training images the samples are, and how sparse the codes")
    parser.add_argument("--hidden", action="store_true", help="also the classification error from the autoencoders' hidden units")
    parser.add_argument("--inferred", action="store_true", help="also the autoencoders' BCE by inferred latents, on the curve too")
    parser.add_argument("--curve", action="store_true", help="also the learning curve over shares of the training images, for the first seed")
    parser.add_argument("--tune", action="store_true", help="run the grids of the rows (first seed) instead, and print what validation chooses")
    parser.add_argument("--report-only", action="store_true", help="run nothing; write the page from what is there")
    parser.add_argument("--output", type=Path, default=Path("outputs/table"), help="where the runs go")
    parser.add_argument("--page", type=Path, default=Path("docs/results.md"), help="the page; its rows go beside it, as .jsonl")
    arguments = parser.parse_args()
    table = read_table()
    for name in arguments.rows or []:
        if name not in table:
            raise UserError(f"--rows {name}: unknown; {nearest(name, table)}")
    if arguments.curve and arguments.rows and not set(arguments.rows) & set(CURVE_ROWS):
        raise UserError(f"--curve: none of --rows is on the learning curve, which has {', '.join(CURVE_ROWS)}")
    for name in arguments.datasets:
        if name not in DATASETS:
            raise UserError(f"--datasets {name}: unknown; {nearest(name, DATASETS)}")
    return arguments


def reproduce(arguments: argparse.Namespace) -> bool:
    """Run what is missing, write the page; true if every run is complete."""
    table = read_table()
    chosen = {name: table[name] for name in arguments.rows or table}
    if arguments.tune:
        return tune(arguments, chosen)
    complete = True
    if not arguments.report_only:
        jobs = planned(arguments, chosen)
        for number, command in enumerate(jobs, start=1):
            print(f"\n[{number}/{len(jobs)}] {shlex.join(command)}", flush=True)
            base = base_of(command)
            if base and results.status(base) != "complete":
                print(f"left out: {base}, which it goes on from, is not complete", file=sys.stderr)
                complete = False
            else:
                complete &= run(command)
    results_page.write(arguments.output, arguments.page, table)
    return complete


def planned(arguments: argparse.Namespace, rows: dict[str, dict]) -> list[list[str]]:
    """The command of every run of the table that is not complete, of a dataset all rows of a seed before the next; the curve at the end."""
    jobs: list[list[str]] = []
    seen: set[Path] = set()  # runs that others start from or are read by come up again

    def train(dataset: str, name: str, row: dict, seed: int) -> Path:
        folder = arguments.output / dataset / name / f"seed{seed}"
        before = [f"start_from={train(dataset, row['after'], read_table()[row['after']], seed)}"] if "after" in row else []
        command = [*train_command(dataset, row, seed, folder, arguments), *before]
        if folder not in seen:
            seen.add(folder)
            jobs.extend(missing(folder, command))
        return folder

    for dataset in arguments.datasets:
        if arguments.samples:
            train(dataset, READER, read_table()[READER], 0)
        for seed, (name, row) in itertools.product(arguments.seeds, rows.items()):
            if not is_for(row, dataset):
                continue
            folder = train(dataset, name, row, seed)
            model = model_of(dataset, row)
            asked = {
                "density": arguments.annealed is not None and seed == arguments.seeds[0] and applies(model, "log_p_annealed"),
                "refit": arguments.refit and applies(model, "log_p_annealed"),
                "samples": arguments.samples and "project" in model.abilities,
                "hidden": arguments.hidden and row["model"] in AUTOENCODERS,
                "inferred": arguments.inferred and "infer" in model.abilities,
            }
            jobs += [
                eval_command(dataset, folder, group, arguments, "settle" in model.abilities)
                for group, wanted in asked.items()
                if wanted and not measured_already(folder, group, arguments.annealed or 0)
            ]
    if arguments.curve:
        sizes = [(dataset, round(share * n)) for dataset in arguments.datasets for n in [training_images(dataset, arguments)] for share in SHARES]
        for (dataset, size), name in itertools.product(sizes, CURVE_ROWS):
            folder = arguments.output / dataset / name / f"seed{arguments.seeds[0]}-n{size}"
            if name in rows and is_for(rows[name], dataset):
                jobs += missing(folder, train_command(dataset, rows[name], arguments.seeds[0], folder, arguments, size))
                if arguments.inferred and name.startswith(AUTOENCODERS) and not measured_already(folder, "inferred"):
                    jobs.append(eval_command(dataset, folder, "inferred", arguments, settles=False))
    return jobs


def missing(folder: Path, command: list[str]) -> list[list[str]]:
    """The command of a run that is not complete; one that is stays as it is, and if it was made otherwise, or its base anew, that is said."""
    if results.status(folder) != "complete":
        return [command]
    stays = "it stays, remove it to have it made anew"
    stored = build(stored_config(folder) or {}, TrainConfig)
    ran, wanted = (words(results.command_of(config)) for config in (stored, compose_train(*command[1:])))
    if ran != wanted:
        print(f"note: {folder} is complete, run otherwise: {difference(ran, wanted)}; {stays}", file=sys.stderr)
    base = base_of(command)
    if base and (results.status(base) != "complete" or made(base) > made(folder)):
        print(f"note: {folder} is complete, but {base}, which it goes on from, is made anew; {stays}", file=sys.stderr)
    return []


def base_of(command: list[str]) -> Path | None:
    """The run whose synapses a command starts from."""
    return next((Path(word.removeprefix("start_from=")) for word in command if word.startswith("start_from=")), None)


def made(folder: Path) -> float:
    return (folder / "summary.json").stat().st_mtime


def measured_already(folder: Path, group: str, annealed: int = 0) -> bool:
    """Whether what is measured later is there; of a complete run, of its best checkpoint (it may have gone on since), and a density of so many images."""
    if not (folder / f"{group}.json").exists() or results.status(folder) != "complete":
        return (folder / f"{group}.json").exists()
    found = results.with_values(folder, group)
    return bool(found) and (group != "density" or found["log_p_annealed"]["images"] >= annealed)


if __name__ == "__main__":
    main()

"""ncf-runs: all runs below a folder, the best by a metric, and the command that repeats it exactly."""

import argparse
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from ncf import __version__, plugins
from ncf.charsets import print_losslessly
from ncf.config import defaults
from ncf.config.parser import Parser
from ncf.config.schema import REAL_VALUED
from ncf.data.wording import title
from ncf.errors import UserError
from ncf.measure.metrics import METRICS, require_metric
from ncf.report.tables import aligned
from ncf.runs import reader
from ncf.runs.reader import Record


@dataclass
class Listed:
    run: Record
    value: float | None  # of the metric that they are listed by


def main() -> None:
    from ncf.cli import report_error
    from ncf.runs.run import speak

    print_losslessly()
    try:
        given = arguments()
        plugins.load(given.config_dir)
        speak(listing(given))
    except BaseException as error:
        sys.exit(report_error("runs", error))


def arguments() -> argparse.Namespace:
    parser = Parser("ncf-runs", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("outputs"), help="where to look; default: outputs")
    parser.add_argument("--metric", default="bce", help=f"by which metric: {', '.join(METRICS)}; default: bce")
    parser.add_argument("--split", default="validation", choices=("validation", "test"), help="on which images; default: validation")
    parser.add_argument("--dataset", help="only runs on this data set")
    parser.add_argument("--best", action="store_true", help="print the command that repeats the best run, and nothing else")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each run, the best first")
    parser.add_argument("--config-dir", type=Path, metavar="FOLDER", help="your own datasets and metrics: a folder with plugin.py")
    parser.add_argument("--version", action="version", version=f"ncf {__version__}")
    return parser.parse_args()


def listing(given: argparse.Namespace) -> str:
    require_metric(given.metric, f"--metric={given.metric}: ")
    found = [reader.read(folder) for folder in reader.find(given.folder)]
    runs = [run for run in found if given.dataset in (None, dataset_of(run))]
    if not runs:
        there = sorted({dataset_of(run) for run in found})
        raise UserError(f"--dataset={given.dataset}: no run below {given.folder} is on it; those there are on {', '.join(there)}")
    listed = ranked(runs, given.split, given.metric)
    if given.json:
        return "\n".join(json.dumps(as_dict(item, given)) for item in listed)
    best = listed[0] if listed[0].value is not None else None
    if best is None and given.best:
        raise UserError(f"{given.folder}: no run there has {METRICS[given.metric].label} on {given.split} images")
    if given.best:  # the command alone on standard output: for a pipe, or $(...)
        print(f"{best.run.folder}: {METRICS[given.metric].label} {given.split} {best.value:.3f}", file=sys.stderr)
        for warning in told(best.run):
            print(f"warning: {warning}", file=sys.stderr)
        return repeat(best.run)
    text = table(listed, given)
    data_sets = sorted({dataset_of(run) for run in runs})
    if len(data_sets) > 1:
        return f"{text}\n\nseveral data sets ({', '.join(data_sets)}): their metrics cannot be compared; --dataset=NAME finds the best of one"
    if best is None:
        return text
    warnings = "".join(f"\nwarning: {warning}" for warning in told(best.run))
    return f"{text}\n\nbest: {best.run.folder}{warnings}\nrepeat it exactly:\n  {repeat(best.run)}"


def told(run: Record) -> list[str]:
    """What to know before a run is called the best."""
    return [*([] if run.status == "complete" else [f"it is {run.status}: its metric is that of its best epoch so far"]), *run.warnings]


def ranked(runs: list[Record], split: str, metric: str) -> list[Listed]:
    """The best first; those without a value last, by folder."""
    sign = -1 if METRICS[metric].higher else 1
    listed = [Listed(run, value_of(run, split, metric)) for run in runs]
    return sorted(listed, key=lambda item: (item.value is None, sign * (item.value or 0.0), str(item.run.folder)))


def value_of(run: Record, split: str, metric: str) -> float | None:
    """Of the summary; of a run that reconstructs and has none yet, the best validation BCE so far."""
    measured = run.summary.get("metrics")
    figure = ((measured if isinstance(measured, dict) else {}).get(split) or {}).get(metric)
    if isinstance(figure, dict) and isinstance(figure.get("value"), (int, float)):
        return figure["value"]
    so_far = run.best if (split, metric) == ("validation", "bce") and not measured and reconstructs(run) else None
    return so_far[0] if so_far else None


def reconstructs(run: Record) -> bool:
    """Whether what a run calls validation BCE is one: a classifier's is the cross entropy of classes, that of real-valued pixels a squared error."""
    family, bundles = run.value("model", "family"), run.value("model", "bundles")
    predicts = not isinstance(bundles, list) or any("-> image" in str(bundle) for bundle in bundles)
    return family != "classifier" and predicts and run.value("dataset", "name") not in REAL_VALUED


def dataset_of(run: Record) -> str:
    dataset = run.value("dataset")
    return title(dataset) if isinstance(dataset, dict) else "unknown"


def table(listed: list[Listed], given: argparse.Namespace) -> str:
    metric = METRICS[given.metric]
    rows = [["run", "status", "model", "data", "seed", "epochs", f"{metric.label} {given.split}"]]
    for item in listed:
        run = item.run
        trained = f"{run.rows[-1]['epoch'] if run.rows else 0} of {run.value('epochs') or '?'}"
        cells = [run.status_marked, str(run.value("model", "name") or "?"), dataset_of(run), str(run.value("seed")), trained]
        rows.append([str(run.folder), *cells, "-" if item.value is None else f"{item.value:.3f}"])
    marked = any(item.run.warnings for item in listed)
    return aligned(rows, left=4) + ("\n! has a warning: see its report" if marked else "")


def repeat(run: Record) -> str:
    """The command that repeats a run to the last digit on a machine of the same kind: its config, threads and type of products."""
    exact = defaults.exact(run.summary, run.place)
    command = defaults.command(run.config, run.place, exact) if run.config else None
    if command is None:
        overrides = [f"{key}={value}" for key, value in exact.items()]
        command = shlex.join(["ncf-train", f"config={run.folder / 'config.yaml'}", *overrides])
    return command


def as_dict(item: Listed, given: argparse.Namespace) -> dict:
    run = item.run
    found = {"run": str(run.folder), "status": run.status, "model": run.value("model", "name"), "dataset": dataset_of(run), "seed": run.value("seed")}
    return found | {"split": given.split, "metric": given.metric, "value": item.value, "warnings": run.warnings}

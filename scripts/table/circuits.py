"""The article's other circuits, measured: docs/circuits.json, and from it the tables of docs/circuits.md.

python -m table.circuits --datasets digits --seeds 0 1 2      (the folder of scripts/ on PYTHONPATH)

A run is a folder, OUTPUT/DATASET/ROW/seedN; one that is complete is not run again, one that was stopped goes on. Runs that lie there are added to
those that the file holds already.
"""

import argparse
import json
import re
import shlex
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import mean, stdev

from table.cells import read_json, status
from table.commands import run
from table.text import markdown

from ncf.config.compose import compose_train
from ncf.measure.metrics import METRICS
from ncf.runs.existing import changes, stored_config
from ncf.runs.files import write_whole

DATASETS = {"digits": "digits", "mnist": "MNIST"}
EPOCHS = {"digits": "epochs=15", "mnist": "epochs=6"}
SAMPLES = 2000
ASKED = "samples read as asked, %"
COPYING = "copying the last frame"
READER = "reader"  # the row that tells what samples show


@dataclass
class Row:
    title: str
    overrides: list[str]
    conditional: bool = False  # whether samples of classes are asked for
    also: dict[str, list[str]] = field(default_factory=dict)  # overrides of one dataset
    moving: bool = False  # on the sequences made from it
    script: str = ""  # what makes the run where ncf-train does not; the overrides are its options


def started(model: str, steps: int, *start: str) -> list[str]:
    return [f"model={model}", f"model.settle.steps={steps}", *start, "metrics=paper"]


RECOGNISER = ["model.settle.start=recogniser", "model.settle.share=0.68"]
WHOLE = ["model.settle.start=recogniser", "model.settle.share=1"]
NOISY = "metrics.names=[bce,m_mse,class_err,log_p,ndb]"
LABELS, CLASSES = "metrics=labels", "metrics.names=[class_err]"
DROPOUT = ["model.dropout=0.5", "model.input_dropout=0.2", "optimizer.lr=0.0005"]
SHORT = {"mnist": ["epochs=10", "batch_size=256"]}
ROWS = {
    READER: Row(
        "classifier of 800-800 units with dropout",
        ["model=relu_classifier", "model.layers=[800,800]", *DROPOUT, CLASSES],
        also={"digits": ["epochs=100"], "mnist": ["epochs=25", "patience=5", "patience_gain=0"]},
    ),
    "gncn_pdh": Row("GNCN-PDH", ["model=gncn_pdh", "metrics=paper"], conditional=True),
    "gncn_pdh_limit": Row("the same, learning as the next", ["model=gncn_pdh", "model.constraint.kind=limit", "optimizer=sgd_slow", "metrics=paper"]),
    "gncn_pdeh": Row("errors skip a layer (GNCN-PDEH)", ["model=gncn_pdeh", "metrics=paper"]),
    "gncn_pdh_skip": Row("GNCN-PDH whose top predicts the image too", ["model=gncn_pdh_skip", "metrics=paper"]),
    "gncn_pdeh_skip": Row("both", ["model=gncn_pdeh_skip", "metrics=paper"]),
    "gncn_pdh_label": Row("label on top (label-aware GNCN-PDH)", ["model=gncn_pdh_label", LABELS], conditional=True),
    "image_and_label": Row("label beside the image (multimodal)", ["model=image_and_label", LABELS], conditional=True),
    "image_and_label_few": Row(
        "label beside the image, labels of few",
        ["model=image_and_label", LABELS],
        also={"digits": ["dataset.n_labels=100", "epochs=15"], "mnist": ["dataset.n_labels=1000", "epochs=6"]},
    ),
    "gncn_pdh_label_few": Row(
        "label on top, labels of few",
        ["model=gncn_pdh_label", LABELS],
        also={"digits": ["dataset.n_labels=100", "epochs=15"], "mnist": ["dataset.n_labels=1000", "epochs=6"]},
    ),
    "discriminative_t1": Row("image on top, 500-500, local learning", ["model=discriminative_t1", "metrics.names=[label_err]"], also=SHORT),
    "discriminative_t2_sigma": Row(
        "the same with learned error synapses and precision", ["model=discriminative_t2_sigma", "metrics.names=[label_err]"], also=SHORT
    ),
    "relu_classifier_few": Row(
        "backpropagation, few images and their labels alone",
        ["model=relu_classifier", "model.layers=[500,500]", CLASSES],
        also={"digits": ["dataset.n_train=100", "epochs=100"], "mnist": ["dataset.n_train=1000", "epochs=50"]},
    ),
    "gvae_few": Row(
        "backpropagation, a GVAE of all images, labels of few",
        ["model=gvae", "metrics.names=[class_err,class_err_hidden,bce]", "patience=5"],
        also={"digits": ["dataset.n_labels=100", "epochs=200"], "mnist": ["dataset.n_labels=1000", "epochs=30"]},
    ),
    "relu_classifier": Row(
        "the same size by backpropagation",
        ["model=relu_classifier", "model.layers=[500,500]", CLASSES],
        also={"mnist": ["epochs=20", "batch_size=256", "patience=3", "patience_gain=0"]},
    ),
}
ROWS |= {
    f"{model}_{name}": Row(f"{title}: {words}", started(model, steps, *start))
    for model, title in (("gncn_pdh", "GNCN-PDH"), ("gncn_t1_sigma", "GNCN-t1-Σ"))
    for name, words, steps, start in (
        ("rest16", "16 steps from rest", 16, []),
        ("start16", "16 steps from 0.68 of the recognised states", 16, RECOGNISER),
        ("whole16", "16 steps from the recognised states", 16, WHOLE),
    )
}
ROWS["gncn_t1_sigma_rest50"] = Row("GNCN-t1-Σ: 50 steps from rest", started("gncn_t1_sigma", 50))
ROWS |= {
    f"langevin_{T:g}": Row(
        f"T = {T:g}", ["model=gncn_t1", f"model.settle.temperature={T:g}", NOISY], also={"mnist": ["dataset.n_train=10000", "epochs=6"]}
    )
    for T in (0, 0.01, 0.1, 1)
}
FRAMES = ["model=recurrent_t2_l_sigma", "metrics=frames", "batch_size=50", "epochs=3"]
ALONE = "model.bundles=['z1 -> image','z2 -> z1','z3 -> z2']"
ROWS |= {
    "recurrent": Row("recurrent GNCN-t2-LΣ", FRAMES, also=dict.fromkeys(DATASETS, []), moving=True),
    "not_recurrent": Row("the same without the frame before", [*FRAMES, ALONE], also=dict.fromkeys(DATASETS, []), moving=True),
    "gru_three": Row("GRU of 450 units by backpropagation, three epochs", ["--epochs", "3"], moving=True, script="table.gru"),
    "gru": Row("the same until validation stops it", [], moving=True, script="table.gru"),
}
PAPER = ["bce", "m_mse", "class_err", "log_p"]
TABLES = {  # in the page: its rows and its metrics
    "skips": (["gncn_pdh", "gncn_pdh_limit", "gncn_pdeh", "gncn_pdh_skip", "gncn_pdeh_skip"], PAPER),
    "labels": (
        ["gncn_pdh_label", "image_and_label", "gncn_pdh"],
        ["label_err", "label_err_half", "bce", "bce_label", "m_mse", "m_mse_label", "label_image", ASKED],
    ),
    "starts": (
        [
            *("gncn_pdh", "gncn_pdh_rest16", "gncn_pdh_start16", "gncn_pdh_whole16"),
            *("gncn_t1_sigma_rest50", "gncn_t1_sigma_rest16", "gncn_t1_sigma_start16", "gncn_t1_sigma_whole16"),
        ],
        PAPER,
    ),
    "langevin": ([f"langevin_{T:g}" for T in (0, 0.01, 0.1, 1)], [*PAPER, "ndb"]),
    "frames": (["recurrent", "not_recurrent", "gru_three", "gru"], ["next_frame", COPYING, "bce"]),
    "few": (["image_and_label_few", "gncn_pdh_label_few", "gvae_few", "relu_classifier_few"], ["label_err", "class_err", "class_err_hidden", "bce"]),
    "classifiers": (["discriminative_t1", "discriminative_t2_sigma", "relu_classifier", READER], ["label_err", "class_err"]),
}


def main() -> None:
    parser = argparse.ArgumentParser("table.circuits", description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["digits"], choices=DATASETS)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS, metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="further overrides for every run, e.g. threads=1")
    parser.add_argument("--report-only", action="store_true", help="run nothing; write the page from what is there")
    parser.add_argument("--output", type=Path, default=Path("outputs/circuits"))
    parser.add_argument("--page", type=Path, default=Path("docs/circuits.md"), help="its figures go beside it, as .json")
    given = parser.parse_args()
    if not given.report_only:
        for dataset, seed, name in product(given.datasets, given.seeds, given.rows):
            make(given.output, dataset, name, seed, given.set)
    figures = collect(given.output, read_json(given.page.with_suffix(".json")))
    write_whole(given.page.with_suffix(".json"), (json.dumps(figures, indent=1) + "\n").encode())
    write_whole(given.page, filled(given.page.read_text(), figures).encode())


def overrides(dataset: str, name: str, seed: int) -> list[str]:
    row = ROWS[name]
    return [f"dataset={'moving_' if row.moving else ''}{dataset}", *row.overrides, *row.also.get(dataset, [EPOCHS[dataset]]), f"seed={seed}"]


def command(dataset: str, name: str, seed: int) -> list[str]:
    row = ROWS[name]
    if row.script:
        return ["python", "-m", row.script, f"{'moving_' if row.moving else ''}{dataset}", *row.overrides, "--seed", str(seed)]
    return ["ncf-train", *overrides(dataset, name, seed)]


def make(output: Path, dataset: str, name: str, seed: int, further: list[str]) -> None:
    """Train, and ask for samples of every class, what is not there yet."""
    folder = output / dataset / name / f"seed{seed}"
    if status(folder) != "complete":
        where = ["--output", str(folder)] if ROWS[name].script else ["report=false", *further, f"run_dir={folder}"]
        say_and_run([*command(dataset, name, seed), *where])
    reader = output / dataset / READER / "seed0"
    if ROWS[name].conditional and status(reader) == "complete" and not (folder / "asked" / "samples.json").exists():
        kept = [s for s in further if s.split("=")[0] in ("threads", "device", "data_dir")]
        ask = [f"checkpoint={folder}", "condition=label:all", f"n={SAMPLES}", "masks=[]", f"reader={reader}", f"output={folder / 'asked'}"]
        say_and_run(["ncf-sample", *ask, *kept])


def say_and_run(words: list[str]) -> None:
    print(f"\n{shlex.join(words)}", flush=True)
    run(words)


def collect(output: Path, figures: dict) -> dict:
    """dataset -> row -> seed -> its command and test figures: of the runs that are complete here and are what their row says, beside what was known."""
    for folder in sorted(output.glob("*/*/seed*")):
        dataset, name, seed = *folder.parts[-3:-1], folder.name.removeprefix("seed")
        summary = read_json(folder / "summary.json")
        if dataset in DATASETS and name in ROWS and summary.get("status") == "complete":
            if not ROWS[name].script and (other := changes(stored_config(folder) or {}, compose_train(*overrides(dataset, name, int(seed))))):
                print(f"left out, {folder} is another run: {', '.join(other)}")
                continue
            test = {metric: {part: figure[part] for part in ("value", "stderr", "n")} for metric, figure in summary["metrics"]["test"].items()}
            asked = read_json(folder / "asked" / "samples.json")
            if asked:
                test[ASKED] = {
                    "value": asked["condition"]["read_as_asked_percent"],
                    "n": asked["n"],
                    "reader_wrong": asked["classes"]["its_test_error_percent"],
                }
            if "copying" in (frames := summary["metrics"]["test"].get("next_frame", {})):
                test[COPYING] = {"value": frames["copying"], "n": frames["n"]}
            told = {"command": shlex.join(command(dataset, name, int(seed))), "figures": test}
            figures.setdefault(dataset, {}).setdefault(name, {})[seed] = told | ({"best_epoch": summary["best_epoch"]} if ROWS[name].script else {})
    return figures


def filled(page: str, figures: dict) -> str:
    """The page with its tables as the figures have them."""
    for name in TABLES:
        page = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda found, name=name: f"{found[1]}\n{table(name, figures)}\n\n{found[2]}", page, flags=re.S
        )
    return page


def table(name: str, figures: dict) -> str:
    rows, metrics = TABLES[name]
    lines = []
    for dataset, title in DATASETS.items():
        for row in rows:
            runs = figures.get(dataset, {}).get(row, {})
            if runs:
                found = [[run["figures"][metric] for run in runs.values() if metric in run["figures"]] for metric in metrics]
                lines.append(
                    [
                        f"{'moving ' if ROWS[row].moving else ''}{title}",
                        ROWS[row].title,
                        str(len(runs)),
                        *(shown(values) for values in found),
                        f"`{runs[min(runs)]['command']}`",
                    ]
                )
    heads = [METRICS[metric].label if metric in METRICS else metric for metric in metrics]
    return markdown(["data", "circuit", "seeds", *heads, "command (first seed)"], lines)


def shown(values: list[dict]) -> str:
    """Mean and spread over seeds; of a single one the standard error over images."""
    if not values:
        return "–"
    numbers = [figure["value"] for figure in values]
    error = stdev(numbers) if len(numbers) > 1 else values[0].get("stderr")
    return f"{mean(numbers):.2f}" + (f" ± {error:.2f}" if error is not None else "")


if __name__ == "__main__":
    main()

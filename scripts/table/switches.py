"""From the released settings to the article's, one switch at a time: what each buys GNCN-PDH on MNIST, by validation images.

python -m table.switches docs/switches.json outputs/switches      (the folder of scripts/ on PYTHONPATH)
"""

import json
import sys
from pathlib import Path

import ncf
from ncf.runs.files import write_whole

SHORT = "dataset=mnist dataset.n_train=15000 dataset.n_validation=10000 epochs=6 report=false progress=off metrics.names=[bce,m_mse,class_err]"
SGD = "optimizer=sgd optimizer.lr=0.1"
PLAIN = "optimizer=sgd optimizer.lr=0.2 optimizer.beta1=0.0"
UNIT = "model.constraint.kind=unit"
LATERAL = "model.lateral.self_excitation=0.13 model.lateral.inhibition=0.125"
PRECISION = "model.precision.kind=published"
SWITCHES = {
    "released settings": "",
    "columns of norm 1": UNIT,
    "SGD": SGD,
    "SGD, columns of norm 1 (ncf's default)": f"{SGD} {UNIT}",
    "plain SGD, a fifth of its step size, columns of norm 1": f"{PLAIN} {UNIT}",
    "lateral synapses of 0.13 and 0.125": LATERAL,
    "the article's precision": PRECISION,
    "no precision": "model.precision.kind=none",
    "plain SGD, norm, lateral synapses and precision": f"{PLAIN} {UNIT} {LATERAL} {PRECISION}",
}


def main(target: str, output: str, *further: str) -> None:
    """Train what is not trained yet, and write metric -> value and standard error over the validation images for every switch."""
    found = {}
    for number, (name, switch) in enumerate(SWITCHES.items()):
        run = ncf.train("experiment=released model=gncn_pdh", SHORT, switch, list(further), output_dir=output, name=f"switch{number}")
        measured = run.summary["metrics"]["validation"]
        found[name] = {metric: {part: measured[metric][part] for part in ("value", "stderr")} for metric in ("bce", "m_mse", "class_err")}
        found[name]["switch"] = switch
        write_whole(Path(target), (json.dumps(found, indent=2) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[1:])

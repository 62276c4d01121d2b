"""One setting at a time, by validation images, GNCN-PDH on MNIST: from the released settings to the article's, and what %Err depends on.

python -m table.switches docs/switches.json outputs/switches      (the folder of scripts/ on PYTHONPATH)
python -m table.switches docs/trials.json outputs/trials
"""

import json
import sys
from pathlib import Path

import ncf
from ncf.errors import UserError
from ncf.runs.files import write_whole

RELEASED = "experiment=released model=gncn_pdh"
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

DEFAULTS = "experiment=table_mnist model=gncn_pdh"
FALLING = "epochs=6 optimizer.cooldown=3 patience=null validate_every=6 report=false progress=off metrics.names=[bce,class_err]"
TRIALS = {
    "ncf's defaults": "",
    "twice the rate": "optimizer.lr=0.2",
    "lateral synapses of 0.13 and 0.125": LATERAL,
    "twice the inhibition": "model.lateral.inhibition=0.2",
    "columns of 20, 20 and 36 units": "model.lateral.columns=[20,20,36]",
    "an E rate of 0.3": "model.error_rate=0.3",
    "an E rate of 2": "model.error_rate=2",
    "no lateral synapses": "model.lateral.enabled=false",
    "100 steps of settling": "model.settle.steps=100",
}
SETS = {"switches": (RELEASED, SHORT, SWITCHES), "trials": (DEFAULTS, FALLING, TRIALS)}


def main(target: str, output: str, *further: str) -> None:
    """Train what is not trained yet, and write metric -> value and standard error over the validation images for every setting, or that it diverged."""
    if Path(target).stem not in SETS:
        sys.exit(f"error: {target} is none of the files that this writes: {' and '.join(f'{name}.json' for name in SETS)}")
    (model, short, changes), found = SETS[Path(target).stem], {}
    for number, (name, switch) in enumerate(changes.items()):
        found[name] = {"switch": switch}
        try:
            run = ncf.train(model, short, switch, list(further), output_dir=output, name=f"switch{number}")
            measured = run.summary["metrics"]["validation"]
            found[name] |= {
                metric: {part: measured[metric][part] for part in ("value", "stderr")} for metric in run.summary["measured_with"]["metrics"]["names"]
            }
        except UserError as error:
            if "diverged" not in str(error):
                raise
            found[name]["diverged"] = True
        write_whole(Path(target), (json.dumps(found, indent=2) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[1:])

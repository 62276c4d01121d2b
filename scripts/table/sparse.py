"""Sparse coding of natural patches: both networks at their start and trained, over seeds, beside scikit-learn's dictionary learning and PCA.

python -m table.sparse docs/sparse.json docs/fields.png outputs/sparse      (the folder of scripts/ on PYTHONPATH)

A reconstruction is as good as the code is rich, so each yardstick is given as many coefficients as the network uses (|f| > `metrics.in_use`, the mean
over test patches). Dictionary learning has as many units, passes and patches per update as the network, on the same patches; its test codes minimise
|x - fD|^2 / 2 + alpha |f|_1 with the alpha that meets the network's share. PCA keeps the first so many components, the same for every patch.
"""

import json
import sys
from math import sqrt
from pathlib import Path

import numpy as np
import torch
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning, sparse_encode

import ncf
from ncf.data.streams import stream
from ncf.measure.metrics import measure
from ncf.models import build_model, seen_of
from ncf.report.html import png
from ncf.report.sections import coloured_fields, mosaic
from ncf.runs.files import write_whole

MODELS = ("sparse_threshold", "sparse_cauchy")
SEEDS = (0, 1, 2)
SHORT = "dataset=natural_patches metrics=sparse epochs=5 threads=1 progress=off"
ALPHA = 1.0  # while the dictionary learns: some tenth of its units are in use
FIELDS = 64


def at_the_start(network) -> dict[str, float]:
    """The test figures of the same network before its first update."""
    config = network.config
    fresh = build_model(config, seen_of(network.data), stream(config.seed, "synapses"), torch.device("cpu"))
    return {name: figure["value"] for name, figure in measure(fresh, network.data, "test", config.metrics).items()}


def learn_dictionary(x: np.ndarray, units: int, batch_size: int, epochs: int, seed: int) -> np.ndarray:
    """D (units, pixels), rows of norm at most 1."""
    settings = {"alpha": ALPHA, "batch_size": batch_size, "max_iter": epochs, "fit_algorithm": "cd", "max_no_improvement": None}
    return MiniBatchDictionaryLearning(units, random_state=seed, **settings).fit(x).components_


def coded(x: np.ndarray, dictionary: np.ndarray, share: float, above: float) -> dict[str, float]:
    """Squared error and share of units in use (%), at the alpha in [0.01, 100] that brings that share nearest to the one asked for."""
    low, high = 0.01, 100.0
    for _ in range(10):
        alpha = sqrt(low * high)
        f = sparse_encode(x, dictionary, algorithm="lasso_cd", alpha=alpha, max_iter=200)
        in_use = 100 * float((np.abs(f) > above).mean())
        low, high = (alpha, high) if in_use > share else (low, alpha)
    return {"mse": squared_error(x, f @ dictionary), "in_use": in_use, "alpha": alpha}


def projected(x: np.ndarray, training: np.ndarray, components: int) -> dict[str, float]:
    pca = PCA(components).fit(training)
    return {"mse": squared_error(x, pca.inverse_transform(pca.transform(x))), "components": components}


def squared_error(x: np.ndarray, mu: np.ndarray) -> float:
    """Summed over pixels, the mean over patches."""
    return float(np.square(x - mu).sum(1).mean())


def main(target: str, picture: str, output: str) -> None:
    found: dict = {"command": SHORT, "models": {}}
    dictionaries: dict[int, np.ndarray] = {}
    for model in MODELS:
        rows = found["models"][model] = []
        for seed in SEEDS:
            run = ncf.train(f"model={model}", SHORT, f"seed={seed}", output_dir=output, name=f"{model}-{seed}")
            network = ncf.load(run.folder)
            config, training, x = network.config, *(network.data.splits[split].x.numpy() for split in ("train", "test"))
            trained = {name: figure["value"] for name, figure in run.summary["metrics"]["test"].items()}
            units = network.model.sizes[1]
            if seed not in dictionaries:
                dictionaries[seed] = learn_dictionary(training, units, config.batch_size, config.epochs, seed)
            rows.append(
                {
                    "seed": seed,
                    "seconds": run.summary["seconds"],
                    "start": at_the_start(network),
                    "trained": trained,
                    "dictionary": coded(x, dictionaries[seed], trained["in_use"], config.metrics.in_use),
                    "pca": projected(x, training, round(trained["in_use"] / 100 * units)),
                }
            )
            found["zero"] = squared_error(x, np.zeros_like(x))
            print(model, json.dumps(rows[-1]), flush=True)
            write_whole(Path(target), (json.dumps(found, indent=2) + "\n").encode())
            if model == MODELS[0] and seed == SEEDS[0]:
                fields, _ = coloured_fields(network.model, FIELDS)
                write_whole(Path(picture), png(mosaic(fields, network.image_shape, columns=16)))


if __name__ == "__main__":
    main(*sys.argv[1:])

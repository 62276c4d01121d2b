"""One peer in an environment of its own: `python -P serve.py SCRIPT BATCH STEPS`, which `benchmarks.peers` starts and asks.

The script defines `PACKAGE`, `DIFFERENCES` (by variant: what its training batch does otherwise than ncf's) and `variants(batch, steps)`:
functions of images (batch, 784) that train on one batch and return when the new synapses are there; such a function may have a function
`synapses` as its attribute, of ncf's names. A ready line comes first; then every line read is a question in JSON: {"variant": NAME} is
answered by the seconds of one batch that it has not seen before, with "images": FILE.npy by those of training on all its batches, with
"synapses": FILE.npz when they are written there. Nothing here needs ncf.
"""

import importlib.metadata
import json
import os
import runpy
import sys
import time

import numpy as np


def main() -> None:
    script, batch, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sys.argv = [script]  # a peer that parses the command line finds nothing there
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a peer prints is no answer
    peer = runpy.run_path(script)
    rng = np.random.default_rng(1)

    def seconds(train, images=None) -> float:
        images = (rng.random((batch, 784)) < 0.13).astype(np.float32) if images is None else images
        start = time.perf_counter()
        for first in range(0, len(images), batch):
            train(images[first : first + batch])
        return time.perf_counter() - start

    def answer(question: dict) -> dict:
        train = variants[question["variant"]]
        if "synapses" in question:
            np.savez(question["synapses"], **train.synapses())
            return {}
        return {"seconds": seconds(train, np.load(question["images"]) if "images" in question else None)}

    variants = peer["variants"](batch, steps)
    for train in variants.values():
        seconds(train), seconds(train)  # compiles, and settles into the types and layouts of its own results
    version = importlib.metadata.version(peer["PACKAGE"])
    answers.write(json.dumps({"ready": True, "version": version, "differences": peer["DIFFERENCES"]}) + "\n")
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")


if __name__ == "__main__":
    main()

"""For the tests of several folders: one run whose best epoch is not its last, and whose splits have figures of their own; draws that are a test's own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from installed import rows, summary, warm
from referee import BETA, K, write_images

RISEN = (
    f"model=gncn_t1 model.layers=[10,8,6] model.settle.steps={K} model.settle.beta={BETA} dataset=npz compute.dtype=float32 "
    "optimizer=adam optimizer.lr=0.1 model.constraint.kind=limit epochs=5 batch_size=32 metrics=fast threads=1"
).split()


@dataclass
class Risen:
    """A run whose validation BCE falls and then rises."""

    folder: Path
    images: dict[str, np.ndarray]
    printed: str

    @property
    def arguments(self) -> list[str]:
        """The overrides of that run but for its folder."""
        return [*RISEN, f"dataset.path={self.folder.parent / 'own.npz'}"]

    @property
    def rows(self) -> list[dict]:
        return rows(self.folder)

    @property
    def summary(self) -> dict:
        return summary(self.folder)

    def checkpoint(self, name: str) -> Path:
        return self.folder / "checkpoints" / f"{name}.pt"


@pytest.fixture(autouse=True)
def own_draws(request) -> None:
    """What a test draws from its file's RNG does not depend on the tests before it: with several workers these are not always the same."""
    if hasattr(request.module, "RNG"):
        request.module.RNG = np.random.default_rng(0)


@pytest.fixture(scope="session")
def risen(tmp_path_factory) -> Risen:
    """Not to be changed by a test."""
    folder = tmp_path_factory.mktemp("risen") / "run"
    run = Risen(folder, write_images(folder.parent / "own.npz"), "")
    done = warm("ncf-train", *run.arguments, f"run_dir={folder}", cwd=folder.parent)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    run.printed = done.stdout
    validated = [row["validation_bce"] for row in run.rows]
    best = validated.index(min(validated))
    assert 0 < best < 3 and min(validated[:best] + validated[best + 1 :]) > validated[best] + 0.01  # clearly: no rounding may decide it
    return run

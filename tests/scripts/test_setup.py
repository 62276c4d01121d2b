"""Setting up: what cannot be had is said in a line, before anything is installed."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_an_index_that_cannot_be_reached_is_one_line(tmp_path):
    for name in ("pyproject.toml", "constraints.txt", "scripts"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    environment = {**os.environ, "NCF_CPU": "1", "NCF_CPU_INDEX": "http://127.0.0.1:9/whl/cpu", "no_proxy": "*"}
    done = subprocess.run(["bash", tmp_path / "scripts/train"], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: NCF_CPU=1: http://127.0.0.1:9/whl/cpu cannot be reached; set NCF_CPU_INDEX" in done.stderr
    assert not (tmp_path / ".venv").exists()

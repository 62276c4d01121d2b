"""What a result was made with: versions and hardware."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from ncf import __version__
from ncf.errors import UserError


def versions() -> dict[str, str]:
    return {"ncf": __version__, "python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}


def packages() -> dict[str, str]:
    """The versions of what else takes part in a figure."""
    return {name: metadata.version(name) for name in ("hydra-core", "omegaconf", "numba", "scipy", "scikit-learn")}


def git_state() -> dict[str, dict]:
    """Commit, and whether tracked files differ from it, of ncf where it is a checkout, and of the project that the command was started in."""
    states = {"ncf": git_of(Path(__file__).parent), "project": git_of(Path.cwd())}
    if states["project"] == states["ncf"]:
        states["project"] = None
    return {name: state for name, state in states.items() if state}


def git_of(folder: Path) -> dict | None:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if git("ls-files", "--error-unmatch", "--", ".") == "":  # a folder that the repository does not know, such as .venv in it
            return None
        return {"commit": git("rev-parse", "HEAD"), "dirty": git("status", "--porcelain", "--untracked-files=no") != ""}
    except (OSError, subprocess.SubprocessError):  # no git, no repository, no commit yet
        return None


def hardware(device: torch.device) -> dict:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    processes = torch.distributed.get_world_size() if torch.distributed.is_available() and torch.distributed.is_initialized() else 1
    return {"device": str(device), "name": name, "threads": torch.get_num_threads(), "processes": processes}


def processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    except OSError:
        return platform.processor() or platform.machine()


MOST_THREADS = 16  # per core: more help nobody, and thousands fill the memory with stacks


def choose_device(name: str, threads: int | None) -> torch.device:
    """The device that the config asks for, with its threads set; UserError when it is not there.

    Numbers below the normal ones (10^-38 in float32) count as zero from here on, in threads started later too: an L2 penalty shrinks
    the synapses of silent units that far, and arithmetic on them takes twenty times as long.
    """
    if threads is not None and threads < 1:
        raise UserError(f"threads={threads}: must be at least 1")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads is not None and threads > (most := MOST_THREADS * (os.cpu_count() or 1)):
        raise UserError(f"threads={threads}: must be at most {most} on this machine, whose fastest is {cores}, a thread per core")
    wished = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    torch.set_num_threads(threads or min(cores, int(wished) if wished.isdigit() and int(wished) else cores))
    torch.set_flush_denormal(True)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise UserError(f"device={name}: expected auto, cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device={name}: no CUDA device is there; use device=cpu or device=auto")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise UserError(f"device={name}: there are {torch.cuda.device_count()} CUDA devices, numbered from 0")
    if kind == "cuda" and not index and "LOCAL_RANK" in os.environ:  # torchrun: every process its own
        name = f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    return torch.device(name)


def choose_products(precision: str, device: torch.device) -> torch.dtype:
    """The type of settling's products that compute.dtype asks for; auto: bfloat16 where the device gains by it."""
    if precision == "auto" and device.type == "cuda":
        precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    elif precision == "auto":
        able = torch.cpu.get_capabilities()
        precision = "bf16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"
    return {"float32": torch.float32, "bf16": torch.bfloat16}[precision]


def n_synapses(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters.values())


def products(network) -> str:
    """The type of a model's products in the words of compute.dtype."""
    return "bf16" if "settle" in network.abilities and network.product_dtype == torch.bfloat16 else "float32"

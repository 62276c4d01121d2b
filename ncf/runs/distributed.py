"""Data-parallel training: the processes (ranks) that `torchrun --no-python --nproc-per-node=N ncf-train ...` starts are one run.

Every rank settles its own rows of each batch; the local updates are averaged over all rows, and every rank changes its own copy of the
synapses by them, so that the copies stay equal bit for bit. Rank 0 alone writes the run folder and measures the final report.
"""

import os
import time
import uuid

import torch
import torch.distributed as dist
from torch import Tensor

from ncf.errors import UserError

MEETING_SECONDS = 600  # the ranks start at once, but on nodes that load Python at their own pace


def started_by_torchrun() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def meeting_place() -> dist.Store:
    """A store in which the ranks of this very start find each other.

    torchrun's agents keep one store over restarts, and whoever reads there where a process was that has died meanwhile never meets its
    successor. So rank 0 calls under a name of its own, the others answer with theirs, and what holds are answers that it has read.
    """
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    rank, count, me = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), uuid.uuid4().hex
    deadline = time.monotonic() + MEETING_SECONDS

    def read(key: str) -> str:
        return store.get(key).decode() if store.check([key]) else ""

    if rank == 0:
        store.set("ncf/call", me)
    while time.monotonic() < deadline:
        call = read("ncf/call")
        if rank == 0:
            answers = [read(f"ncf/{call}/{other}") for other in range(1, count)]
            if all(answers):
                store.set(f"ncf/{call}/met", " ".join(answers))
                return dist.PrefixStore(f"ncf/{call}", store)
        elif call:
            store.set(f"ncf/{call}/{rank}", me)
            if me in read(f"ncf/{call}/met"):
                return dist.PrefixStore(f"ncf/{call}", store)
        time.sleep(0.05)
    raise RuntimeError(f"rank {rank} of {count} has not met the others in {MEETING_SECONDS} s")


class Ranks:
    """The ranks of this run; a single one, for which nothing here costs anything, unless torchrun started several."""

    def __init__(self, device: torch.device):
        self.device, self.rank, self.count = device, 0, 1
        if started_by_torchrun():
            kind = "nccl" if device.type == "cuda" else "gloo"
            if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
                dist.init_process_group(kind, store=meeting_place(), rank=int(os.environ["RANK"]), world_size=int(os.environ["WORLD_SIZE"]))
            else:
                dist.init_process_group(kind)
            self.rank, self.count = dist.get_rank(), dist.get_world_size()

    def close(self) -> None:
        if self.count > 1:
            dist.destroy_process_group()

    def rows(self, n: int) -> slice:
        """This rank's part of n rows; where there are fewer rows than ranks, all of them on every rank."""
        if n < self.count:
            return slice(0, n)
        return slice(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def total(self, sums: dict[str, Tensor], n: int) -> dict[str, Tensor]:
        """Sums over this rank's part of n rows -> sums over all n: one exchange for all tensors, which are of one type."""
        if self.count == 1:
            return sums
        flat = torch.cat([value.reshape(-1) for value in sums.values()])
        dist.all_reduce(flat)
        if n < self.count:
            flat /= self.count
        parts = flat.split([value.numel() for value in sums.values()])
        return {name: part.view_as(value) for (name, value), part in zip(sums.items(), parts)}

    def mean(self, means: dict[str, float], own: int, n: int) -> dict[str, float]:
        """Means over this rank's `own` rows -> means over all n."""
        if self.count == 1:
            return means
        sums = {name: torch.tensor(value * own, dtype=torch.float64, device=self.device) for name, value in means.items()}
        return {name: value.item() / n for name, value in self.total(sums, n).items()}

    def largest(self, number: int | None) -> int | None:
        """The largest of the ranks' numbers, None if none has one: what one of them knows, all know."""
        if self.count == 1:
            return number
        shared = torch.tensor([number or 0], device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return int(shared.item()) or None

    def share(self, content):
        """What rank 0 holds, on every rank."""
        if self.count == 1:
            return content
        box = [content]
        dist.broadcast_object_list(box, src=0, device=self.device if self.device.type == "cuda" else None)
        return box[0]


def require_parallel(config) -> None:
    """UserError for what the ranks of a run cannot do together."""
    if started_by_torchrun() and config.model.family not in ("gncn", "circuit"):
        raise UserError(f"model={config.model.name}: data-parallel training is for the networks that settle; start it without torchrun")

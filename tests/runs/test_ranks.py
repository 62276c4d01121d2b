"""How the processes of one run share a batch, with the exchange between them stood in for."""

import numpy as np
import pytest
import torch
import torch.distributed as dist

from ncf.config.schema import GNCNConfig, PrecisionConfig
from ncf.network.gncn import GNCN
from ncf.runs.distributed import Ranks


def of(rank: int, count: int) -> Ranks:
    ranks = Ranks(torch.device("cpu"))
    ranks.rank, ranks.count = rank, count
    return ranks


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("n", [1, 2, 5, 16, 17])
def test_every_row_counts_once_however_many_share_it(n, count, monkeypatch):
    """Sums and means over the parts are those over all rows; where there are fewer rows than processes each has them all."""
    rows = torch.arange(1.0, n + 1).double()
    parts = [of(rank, count).rows(n) for rank in range(count)]
    held = [rows[part] for part in parts]
    assert all(len(part) == n for part in held) if n < count else torch.equal(torch.cat(held), rows)
    assert n < count or max(map(len, held)) - min(map(len, held)) <= 1

    exchanged = [torch.cat([part.sum().reshape(1), part.square().sum().reshape(1)]) for part in held]
    monkeypatch.setattr(dist, "all_reduce", lambda flat: flat.copy_(sum(exchanged)))
    for rank in range(count):
        sums = {"sum": held[rank].sum(), "squares": held[rank].square().sum()}
        total = of(rank, count).total(sums, n)
        assert total["sum"].item() == pytest.approx(rows.sum().item()) and total["squares"].item() == pytest.approx(rows.square().sum().item())

    exchanged = [part.mean().reshape(1) * len(part) for part in held]
    for rank in range(count):
        mean = of(rank, count).mean({"bce": held[rank].mean().item()}, len(held[rank]), n)
        assert mean == {"bce": pytest.approx(rows.mean().item())}


def test_what_one_process_knows_all_know(monkeypatch):
    told = [None, 15, 2]
    kinds = {dist.ReduceOp.MAX: max, dist.ReduceOp.MIN: min, dist.ReduceOp.SUM: sum}
    monkeypatch.setattr(dist, "all_reduce", lambda shared, op: shared.fill_(kinds[op](number or 0 for number in told)))
    assert [of(rank, 3).largest(number) for rank, number in enumerate(told)] == [15, 15, 15]
    told = [None, None]
    assert [of(rank, 2).largest(None) for rank in range(2)] == [None, None] and of(0, 1).largest(9) == 9


@pytest.mark.parametrize("kind", ["whitened", "published"])
def test_the_updates_of_the_parts_of_a_batch_add_up_to_those_of_the_whole(kind):
    """Each part's are averaged over the whole batch; -Q / (2B) of whitened precision, which no image brings, is in each of them by its share."""
    network = GNCN(GNCNConfig(layers=[6, 4, 3], skips=True, init_sd=0.3, precision=PrecisionConfig(kind)), 9, np.random.default_rng(0))
    x = torch.from_numpy((np.random.default_rng(1).random((5, 9)) < 0.5).astype(np.float32))
    whole = network.local_updates(network.settle(x))
    parts = []
    for rank in range(2):
        state = network.settle(x[of(rank, 2).rows(5)])
        state.batch = 5
        parts.append(network.local_updates(state))
    for name, update in whole.items():
        torch.testing.assert_close(sum(part[name] for part in parts), update, atol=1e-6, rtol=1e-4, msg=name)

"""On a card: recorded settling against the plain equations on the processor, and whole runs. Skipped where there is no card."""

import numpy as np
import pytest
import torch

from ncf.config.compose import compose_train
from ncf.network.gncn import GNCN

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is there")
MODELS = ("gncn_t1", "gncn_t1_sigma", "gncn_t2_l_sigma", "gncn_pdh", "gncn_pdeh", "two_streams")


def pair(name: str, steps: int = 12):
    """The same network on the card and on the processor, and binary images."""
    config = compose_train(f"model={name}", f"model.settle.steps={steps}", "model.init_sd=0.1").model
    rng = np.random.default_rng(1)
    images = torch.from_numpy((rng.random((32, 784)) < 0.2).astype(np.float32))
    return *(GNCN(config, 784, np.random.default_rng(0), device) for device in ("cuda", "cpu")), images


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind, tolerance", [(None, 1e-3), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("name", MODELS)
def test_recorded_settling_is_the_plain_one(name, kind, tolerance, compiled):
    torch._dynamo.reset()
    card, plain, x = pair(name)
    card.product_dtype, card.compile_steps = kind, compiled
    mask = torch.ones(784)
    mask[300:] = 0
    for batch, observed in ((x, None), (x, mask), (1 - x, None), (x[:9], None)):
        found = card.settle(batch.cuda(), None if observed is None else observed.cuda())
        wanted = plain.settle_plainly(batch, observed)
        for name in ("z", "mu", "e"):
            for one, other in zip(getattr(found, name), getattr(wanted, name), strict=True):
                assert (one.cpu() - other).norm() <= tolerance * max(other.norm(), 1.0), name
    assert card.compile_steps == compiled and len(card.recordings) == 3 and all(r.again for r in card.recordings.values())


@pytest.mark.parametrize("name", MODELS)
def test_synapses_that_learn_are_those_that_settle(name):
    """Ten batches of local learning on the card and on the processor."""
    card, plain, x = pair(name)
    for _ in range(10):
        for network, batch in ((card, x.cuda()), (plain, x)):
            updates = network.local_updates(network.settle(batch))
            for bundle, update in updates.items():
                if bundle in network.parameters:
                    network.parameters[bundle].add_(update, alpha=0.05)
            network.adapt_precision(updates)
            network.limit_norms()
    for key, value in plain.tensors().items():
        assert (card.tensors()[key].cpu() - value).norm() <= 2e-3 * value.norm(), key

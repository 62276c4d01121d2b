"""Threads that wait do not burn cores, and work too small to share is not shared."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ncf.config.compose import compose_train
from ncf.network import products
from ncf.network.gncn import GNCN

PARALLEL_WORK_AND_REST = """
import time, ncf, torch
torch.set_num_threads(2)
x = torch.zeros(200_000)
x.add_(1)
start = time.process_time()
for _ in range(200):
    x.add_(1)
    time.sleep(0.003)
print(time.process_time() - start)
"""


def seconds_of_processor(**environment) -> float:
    inherited = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", PARALLEL_WORK_AND_REST], env=inherited | environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP")
def test_a_thread_with_nothing_to_do_sleeps_and_one_who_asks_for_spinning_gets_it():
    spinning = seconds_of_processor(GOMP_SPINCOUNT="1000000")
    assert seconds_of_processor() < spinning / 3
    assert seconds_of_processor(OMP_WAIT_POLICY="active") > spinning / 3


def test_small_products_stay_on_one_thread_and_large_ones_are_shared():
    def threads(units: int, images: int, dtype: torch.dtype = torch.float32) -> int:
        network = GNCN(compose_train("model=gncn_t1", f"model.layers=[{units},{units}]").model, units, np.random.default_rng(0))
        return products.threads_for(products.matrices(network), images, dtype)

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        assert threads(100, 199) == 1 and threads(100, 200) == 2 and threads(100, 1000) == 4  # a million multiply-adds for each
        assert threads(100, 399, torch.bfloat16) == 1 and threads(100, 400, torch.bfloat16) == 2
        assert threads(2000, 3) == 3 and threads(2000, 1) == 1  # never more than images
    finally:
        torch.set_num_threads(before)


def test_only_what_pays_is_packed():
    wide, narrow = torch.zeros(784, 360), torch.zeros(90, 90)
    assert products.pays(wide, 100, added=False) and products.pays(wide, 100, added=True)
    assert not products.pays(narrow, 1000, added=False) and not products.pays(wide, 5, added=False)
    assert not products.pays(torch.zeros(360, 360), 100, added=True)
    assert products.pays(narrow.bfloat16(), 10, added=False) and not products.pays(wide.bfloat16(), 1000, added=True)
    assert products.added([SimpleNamespace(target=target) for target in (1, 2, 1)]) == [False, False, True]


PRODUCTS_BELOW_THE_NORMAL_NUMBERS = """
import torch
from ncf.network.products import on_all_cores
from ncf.runs.provenance import choose_device
product = lambda items: torch.full((items,), 1e-30).mul_(1e-10).count_nonzero().item()
before = product(10)  # too few to start a thread
choose_device("cpu", 2)
print(before, product(500_000), *on_all_cores(product, [500_000, 10]))
"""


def test_numbers_below_the_normal_ones_are_zero_in_every_thread():
    """Arithmetic on them is twenty times as slow. In a process of its own: in this one the choice has been made."""
    done = subprocess.run([sys.executable, "-c", "import torch\nassert torch.set_flush_denormal(True)"], capture_output=True)
    if done.returncode:
        pytest.skip("this processor does not have the choice")
    done = subprocess.run([sys.executable, "-c", PRODUCTS_BELOW_THE_NORMAL_NUMBERS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["10", "0", "0", "0"]

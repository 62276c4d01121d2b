"""Threads that wait do not burn cores."""

import os
import subprocess
import sys

import pytest

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

"""Data-parallel training over two agents of torchrun, as on two nodes: what restarts goes on from the last checkpoint with the same bits."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from cluster.conftest import epochs, wait_until
from installed import TINY, script, summary

RUN = [*TINY, "epochs=60", "metrics=basic", "progress=off", "checkpoint.every_steps=2", "name=run"]


def agent(port: int, *options: str, words: list[str] = RUN) -> list[str]:
    """One node's command, as README and docs/cluster.md give it."""
    rendezvous = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{port}", "--rdzv-id=run"]
    return [str(word) for word in (script("torchrun"), *rendezvous, *options, "--no-python", script("ncf-train"), *words)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def start(cwd: Path, *options: str, words: list[str] = RUN) -> list[subprocess.Popen]:
    cwd.mkdir(exist_ok=True)
    port, agents = free_port(), []
    for n in range(2):
        with open(cwd / f"agent{n}", "w") as output:
            agents.append(subprocess.Popen(agent(port, *options, words=words), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output))
    return agents


def worker(agent: subprocess.Popen) -> int:
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(agent.pid)], capture_output=True, text=True).stdout
    return int(children.split()[0])


def ends(agents: list[subprocess.Popen], cwd: Path) -> None:
    for n, each in enumerate(agents):
        assert each.wait(120) == 0, (cwd / f"agent{n}").read_text()


def best(cwd: Path) -> bytes:
    return (cwd / "outputs/runs/run/checkpoints/best.pt").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    cwd = tmp_path_factory.mktemp("undisturbed")
    ends(start(cwd), cwd)
    return cwd


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_is_restarted_and_goes_on_to_the_same_bits(victim, undisturbed, tmp_path):
    agents = start(tmp_path, "--max-restarts=3")
    run = tmp_path / "outputs/runs/run"
    wait_until(lambda: epochs(run) >= 5)
    os.kill(worker(agents[victim]), signal.SIGKILL)
    ends(agents, tmp_path)
    assert "resuming after epoch" in (run / "run.log").read_text()
    assert summary(run)["hardware"]["processes"] == 2
    assert best(tmp_path) == best(undisturbed)


@pytest.mark.slow
@pytest.mark.cluster
def test_the_script_of_the_docs_is_preempted_and_goes_on_to_the_same_bits(cluster, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{script('torchrun').parent}{os.pathsep}{os.environ['PATH']}")
    scripts = Path(__file__).resolve().parents[2] / "docs/slurm"
    one_machine = ["--nodes=1", "--ntasks=2", "--ntasks-per-node=2", "--cpus-per-task=1"]
    words = ["sbatch", "--parsable", "--partition=scavenge", *one_machine, scripts / "torchrun.sh", *RUN]
    job = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()
    wait_until(lambda: epochs(tmp_path / "outputs/runs/run") >= 3)
    cluster.preempt()
    assert cluster.wait(job) == "COMPLETED" and cluster.restarts(job) == 1, (tmp_path / f"ncf-{job}.out").read_text()
    assert best(tmp_path) == best(undisturbed)

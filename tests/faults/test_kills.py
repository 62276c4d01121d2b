"""A run killed at any instant and started again with the same command ends with the same weights and metrics, bit for bit.

Longer than 300 lines: all kills are held to the same undisturbed run.
"""

import errno
import os
import random
import shlex
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from installed import Cold, Warm, rows, script, summary, warm
from strikes import AtStep, OnCall, without_pictures

from ncf.config.checks import build
from ncf.config.schema import TrainConfig
from ncf.data import datasets
from ncf.data.streams import stream
from ncf.models import build_model, seen_of
from ncf.runs import checkpoint

MODELS = ("gncn_pdh", "gncn_t1_sigma")
RUN = (  # four epochs of forty batches, saved six times within each; about a second
    "model.layers=[24,24,24] model.lateral.columns=[6] model.settle.steps=10 dataset.n_train=800 dataset.n_validation=50 epochs=4 "
    "batch_size=20 metrics=basic metrics.n_images=50 threads=1 checkpoint.every_steps=6 name=run"
).split()
TIMES = ("seconds", "images_per_second")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """model -> (the folder of a run that nothing disturbed, seconds it was at work), made on first use."""

    @lru_cache
    def make(model: str, start=Warm) -> tuple[Path, float]:
        cwd = tmp_path_factory.mktemp(model)
        job = start("ncf-train", *RUN, f"model={model}", cwd=cwd)
        at_work(job, cwd)
        began = time.monotonic()
        done = job.wait()
        assert done.returncode == 0, done.stderr
        return cwd / "outputs/runs/run", time.monotonic() - began

    return make


def at_work(job: Warm | Cold, cwd: Path) -> bool:
    """Wait until the process holds its run folder, or has ended: what strikes while Python starts can harm nothing."""
    lock = cwd / "outputs/runs/run/.lock"
    while job.lives():
        if lock.exists() and f"process {job.process.pid} " in lock.read_text():
            return True
        time.sleep(0.002)
    return False


def require_same_end(run: Path, reference: Path) -> None:
    for name in ("best.pt", "last.pt"):
        assert (run / "checkpoints" / name).read_bytes() == (reference / "checkpoints" / name).read_bytes(), name
    assert rows(run, *TIMES) == rows(reference, *TIMES)
    assert summary(run)["metrics"] == summary(reference)["metrics"]
    assert [path for path in run.rglob("*") if path.name.endswith(".tmp")] == []


def require_learned(run: Path) -> None:
    """Everything in the last checkpoint is finite, and nothing is as it was drawn."""
    content = checkpoint.load(run / "checkpoints/last.pt")
    config = build(content["config"], TrainConfig)
    start = build_model(config, seen_of(datasets.load(config.dataset)), stream(config.seed, "synapses"), torch.device("cpu")).tensors()
    assert start.keys() == content["weights"].keys()
    for name, tensor in content["weights"].items():
        assert torch.isfinite(tensor).all() and not torch.equal(tensor, start[name]), name


def interrupt_at_random(model: str, n: int, send: int, codes: set[int], uninterrupted, cwd: Path, start=Warm) -> int:
    """Runs of `model`, each struck by a signal at random instants up to five times and then left to end; returns the strikes, >= n.

    The instants lie between the first lock of the run folder and the end of the report. `codes` are the exit codes of a command that the signal ended.
    """
    reference, seconds = uninterrupted(model, start)
    chance = random.Random(f"{model} {send}")
    strikes = 0
    for number in range(10 * n):
        folder = cwd / f"{model}-{send}-{number}"
        folder.mkdir()
        for attempt in range(6):
            job = start("ncf-train", *RUN, f"model={model}", cwd=folder)
            if attempt < 5 and at_work(job, folder):
                time.sleep(chance.uniform(0, seconds))
                job.send(send)
            done = job.wait()
            if done.returncode == 0:
                break
            assert done.returncode in codes, (done.returncode, done.stderr)
            assert "Traceback" not in done.stderr
            strikes += 1
        require_same_end(folder / "outputs/runs/run", reference)
        if strikes >= n:
            require_learned(folder / "outputs/runs/run")
            return strikes
    raise AssertionError(f"only {strikes} strikes")


@pytest.mark.parametrize("model", MODELS)
def test_killed_at_random_instants(model, uninterrupted, tmp_path):
    interrupt_at_random(model, 10, signal.SIGKILL, {-9}, uninterrupted, tmp_path)


@pytest.mark.parametrize("model", MODELS)
def test_killed_within_an_epoch(model, uninterrupted, tmp_path):
    reference, _ = uninterrupted(model)
    strike = OnCall("ncf.training", "train_step", signal.SIGKILL, n=50)  # the tenth of the second epoch's forty batches
    arguments = ["ncf-train", *RUN, f"model={model}"]
    assert warm(*arguments, cwd=tmp_path, prepare=strike).returncode == -9
    done = warm(*arguments, cwd=tmp_path)
    assert done.returncode == 0 and "resuming after epoch 1, batch 6\n" in done.stdout
    require_same_end(tmp_path / "outputs/runs/run", reference)


def test_told_to_stop_within_an_epoch_saves_at_the_next_batch_boundary(uninterrupted, tmp_path):
    reference, _ = uninterrupted("gncn_pdh")
    strike = OnCall("ncf.training", "train_step", signal.SIGTERM, n=50)  # no batch after which it would have been saved anyway
    done = warm("ncf-train", *RUN, "model=gncn_pdh", cwd=tmp_path, prepare=strike)
    run = tmp_path / "outputs/runs/run"
    assert (done.returncode, done.stderr, summary(run)["status"]) == (143, "", "stopped")
    done = warm("ncf-train", *RUN, "model=gncn_pdh", cwd=tmp_path)
    assert done.returncode == 0 and "resuming after epoch 1, batch 10\n" in done.stdout
    require_same_end(run, reference)


def test_what_a_kill_after_the_summary_left_is_cleaned_up(uninterrupted):
    """The report is written when the run is complete already: the same command finds nothing to do, but tidies up."""
    run, _ = uninterrupted("gncn_pdh")
    rest = run / "report.html.4194305.tmp"  # of a process number that no system gives
    rest.write_text("half")
    done = warm("ncf-train", *RUN, "model=gncn_pdh", cwd=run.parents[2])
    assert done.returncode == 0 and "already complete" in done.stdout and not rest.exists()


@pytest.mark.slow
@pytest.mark.parametrize("send, codes", [(signal.SIGTERM, {143, -15}), (signal.SIGINT, {130})], ids=["SIGTERM", "SIGINT"])
def test_told_to_stop_at_random_instants(send, codes, uninterrupted, tmp_path):
    """(A signal before the run listens, or after it is over, ends Python in its own way: there is nothing to save.)"""
    interrupt_at_random("gncn_pdh", 5, send, codes, uninterrupted, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("send, codes, n", [(signal.SIGKILL, {-9}, 25), (signal.SIGTERM, {143, -15}, 10)], ids=["SIGKILL", "SIGTERM"])
@pytest.mark.slow
def test_struck_at_random_instants_of_a_process_of_its_own(model, send, codes, n, uninterrupted, tmp_path):
    interrupt_at_random(model, n, send, codes, uninterrupted, tmp_path, start=Cold)


@pytest.mark.slow
def test_suspended_and_continued(uninterrupted, tmp_path):
    reference, seconds = uninterrupted("gncn_pdh")
    chance = random.Random(0)
    job = Warm("ncf-train", *RUN, "model=gncn_pdh", cwd=tmp_path)
    for _ in range(4):
        time.sleep(chance.uniform(0, seconds / 4))
        job.send(signal.SIGSTOP)
        time.sleep(0.2)
        job.send(signal.SIGCONT)
    assert job.wait().returncode == 0
    require_same_end(tmp_path / "outputs/runs/run", reference)


# --- every step of writing --------------------------------------------------------------------------------------------

SHORT = [*RUN, "model=gncn_pdh", "batch_size=300", "checkpoint.every_steps=2"]  # three batches, saved after the second


def strike_at_every_step(epochs: int, cwd: Path, signals=(signal.SIGKILL,), codes=(-9,), begun: Path | None = None) -> list[str]:
    """Strike a run (new, or going on in a copy of `begun`) before each single step of writing, and let it end; returns the steps."""
    arguments = ["ncf-train", *SHORT, f"epochs={epochs}"]

    def struck(name: str, n: int):
        """The run in a folder of its own, struck before step n; and the steps it made."""
        if begun:
            shutil.copytree(begun, cwd / name / "outputs/runs/run")
        else:
            (cwd / name).mkdir()
        done = warm(*arguments, cwd=cwd / name, prepare=AtStep(n, str(cwd / f"{name}.steps"), signals))
        return done, (cwd / f"{name}.steps").read_text().split()

    (cwd / "whole").mkdir()
    assert warm(*arguments, cwd=cwd / "whole").returncode == 0
    counted, steps = struck("counted", 0)
    assert counted.returncode == 0

    def strike_at(n: int) -> None:
        done, made = struck(str(n), n)
        run = cwd / str(n) / "outputs/runs/run"
        assert done.returncode in codes and "Traceback" not in done.stderr, (n, steps[n - 1], done.returncode, done.stderr)
        assert made[:n] == steps[:n]
        assert done.returncode < 0 or not list(run.rglob("*.tmp")), (n, steps[n - 1])
        done = warm(*arguments, cwd=cwd / str(n), prepare=without_pictures)
        assert done.returncode == 0, (n, steps[n - 1], done.stderr)
        require_same_end(run, cwd / "whole/outputs/runs/run")

    with ThreadPoolExecutor(2) as two_at_a_time:
        list(two_at_a_time.map(strike_at, range(1, len(steps) + 1)))
    return steps


WRITTEN_WHOLE = "write_whole:open write_whole:write write_whole:flush write_whole:fsync write_whole:replace sync_folder:open sync_folder:fsync"
APPENDED = "add_row:open add_row:write add_row:flush add_row:fsync"
KEPT = "keep_previous:link keep_previous:replace keep_previous:unlink"


def test_every_file_is_flushed_to_the_disk_before_it_takes_its_place_and_the_place_is_flushed_after(tmp_path):
    """(What a kill cannot show: it does not lose what the system has not written yet, a crash of the machine does.)"""
    assert warm("ncf-train", *SHORT, "epochs=1", cwd=tmp_path, prepare=AtStep(0, str(tmp_path / "steps"))).returncode == 0
    steps = " ".join((tmp_path / "steps").read_text().split())
    assert (
        steps.count(WRITTEN_WHOLE) == steps.count("write_whole:open") == 7
    )  # config, no rows yet, last.pt twice, best.pt, values of images, summary
    assert steps.endswith(
        f"{WRITTEN_WHOLE} {APPENDED} {KEPT} {WRITTEN_WHOLE} {WRITTEN_WHOLE} {WRITTEN_WHOLE}"
    )  # best.pt, a row, last.pt, values of images, the summary
    assert "take_lock:flock" in steps


def test_a_disk_that_fails_while_the_previous_checkpoint_is_kept_leaves_both_as_they_are(tmp_path, monkeypatch):
    """The second name is the same file: nothing may be written under it."""
    last, previous = tmp_path / "last.pt", tmp_path / "previous.pt"
    last.write_text("new"), previous.write_text("old")
    before = last.stat().st_mtime_ns
    monkeypatch.setattr(os, "replace", failing := Mock(side_effect=OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output"):
        checkpoint.keep_previous(last, previous)
    assert (last.read_text(), last.stat().st_mtime_ns, previous.read_text(), failing.call_count) == ("new", before, "old", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "previous.pt"]


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 3])
def test_killed_at_every_step_of_writing(epochs, tmp_path):
    assert len(strike_at_every_step(epochs, tmp_path)) > 50


@pytest.mark.slow
@pytest.mark.parametrize(
    "signals, codes",
    [((), (1, 0)), ((signal.SIGTERM,), (143, -15)), ((signal.SIGINT, signal.SIGINT), (130,))],
    ids=["a full disk", "SIGTERM", "SIGINT twice"],
)
def test_struck_at_every_step_of_writing(signals, codes, tmp_path):
    """(SIGTERM kills while the run does not listen yet; a folder that cannot be flushed is no reason to stop.)"""
    strike_at_every_step(1, tmp_path, signals, codes)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [False, True], ids=["", "with a damaged last.pt"])
def test_killed_again_at_every_step_of_going_on(damage, tmp_path):
    strike = OnCall("ncf.training", "train_step", signal.SIGKILL, n=6)  # the last of the second epoch's three batches
    assert warm("ncf-train", *SHORT, "epochs=2", cwd=tmp_path, prepare=strike).returncode == -9
    run = tmp_path / "outputs/runs/run"
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 2, "tra')
    if damage:
        (run / "checkpoints/last.pt").write_bytes(b"damaged")
    steps = strike_at_every_step(2, tmp_path, begun=run)
    assert ("newest:replace" in steps) == damage


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("where", ["plain", "a folder's name, with = and 'quotes'"])
def test_a_stopped_run_says_how_to_go_on_in_words_that_work(where, uninterrupted, tmp_path):
    reference, _ = uninterrupted("gncn_pdh")
    arguments = [argument for argument in RUN if not argument.startswith("name=")]
    override = f'output_dir="{where}"'
    strike = OnCall("ncf.training", "validate", signal.SIGTERM)  # arrives between two batches: the epoch is finished first
    done = warm("ncf-train", *arguments, "model=gncn_pdh", override, cwd=tmp_path, prepare=strike)
    assert (done.returncode, done.stderr) == (143, "")
    (run,) = (tmp_path / where / "runs").iterdir()
    assert summary(run)["status"] == "stopped" and "SIGTERM" in summary(run)["reason"]
    assert [row["epoch"] for row in rows(run)] == [1]
    said = done.stdout.splitlines()[-1].split("resume with: ")[1]
    shell = f"PATH={shlex.quote(str(script('ncf-train').parent))}:$PATH {said}"
    done = subprocess.run(shell, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    require_same_end(run, reference)


@pytest.mark.slow
def test_a_signal_during_the_final_report_stops_at_once_and_the_report_is_made_later(uninterrupted, tmp_path):
    reference, _ = uninterrupted("gncn_pdh")
    strike = OnCall("ncf.evaluate", "measure_splits", signal.SIGINT)
    done = warm("ncf-train", *RUN, "model=gncn_pdh", cwd=tmp_path, prepare=strike)
    run = tmp_path / "outputs/runs/run"
    assert (done.returncode, summary(run)["status"]) == (130, "stopped")
    done = warm("ncf-train", *RUN, "model=gncn_pdh", cwd=tmp_path)
    assert done.returncode == 0 and "epoch   1/4" not in done.stdout
    require_same_end(run, reference)


@pytest.mark.slow
def test_a_second_interrupt_stops_at_once(tmp_path):
    endless = [*RUN, "model=gncn_t1", "model.settle.steps=10000000"]
    job = Warm("ncf-train", *endless, cwd=tmp_path)
    log = tmp_path / "outputs/runs/run/run.log"
    while not log.exists():
        time.sleep(0.05)
    time.sleep(0.3)  # it settles, and will for an hour
    job.send(signal.SIGINT)
    time.sleep(0.3)
    assert job.lives()
    job.send(signal.SIGINT)
    done = job.wait(timeout=60)
    assert (done.returncode, done.stderr) == (130, "")
    assert "resume with" in done.stdout.splitlines()[-1]
    assert summary(log.parent)["status"] == "stopped"
    assert os.listdir(log.parent / "checkpoints") == []


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_failing_report_never_loses_the_run(uninterrupted, tmp_path):
    reference, _ = uninterrupted("gncn_pdh")
    done = warm("ncf-train", *RUN, "model=gncn_pdh", cwd=tmp_path, prepare=OnCall("ncf.evaluate", "measure_splits"))
    run = tmp_path / "outputs/runs/run"
    assert done.returncode == 1 and "RuntimeError: struck" in done.stderr  # a bug of ours: a traceback
    assert (summary(run)["status"], summary(run)["reason"]) == ("failed", "struck")
    done = warm("ncf-train", *RUN, "model=gncn_pdh", cwd=tmp_path)
    assert done.returncode == 0 and "epoch   1/4" not in done.stdout
    require_same_end(run, reference)


@pytest.mark.slow
def test_a_picture_that_cannot_be_drawn_is_a_warning(tmp_path):
    done = warm("ncf-train", *RUN, "epochs=1", cwd=tmp_path, prepare=OnCall("ncf.evaluate", "draw_reconstructions"))
    assert done.returncode == 0 and "warning: reconstructions.png" in done.stdout
    assert summary(tmp_path / "outputs/runs/run")["status"] == "complete"


@pytest.mark.slow
def test_a_finished_run_repeats_its_result_and_touches_nothing(uninterrupted):
    run, _ = uninterrupted("gncn_pdh")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file()}
    done = warm("ncf-train", *RUN, "model=gncn_pdh", cwd=run.parents[2])
    assert (done.returncode, done.stderr) == (0, "")
    assert "already complete" in done.stdout and f"{summary(run)['metrics']['test']['bce']['value']:.2f}" in done.stdout
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_more_epochs_go_on_and_fewer_are_refused(uninterrupted, tmp_path):
    reference, _ = uninterrupted("gncn_pdh")
    run = tmp_path / "outputs/runs/run"
    for epochs in (2, 4):
        assert warm("ncf-train", *RUN, "model=gncn_pdh", f"epochs={epochs}", cwd=tmp_path).returncode == 0
    require_same_end(run, reference)
    done = warm("ncf-train", *RUN, "model=gncn_pdh", "epochs=3", cwd=tmp_path)
    assert done.returncode == 1 and "epochs (4 there, 3 now: it can only be raised)" in done.stderr


@pytest.mark.slow
def test_resume_never_refuses_a_run_that_exists(uninterrupted):
    run, _ = uninterrupted("gncn_pdh")
    done = warm("ncf-train", *RUN, "model=gncn_pdh", "resume=never", cwd=run.parents[2])
    assert done.returncode == 1 and "resume=auto" in done.stderr

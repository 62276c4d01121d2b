"""What surrounds a run: full disks, folders that cannot be written, two runs at once, closed and missing terminals, odd data.

Longer than 300 lines, a short test for each surrounding.
"""

import fcntl
import os
import pty
import re
import shlex
import shutil
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import numpy as np
import pytest
from installed import TINY, Warm, command, require_one_line, rows, script, summary, warm
from strikes import LargestFile, without_privileges

from ncf.runs import checkpoint

pytestmark = pytest.mark.slow  # waits for instants of other processes

RUN = [*TINY, "metrics=basic", "name=run"]
PLACE = "outputs/runs/run"
TIMES = ("seconds", "images_per_second")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    cwd = tmp_path_factory.mktemp("undisturbed")
    assert warm("ncf-train", *RUN, cwd=cwd).returncode == 0
    return cwd / PLACE


def require_same_weights(run: Path, reference: Path) -> None:
    for name in ("best.pt", "last.pt"):
        assert (run / "checkpoints" / name).read_bytes() == (reference / "checkpoints" / name).read_bytes(), name
    assert rows(run, *TIMES) == rows(reference, *TIMES)


def temporary_files(folder: Path) -> list[Path]:
    return list(folder.rglob("*.tmp"))


# --- disks ------------------------------------------------------------------------------------------------------------


def test_a_disk_too_full_for_a_checkpoint_keeps_the_old_one(undisturbed, tmp_path):
    assert warm("ncf-train", *RUN, "epochs=1", cwd=tmp_path).returncode == 0
    run = tmp_path / PLACE
    before = {path: path.read_bytes() for path in (run / "checkpoints").glob("*.pt")}
    done = warm("ncf-train", *RUN, cwd=tmp_path, prepare=LargestFile(30_000))  # config.yaml fits, a checkpoint does not
    require_one_line(done, "File too large", "its last checkpoint is intact", "make room", "ncf-train resume=")
    assert {path: path.read_bytes() for path in (run / "checkpoints").glob("*.pt")} == before
    assert (summary(run)["status"], temporary_files(run)) == ("failed", [])
    assert warm("ncf-train", *RUN, cwd=tmp_path).returncode == 0
    require_same_weights(run, undisturbed)


def test_a_full_disk_at_the_start_is_one_line_and_leaves_nothing(tmp_path):
    done = warm("ncf-train", *RUN, cwd=tmp_path, prepare=LargestFile(1000))
    require_one_line(done, "run outputs/runs/run: cannot be written (File too large)", "output_dir=")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def mount(tmp_path):
    """Mounts a small file system of its own: options -> its folder."""
    place = tmp_path / "mounted"
    place.mkdir()

    def make(options: str) -> Path:
        try:
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True)
        except FileNotFoundError:
            pytest.skip("there is no mount here")
        if done.returncode:
            pytest.skip("mounting is not allowed here")
        return place

    yield make
    subprocess.run(["umount", place], capture_output=True)


def test_a_small_disk_that_fills_up_is_one_line_and_its_run_goes_on_with_more_room(undisturbed, mount, tmp_path):
    place = mount("size=250k")
    done = warm("ncf-train", *RUN, f"output_dir={place}", cwd=tmp_path)
    require_one_line(done, "No space left on device", "intact", "make room")
    assert temporary_files(place) == []
    for path in (place / "runs/run/checkpoints").glob("*.pt"):
        checkpoint.load(path)
    subprocess.run(["mount", "-o", "remount,size=40m", place], check=True)
    assert warm("ncf-train", *RUN, f"output_dir={place}", cwd=tmp_path).returncode == 0
    require_same_weights(place / "runs/run", undisturbed)


def test_a_read_only_disk_is_one_line(mount, tmp_path):
    place = mount("ro")
    done = warm("ncf-train", *RUN, f"output_dir={place}", cwd=tmp_path)
    require_one_line(done, "cannot be written (Read-only file system)", "output_dir=")


def test_a_folder_without_permission_is_one_line(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    done = warm("ncf-train", *RUN, "output_dir=locked", cwd=tmp_path, prepare=without_privileges)
    require_one_line(done, "Permission denied", "output_dir=")


def test_a_run_whose_folder_may_no_longer_be_written_is_one_line_and_keeps_its_checkpoints(undisturbed, tmp_path):
    run = tmp_path / PLACE
    shutil.copytree(undisturbed, run)
    before = {path: path.read_bytes() for path in (run / "checkpoints").glob("*.pt")}
    for folder in (run, run / "checkpoints"):
        folder.chmod(0o555)
    done = warm("ncf-train", *RUN, "epochs=3", cwd=tmp_path, prepare=without_privileges)
    require_one_line(done, "cannot be written (Permission denied)")
    for folder in (run, run / "checkpoints"):
        folder.chmod(0o755)
    assert {path: path.read_bytes() for path in (run / "checkpoints").glob("*.pt")} == before


@pytest.mark.parametrize("override", ["output_dir=file", "run_dir=file", "run_dir=file/run", "output_dir=/proc/none", "name=../../file"])
def test_a_place_where_no_folder_can_be_is_one_line_and_leaves_nothing(override, tmp_path):
    (tmp_path / "file").write_text("mine")
    require_one_line(warm("ncf-train", *RUN, override, cwd=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("mine")
    require_one_line(warm("ncf-train", *RUN, "run_dir=thesis", cwd=tmp_path), "no run and not empty", "chapter.tex")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


def test_a_home_that_cannot_be_written_is_one_line_when_data_must_go_there(tmp_path):
    words = [str(script("ncf-train")), "dataset=mnist", "dataset.mirror=http://127.0.0.1:9"]
    environment = {key: value for key, value in os.environ.items() if key not in ("NCF_DATA", "XDG_CACHE_HOME")} | {"HOME": "/proc/none"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    require_one_line(done, "/proc/none", "mnist/train-images-idx3-ubyte.gz", "data_dir")
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_home_and_without_a_place_for_compiled_functions_has_the_same_weights(undisturbed, tmp_path):
    nowhere = {name: "/proc/none" for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NUMBA_CACHE_DIR")}
    assert command("ncf-train", *RUN, cwd=tmp_path, **nowhere).returncode == 0
    require_same_weights(tmp_path / PLACE, undisturbed)


@pytest.mark.parametrize("name", ["ncf-eval", "ncf-sample"])
def test_a_disk_too_full_for_what_is_made_of_a_checkpoint_is_one_line(name, undisturbed, tmp_path):
    best = shutil.copy(undisturbed / "checkpoints/best.pt", tmp_path)
    require_one_line(warm(name, f"checkpoint={best}", cwd=tmp_path, prepare=LargestFile(1000)), "cannot be written (File too large)", "output=")
    assert temporary_files(tmp_path) == []


# --- two runs at once -------------------------------------------------------------------------------------------------


def test_of_two_runs_into_one_folder_exactly_one_proceeds_twenty_times(tmp_path):
    for attempt in range(20):
        cwd = tmp_path / str(attempt)
        cwd.mkdir()
        jobs = [Warm("ncf-train", *RUN, "epochs=3000", cwd=cwd) for _ in range(2)]  # a minute: if both proceed, the test ends too
        while all(job.lives() for job in jobs):
            time.sleep(0.01)
        winner, loser = sorted(jobs, key=lambda job: not job.lives())
        require_one_line(loser.wait(), f"run {PLACE} is in use by process {winner.process.pid} on ", "name=")
        while not (cwd / PLACE / "checkpoints/last.pt").exists():
            time.sleep(0.01)
        winner.send(signal.SIGKILL)  # the lock dies with its holder
        assert winner.wait().returncode == -9


def test_an_evaluation_of_a_run_at_work_harms_nothing(undisturbed, tmp_path):
    job = Warm("ncf-train", *RUN, "epochs=100000", cwd=tmp_path)
    best = tmp_path / PLACE / "checkpoints/best.pt"
    while not best.exists():
        time.sleep(0.01)
    done = warm("ncf-eval", f"checkpoint={best}", "threads=1", "metrics=basic", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert job.lives()
    job.send(signal.SIGTERM)
    assert job.wait().returncode == 143


# --- terminals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("redirect", ["| head -1", ">&-", "2>&-", ">&- 2>&- <&-", "> /dev/full", "> /dev/full 2>&1"])
def test_a_run_ends_without_anyone_to_read_it(redirect, undisturbed, tmp_path):
    words = shlex.join([str(script("ncf-train")), *RUN])
    done = subprocess.run(["bash", "-c", f"{words} {redirect}; exit ${{PIPESTATUS[0]}}"], cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert (done.returncode, done.stderr) == (0, "")
    if "head" in redirect:
        assert done.stdout == f"run folder: {PLACE}\n"
    assert summary(tmp_path / PLACE)["status"] == "complete"
    require_same_weights(tmp_path / PLACE, undisturbed)


def test_help_into_head_is_quiet(tmp_path):
    words = f"{shlex.quote(str(script('ncf-train')))} --help | head -1"
    done = subprocess.run(["bash", "-c", words], cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert (done.stderr, done.stdout.count("\n")) == ("", 1)


def test_a_person_at_a_terminal_sees_a_bar_and_gets_the_same_weights(tmp_path):
    longer = [*RUN, "epochs=40"]
    assert warm("ncf-train", *longer, "name=plain", cwd=tmp_path).returncode == 0
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))  # a terminal without a width gets no bar
    words = [str(script("ncf-train")), *longer]
    process = subprocess.Popen(words, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other side has closed
            break
        seen += part
        if not part:
            break
    assert process.wait(timeout=900) == 0
    assert re.search(rb"epoch \d+/40: .*BCE \d+.*images/s", seen) and b"summary:" in seen
    assert [int(n) for n in re.findall(rb"epoch +(\d+)/40  train BCE", seen)] == list(range(1, 41))  # a line of each stays behind
    require_same_weights(tmp_path / PLACE, tmp_path / "outputs/runs/plain")


# --- how it is carried out does not change what is computed -----------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        ["checkpoint.every_steps=1"],
        ["checkpoint.every_minutes=0"],
        ["checkpoint.every_minutes=0.000001"],
        ["progress=off"],
        ["progress=bar"],
        ["validate_every=0"],
        ["validate_every=2"],
        ["metrics=fast"],
        ["resume=never"],
        ["run_dir=elsewhere"],
    ],
    ids=" ".join,
)
def test_saving_showing_and_validating_do_not_change_the_weights(how, undisturbed, tmp_path):
    done = warm("ncf-train", *RUN, *how, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = {path.parent for path in tmp_path.rglob("metrics.jsonl")}
    contents = [checkpoint.load(folder / "checkpoints/last.pt") for folder in (run, undisturbed)]
    for group in (lambda content: content["weights"], lambda content: content["optimizer"]["tensors"]):
        mine, theirs = map(group, contents)
        assert mine.keys() == theirs.keys() and all(mine[name].equal(theirs[name]) for name in mine)
    assert [row["train_bce"] for row in rows(run)] == [row["train_bce"] for row in rows(undisturbed)]


# --- odd data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd", ["dataset.n_train=1", "batch_size=1000", "batch_size=199", "dataset.n_train=1 batch_size=1000", "dataset.n_validation=1"]
)
@pytest.mark.parametrize("model", ["gncn_pdh", "gncn_t1_sigma model.precision.kind=published"])
def test_one_image_a_last_partial_batch_and_a_batch_larger_than_the_set(odd, model, tmp_path):
    done = warm("ncf-train", *RUN, *odd.split(), f"model={model.split()[0]}", *model.split()[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(np.isfinite(row["train_bce"]) for row in rows(tmp_path / PLACE))


@pytest.mark.parametrize(
    "array, words",
    [
        (np.full((9, 2, 2), np.nan), "own.npz: x_train holds NaN"),
        (np.zeros((0, 2, 2)), "own.npz: x_train is empty"),
        (np.zeros((1, 2, 2)), "1 training images leave none"),
    ],
    ids=["NaN", "empty", "one image"],
)
def test_arrays_that_cannot_be_trained_on_are_one_line_and_leave_nothing(array, words, tmp_path):
    np.savez(tmp_path / "own.npz", x_train=array)
    own = ["dataset=npz", "dataset.path=own.npz", "dataset.n_train=null", "dataset.n_validation=null"]
    require_one_line(warm("ncf-train", *RUN, *own, cwd=tmp_path), words)
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]


# --- memory -----------------------------------------------------------------------------------------------------------


def status(pid: int) -> tuple[int, int]:
    """Resident kilobytes and open files of a process."""
    resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(resident[1]), len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_fifty_epochs_take_no_more_memory_and_files_than_ten(tmp_path):
    job = Warm("ncf-train", *RUN, "model.settle.steps=30", "epochs=50", "checkpoint.every_steps=2", cwd=tmp_path)
    seen: dict[int, tuple[int, int]] = {}
    while job.lives():
        path = tmp_path / PLACE / "metrics.jsonl"
        epoch = path.read_bytes().count(b"\n") if path.exists() else 0
        try:
            seen[epoch] = status(job.process.pid)
        except (OSError, TypeError):  # it has ended
            break
        time.sleep(0.002)
    assert job.wait().returncode == 0
    early, late = ([seen[epoch] for epoch in range(first, first + 15) if epoch in seen] for first in (10, 34))
    assert len(early) > 4 and len(late) > 4
    assert min(kilobytes for kilobytes, _ in late) < min(kilobytes for kilobytes, _ in early) + 1024
    assert max(files for _, files in late) <= max(files for _, files in early)

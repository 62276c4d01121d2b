"""A checkpoint either loads as it was saved or is refused by name, and loading never executes code from the file.

Longer than 300 lines: one file holds every way in which a checkpoint can be damaged.
"""

import io
import os
import pickle
import random
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from installed import TINY, require_one_line, rows, summary, warm

from ncf.config.schema import EvalConfig
from ncf.errors import UserError
from ncf.evaluate import open_checkpoint
from ncf.runs import checkpoint

TIMES = ("seconds", "images_per_second")
RUN = [*TINY, "metrics=basic", "name=run"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a run of two epochs."""
    cwd = tmp_path_factory.mktemp("finished")
    assert warm("ncf-train", *RUN, cwd=cwd).returncode == 0
    return cwd / "outputs/runs/run"


@pytest.fixture
def half(finished, tmp_path) -> Path:
    """A copy of that run as it stood after its first epoch (previous.pt): killed before it saved the second."""
    run = tmp_path / "outputs/runs/run"
    shutil.copytree(finished, run)
    (run / "summary.json").unlink()
    os.replace(run / "checkpoints/previous.pt", run / "checkpoints/last.pt")
    return run


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def refused(tmp_path):
    """Writes bytes to a file and requires that it is refused by its name."""

    def check(raw: bytes) -> None:
        path = tmp_path / "damaged.pt"
        path.write_bytes(raw)
        with pytest.raises(UserError, match=re.escape(str(path))):
            checkpoint.load(path)

    return check


def flipped(raw: bytes, place: int, bit: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :]


def test_a_thousand_flipped_bits_are_refused(finished, refused):
    raw = (finished / "checkpoints/last.pt").read_bytes()
    chance = random.Random(0)
    for _ in range(1000):
        refused(flipped(raw, chance.randrange(len(raw)), chance.randrange(8)))


def test_every_flipped_bit_of_the_end_is_refused(finished, refused):
    """The zip's end record and the digest itself."""
    raw = (finished / "checkpoints/last.pt").read_bytes()
    for place in range(len(raw) - 140, len(raw)):
        for bit in range(8):
            refused(flipped(raw, place, bit))


def test_a_file_cut_off_anywhere_is_refused(finished, refused):
    raw = (finished / "checkpoints/last.pt").read_bytes()
    for length in [*(len(raw) * i // 50 for i in range(50)), len(raw) - 1, len(raw) - checkpoint.SEAL_LENGTH]:
        refused(raw[:length])
    refused(raw + b"\0")


def test_lost_and_swapped_blocks_are_refused(finished, refused):
    """What disks do: a block of zeros, a block from elsewhere in the file."""
    raw = (finished / "checkpoints/last.pt").read_bytes()
    for start in range(0, len(raw) - 8192, 4096):
        for block in (bytes(4096), raw[start + 4096 : start + 8192]):
            refused(raw[:start] + block + raw[start + 4096 :])


def unsealed(content: dict) -> bytes:
    """A file of format 1, which had no digest."""
    return saved(content | {"format": 1})


def test_a_checkpoint_of_the_format_before_loads_and_its_damage_is_refused_or_harmless(finished, tmp_path):
    whole = checkpoint.load(finished / "checkpoints/last.pt") | {"format": 1}
    path = tmp_path / "old.pt"
    raw = unsealed(whole)
    path.write_bytes(raw)
    assert same(checkpoint.load(path), whole)
    chance = random.Random(1)
    directory = raw.index(b"PK\x01\x02")  # CRCs do not cover it
    for place in [*(chance.randrange(len(raw)) for _ in range(300)), *(chance.randrange(directory, len(raw)) for _ in range(700))]:
        path.write_bytes(flipped(raw, place, chance.randrange(8)))
        try:
            content = checkpoint.load(path)
        except UserError as error:
            assert str(path) in str(error)
        else:
            assert same(content, whole)


def test_the_older_format_is_no_way_around_the_digest(finished, refused):
    refused(saved(checkpoint.load(finished / "checkpoints/last.pt")))  # format 2 without a digest


# --- strangers --------------------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def saved(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def sealed(content) -> bytes:
    return checkpoint.seal(saved(content))


def overlapping_bomb() -> bytes:
    """A small stored zip whose thousand entries are all the same bytes."""
    raw = bytearray(zipped({"data.pkl": bytes(100_000)}))
    directory = raw.index(b"PK\x01\x02")
    end = raw.index(b"PK\x05\x06")
    record = bytes(raw[directory:end])
    tail = bytearray(raw[end:])
    tail[8:12] = (1000).to_bytes(2, "little") * 2
    tail[12:16] = (len(record) * 1000).to_bytes(4, "little")
    return bytes(raw[:directory]) + record * 1000 + bytes(tail)


STRANGERS = {
    "a pickle that runs code": lambda whole: pickle.dumps(Evil()),
    "a checkpoint that runs code": lambda whole: sealed(whole | {"weights": Evil()}),
    "a checkpoint with code among its numbers": lambda whole: sealed(whole | {"progress": whole["progress"] | {"epoch": Evil()}}),
    "torch's old format": lambda whole: old_format(whole),
    "a zip bomb": lambda whole: zipped({"archive/data.pkl": bytes(200_000_000)}, zipfile.ZIP_DEFLATED),
    "a zip bomb without compression": lambda whole: overlapping_bomb(),
    "a JPEG": lambda whole: b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 40,
    "a zip of something else": lambda whole: zipped({"word/document.xml": b"<xml/>"}),
    "nothing": lambda whole: b"",
    "a list": lambda whole: saved([1, 2, 3]),
    "another program's checkpoint": lambda whole: saved({"state_dict": {"w": torch.zeros(3)}}),
    "a newer format": lambda whole: sealed(whole | {"format": 3, "versions": {"ncf": "9.9.9"}}),
    "an older format": lambda whole: sealed(whole | {"format": 0, "versions": {"ncf": "0.0.1"}}),
    "without weights": lambda whole: sealed({name: value for name, value in whole.items() if name != "weights"}),
    "numbers for tensors": lambda whole: sealed(whole | {"weights": {name: 1 for name in whole["weights"]}}),
    "weights of another shape": lambda whole: sealed(whole | {"weights": {name: torch.zeros(2, 2) for name in whole["weights"]}}),
    "weights of other names": lambda whole: sealed(whole | {"weights": {"V1": torch.zeros(2, 2)}}),
    "a flipped bit": lambda whole: flipped(sealed(whole), 5000, 3),
    "the half of one": lambda whole: sealed(whole)[:-9000],
    "texts for numbers": lambda whole: sealed(whole | {"progress": whole["progress"] | {"epoch": "one"}}),
    "numbers for the optimizer's tensors": lambda whole: sealed(whole | {"optimizer": {"t": 1, "tensors": 5}}),
    "nothing about its images": lambda whole: sealed(whole | {"data": {}}),
    "weights that are not dense": lambda whole: sealed(whole | {"weights": {name: value.to_sparse() for name, value in whole["weights"].items()}}),
    "a list that unfolds for ever": lambda whole: sealed(whole | {"config": whole["config"] | {"seed": unfolding()}}),
    "an expression in its config": lambda whole: sealed(whole | {"config": whole["config"] | {"epochs": "${oc.env:PATH}"}}),
    "a config that ncf does not know": lambda whole: sealed(whole | {"config": whole["config"] | {"typo": 1}}),
}


def unfolding() -> list:
    node = [0]
    for _ in range(60):
        node = [node, node]
    return node


def old_format(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize("make", STRANGERS.values(), ids=STRANGERS.keys())
def test_a_stranger_is_one_line_without_effect(make, finished, tmp_path):
    given, cwd = tmp_path / "given", tmp_path / "empty"
    given.mkdir(), cwd.mkdir()
    (given / "stranger.pt").write_bytes(make(torch.load(finished / "checkpoints/last.pt", weights_only=True)))
    done = warm("ncf-eval", f"checkpoint={given / 'stranger.pt'}", cwd=cwd)
    require_one_line(done, "stranger.pt")
    assert os.environ["PATH"] not in done.stderr
    assert os.listdir(cwd) == [] and os.listdir(given) == ["stranger.pt"]


@pytest.mark.parametrize(
    "words, key", [("newer format 3", "a newer format"), ("use ncf 9.9.9", "a newer format"), ("use ncf 0.0.1", "an older format")]
)
def test_another_format_names_the_version_that_reads_it(words, key, finished, tmp_path):
    path = tmp_path / "other.pt"
    path.write_bytes(STRANGERS[key](torch.load(finished / "checkpoints/last.pt", weights_only=True)))
    with pytest.raises(UserError, match=words):
        checkpoint.load(path)


def test_the_mirror_of_a_strangers_checkpoint_is_not_asked(finished, tmp_path, monkeypatch):
    whole = torch.load(finished / "checkpoints/last.pt", weights_only=True)
    whole["config"]["dataset"] |= {"name": "mnist", "mirror": "http://stranger"}
    (tmp_path / "stranger.pt").write_bytes(sealed(whole))
    asked = []
    monkeypatch.setattr("ncf.data.datasets.load", lambda config, *_: asked.append(config) or {}["nothing to load"])
    with pytest.raises(KeyError, match="nothing to load"):
        open_checkpoint(EvalConfig(checkpoint=str(tmp_path / "stranger.pt")))
    assert (asked[0].name, asked[0].mirror) == ("mnist", None)


@pytest.mark.parametrize("path", ["", "/dev/zero", "pipe"])
def test_what_is_no_file_is_not_read(path, tmp_path):
    if path == "pipe":
        os.mkfifo(tmp_path / path)
    with pytest.raises(UserError, match="expected a checkpoint"):
        checkpoint.load(tmp_path / path)


# --- in a run ---------------------------------------------------------------------------------------------------------


def require_same_end(run: Path, reference: Path) -> None:
    for name in ("best.pt", "last.pt"):
        assert (run / "checkpoints" / name).read_bytes() == (reference / "checkpoints" / name).read_bytes(), name
    assert rows(run, *TIMES) == rows(reference, *TIMES)
    assert summary(run)["metrics"] == summary(reference)["metrics"]


def go_on(run: Path, *more: str):
    return warm("ncf-train", *RUN, *more, cwd=run.parents[2])


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def test_a_damaged_last_checkpoint_is_replaced_by_the_previous_one(finished, tmp_path):
    run = tmp_path / "outputs/runs/run"
    shutil.copytree(finished, run)
    (run / "summary.json").unlink()
    flip(run / "checkpoints/last.pt")
    done = go_on(run)
    assert (done.returncode, done.stderr) == (0, "")
    assert "last.pt: damaged" in done.stdout and "resuming from previous.pt" in done.stdout and "after epoch 1" in done.stdout
    require_same_end(run, finished)
    assert checkpoint.load(run / "checkpoints/previous.pt")["progress"]["epoch"] == 1  # not the damaged file


def test_two_damaged_checkpoints_are_one_line_and_nothing_is_overwritten(half):
    shutil.copy(half / "checkpoints/last.pt", half / "checkpoints/previous.pt")
    for name in ("last.pt", "previous.pt"):
        flip(half / "checkpoints" / name)
    before = {path: path.read_bytes() for path in (half / "checkpoints").iterdir()}
    require_one_line(go_on(half), "no readable checkpoint is left", "remove the folder")
    assert {path: path.read_bytes() for path in (half / "checkpoints").iterdir()} == before
    assert summary(half)["status"] == "failed"


def test_a_run_of_a_newer_version_is_left_alone(half):
    """It is whole: the previous checkpoint, which this version reads, does not take its place."""
    last, previous = half / "checkpoints/last.pt", half / "checkpoints/previous.pt"
    shutil.copy(last, previous)
    last.write_bytes(STRANGERS["a newer format"](torch.load(last, weights_only=True)))
    before = last.read_bytes()
    require_one_line(go_on(half), "newer format 3", "use ncf 9.9.9")
    assert last.read_bytes() == before


def test_what_a_killed_run_leaves_is_cut_back_and_cleaned_up(half, finished):
    """A row that the checkpoint does not know, half a row after it, and the beginnings of files by processes that are gone."""
    with open(half / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 3, "train_bce": 0.0}\n{"epoch": 4, "tra')
    for place in (half / "summary.json.999999.tmp", half / "checkpoints/last.pt.999999.tmp"):
        place.write_bytes(b"half a f")
    assert go_on(half).returncode == 0
    require_same_end(half, finished)
    assert [path for path in half.rglob("*.tmp")] == []


def test_rows_that_somebody_removed_are_missed(half):
    (half / "metrics.jsonl").write_text('{"epoch": 1')
    require_one_line(go_on(half), "metrics.jsonl has 0 lines, the checkpoint knows 1", "changed by hand")


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b"\xff", b'{"epoch": 7, "seconds": 1}'])
def test_a_damaged_row_is_named_before_the_run_goes_on(line, half):
    (half / "metrics.jsonl").write_bytes(line + b"\n")
    require_one_line(go_on(half), "line 1 of metrics.jsonl is damaged")


@pytest.mark.parametrize("content", ["", "[1]", '{"status": "complete", "epochs": 2}', '{"status": "complete", "epo'])
def test_a_damaged_summary_is_made_again(content, finished, tmp_path):
    run = tmp_path / "outputs/runs/run"
    shutil.copytree(finished, run)
    (run / "summary.json").write_text(content)
    assert go_on(run).returncode == 0
    require_same_end(run, finished)


def test_a_damaged_best_checkpoint_is_named_by_the_report(finished, tmp_path):
    run = tmp_path / "outputs/runs/run"
    shutil.copytree(finished, run)
    (run / "summary.json").unlink()
    flip(run / "checkpoints/best.pt")
    require_one_line(go_on(run), "checkpoints/best.pt: damaged", "ncf-eval checkpoint=outputs/runs/run/checkpoints/last.pt")
    assert summary(run)["status"] == "failed" and "best.pt" in summary(run)["reason"]


def test_a_checkpoint_of_another_model_is_refused_by_a_run(half, tmp_path):
    (tmp_path / "other").mkdir()
    assert warm("ncf-train", *RUN, "model=gncn_t1", "epochs=1", cwd=tmp_path / "other").returncode == 0
    shutil.copy(tmp_path / "other/outputs/runs/run/checkpoints/last.pt", half / "checkpoints/last.pt")
    require_one_line(go_on(half), "its checkpoint is of another config", "model.name (gncn_t1 there, gncn_pdh now)")


def test_a_lost_or_damaged_config_is_read_from_the_checkpoint(half, finished):
    for damage in (
        (half / "config.yaml").unlink,
        lambda: (half / "config.yaml").write_bytes(b"model: ["),
        lambda: (half / "config.yaml").write_text("seed: ${oc.env:PATH}"),
    ):
        damage()
        require_one_line(go_on(half, "seed=3"), "seed (0 there, 3 now)")
    done = warm("ncf-train", f"resume={half}", "threads=1", cwd=half.parents[2])
    assert (done.returncode, done.stderr) == (0, "")
    require_same_end(half, finished)


def test_other_training_images_are_noticed(tmp_path):
    import numpy as np

    images = np.random.default_rng(0).integers(0, 2, (60, 4, 4), dtype=np.uint8)
    own = ["dataset=npz", "dataset.path=own.npz", "dataset.n_train=null", "dataset.n_validation=null"]
    for epochs, x in ((1, images), (2, 1 - images)):
        np.savez(tmp_path / "own.npz", x_train=x)
        done = warm("ncf-train", *RUN, *own, f"epochs={epochs}", cwd=tmp_path)
        if epochs == 1:
            assert done.returncode == 0, done.stderr
    require_one_line(done, "the images are not those it began with")

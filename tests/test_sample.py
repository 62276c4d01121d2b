"""ncf-sample: what it draws, whom it finds nearest, how it tells classes, what it writes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from installed import TINY, command, require_one_line, warm
from small import dataset

import ncf
from ncf.config.schema import SampleConfig
from ncf.errors import UserError
from ncf.measure.likeness import nearest
from ncf.measure.reading import open_reader
from ncf.sample import choose_reader, class_histogram, vote


def test_nearest_is_by_euclidean_distance():
    rng = np.random.default_rng(0)
    images, training = torch.from_numpy(rng.random((7, 9))), torch.from_numpy(rng.random((40, 9)))
    distances, rows = nearest(images, training, 3, block=2)
    exact = torch.cdist(images, training).sort(dim=1)
    assert torch.equal(rows, exact.indices[:, :3])
    torch.testing.assert_close(distances, exact.values[:, :3])
    assert nearest(images, training[:2], 5)[1].shape == (7, 2)


@pytest.mark.parametrize("classes, winner", [([1, 2, 2, 0, 3], 2), ([4, 4, 1, 1, 0], 4), ([3, 2, 1, 0, 4], 3), ([0, 1, 1, 0, 1], 1), ([5], 5)])
def test_the_majority_of_neighbours_tells_the_class_and_the_nearest_breaks_ties(classes, winner):
    assert vote(torch.tensor([classes])).tolist() == [winner]


def test_the_histogram_stands_beside_the_training_sets():
    data = dataset()
    found = torch.tensor([0] * 6 + [1] * 3 + [2])
    training = data.splits["train"].x
    histogram = class_histogram(found, data, choose_reader(SampleConfig(), data, training))
    train = np.bincount(data.splits["train"].y.numpy(), minlength=3) / 600
    assert histogram["samples"] == pytest.approx([0.6, 0.3, 0.1]) and histogram["training_images"] == pytest.approx(train)
    assert histogram["total_variation"] == pytest.approx(np.abs(train - [0.6, 0.3, 0.1]).sum() / 2)
    assert 0 <= histogram["its_test_error_percent"] < 40
    data.splits["test"].y = None
    assert class_histogram(found, data, choose_reader(SampleConfig(), data, training))["its_test_error_percent"] is None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("sampled")
    done = command("ncf-train", *TINY, "name=first", "model.settle.steps=20", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "outputs/runs/first"


def test_a_checkpoint_is_sampled_and_completed(run, tmp_path):
    done = warm("ncf-sample", f"checkpoint={run}", "n=25", "threads=1", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    folder = run / "checkpoints/best-samples"
    pictures = ["completions.png", "receptive_fields.png", "samples.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*pictures, "samples.json", "samples.npz"])
    with np.load(folder / "samples.npz") as file:
        arrays = dict(file)
    assert arrays["samples"].shape == arrays["nearest"].shape == (25, 8, 8) and arrays["latents"].shape == (25, 24)
    assert (arrays["samples"] >= 0).all() and (arrays["samples"] <= 1).all() and set(np.unique(arrays["nearest"])) <= {0, 1}
    assert np.linalg.norm(arrays["samples"] - arrays["nearest"], axis=(1, 2)) == pytest.approx(arrays["distance"], abs=1e-3)
    result = json.loads((folder / "samples.json").read_text())
    assert (result["n"], result["prior"], len(result["classes"]["samples"])) == (25, "fitted", 10)
    assert np.bincount(arrays["class"], minlength=10) / 25 == pytest.approx(result["classes"]["samples"])
    for name in pictures:
        assert (folder / name).read_bytes().startswith(b"\x89PNG") and str(folder / name) in done.stdout

    asked = ["ncf-sample", f"checkpoint={run}", "n=25", "threads=1", f"output={tmp_path / 'again'}"]
    again, without = warm(*asked, "masks=[left]", cwd=tmp_path), warm(*asked, "masks=[]", cwd=tmp_path)
    assert again.returncode == without.returncode == 0, again.stderr + without.stderr
    assert "completions.png" in again.stdout and "completions.png" not in without.stdout  # which is there, but not of this call
    other = warm("ncf-sample", f"checkpoint={run}", "n=25", "threads=1", "seed=1", "masks=[left]", f"output={tmp_path / 'other'}", cwd=tmp_path)
    assert other.returncode == 0, other.stderr
    with np.load(tmp_path / "again/samples.npz") as same, np.load(tmp_path / "other/samples.npz") as different:
        assert np.array_equal(same["samples"], arrays["samples"]) and not np.array_equal(different["latents"], arrays["latents"])


def test_samples_of_a_class_are_asked_for_and_read(run, tmp_path):
    one = warm("ncf-sample", f"checkpoint={run}", "condition=label:3", "n=30", "masks=[]", "threads=1", f"output={tmp_path / 'three'}", cwd=tmp_path)
    every = warm(
        "ncf-sample", f"checkpoint={run}", "condition=label:all", "n=50", "masks=[]", "threads=1", f"output={tmp_path / 'all'}", cwd=tmp_path
    )
    assert one.returncode == every.returncode == 0, one.stderr + every.stderr
    read = [json.loads((tmp_path / name / "samples.json").read_text()) for name in ("three", "all")]
    for result, asked, n in zip(read, (np.full(30, 3), np.repeat(np.arange(10), 5)), (30, 50)):
        with np.load(tmp_path / ("three" if n == 30 else "all") / "samples.npz") as file:
            share = 100 * (file["class"] == asked).mean()
        assert result["condition"]["read_as_asked_percent"] == pytest.approx(share) and result["n"] == n
    assert "are read as the class that was asked for" in one.stdout and "total variation" not in one.stdout
    plain = warm("ncf-sample", f"checkpoint={run}", "condition=label:3", "n=4", "masks=[]", "threads=1", cwd=tmp_path)
    assert plain.returncode == 0 and (run / "checkpoints/best-samples-label_3/samples.npz").exists()  # not in the folder of plain samples


def test_noise_at_every_layer_changes_images_and_leaves_the_draws_of_the_top(run, tmp_path):
    ask = ["ncf-sample", f"checkpoint={run}", "n=9", "masks=[]", "threads=1"]
    for name, more in (("plain", []), ("noisy", ["noise=layers"]), ("again", ["noise=layers"])):
        done = warm(*ask, *more, f"output={tmp_path / name}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    plain, noisy, again = (np.load(tmp_path / name / "samples.npz") for name in ("plain", "noisy", "again"))
    assert np.array_equal(plain["latents"], noisy["latents"]) and np.array_equal(noisy["samples"], again["samples"])
    assert np.abs(plain["samples"] - noisy["samples"]).mean() > 0.01
    assert json.loads((tmp_path / "noisy/samples.json").read_text())["noise"] == "layers"
    assert warm("ncf-train", *"model=rae dataset.n_train=300 epochs=1 threads=1 metrics=basic name=ae".split(), cwd=tmp_path).returncode == 0
    refused = warm("ncf-sample", "checkpoint=outputs/runs/ae", "noise=layers", cwd=tmp_path)
    assert refused.returncode == 1 and "noise=layers" in refused.stderr


def test_a_classifier_reads_the_samples(run, tmp_path):
    small = "dataset.n_train=300 epochs=3 threads=1".split()
    assert warm("ncf-train", "model=relu_classifier", *small, "metrics.names=[class_err]", "name=reads", cwd=tmp_path).returncode == 0
    reader = tmp_path / "outputs/runs/reads"
    ask = ["ncf-sample", f"checkpoint={run}", "condition=label:all", "n=50", "masks=[]", "threads=1"]
    done = warm(*ask, f"reader={reader}", f"output={tmp_path / 'out'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    opened = ncf.load(reader)
    with np.load(tmp_path / "out/samples.npz") as file:
        told = opened.model.classify(torch.from_numpy(file["samples"].reshape(50, -1))).argmax(1).numpy()
        assert np.array_equal(file["class"], told)
    result = json.loads((tmp_path / "out/samples.json").read_text())
    assert result["condition"]["read_as_asked_percent"] == pytest.approx(100 * (told == np.repeat(np.arange(10), 5)).mean())
    wrong = json.loads((reader / "summary.json").read_text())["metrics"]["test"]["class_err"]["value"]
    assert result["classes"]["its_test_error_percent"] == pytest.approx(wrong) and f"by the classifier {reader}; it reads {wrong:.1f}%" in done.stdout
    refused = warm(*ask, f"reader={run}", cwd=tmp_path)
    assert refused.returncode == 1 and "tells no classes" in refused.stderr and "relu_classifier" in refused.stderr
    measure = ["ncf-eval", f"checkpoint={run}", "split=test", "metrics.names=[precision_features,class_entropy]", "threads=1"]
    done = warm(*measure, f"metrics.reader={reader}", f"output={tmp_path / 'eval.json'}", cwd=tmp_path)
    assert done.returncode == 0 and "held-out images" in done.stdout and f"{wrong:.2f}  % of test images" in done.stdout, done.stderr
    found = json.loads((tmp_path / "eval.json").read_text())["metrics"]["test"]
    assert all(figure["reader_wrong"] == pytest.approx(wrong) and figure["held_out"] > 0 for figure in found.values())
    require_one_line(warm(*measure, f"metrics.reader={run}", cwd=tmp_path), "metrics.reader=", "is no classifier", "relu_classifier")
    require_one_line(warm(*measure, "metrics.reader=nowhere", cwd=tmp_path), "metrics.reader=nowhere: checkpoint nowhere: no such file")
    classifier = ["ncf-train", "model=rae", *small, f"metrics.reader={run}", "metrics.names=[class_entropy]", "name=no", "progress=off"]
    refused = warm(*classifier, cwd=tmp_path)
    require_one_line(refused, "is no classifier")
    assert "epoch" not in refused.stdout  # before anything is trained
    digits = ncf.load(reader).data
    for other in ({"image_shape": (4, 16)}, {"n_classes": 11}, {"name": "mine"}):
        with pytest.raises(UserError, match="^reader=.*reads: it reads other images than"):
            open_reader("reader", str(reader), replace(digits, **other), {"features"})


def test_a_label_on_top_drives_the_samples_of_its_class(tmp_path):
    small = "model=gncn_pdh_label dataset.n_train=300 epochs=2 threads=1 metrics=basic name=c model.settle.steps=10".split()
    sizes = [f"model.populations.z{i}.size=36" for i in (1, 2, 3)]
    assert warm("ncf-train", *small, *sizes, cwd=tmp_path).returncode == 0
    done = warm("ncf-sample", "checkpoint=outputs/runs/c", "condition=label:all", "n=20", "masks=[]", "threads=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    network = ncf.load(tmp_path / "outputs/runs/c").model
    with np.load(tmp_path / "outputs/runs/c/checkpoints/best-samples-label_all/samples.npz") as file:
        codes, images = torch.from_numpy(file["latents"]), file["samples"].reshape(20, -1)
    labels = torch.eye(10).repeat_interleave(2, 0)
    np.testing.assert_allclose(images, network.project(codes, {"label": labels}).numpy(), atol=1e-5)
    assert np.abs(images - network.project(codes).numpy()).max() > 1e-3


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["condition=label:10"], ["condition=label:10", "label:all", "0, 1, 2"]),
        (["condition=3"], ["condition=3", "label:all"]),
        (["masks=[middle]"], ["masks", "'middle'", "left"]),
        (["prior=own"], ["no prior of its own", "prior=fitted"]),
        (["prior=own", "condition=label:3"], ["prior=own", "condition=label:3", "leave prior out"]),
        (["n=0"], ["n=0", "at least 1"]),
        (["checkpint=x"], ["unknown key 'checkpint'", "checkpoint"]),
        (["output=/proc/nowhere"], ["cannot be written"]),
    ],
)
def test_wrong_input_is_one_line(run, tmp_path, overrides, words):
    require_one_line(warm("ncf-sample", f"checkpoint={run}", "threads=1", *overrides, cwd=tmp_path), *words)


def test_what_has_no_decoder_has_no_samples(tmp_path):
    small = "model=relu_classifier model.layers=[8] dataset.n_train=100 epochs=1 threads=1 name=c".split()
    assert warm("ncf-train", *small, cwd=tmp_path).returncode == 0
    require_one_line(warm("ncf-sample", "checkpoint=outputs/runs/c", cwd=tmp_path), "no decoder")


def test_help_lists_every_key(tmp_path):
    done = command("ncf-sample", "--help", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("checkpoint=", "n=100", "prior=auto", "masks=", "mask_fraction=0.5", "usage: ncf-sample"):
        assert word in done.stdout

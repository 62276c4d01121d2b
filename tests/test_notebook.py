"""ncf from Python: what it opens, returns and refuses, and the notebook in examples/."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import ncf
from ncf.config.arguments import parted
from ncf.network.gncn import GNCN

TINY = "model.layers=[12,10] model.settle.steps=6 model=gncn_t1 dataset.n_train=200 dataset.n_validation=50 metrics=basic threads=1 compute.dtype=float32 progress=off"
EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.ipynb"))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> ncf.TrainedRun:
    return ncf.train(TINY, {"batch_size": 64}, epochs=2, output_dir=str(tmp_path_factory.mktemp("door")))


def test_a_run_has_its_rows_and_figures_as_plain_python(run):
    assert [row["epoch"] for row in run.rows] == [1, 2] and run.summary["status"] == "complete"
    assert run.metrics["test"]["bce"] == json.loads((run.folder / "summary.json").read_text())["metrics"]["test"]["bce"]["value"]
    assert isinstance(run.metrics["validation"]["tod"], float)


@pytest.mark.parametrize(
    "text, parts",
    [
        ("metrics.names=[bce, tod]  a=1", ["metrics.names=[bce, tod]", "a=1"]),
        ("model.populations={z1: {size: 10}, image: {observed: image}} x=1", ["model.populations={z1: {size: 10}, image: {observed: image}}", "x=1"]),
        ("model.bundles=['z1 -> image', \"z2 -> z1\"]", ["model.bundles=['z1 -> image', \"z2 -> z1\"]"]),
        ('a=[1, "]", 2] b=3', ['a=[1, "]", 2]', "b=3"]),
        ("'name=my run' b=2", ["name=my run", "b=2"]),
        ("name='my run'\nb=2", ["name='my run'", "b=2"]),
        ("data_dir=/tmp/o'hara output_dir=/tmp/d'arcy", ["data_dir=/tmp/o'hara", "output_dir=/tmp/d'arcy"]),
    ],
)
def test_overrides_in_one_text_stand_apart_at_blanks_outside_brackets_and_quotes(text, parts):
    assert parted(text) == parts


def test_a_text_of_several_overrides_keeps_blanks_within_brackets_and_quotes(tmp_path, capsys):
    text = f"{TINY} " + "metrics.names=[bce, m_mse]  'name=my run' model.settle.momentum=0.9"
    trained = ncf.train(text, epochs=1, output_dir=str(tmp_path))
    assert set(trained.metrics["test"]) == {"bce", "m_mse"} and trained.folder.name == "my run"
    assert "note: model.settle.momentum changes nothing beside model.settle.solver=euler" in capsys.readouterr().out
    assert (trained.network.project(torch.zeros(10, requires_grad=True)) == trained.network.project(np.zeros(10))).all()


def test_a_named_run_is_continued_by_the_same_call(tmp_path):
    first = ncf.train(TINY, epochs=1, output_dir=str(tmp_path), name="one")
    more = ncf.train(TINY.split(), epochs=2, output_dir=str(tmp_path), name="one")
    assert more.folder == first.folder and [row["epoch"] for row in more.rows] == [1, 2]


def test_a_run_is_repeated_and_resumed_from_python_as_by_the_command(run, tmp_path):
    """config= and resume= name a run of another model than the default one, whose own keys may change."""
    again = ncf.train(config=str(run.folder), output_dir=str(tmp_path), name="again")
    assert again.network.config.model.layers == [12, 10] and torch.equal(again.network.model.parameters["W1"], run.network.model.parameters["W1"])
    other = ncf.train({"config": run.folder / "config.yaml", "model.layers": [9, 10]}, output_dir=str(tmp_path), epochs=1, name="other")
    assert other.network.config.model.layers == [9, 10] and other.network.config.model.name == "gncn_t1" and other.summary["epochs_trained"] == 1
    more = ncf.train(resume=str(again.folder), epochs=3, progress="off")
    assert more.folder == again.folder and len(more.rows) == 3


def test_settling_gives_the_equations_values_by_population(run):
    network, config = run.network, run.network.config.model
    x = network.images("test", 5)
    settled = network.settle(x)
    weights = {name: value.numpy().astype(float) for name, value in network.model.tensors().items()}
    f1, f2 = settled.activities["z1"].astype(float), settled.activities["z2"].astype(float)
    mu = 1 / (1 + np.exp(-f1 @ weights["W1"]))
    np.testing.assert_allclose(settled.reconstruction.reshape(5, -1), mu, atol=1e-5)
    np.testing.assert_allclose(settled.errors["z1"], settled.states["z1"] - f2 @ weights["W2"], atol=1e-5)
    np.testing.assert_allclose(f1, np.tanh(settled.states["z1"]), atol=1e-5)
    pixels = x.reshape(5, -1)
    np.testing.assert_allclose(settled.bce, -np.where(pixels > 0, np.log(mu), np.log(1 - mu)).sum(1), rtol=1e-4)
    np.testing.assert_array_equal(settled.code, settled.activities["z2"])
    assert repr(settled) == f"<Settled on 5 images: image (8, 8), z1 12, z2 10, BCE {settled.bce.mean():.2f}, ToD {settled.tod.mean():.2f}>"
    steps = network.trajectory(x)
    assert len(steps) == config.settle.steps and (steps[0].states["z1"] == 0).all()
    np.testing.assert_allclose(steps[-1].states["z2"], settled.states["z2"], atol=1e-5)


def test_arrays_of_any_kind_and_shape_of_an_image_are_the_same(run):
    network = run.network
    x = network.images("test", 3)
    expected = network.settle(x).code
    for given in (x.reshape(3, -1), torch.from_numpy(x), x.astype(np.float64), x.astype(bool)):
        np.testing.assert_array_equal(network.settle(given).code, expected)
    np.testing.assert_allclose(network.settle(x[0]).code, expected[:1], atol=1e-5)


def test_a_completion_keeps_what_is_seen_and_does_not_see_the_rest(run):
    network = run.network
    x = network.images("test", 3)
    seen = np.ones(network.image_shape)
    seen[:, 4:] = 0
    completed = network.complete(x, seen)
    np.testing.assert_array_equal(completed[:, :, :4], x[:, :, :4])
    np.testing.assert_array_equal(completed, network.complete(np.where(seen > 0, x, 1 - x), seen))
    assert 0 < completed[:, :, 4:].min() and completed[:, :, 4:].max() < 1


def test_samples_fields_and_projections(run):
    network = run.network
    assert network.sample(4).shape == (4, 8, 8)
    np.testing.assert_array_equal(network.sample(4), network.sample(4))
    assert not np.array_equal(network.sample(4, seed=1), network.sample(4))
    fields = network.fields(5)
    norms = np.linalg.norm(fields.reshape(5, -1), axis=1)
    assert (np.diff(norms) <= 0).all() and norms[0] == pytest.approx(network.model.parameters["W1"].norm(dim=1).max().item(), rel=1e-5)
    weights = {name: value.numpy().astype(float) for name, value in network.model.tensors().items()}
    code = np.random.default_rng(0).normal(size=10)
    np.testing.assert_allclose(network.project(code)[0].ravel(), 1 / (1 + np.exp(-np.tanh(code @ weights["W2"]) @ weights["W1"])), atol=1e-5)


WRONG = [
    (lambda n: n.settle(np.zeros((2, 7, 8))), "expected numbers of shape (N, 8, 8) or (N, 64)"),
    (lambda n: n.settle(np.full((2, 8, 8), 2.0)), "expected numbers from 0 to 1"),
    (lambda n: n.settle(np.full((2, 8, 8), np.nan)), "expected numbers from 0 to 1"),
    (lambda n: n.settle(np.array([["a"] * 64])), "expected numbers of shape"),
    (lambda n: n.settle(np.zeros((0, 64))), "expected numbers of shape"),
    (lambda n: n.settle([[0.0, 1.0], [0.0]]), "images that are no array of numbers"),
    (lambda n: n.project("a"), "a code that is no array of numbers"),
    (lambda n: n.sample(2, seed=-1), "seed=-1: must be a whole number, at least 0"),
    (lambda n: ncf.train(resume="nowhere"), "resume=nowhere: no run is there"),
    (lambda n: ncf.train(config="nowhere.yaml"), "config=nowhere.yaml: cannot be read"),
    (lambda n: ncf.train(threads=100_000), "threads=100000: must be at most"),
    (lambda n: ncf.train("model.settle.steps=9999999999"), "model.settle.steps=9999999999: must be"),
    (lambda n: n.settle(np.zeros((1, 64)), steps=0), "at least 1"),
    (lambda n: n.complete(np.zeros((1, 64)), None), "1 where a pixel is seen"),
    (lambda n: n.complete(np.zeros((3, 64)), np.ones((2, 64))), "2 masks for 3 images"),
    (lambda n: n.complete(np.zeros((1, 64)), np.ones(63)), "masks of shape (63,)"),
    (lambda n: n.trajectory(np.zeros((1, 64)), steps=-1), "at least 1"),
    (lambda n: n.images("tets"), "did you mean 'test'?"),
    (lambda n: n.images("test", -3), "n=-3: must be a whole number, at least 1"),
    (lambda n: n.sample(0), "n=0: must be a whole number"),
    (lambda n: n.fields("z2"), "n=z2: must be a whole number"),
    (lambda n: n.project(np.zeros(7)), "a code of shape (1, 7): expected finite numbers of shape (N, 10)"),
    (lambda n: n.project([[np.nan] * 10]), "expected finite numbers"),
    (lambda n: ncf.load("nowhere"), "no such file"),
    (lambda n: ncf.train("model=gncn_phd"), "did you mean 'gncn_pdh'?"),
    (lambda n: ncf.load(n.path, threads=0), "threads=0"),
    (lambda n: ncf.train("epochs=0"), "epochs=0: must be at least 1"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_what_is_wrong_is_one_line(run, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, words = WRONG[case]
    with pytest.raises(ncf.UserError) as error:
        call(run.network)
    assert words in str(error.value), error.value
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_opens_without_its_images_and_says_what_needs_them(tmp_path):
    images = np.random.default_rng(0).random((60, 4, 4)).astype(np.float32)
    np.savez(tmp_path / "own.npz", x_train=images)
    words = f"dataset=npz dataset.path={tmp_path}/own.npz model.layers=[6] model=gncn_t1 epochs=1 metrics=basic threads=1 compute.dtype=float32 progress=off"
    run = ncf.train(words, output_dir=str(tmp_path))
    (tmp_path / "own.npz").unlink()
    network = ncf.load(run.folder / "checkpoints" / "best.pt")
    assert network.settle(images[:2]).code.shape == (2, 6) and network.fields(2).shape == (2, 4, 4)
    with pytest.raises(ncf.UserError, match="own.npz"):
        network.sample(2)
    assert isinstance(network.model, GNCN) and "gncn_t1" in repr(network)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_notebook_runs_and_is_short(path, tmp_path, monkeypatch):
    """At most 25 lines of code, executed here in one namespace, with fewer epochs."""
    import matplotlib

    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert sum(bool(line.strip()) for cell in cells for line in cell.splitlines()) <= 25
    namespace: dict = {}
    for cell in cells:
        exec(compile(cell.replace("epochs=20", "epochs=1, threads=1"), str(path), "exec"), namespace)
    assert namespace["rows"][-1].shape == (8, 8, 8)


def test_there_are_examples():
    assert EXAMPLES


def test_names_are_listed_and_synapses_have_theirs(run):
    assert {"load", "train", "Network"} <= set(dir(ncf))
    network = run.network
    found = network.synapses()
    assert set(found) == set(network.model.tensors()) and (found["W1"] == network.model.parameters["W1"].numpy()).all()

"""What the pages and pictures of a run show is what their headings say: the network's answers come from other code."""

import base64
import re
import struct
import zlib

import numpy as np
import pytest
from pages import Page, curves
from referee import SHAPE, K, bce, settle, weights_of

from ncf.config.schema import SampleConfig
from ncf.sample import sample

BLUE = (86, 180, 233)


def pixels(png: bytes) -> np.ndarray:
    """An 8-bit PNG without interlace and with plain lines, grey (H, W) or in colour (H, W, 3)."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    data, at = b"", 8
    while at < len(png):
        (length,), name = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        data += png[at + 8 : at + 8 + length] if name == b"IDAT" else b""
        at += 12 + length
    channels = {0: 1, 2: 3}[kind]
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * channels)
    assert depth == 8 and not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, channels).squeeze()


@pytest.fixture(scope="module")
def page(risen) -> Page:
    return Page((risen.folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pictures(page) -> dict[str, list[np.ndarray]]:
    """The pictures of the report by what they are called, in their order."""
    found: dict[str, list[np.ndarray]] = {}
    for name, attributes in page.elements:
        if name == "img":
            kind, _ = attributes["alt"].rsplit(" ", 1)
            found.setdefault(kind, []).append(pixels(base64.b64decode(attributes["src"].split(",", 1)[1])))
    return found


def grey(values: np.ndarray) -> np.ndarray:
    return 255 * values.reshape(-1, *SHAPE)


def require_same(shown: list[np.ndarray], expected: np.ndarray) -> None:
    """Bytes within one grey level (rounding)."""
    assert np.abs(np.stack(shown).astype(float) - expected).max() <= 1


# --- the report's pictures --------------------------------------------------------------------------------------------


def test_reconstructions_are_of_test_images_by_the_best_weights(pictures, risen):
    x = risen.images["x_test"][:16]
    require_same(pictures["test image"][:16], grey(x))
    require_same(pictures["reconstruction"], grey(settle(weights_of(risen.checkpoint("best")), x.reshape(16, -1))["mu"][0]))


def test_completions_hide_the_half_that_is_blue(pictures, risen):
    x, observed = risen.images["x_test"][:16], np.ones(SHAPE)
    observed[:, 2:] = 0
    require_same(pictures["test image"][16:32], grey(x))
    for image, shown in zip(x, pictures["what is seen of it"], strict=True):
        assert (shown[:, 2:] == BLUE).all() and np.array_equal(shown[:, :2], np.repeat(255 * image[:, :2, None], 3, axis=2))
    state = settle(weights_of(risen.checkpoint("best")), x.reshape(16, -1), observed.ravel())
    require_same(pictures["completion"], grey(state["mu"][0]))


def test_below_each_sample_stands_the_training_image_nearest_to_it(pictures, risen):
    training = risen.images["x_train"]
    samples, nearest = (np.stack(pictures[kind]).astype(float) / 255 for kind in ("sample", "nearest training image"))
    assert len(samples) == 32
    distances = ((samples[:, None] - training) ** 2).sum((2, 3))
    assert (((samples - nearest) ** 2).sum((1, 2)) <= distances.min(1) + 0.05).all()
    assert all((training == image).all((1, 2)).any() for image in nearest)


def test_receptive_fields_are_the_strongest_rows_of_the_first_synapses(pictures, risen):
    W = weights_of(risen.checkpoint("best"))[0]
    rows = W[np.argsort(-np.linalg.norm(W, axis=1), kind="stable")]
    fields = np.stack(pictures["receptive field"]).astype(int)
    assert len(fields) == 10
    for row, shown in zip(rows, fields):
        orange, blue = shown[..., 0] > shown[..., 2], shown[..., 0] < shown[..., 2]
        clear = np.abs(row.reshape(SHAPE)) > 0.05 * np.abs(W).max()
        assert np.array_equal(orange & clear, (row.reshape(SHAPE) > 0) & clear) and np.array_equal(blue & clear, (row.reshape(SHAPE) < 0) & clear)
    strength = (255 - fields.min(-1)).max((1, 2))
    assert strength[0] > 200


def test_images_are_composed_of_their_most_active_units(pictures, risen):
    W, x = weights_of(risen.checkpoint("best"))[0], risen.images["x_test"][:16]
    f = settle(weights_of(risen.checkpoint("best")), x.reshape(16, -1))["f"][0]
    for k in (1, 3, 10):  # all ten
        kept = np.where(np.abs(f) >= np.sort(np.abs(f), axis=1)[:, -k, None], f, 0)
        require_same(pictures[f"of {k} units"], grey(1 / (1 + np.exp(-kept @ W))))


# --- the report's charts and facts ------------------------------------------------------------------------------------


def chart(risen, title: str) -> str:
    text = (risen.folder / "report.html").read_text(encoding="utf-8")
    return next(part for part in re.findall(r"<svg.*?</svg>", text, re.S) if f"<title>{title}</title>" in part)


@pytest.mark.parametrize("name, title", [("bce", "BCE after each epoch"), ("tod", "ToD after each epoch")])
def test_each_learning_curve_is_that_of_its_label(risen, name, title):
    drawn = curves(chart(risen, title))
    assert set(drawn) == {"train", "validation", "mark"}
    for split in ("train", "validation"):
        figures = [row[f"{split}_{name}"] for row in risen.rows]
        assert [round(x, 2) for x, _ in drawn[split]] == [1, 2, 3, 4, 5]
        assert [y for _, y in drawn[split]] == pytest.approx(figures, abs=0.02 * (max(figures) - min(figures)) + 0.01)
    assert drawn["mark"] == [(pytest.approx(risen.summary["best_epoch"], abs=0.01), 0.0)] and risen.summary["best_epoch"] < 5


def test_the_settling_curves_are_those_of_the_test_images(risen):
    x, W = risen.images["x_test"].reshape(40, -1), weights_of(risen.checkpoint("best"))
    for name, title in (("bce", "BCE while settling"), ("tod", "ToD while settling")):
        drawn = curves(chart(risen, title))
        for k in (1, 2, 5, K, 2 * K):
            state = settle(W, x, steps=k)
            figure = bce(x, state["mu"][0]).mean() if name == "bce" else -sum((r**2).sum(1) for r in state["r"]).mean()
            step, value = drawn[name][k - 1]
            assert round(step, 2) == k and value == pytest.approx(figure, abs=0.1)
        assert [round(step, 2) for step, _ in drawn["mark"]] == [K]


def test_the_facts_tell_the_best_epoch_and_its_figure(page, risen):
    told = risen.summary
    assert f"5 of 5, best {told['best_epoch']}" in page.texts
    assert (
        f"{told['validation_bce']:.2f} nats per image" in page.texts
        and f"K = {K}, β = 0.1" in page.texts
        and f"{told['seconds']:.1f} s" in page.texts
    )
    assert f"Of the checkpoint of epoch {told['best_epoch']}: mean over images ± its standard error." in page.texts


def test_activity_is_that_of_the_layers(page, risen):
    """Of test images, after settling: units, the share of them above 0.001, those never above it, and how strong the others are."""
    f = settle(weights_of(risen.checkpoint("best")), risen.images["x_test"].reshape(40, -1))["f"]
    rows = page.table("population")[1:]
    for l, (row, f_l) in enumerate(zip(rows, f, strict=True), start=1):
        active = np.abs(f_l) > 1e-3
        expected = [f_l.shape[1], active.mean(), (~active.any(0)).mean(), np.abs(f_l)[active].mean()]
        assert row[0][0] == f"z{l}"
        shown = [float(value if value is not None else text.rstrip(" %")) for text, value in row[1:]]
        assert shown == pytest.approx(expected, rel=0.02, abs=0.01)


# --- ncf-sample -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sampled(risen, tmp_path_factory):
    """What ncf-sample draws into its pictures, by file: (label, images) from the top; and its folder."""
    folder, drawn = tmp_path_factory.mktemp("sampled"), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ncf.sample.save_picture", lambda path, rows, height, width, group: drawn.update({path.name: [*rows, (height, width)]}))
        sample(SampleConfig(checkpoint=str(risen.folder), n=50, threads=1, output=str(folder), masks=["left", "bottom"], mask_fraction=0.5))
    with np.load(folder / "samples.npz") as file:
        return drawn, dict(file)


def test_the_picture_of_samples_has_the_nearest_training_images_below_them(sampled, risen):
    drawn, arrays = sampled
    *rows, shape = drawn["samples.png"]
    assert shape == SHAPE and [label for label, _ in rows] == ["sample", "nearest"] * 3
    samples, nearest = (np.concatenate([images for label, images in rows if label == kind]).reshape(-1, *SHAPE) for kind in ("sample", "nearest"))
    assert np.array_equal(samples, arrays["samples"]) and np.array_equal(nearest, arrays["nearest"])
    training = risen.images["x_train"]
    distances = np.sqrt(((samples[:, None] - training) ** 2).sum((2, 3)))
    assert arrays["distance"] == pytest.approx(distances.min(1), abs=1e-3)
    assert np.sqrt(((samples - nearest) ** 2).sum((1, 2))) == pytest.approx(distances.min(1), abs=1e-3)
    assert len(np.unique(samples)) > 100  # (samples are grey, and not all the same)


def test_samples_are_projections_of_the_latents_beside_them(sampled, risen):
    _, arrays = sampled
    W, f = weights_of(risen.checkpoint("best")), arrays["latents"].astype(float)
    for w in W[:0:-1]:
        f = np.tanh(f @ w)
    expected = 1 / (1 + np.exp(-(f @ W[0])))
    assert arrays["samples"].reshape(50, -1) == pytest.approx(expected, abs=1e-4)


def test_the_class_of_a_sample_is_the_vote_of_its_five_nearest(sampled, risen):
    _, arrays = sampled
    distances = ((arrays["samples"][:, None] - risen.images["x_train"]) ** 2).sum((2, 3))
    sure = 0
    for row, told in zip(distances, arrays["class"]):
        order = np.argsort(row)
        votes = np.bincount(risen.images["y_train"][order[:5]], minlength=3)
        if (votes == votes.max()).sum() == 1 and row[order[5]] - row[order[4]] > 1e-3:  # (neither a tie of votes nor of distances)
            assert told == votes.argmax()
            sure += 1
    assert sure > 10


def test_completions_are_of_test_images_with_what_was_seen_left_as_it_is(sampled, risen):
    drawn, _ = sampled
    *rows, shape = drawn["completions.png"]
    assert shape == SHAPE and [label for label, _ in rows] == ["image", "left", "completion", "image", "bottom", "completion"]
    x, W = risen.images["x_test"][:12].reshape(12, -1), weights_of(risen.checkpoint("best"))
    for start, hidden in ((0, (slice(None), slice(0, 2))), (3, (slice(3, 6), slice(None)))):
        observed = np.ones(SHAPE)
        observed[hidden] = 0
        observed = observed.ravel()
        image, seen, completion = (images for _, images in rows[start : start + 3])
        assert np.array_equal(image, x) and np.array_equal(seen, np.where(observed, x, 0.5))
        mu = settle(W, x, observed)["mu"][0]
        assert completion == pytest.approx(np.where(observed, x, mu), abs=1e-4)


def test_the_commands_picture_of_reconstructions_is_of_test_images(risen, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr("ncf.report.tables.save_picture", lambda path, rows, *shape: drawn.update(rows=rows, shape=shape))
    from ncf.evaluate import open_checkpoint
    from ncf.report.tables import draw_reconstructions

    opened = open_checkpoint(SampleConfig(checkpoint=str(risen.folder), threads=1))
    draw_reconstructions(opened.network, opened.data, tmp_path / "x.png")
    assert drawn["shape"] == SHAPE and [label for label, _ in drawn["rows"]] == ["image", "settled"]
    x = risen.images["x_test"][:16].reshape(16, -1)
    assert np.array_equal(drawn["rows"][0][1], x)
    assert drawn["rows"][1][1] == pytest.approx(settle(weights_of(risen.checkpoint("best")), x)["mu"][0], abs=1e-4)

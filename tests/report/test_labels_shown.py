"""What a report shows of a circuit with labels: the classes' images and the table of told labels, against the network's own answers."""

import base64
import json

import numpy as np
import pytest
import torch
from pages import Page
from test_shown import pixels, require_same

from ncf.models import images_for, restore
from ncf.notebook import train
from ncf.report.run_page import write

SMALL = [f"model.populations.z{i}={{size:12,columns:0}}" for i in (1, 2, 3)]


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A short run of a circuit with labels, its report taken apart, and network and images."""
    folder = tmp_path_factory.mktemp("labels") / "run"
    train("model=image_and_label", "dataset.n_train=300", "epochs=2", "threads=1", "metrics.names=[label_err]", *SMALL, f"run_dir={folder}")
    target, missing = write(folder)
    assert missing == []
    opened = restore(folder)
    return folder, Page(target.read_text(encoding="utf-8")), opened.network, images_for(opened, opened.config.dataset)


def test_the_table_of_labels_counts_what_the_metric_counts(reported):
    folder, page, network, data = reported
    (lines,) = [table for table in page.tables if any(text == "told 3" for text, _ in table[0])]
    counts = np.array([[int(text) for text, _ in line[1:]] for line in lines[1:]])
    test = data.splits["test"]
    told = network.told(network.settle(test.x)).argmax(1)
    assert counts.sum(1).tolist() == np.bincount(test.y).tolist() and counts.sum(0).tolist() == np.bincount(told, minlength=10).tolist()
    wrong = json.loads((folder / "summary.json").read_text())["metrics"]["test"]["label_err"]["value"]
    assert 100 * (1 - np.trace(counts) / counts.sum()) == pytest.approx(wrong)


def test_a_class_is_shown_by_what_the_network_settles_to_on_its_label_alone(reported):
    _, page, network, _ = reported
    found = [a for name, a in page.elements if name == "img" and a["alt"].startswith("settled on the class")]
    shown = [pixels(base64.b64decode(a["src"].split(",", 1)[1])) for a in found]
    alone = torch.cat([network.settle({"label": torch.eye(10)[[label]]}).mu[0] for label in range(10)])
    require_same(shown, 255 * alone.numpy().reshape(-1, 8, 8))
    assert np.ptp(np.stack(shown).astype(float), axis=0).max() > 1  # classes differ

"""A circuit's picture and its words hold every population and every arrow, from the top down."""

import re

import pytest
from installed import warm

from ncf.config.compose import compose_train
from ncf.network.expand import circuit_of
from ncf.report.circuit_picture import describe, levels, picture


def circuit(model: str):
    return circuit_of(compose_train(f"model={model}").model, {"image": 784})


@pytest.mark.parametrize("model, bundles, feedback", [("gncn_pdh", 5, 3), ("gncn_pdeh", 5, 5), ("gncn_pdeh_skip", 6, 6), ("two_streams", 4, 4)])
def test_every_population_is_a_box_and_every_bundle_and_feedback_an_arrow(model, bundles, feedback):
    drawn = picture(circuit(model))
    assert re.findall(r'class="name">(\w+)<', drawn) == circuit(model).names
    assert drawn.count('<path d="') - 2 == bundles + feedback  # (two are the arrows' heads)
    assert drawn.count('class="bundle"') == bundles and drawn.count('class="feedback"') == feedback


def test_what_predicts_stands_above_what_it_predicts():
    made = circuit("two_streams")
    height = dict(zip(made.names, levels(made)))
    assert height == {"image": 0, "left": 1, "right": 1, "top": 2}
    rows = [float(y) for y in re.findall(r'<rect x="[^"]+" y="([^"]+)"', picture(made))]
    at = dict(zip(made.names, rows))
    assert at["top"] < at["left"] == at["right"] < at["image"]


def test_help_prints_the_circuit_in_words(tmp_path):
    assert describe(circuit("gncn_pdh"))[1] == "z2 (360 units in columns of 12) -> z1, image; errors from z1"
    shown = warm("ncf-train", "model=two_streams", "--help", cwd=tmp_path).stdout
    assert "top (90 units) -> left, right; errors from left, right" in shown and "image (observed)" in shown
    assert "top (" not in warm("ncf-train", "model=rae", "--help", cwd=tmp_path).stdout

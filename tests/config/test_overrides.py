"""Paths on the command line are texts, whatever is in them."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from ncf.config.arguments import quote_paths


@pytest.mark.parametrize(
    "path",
    ["a/b.pt", "outputs/sweeps/s/model=gncn_t1,seed=0", "with space/x", "it's/here", "a(b)[c]{d}", "C:\\runs", "~no-such-user/x", "trailing\\"],
)
def test_a_path_reaches_the_config_as_it_was_typed(path):
    (argument,) = quote_paths([f"checkpoint={path}"])
    (override,) = OverridesParser.create().parse_overrides([argument])
    assert override.value() == path


def test_other_keys_and_quoted_paths_are_left_alone():
    given = ["model.layers=[12,12]", "seed=0", "resume='a=b'", 'checkpoint="x=y"', "data_dir=${oc.env:HOME}/x", "--multirun"]
    assert quote_paths(given) == given

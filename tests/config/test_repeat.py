"""A run again from its own config: config=RUN/config.yaml, and the command that its report shows."""

import html
import re
import shlex

import pytest
import yaml
from installed import TINY, require_one_line, warm

from ncf.config import defaults
from ncf.config.compose import compose_train
from ncf.config.schema import science


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A run of the user's own model, whose file keeps the name that its report shows."""
    cwd = tmp_path_factory.mktemp("own")
    (cwd / "mine" / "model").mkdir(parents=True)
    (cwd / "mine" / "model" / "flat.yaml").write_text(
        "defaults: [gncn_pdh, _self_]\nname: gncn_pdh\nlayers: [24, 12]\nlateral: {columns: [6]}\nsettle: {steps: 7}\n"
    )
    tiny = [word for word in TINY if not word.startswith("model.")]
    done = warm("ncf-train", "--config-dir=mine", "model=flat", "model.settle.beta=0.2", *tiny, "name=first", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd


def checkpoint(cwd, name: str) -> bytes:
    return (cwd / "outputs/runs" / name / "checkpoints/best.pt").read_bytes()


@pytest.mark.parametrize("path", ["outputs/runs/first/config.yaml", "outputs/runs/first"])
def test_a_run_is_repeated_from_its_config(own, path):
    name = path.replace("/", "-")
    done = warm("ncf-train", f"config={path}", f"name={name}", cwd=own)
    assert done.returncode == 0, done.stderr
    assert checkpoint(own, name) == checkpoint(own, "first")


def test_what_the_command_line_gives_stands_above_that_config_also_in_a_sweep(own):
    config = "config=outputs/runs/first/config.yaml"
    assert warm("ncf-train", config, "seed=5", "name=other", cwd=own).returncode == 0
    assert checkpoint(own, "other") != checkpoint(own, "first")
    done = warm("ncf-train", "--multirun", config, "seed=0,5", "name=both", cwd=own)
    assert done.returncode == 0, done.stderr
    for seed, name in ((0, "first"), (5, "other")):
        assert (own / f"outputs/sweeps/both/seed={seed}/checkpoints/best.pt").read_bytes() == checkpoint(own, name)


def test_the_keys_of_another_model_change_in_the_run_of_that_model(tmp_path):
    """config= of an autoencoder: its own keys are known, what is not given stays; another option of a group comes whole."""
    tiny = [word for word in TINY if not word.startswith("model.")]
    done = warm("ncf-train", "model=rae", "model.layers=[9,4]", *tiny, "name=small", cwd=tmp_path)
    assert done.returncode == 0, done.stderr

    def model_of(name: str, *given: str) -> dict:
        done = warm("ncf-train", "config=outputs/runs/small", f"name={name}", *given, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return yaml.safe_load((tmp_path / "outputs/runs" / name / "config.yaml").read_text())["model"]

    first = yaml.safe_load((tmp_path / "outputs/runs/small/config.yaml").read_text())["model"]
    assert model_of("penalty", "model.l2=0.5") == model_of("named", "model=rae", "model.l2=0.5") == first | {"l2": 0.5}
    net = model_of("net", "model=gncn_t1", "model.layers=[8,8]", "model.settle.steps=3")
    assert (net["name"], net["layers"], net["settle"]["steps"]) == ("gncn_t1", [8, 8], 3) and "code" not in net
    require_one_line(warm("ncf-train", "config=outputs/runs/small", "model.settle.steps=3", "name=wrong", cwd=tmp_path), "model.settle.steps")


def test_the_command_that_repeats_a_run_leaves_out_the_populations_that_it_left_out():
    given = ("model=image_and_label", "~model.populations.z3", 'model.bundles=["z1 -> image","z1 -> label","z2 -> z1"]')
    config = science(compose_train(*given))
    typed = shlex.split(defaults.command(config))
    assert "~model.populations.z3" in typed and science(compose_train(*typed[1:])) == config
    assert "~" not in defaults.command(science(compose_train("model=image_and_label")))


def test_the_report_shows_a_run_against_its_own_base_with_the_command_that_repeats_it(own):
    page = (own / "outputs/runs/first/report.html").read_text()
    typed = shlex.split(html.unescape(re.search("<pre>(.*?)</pre>", page).group(1)))
    assert typed[:3] == ["ncf-train", f"--config-dir={own / 'mine'}", "model=flat"] and "model.settle.beta=0.2" in typed
    assert not any(word.startswith(("model.layers", "model.skips", "model.settle.steps")) for word in typed), "the base has them"
    assert "threads=1" in typed and any(word.startswith("compute.dtype=") for word in typed)
    assert warm("ncf-train", *typed[1:], "name=typed", cwd=own).returncode == 0
    runs = own / "outputs/runs"
    from ncf.runs.checkpoint import load

    first, again = (load(runs / name / "checkpoints/best.pt")["weights"] for name in ("first", "typed"))
    assert first.keys() == again.keys() and all((first[key] == again[key]).all() for key in first)


@pytest.mark.parametrize("content", [None, "model: [}", "- 3", "seed: ${oc.env:HOME}"])
def test_a_config_that_cannot_be_read_is_one_line(content, tmp_path):
    if content:
        (tmp_path / "config.yaml").write_text(content)
    require_one_line(warm("ncf-train", "config=config.yaml", cwd=tmp_path), "config=config.yaml: cannot be read")
    assert len(list(tmp_path.iterdir())) == bool(content)

"""The documentation: commands in its guides run, generated pages are current, the site builds, nothing is linked that is not there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from docs_pages import PAGES
from installed import TINY, warm
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SMALL = ["dataset.n_train=100", "dataset.n_validation=20", "batch_size=50", "threads=1", "metrics.n_images=20", "model.settle.steps=2", "epochs=1"]
GUIDES = [page for page in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))] if "```sh" in page.read_text(encoding="utf-8")]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """What the guides take for granted: a run named first, and pictures of one's own."""
    cwd = tmp_path_factory.mktemp("guides")
    assert warm("ncf-train", *TINY, "name=first", cwd=cwd).returncode == 0
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (cwd / "pictures" / name).mkdir(parents=True)
        for i in range(80):
            Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(cwd / "pictures" / name / f"{i}.png")
    np.savez(cwd / "mine.npz", x_train=rng.random((200, 8, 8)))
    return cwd


def written_files(text: str) -> dict[str, str]:
    """Code blocks with a title are files."""
    return dict(re.findall(r'```\w+ title="([^"]+)"\n(.*?)```', text, re.S))


def commands(text: str) -> list[list[str]]:
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines() if line.startswith("ncf-")]
    return [line.split("  #")[0].replace("'", "").split() for line in lines]


def made_small(name: str, *arguments: str) -> list[str]:
    """A training command in small, unless it goes on with a run: what it sets itself stays, but for the epochs."""
    if name != "ncf-train" or "--help" in arguments or any(a.startswith(("resume=", "config=")) for a in arguments):
        return [name, *arguments]
    given = {argument.split("=")[0] for argument in arguments}
    arguments = ["dataset=digits" if a == "dataset=mnist" else re.sub("^epochs=(\\d\\d)$", "epochs=1", a) for a in arguments]
    return [name, *arguments, *(word for word in SMALL if word.split("=")[0] not in given)]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_commands_of_a_guide_run(page, begun, tmp_path):
    cwd = shutil.copytree(begun, tmp_path / "work")
    text = page.read_text(encoding="utf-8")
    if any("name=first" in command for command in commands(text)):  # it makes that run itself
        shutil.rmtree(cwd / "outputs")
    for name, content in written_files(text).items():
        (cwd / name).parent.mkdir(parents=True, exist_ok=True)
        (cwd / name).write_text(content)
    for command in commands(text):
        done = warm(*made_small(*command), cwd=cwd)
        assert done.returncode == 0, (command, done.stdout[-1000:], done.stderr)


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_current(name):
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "python scripts/docs_pages.py writes it"


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert target.startswith("https://") or (ROOT / target.split("#")[0]).exists(), target


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "guides" / "plugins" / "index.html").exists()

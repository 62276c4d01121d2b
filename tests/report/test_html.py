"""Pages: what is text stays text, and pictures hold the pixels that they were given."""

import io
import string

import numpy as np
import pytest
from pages import Page
from PIL import Image

from ncf.errors import UserError
from ncf.report.html import document, png, short, table, tag, write_whole

HOSTILE = [
    "<b>bold</b>",
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "&lt;b&gt;",
    "</title><img src=x onerror=alert(1)>",
    "'\"`<!--",
    "\N{SNOWMAN} é",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_user_text_is_shown_and_never_becomes_markup(hostile):
    page = Page(document(hostile, tag("h1", hostile, title=hostile), table([hostile], [[hostile]], filters=[hostile])))
    assert page.texts.count(hostile) == 4  # the page's title, the heading, the table's head and its cell
    assert [a["title"] for name, a in page.elements if name == "h1"] == [hostile]
    assert [a["data-filter"] for name, a in page.elements if name == "tr" and "data-filter" in a] == [hostile]
    assert not {"b", "img"} & {name for name, _ in page.elements} and [name for name, _ in page.elements].count("script") == 1


def test_the_page_names_no_address_to_fetch_from():
    markup = document("t", tag("p", "x"))
    assert "//" not in "".join(line for line in markup.splitlines() if not line.startswith("//")), "comments aside, no address"


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (28, 28), (4, 7, 3)])
def test_png_is_read_back_as_the_same_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)


def test_numbers_are_shown_short_with_every_digit_behind_them():
    value = 10.123456789012345
    cell = Page(table(["a"], [[value]])).tables[0][1][0]
    assert cell == ("10.12", repr(value))
    assert [short(v) for v in (-1.005, 0, 3, 0.00012345, 1e9, float("nan"))] == ["\N{MINUS SIGN}1.00", "0", "3", "0.000123", "1e+09", "nan"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        write_whole(tmp_path / "page.html", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_texts_of_all_kinds_survive(tmp_path):
    assert Page(tag("p", string.printable)).texts[0].split() == string.printable.split()

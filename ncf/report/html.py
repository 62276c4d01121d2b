"""Self-contained HTML pages: every text is escaped unless it is `Html`, and the page forbids the browser to fetch anything."""

import base64
import hashlib
import html
import io
import re
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ncf.errors import UserError
from ncf.runs import files

STYLE = Path(__file__).with_name("page.css")
SCRIPT = Path(__file__).with_name("page.js")


class Html(str):
    """Markup: the only text that `tag` takes as it is."""


def escaped(content) -> Html:
    """Text as markup that shows it; `Html` unchanged; a list as its parts in a row; None as nothing."""
    if isinstance(content, Html):
        return content
    if content is None:
        return Html("")
    if isinstance(content, (list, tuple)) or hasattr(content, "__next__"):
        return Html("".join(escaped(part) for part in content))
    return Html(html.escape(str(content)))


def tag(name: str, /, *children, **attributes) -> Html:
    """One element. Attributes that are None are left out; a trailing underscore (class_) and inner ones (data_filter) become HTML's."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items() if value is not None)
    if name in ("img", "input", "meta", "link"):
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{escaped(children)}</{name}>")


def document(title: str, *body) -> Html:
    """A whole page. Its policy lets in the inline style, the one script below (by its digest) and data: pictures, nothing else."""
    script = SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("link", rel="icon", href="data:,"),
        tag("title", title),
        tag("style", Html(STYLE.read_text(encoding="utf-8"))),
    )
    return Html(f'<!DOCTYPE html>\n<html lang="en">{head}\n{tag("body", tag("main", *body))}<script>{script}</script></html>\n')


def section(title: str, *body, note: str | None = None) -> Html:
    return tag("section", tag("h2", title), tag("p", note, class_="note") if note else None, *body)


# --- tables -----------------------------------------------------------------------------------------------------------


def cell(value, shown: str | None = None) -> Html:
    """A table cell: numbers to the right, shown short, with every digit behind them for sorting and on hover."""
    if value is None:
        return tag("td", "–", class_="number")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return tag("td", value)
    return tag("td", shown or short(value), class_="number", data_value=repr(value), title=repr(value))


def table(header: list, rows: Iterable[list], sortable: bool = False, filters: list[str] | None = None) -> Html:
    """A table in a box that scrolls sideways. Cells are texts, numbers or ready `td`; `filters` holds each row's words to search."""
    cells = [[c if isinstance(c, Html) and c.startswith("<td") else cell(c) for c in row] for row in rows]
    right = ["number" if any('class="number"' in row[i] for row in cells) else None for i in range(len(header))]
    heads = [tag("th", head(name, sortable), scope="col", class_=c) for name, c in zip(header, right)]
    body = [tag("tr", *row, data_filter=filters[i] if filters else None) for i, row in enumerate(cells)]
    whole = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *body), class_="sortable" if sortable else None)
    return tag("div", whole, class_="scroll")


def head(name: str | tuple[str, str], sortable: bool) -> Html:
    """A column's head, with its unit below where it is given as (name, unit)."""
    name, unit = name if isinstance(name, tuple) else (name, None)
    return Html((tag("button", name, type="button") if sortable else escaped(name)) + (tag("small", unit) if unit else ""))


def broken(text: str) -> Html:
    """A text of keys, paths or overrides that may be broken between its words alone."""
    return Html(re.sub(r"([._,/=])(?=\w)", r"\1<wbr>", html.escape(text)))


def details(summary: str, *body) -> Html:
    return tag("details", tag("summary", summary), *body)


def short(value: float) -> str:
    """A number as a person wants to read it: two decimals, more for small ones, a proper minus."""
    if isinstance(value, int) or value != value or abs(value) == float("inf"):
        text = str(value)
    elif value == 0 or 0.1 <= abs(value) < 1e6:
        text = f"{value:.2f}"
    else:
        text = f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}") if text.startswith("-") else text


def count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


# --- pictures ---------------------------------------------------------------------------------------------------------


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of bytes (H, W), grey, or (H, W, 3), red green blue."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape[:2]
    colour = 2 if pixels.ndim == 3 else 0
    lines = b"".join(b"\0" + line.tobytes() for line in np.ascontiguousarray(pixels, dtype=np.uint8))
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def gif(pictures: list[np.ndarray], milliseconds: int = 200) -> bytes:
    """A GIF file of pictures in grey, bytes (H, W), shown one after another for ever."""
    from PIL import Image

    first, *more = [Image.fromarray(pixels) for pixels in pictures]
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=more, duration=milliseconds, loop=0)
    return buffer.getvalue()


def picture(file: bytes, width: int, height: int, alt: str, scale: int = 1, kind: str = "png") -> Html:
    """An image element for a PNG (or GIF), each of its pixels `scale` wide: the factor is whole, so that pixels stay crisp."""
    source = f"data:image/{kind};base64," + base64.b64encode(file).decode()
    return tag("img", src=source, width=width * scale, height=height * scale, alt=alt)


# --- files ------------------------------------------------------------------------------------------------------------


def write_whole(target: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    try:
        files.write_whole(target, content)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error})") from error

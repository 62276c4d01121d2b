"""Line charts as inline SVG: one style, Okabe and Ito's colour-blind-safe colours, axes labelled with units, text as text."""

import json
import math
from dataclasses import dataclass

from ncf.report.html import Html, tag

# Okabe and Ito, without black (axes) and yellow (too light on white), the most distinct first
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
PALE = "#C8C8C8"
WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 70, 12, 20, 44  # margins of the plot inside the picture


@dataclass
class Line:
    """One curve. Points that are not finite break it; `low` and `high` draw a band around it; `words` are what a filter searches."""

    label: str
    x: list[float]
    y: list[float]
    colour: str = COLOURS[0]
    low: list[float] | None = None
    high: list[float] | None = None
    words: str | None = None


def line_chart(title: str, lines: list[Line], x_label: str, y_label: str, mark: tuple[float, str] | None = None, key: bool = True) -> Html:
    """A figure, with its legend if `key`; `mark` draws an upright line at an x, with a text."""
    xs = [x for line in lines for x in line.x] + ([mark[0]] if mark else [])
    ys = [y for line in lines for part in (line.y, line.low or [], line.high or []) for y in part]
    x_axis, y_axis = Axis(xs, LEFT, WIDTH - RIGHT, whole=True), Axis(ys, HEIGHT - BOTTOM, TOP)
    drawing = [
        *(horizontal(y_axis.at(value), tick_text(value, y_axis.step)) for value in y_axis.ticks),
        *(upright(x_axis.at(value), tick_text(value, x_axis.step)) for value in x_axis.ticks),
        marked(x_axis.at(mark[0]), mark[1]) if mark else None,
        *(drawn(line, x_axis, y_axis) for line in lines),
        tag("text", x_label, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 6, text_anchor="middle", class_="axis"),
        tag("text", y_label, transform=f"translate(12 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)", text_anchor="middle", class_="axis"),
    ]
    svg = tag("svg", tag("title", title), *drawing, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", data_values=values_text(lines, x_axis, x_label))
    readout = tag("output", class_="readout", aria_hidden="true")
    return tag("figure", tag("figcaption", title), svg, readout, legend(lines) if key else None, class_="chart")


def values_text(lines: list[Line], x_axis: "Axis", x_label: str) -> str:
    """What the page's script shows under the pointer: of each curve in colour its points, and where they stand."""
    shown = [
        {"label": line.label, "colour": line.colour, "at": [x_axis.at(x) for x in line.x], "x": line.x, "y": [float(f"{y:.6g}") for y in line.y]}
        for line in lines
        if line.colour != PALE and all(map(math.isfinite, line.y))
    ]
    return json.dumps({"x": x_label, "lines": shown}, separators=(",", ":"))


class Axis:
    """From values to positions, over a range that ends on round numbers."""

    def __init__(self, values: list[float], start: float, end: float, whole: bool = False):
        finite = [v for v in values if math.isfinite(v)] or [0.0]
        self.start, self.end = start, end
        self.ticks = ticks(min(finite), max(finite), whole=whole)
        self.step = self.ticks[1] - self.ticks[0]
        self.low, self.high = (min(finite), max(max(finite), min(finite) + 1)) if whole else (self.ticks[0], self.ticks[-1])
        self.ticks = [tick for tick in self.ticks if self.low <= tick <= self.high]

    def at(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 2)


def ticks(low: float, high: float, n: int = 5, whole: bool = False) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten that span low..high, in about n steps (at least 1 if `whole`)."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / n))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * n >= span * 0.999)
    if whole:
        step = max(1, round(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def tick_text(value: float, step: float) -> str:
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:.{decimals}f}" if abs(value) < 1e6 and decimals < 5 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text


def horizontal(y: float, text: str) -> Html:
    return tag("g", tag("path", d=f"M{LEFT} {y}H{WIDTH - RIGHT}", class_="grid"), tag("text", text, x=LEFT - 6, y=y + 4, text_anchor="end"))


def upright(x: float, text: str) -> Html:
    y = HEIGHT - BOTTOM
    return tag("g", tag("path", d=f"M{x} {y}v4", class_="tick"), tag("text", text, x=x, y=y + 17, text_anchor="middle"))


def marked(x: float, text: str) -> Html:
    anchor = "end" if x > (LEFT + WIDTH - RIGHT) / 2 else "start"
    return tag("g", tag("path", d=f"M{x} {TOP - 4}V{HEIGHT - BOTTOM}", class_="mark"), tag("text", text, x=x, y=TOP - 7, text_anchor=anchor))


def drawn(line: Line, x_axis: Axis, y_axis: Axis) -> Html:
    """The curve with its band; a point without neighbours becomes a dot. Its label shows on hover."""
    points = list(zip(line.x, line.y, strict=True))
    shapes = []
    if line.low and line.high:
        edge = [*zip(line.x, line.high), *reversed(list(zip(line.x, line.low)))]
        if all(math.isfinite(y) for _, y in edge):
            around = "L".join(f"{x_axis.at(x)} {y_axis.at(y)}" for x, y in edge)
            shapes.append(tag("path", d=f"M{around}Z", fill=line.colour, class_="band"))
    for part in finite_parts(points):
        places = [f"{x_axis.at(x)} {y_axis.at(y)}" for x, y in part]
        if len(part) == 1:
            cx, cy = places[0].split()
            shapes.append(tag("circle", cx=cx, cy=cy, r=3, fill=line.colour))
        else:
            shapes.append(tag("path", d="M" + "L".join(places), stroke=line.colour, class_="line pale" if line.colour == PALE else "line"))
    return tag("g", tag("title", line.label), *shapes, data_filter=line.words)


def finite_parts(points: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    parts: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            parts[-1].append((x, y))
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def legend(lines: list[Line]) -> Html | None:
    """Which colour is which; curves in the pale colour share one entry."""
    if len(lines) < 2:
        return None
    named = [line for line in lines if line.colour != PALE]
    entries = [(line.label, line.colour) for line in named]
    if len(named) < len(lines):
        entries.append((f"{len(lines) - len(named)} more", PALE))
    swatch = '<svg viewBox="0 0 24 8" class="swatch" aria-hidden="true"><path d="M1 4H23" stroke="{}" class="line"></path></svg>'
    return tag("ul", *(tag("li", Html(swatch.format(colour)), label) for label, colour in entries), class_="legend")

"""A circuit as a picture: populations as boxes, bundles as arrows down, feedback as dashed arrows up, delayed bundles dotted; and as lines of text."""

from ncf.network.circuit import Circuit
from ncf.report.html import Html, section, tag

BOX, GAP, ROW, MARGIN = (150, 40), 44, 92, 24


def levels(circuit: Circuit) -> list[int]:
    """The height of each population: the lowest are predicted and predict nothing; each other one stands above all that it predicts."""
    height = [0] * len(circuit.populations)
    for i in range(len(height)):  # (targets are numbered before their sources)
        height[i] = 1 + max((height[b.target] for b in circuit.bundles if b.source == i), default=-1)
    return height


def describe(circuit: Circuit) -> list[str]:
    """``z2 (360) -> z1, image``, from the top down, with what is observed and where errors come from."""
    height = levels(circuit)
    lines = []
    for i in sorted(range(len(height)), key=lambda i: (-height[i], i)):
        p = circuit.populations[i]
        targets = [circuit.names[b.target] for b in circuit.bundles if b.source == i]
        targets += [f"{circuit.names[b.target]} one frame later" for b in circuit.delayed if b.source == i]
        errors = [circuit.names[f.source] for f in circuit.feedback_into(i)]
        size = "observed" if p.observed else f"{p.size} units" + (f" in columns of {p.columns}" if p.columns else "")
        lines.append(
            f"{p.name} ({size})" + (f" -> {', '.join(targets)}" if targets else "") + (f"; errors from {', '.join(errors)}" if errors else "")
        )
    return lines


def picture(circuit: Circuit) -> Html:
    """The circuit as an inline SVG."""
    height = levels(circuit)
    rows = [[i for i, h in enumerate(height) if h == level] for level in range(max(height) + 1)]
    skips = any(abs(height[b.source] - height[b.target]) > 1 for b in (*circuit.bundles, *circuit.delayed))
    side = 70 * skips + 24 * bool(circuit.delayed) + MARGIN
    width = 2 * side + max(len(row) * (BOX[0] + GAP) - GAP for row in rows)
    total = len(rows) * ROW - (ROW - BOX[1]) + 2 * MARGIN
    at = {}
    for level, row in enumerate(rows):
        left = (width - len(row) * (BOX[0] + GAP) + GAP) / 2
        for n, i in enumerate(row):
            at[i] = (left + n * (BOX[0] + GAP) + BOX[0] / 2, total - MARGIN - BOX[1] / 2 - level * ROW)
    drawn = [arrow(at, height, b.source, b.target, "bundle") for b in circuit.bundles]
    drawn += [arrow(at, height, f.source, f.target, "feedback") for f in circuit.feedback]
    drawn += [loop(*at[b.source]) if b.source == b.target else arrow(at, height, b.source, b.target, "delayed") for b in circuit.delayed]
    boxes = [box(circuit, i, *at[i]) for i in at]
    kinds = ("bundle", "feedback", *(("delayed",) if circuit.delayed else ()))
    svg = tag(
        "svg", tag("title", "the circuit"), markers(kinds), *drawn, *boxes, viewBox=f"0 0 {width} {total}", width=width, role="img", class_="circuit"
    )
    return section(
        "Circuit",
        tag("div", svg, class_="scroll"),
        note="Solid arrows: a population's activity predicts another. Dashed: the errors of that prediction come back. "
        + ("Dotted: the activity in the frame before predicts. " if circuit.delayed else "")
        + "Observed populations are filled.",
    )


def box(circuit: Circuit, i: int, x: float, y: float) -> Html:
    p = circuit.populations[i]
    words = f"{p.size} units" + (f", columns of {p.columns}" if p.columns else "")
    frame = tag("rect", x=x - BOX[0] / 2, y=y - BOX[1] / 2, width=BOX[0], height=BOX[1], rx=6, class_="observed" if p.observed else "hidden")
    name = tag("text", p.name, x=x, y=y - 2, text_anchor="middle", class_="name")
    return tag("g", frame, name, tag("text", words, x=x, y=y + 12, text_anchor="middle", class_="size"))


def arrow(at: dict, height: list[int], source: int, target: int, kind: str) -> Html:
    """From box to box; one that skips a level bends around what lies between, on the left for bundles and on the right for feedback."""
    (x1, y1), (x2, y2) = at[source], at[target]
    down, side = (1, -1) if y2 > y1 else (-1, 1)
    if abs(height[source] - height[target]) > 1:
        edge = side * BOX[0] / 2
        bend = max(abs(x1), abs(x2)) if side > 0 else min(x1, x2)
        bend += edge + side * (14 + 18 * (abs(height[source] - height[target]) - 1))
        path = f"M{x1 + edge} {y1} C{bend} {y1} {bend} {y2} {x2 + edge} {y2}"
    else:
        shift = {"bundle": -9, "feedback": 9, "delayed": -27}[kind]
        path = f"M{x1 + shift} {y1 + down * BOX[1] / 2} L{x2 + shift} {y2 - down * (BOX[1] / 2 + 2)}"
    return tag("path", d=path, class_=kind, marker_end=f"url(#{kind}-end)")


def loop(x: float, y: float) -> Html:
    """A delayed bundle of a population to itself, at the right of its box."""
    edge = x + BOX[0] / 2
    path = f"M{edge} {y - 10} C{edge + 34} {y - 24} {edge + 34} {y + 24} {edge + 2} {y + 10}"
    return tag("path", d=path, class_="delayed", marker_end="url(#delayed-end)")


def markers(kinds: tuple[str, ...]) -> Html:
    heads = (tag("marker", tag("path", d="M0 0 L8 4 L0 8 z", class_=f"{kind}-head"), id=f"{kind}-end", viewBox="0 0 8 8", refX=7, refY=4,
                 markerWidth=7, markerHeight=7, orient="auto-start-reverse") for kind in kinds)  # fmt: skip
    return tag("defs", *heads)

"""Generated pages of the documentation: docs/configuration.md from the schema, docs/modules.md from the source.

python scripts/docs_pages.py            # write them; a test compares them with the code
"""

import ast
from dataclasses import fields, is_dataclass
from pathlib import Path

from ncf.config.compose import compose_train
from ncf.config.overrides import range_words
from ncf.config.schema import MODEL_FAMILIES, EvalConfig, SampleConfig, TrainConfig

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = "<!-- written by scripts/docs_pages.py -->"


def configuration() -> str:
    """Every key of every command, in tables."""
    plain = compose_train().optimizer
    parts = [
        f"# Configuration\n\n{WRITTEN}\n\nEvery key with the default of the schema and its range. A group's option overrides these: `configs/model/`, `configs/optimizer/` and so on "
        f"(a run of `ncf-train` with nothing else takes `optimizer={plain.name}` at `lr={plain.lr}`). `ncf-train --help` prints the keys of the chosen model with the values that your "
        "command line gives them.",
        table("ncf-train", TrainConfig, ""),
    ]
    parts += [table(f"model: family {family}", schema, "model.") for family, schema in MODEL_FAMILIES.items()]
    return "\n\n".join([*parts, table("ncf-eval", EvalConfig, ""), table("ncf-sample", SampleConfig, "")]) + "\n"


def table(title: str, schema: type, prefix: str) -> str:
    lines = [f"## {title}", "", "| key | default | range | |", "| --- | --- | --- | --- |", *rows(schema, prefix)]
    return "\n".join(lines)


def rows(schema: type, prefix: str) -> list[str]:
    plain, nested = [], []
    for f in fields(schema):
        if f.metadata.get("recorded"):
            continue
        inner = f.default_factory
        if is_dataclass(inner):
            nested += rows(inner, f"{prefix}{f.name}.")
        elif f.name != "model":
            default = inner() if callable(inner) else f.default
            cells = [f"`{prefix}{f.name}`", f"`{shown(default)}`", range_words(f.metadata), f.metadata["help"]]
            plain.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return plain + nested


def shown(value) -> str:
    if value == "???":
        return "required"
    if isinstance(value, list | dict):
        return str(value).replace("'", "")
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def modules() -> str:
    """A table per wing, and which wing imports which."""
    found = {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "ncf").rglob("*.py"))}
    wings: dict[str, list[str]] = {}
    arrows: set[tuple[str, str]] = set()
    for path, tree in found.items():
        wing = wing_of(path.with_suffix("").parts)
        summary = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
        if path.name != "__init__.py":
            wings.setdefault(wing, []).append(f"| `{path}` | {summary.replace('|', chr(92) + '|')} |")
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ncf":
                names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "ncf" else [node.module]
                arrows |= {(wing, target) for name in names if (target := wing_of(tuple(name.split(".")))) != wing}
    graph = [f"    {source} --> {target}" for source, target in sorted(arrows) if source != "ncf" and target != "ncf"]
    parts = [f"# Module map\n\n{WRITTEN}\n\nWhich wing imports which, at the top of its modules (those of `ncf/` itself import all of them):"]
    parts.append("\n".join(["```mermaid", "graph LR", *graph, "```"]))
    parts += ["\n".join([f"## {wing}", "", "| module | |", "| --- | --- |", *lines]) for wing, lines in sorted(wings.items())]
    return "\n\n".join(parts) + "\n"


def wing_of(parts: tuple[str, ...]) -> str:
    """``ncf/runs/files`` -> runs; modules of ncf/ itself -> ncf."""
    return parts[1] if len(parts) > 1 and (ROOT / "ncf" / parts[1]).is_dir() else "ncf"


PAGES = {"configuration.md": configuration, "modules.md": modules}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page(), encoding="utf-8")

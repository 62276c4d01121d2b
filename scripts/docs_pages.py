"""Generated pages of the documentation: docs/configuration.md from the schema, docs/modules.md from the source.

python scripts/docs_pages.py            # write them; a test compares them with the code
"""

import ast
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path

from ncf.config.checks import flat_keys
from ncf.config.compose import compose_train
from ncf.config.help import range_words
from ncf.config.schema import MODEL_FAMILIES, DatasetConfig, EvalConfig, MetricsConfig, SampleConfig, TrainConfig, flatten

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = "<!-- written by scripts/docs_pages.py -->"


def configuration() -> str:
    """Every key of every command, in tables."""
    parts = [
        f"# Configuration\n\n{WRITTEN}\n\nEvery key with its range, and the value that it has when nothing else is given. Another model, dataset or optimizer changes some of them, "
        "by its file in `configs/`: `ncf-train model=NAME --help` prints every key with the value that your command line gives it.",
        table("ncf-train", TrainConfig, "", flatten(asdict(compose_train()) | {"logger": "none"})),
    ]
    parts += [table(f"model: family {family}", schema, "model.", {}) for family, schema in MODEL_FAMILIES.items()]
    trained = {
        f"{group}.{key}": TRAINED
        for group in ("dataset", "metrics")
        for key in flat_keys({"dataset": DatasetConfig, "metrics": MetricsConfig}[group])
    }
    return "\n\n".join([*parts, table("ncf-eval", EvalConfig, "", trained), table("ncf-sample", SampleConfig, "", trained)]) + "\n"


TRAINED = "as in training"


def table(title: str, schema: type, prefix: str, values: dict) -> str:
    lines = [f"## {title}", "", "| key | default | range | |", "| --- | --- | --- | --- |", *rows(schema, prefix, values)]
    return "\n".join(lines)


def rows(schema: type, prefix: str, values: dict) -> list[str]:
    """A row per key; its default is that of the schema where `values` has no other."""
    plain, nested = [], []
    for f in fields(schema):
        if f.metadata.get("recorded"):
            continue
        inner = f.default_factory
        if is_dataclass(inner):
            nested += rows(inner, f"{prefix}{f.name}.", values)
        elif f.name != "model":
            default = values.get(prefix + f.name, inner() if callable(inner) else f.default)
            cells = [f"`{prefix}{f.name}`", default if default == TRAINED else f"`{shown(default)}`", range_words(f.metadata), f.metadata["help"]]
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

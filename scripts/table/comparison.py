"""The table of docs/comparison.md: GNCN-PDH at its defaults beside the best autoencoder of each kind, on every set."""

import re
from collections.abc import Callable, Iterable

from table.article import Cells
from table.cells import Cell
from table.claims import as_printed, by_encoder_units, few, inferring, over_images
from table.rows import AUTOENCODERS, DATASETS, row_title
from table.text import markdown, shown
from table.verdicts import best, compare, measured

from ncf.measure.metrics import METRICS

NETWORK = "gncn_pdh_sgd"


def many(full: Cells) -> Cells:
    return {(dataset, row): cell for (dataset, row), cell in full.items() if not as_printed(row)}


ASKED: dict[str, tuple[tuple[str, Callable[[Cells], Cells]], ...]] = {  # metric -> the kinds of autoencoders
    "bce": (
        ("up to 20 latents, one pass of the encoder", few),
        ("360 latents", many),
        ("up to 20 latents, of rows that were inferred in 50 steps, the better way", lambda full: inferring(few(full))),
        ("360 latents, likewise", lambda full: inferring(many(full))),
    ),
    "m_mse": (("any autoencoder", dict),),
    "class_err": (("up to 20 latents", few), ("360 latents", many), ("encoder's last hidden units, where measured", by_encoder_units)),
    "log_p_annealed": (("up to 20 latents", few), ("360 latents", many)),
}


def table(full: Cells) -> str:
    """Per metric the network's figure, and of every kind the best row on the test images, with the verdict on the network against it."""
    own, lines = {dataset: full[dataset, NETWORK] for dataset in DATASETS if (dataset, NETWORK) in full}, []
    for metric, kinds in ASKED.items():
        lines.append([f"**{METRICS[metric].label}**: GNCN-PDH", *(f"**{shown(cell, metric)}**" for cell in own.values())])
        for title, view in kinds:
            seen = view(full)
            lines.append(
                [title, *(against(cell, [rival for (of, _), rival in seen.items() if of == dataset], metric) for dataset, cell in own.items())]
            )
    return markdown(["", *(DATASETS[dataset] for dataset in own)], lines)


def against(own: Cell, rows: Iterable[Cell], metric: str) -> str:
    """The best of the autoencoders among these rows, its figure, and how the network stands to it."""
    rival = best([row for row in rows if row.row.startswith(AUTOENCODERS) and measured(metric, row)], metric)
    if not rival or not measured(metric, own):
        return "not run"
    return f"{row_title(rival.row)} {shown(rival, metric)}: {compare(own, rival, metric).phrase}{over_images(own, rival, metric)}"


def filled(page: str, full: Cells) -> str:
    """The page with its table as the figures have it."""
    return re.sub(r"(<!-- sets -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}\n{table(full)}\n\n{found[2]}", page, flags=re.S)

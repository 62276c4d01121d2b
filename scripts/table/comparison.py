"""The table of docs/comparison.md: GNCN-PDH at its defaults beside the best autoencoder of each kind, on every set."""

import re
from collections.abc import Callable

from table.article import Cells
from table.claims import as_printed, by_encoder_units, inferring, over_images
from table.rows import AUTOENCODERS, DATASETS, row_title
from table.text import markdown, shown
from table.verdicts import best, comparable, compare

from ncf.measure.metrics import METRICS

NETWORK = "gncn_pdh_sgd"


def few(full: Cells) -> Cells:
    return {(dataset, row): cell for (dataset, row), cell in full.items() if as_printed(row)}


def many(full: Cells) -> Cells:
    return {(dataset, row): cell for (dataset, row), cell in full.items() if not as_printed(row)}


ASKED: dict[str, tuple[tuple[str, Callable[[Cells], Cells]], ...]] = {  # metric -> the kinds of autoencoders
    "bce": (
        ("20 latents, one pass of the encoder", few),
        ("360 latents", many),
        ("20 latents, inferred in 50 steps where that is better", lambda full: inferring(few(full))),
        ("360 latents, likewise", lambda full: inferring(many(full))),
    ),
    "m_mse": (("any autoencoder", dict),),
    "class_err": (("20 latents", few), ("360 latents", many), ("encoder's last hidden units", by_encoder_units)),
    "log_p_annealed": (("20 latents", few), ("360 latents", many)),
}


def table(full: Cells) -> str:
    """Per metric the network's figure, and of every kind the best row on the test images, with the verdict on the network against it."""
    lines = []
    for metric, kinds in ASKED.items():
        own = {dataset: full[dataset, NETWORK] for dataset in DATASETS if (dataset, NETWORK) in full}
        lines.append(
            [f"**{METRICS[metric].label}**: GNCN-PDH", *(f"**{shown(own[dataset], metric)}**" if dataset in own else "–" for dataset in DATASETS)]
        )
        for title, view in kinds:
            rivals = {
                dataset: best(
                    [cell for (of, row), cell in view(full).items() if of == dataset and row.startswith(AUTOENCODERS) and comparable(metric, cell)],
                    metric,
                )
                for dataset in own
            }
            told = {}
            for dataset, rival in rivals.items():
                if rival and comparable(metric, own[dataset]):
                    verdict = compare(own[dataset], rival, metric)
                    told[dataset] = f"{row_title(rival.row)} {shown(rival, metric)}: {verdict.phrase}{over_images(own[dataset], rival, metric)}"
            lines.append([title, *(told.get(dataset, "not run") for dataset in DATASETS)])
    return markdown(["", *DATASETS.values()], lines)


def filled(page: str, full: Cells) -> str:
    """The page with its table as the figures have it."""
    return re.sub(r"(<!-- sets -->\n).*?(<!-- end -->)", lambda found: f"{found[1]}\n{table(full)}\n\n{found[2]}", page, flags=re.S)

"""From a config to its circuit: the short form, a chain of layers, or populations and bundles written out."""

import re

from ncf.config.checks import columns_per_layer
from ncf.config.schema import CircuitConfig, GNCNConfig, PopulationConfig
from ncf.errors import UserError
from ncf.network.circuit import Circuit, Population, arranged, require_moved

ARROW = re.compile(r"\s*(\w+)\s*->\s*(\w+)\s*(tied|learned|delayed)?\s*$")
WORDS = {"model.bundles": ("delayed",), "model.feedback": ("tied", "learned")}  # what may stand behind an arrow


def circuit_of(config: GNCNConfig | CircuitConfig, sizes: dict[str, int]) -> Circuit:
    """The circuit of a config; `sizes` are the units of what the data shows (image, and label where there are classes)."""
    return chain(config, sizes["image"]) if isinstance(config, GNCNConfig) else written_out(config, sizes)


def chain(config: GNCNConfig, n_pixels: int) -> Circuit:
    """image <- z1 <- .. <- zL with bundles W_l, skips M_l from l to l-2, and feedback E_l (or W_l^T) from l-1 to l."""
    depth = len(config.layers)
    columns = columns_per_layer(config) if config.lateral.enabled else [0] * depth
    names = ["image", *(f"z{l}" for l in range(1, depth + 1))]
    populations = [Population("image", n_pixels, "image", config.likelihood, activation="identity")]
    for l, (size, column) in enumerate(zip(config.layers, columns), start=1):
        precision = config.precision.kind if l < depth else "none"
        terms = (config.activation, config.prediction, config.target, config.prior.kind)
        populations.append(Population(f"z{l}", size, None, None, *terms, columns=column, precision=precision, label=str(l)))
    bundles = [(f"W{l}", names[l], names[l - 1]) for l in range(1, depth + 1)]
    if config.skips:
        bundles += [(f"M{l}", names[l], names[l - 2]) for l in range(2, depth + 1)]
    learned = config.error_synapses == "learned"
    feedback = [(names[l - 1], names[l], f"E{l}" if learned else None) for l in range(1, depth + 1)]
    return arranged(populations, bundles, feedback)


def written_out(config: CircuitConfig, sizes: dict[str, int]) -> Circuit:
    arrows = [read_arrow("model.bundles", text) for text in config.bundles]
    bundles, delayed = ([(s, t) for s, t, word in arrows if word == wanted] for wanted in ("", "delayed"))
    if config.feedback is None:
        feedback = [(target, source, "") for source, target in bundles]
    else:
        feedback = [read_arrow("model.feedback", text) for text in config.feedback]
    predicted = {target for _, target, _ in arrows}
    populations = [population(config, name, terms, sizes, name in predicted) for name, terms in config.populations.items()]
    named = [(s, t, f"E[{s}->{t}]" if (kind or config.error_synapses) == "learned" else None) for s, t, kind in feedback]
    circuit = arranged(populations, [(f"W[{s}->{t}]", s, t) for s, t in bundles], named, [(f"R[{s}->{t}]", s, t) for s, t in delayed])
    if config.feedback is not None:
        require_moved(circuit)
    return circuit


def read_arrow(key: str, text: str) -> tuple[str, str, str]:
    """``z1 -> image``, ``z1 -> z1 delayed`` or ``image -> z1 tied``: source, target and the word behind."""
    found = ARROW.match(text)
    if not found or (found[3] and found[3] not in WORDS[key]):
        raise UserError(f"{key}: cannot read {text!r}; expected 'source -> target', optionally {' or '.join(WORDS[key])}")
    return found[1], found[2], found[3] or ""


def population(config: CircuitConfig, name: str, terms: PopulationConfig, sizes: dict[str, int], predicted: bool) -> Population:
    """One population: its own terms, else the network's."""
    where = f"model.populations.{name}"
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        raise UserError(f"{where}: a name is letters, digits and _, and begins with a letter")
    if terms.observed is None:
        if terms.size is None:
            raise UserError(f"{where}.size is not set: say how many units it has, or what is observed of it (observed: image)")
        if terms.likelihood:
            raise UserError(f"{where}.likelihood: it is hidden; a likelihood is for what is observed")
        return Population(
            name,
            terms.size,
            activation=terms.activation or config.activation,
            prediction=terms.prediction or config.prediction,
            target=terms.target or config.target,
            prior=terms.prior or config.prior.kind,
            columns=terms.columns,
            precision=(terms.precision or config.precision.kind) if predicted else "none",
            label=f"[{name}]",
        )
    if terms.observed not in sizes:
        raise UserError(
            f"{where}: the images have no classes, so no label can be observed; choose a dataset with labels, or leave the population out"
        )
    size = sizes[terms.observed]
    if terms.size not in (None, size):
        raise UserError(f"{where}.size={terms.size}: the data has {size}; leave size out")
    if terms.columns or terms.precision not in (None, "none"):
        raise UserError(f"{where}: what is observed neither competes in columns nor has a precision")
    likelihood = terms.likelihood or ("categorical" if terms.observed == "label" else config.likelihood)
    return Population(name, size, terms.observed, likelihood, terms.activation or "identity", prior=terms.prior or "none")

"""The key that a user meant: the field's and other programs' words, and keys typed without their section."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from ncf.errors import nearest

# what people type -> the last word of the key; symbols of the article, and names that other programs have
SYNONYMS = {
    "k": "steps", "t": "steps", "n_steps": "steps", "iterations": "steps",
    "learning_rate": "lr", "eta": "lr", "momentum": "beta1",
    "step_size": "beta", "leak": "gamma", "lambda": "strength",
    "batch": "batch_size", "bs": "batch_size", "n_epochs": "epochs", "max_epochs": "epochs",
    "units": "size", "n_units": "size", "width": "size", "hidden": "layers", "n_hidden": "layers", "hidden_sizes": "layers", "sizes": "layers",
    "phi": "activation", "act": "activation", "weight_decay": "l2",
    "skip": "skips", "split": "split_seed", "n_images": "n_train", "datadir": "data_dir", "outdir": "output_dir",
    "half": "mask", "masks": "mask", "dtype": "compute.dtype", "dir": "run_dir", "out": "output",
}  # fmt: skip
FIRST = ("", "model.settle", "model", "optimizer", "dataset", "metrics")  # what is meant first where several keys end in the same word
HANDLES = ("kind", "enabled", "names")  # the key by which a section is chosen: model.precision=none means model.precision.kind=none


def nearest_key(key: str, known: Iterable[str]) -> str:
    """A hint that ends an error line: the keys whose last word was typed, else the key that is spelt alike."""
    known = list(dict.fromkeys(known))
    section, _, wanted = key.rpartition(".")
    same = meant(wanted, [k for k in known if section and k.startswith(f"{section}.")]) or meant(wanted, known)
    if not same:
        return nearest(key, known)
    if "." in key and wanted not in same:  # a section misspelt, or left out in the middle
        same = get_close_matches(key, same, n=1, cutoff=0.5) or same
    return f"did you mean {' or '.join(repr(k) for k in same[:3])}?"


def meant(word: str, known: Sequence[str]) -> list[str]:
    """The keys that end in the word, else in what it stands for."""
    return ending(word, known) or ending(SYNONYMS.get(word.lower(), ""), known)


def ending(words: str, known: Sequence[str]) -> list[str]:
    """The keys that end in these words, what is meant first first; a section stands for the key that chooses in it."""
    found = [handle(k, known) or k for k in known if words and f".{k}".endswith(f".{words}")]
    places = {group: i for i, group in enumerate(FIRST)}
    return sorted(dict.fromkeys(found), key=lambda k: places.get(k.rpartition(".")[0], places.get(k.partition(".")[0], len(places))))


def handle(section: str, known: Sequence[str]) -> str | None:
    """The key that chooses in a section, None where there is none or the key is no section."""
    return next((f"{section}.{name}" for name in HANDLES if f"{section}.{name}" in known), None)

"""Two hundred generated wrong overrides, each one line, exit code 1, and nothing created."""

import random
import string
from dataclasses import fields, is_dataclass

import pytest
from installed import require_one_line, warm

from ncf.config.checks import flat_keys
from ncf.config.overrides import groups, known_keys
from ncf.config.schema import MODEL_FAMILIES, TrainConfig, configs_folder

FREE_TEXT = {"model.name", "dataset.folder", "dataset.path", "dataset.mirror", "data_dir", "output_dir", "name", "run_dir"}  # anything goes


def leaves(schema: type, prefix: str = "") -> dict:
    """Dotted key -> its field, for the keys that hold a value."""
    found = {}
    for field in fields(schema):
        if is_dataclass(field.default_factory):
            found |= leaves(field.default_factory, f"{prefix}{field.name}.")
        elif field.name != "model":
            found[prefix + field.name] = field
    return found


LEAVES = {key: field for key, field in (leaves(TrainConfig) | leaves(MODEL_FAMILIES["gncn"], "model.")).items() if key not in FREE_TEXT}
KNOWN = {*known_keys("train"), *flat_keys(TrainConfig)}
GROUPS = groups("train", configs_folder())


def misspelt(word: str, chance: random.Random, known) -> str:
    """The word with one letter lost, doubled, changed or swapped with the next: a word that is not known."""
    while True:
        i = chance.randrange(len(word))
        letter = chance.choice(string.ascii_lowercase)
        ways = (
            word[:i] + word[i + 1 :],
            word[:i] + word[i] + word[i:],
            word[:i] + letter + word[i + 1 :],
            word[:i] + word[i : i + 2][::-1] + word[i + 2 :],
        )
        wrong = chance.choice(ways)
        if wrong not in known and wrong.strip(".") == wrong and ".." not in wrong and wrong:
            return wrong


def kind(field) -> str:
    return str(field.type).removeprefix("typing.Optional[").removeprefix("<class '").strip("]'>")


def mistyped(chance: random.Random) -> str:
    key, field = chance.choice([(k, f) for k, f in LEAVES.items() if kind(f) in ("int", "float", "bool", "list[int", "list[str")])
    values = {
        "int": ["many", "1.5", "[1]", "{a:1}", "1e400", "0x", "--1", "''"],
        "float": ["much", "[0.1]", "{a:1}", "0,1,", "nan", "inf", "''", "1..2"],
        "bool": ["perhaps", "2.5", "[true]", "ja", "''"],
        "list[int": ["[a]", "[1.5]", "24", "{a:1}", "[[1]]", "twelve"],
        "list[str": ["bce", "[nothing_like_it]", "{a:1}", "3"],
    }
    return f"{key}={chance.choice(values[kind(field)])}"


def out_of_range(chance: random.Random) -> str:
    key, field = chance.choice([(k, f) for k, f in LEAVES.items() if {"least", "above", "most"} & set(f.metadata)])
    rule, step = field.metadata, 1 if "int" in kind(field) else 0.5
    values = [rule["least"] - step] if "least" in rule else [rule["above"], rule["above"] - step] if "above" in rule else []
    return f"{key}={chance.choice(values + ([rule['most'] + step] if 'most' in rule else []))}"


def wrong_choice(chance: random.Random) -> str:
    key, field = chance.choice([(k, f) for k, f in LEAVES.items() if "choices" in f.metadata])
    return f"{key}={misspelt(chance.choice(field.metadata['choices']), chance, field.metadata['choices'])}"


def wrong_key(chance: random.Random) -> str:
    key = misspelt(chance.choice(sorted(LEAVES)), chance, KNOWN)
    return f"{chance.choice(['', '', '+', '++'])}{key}={chance.choice(['1', 'true', 'x'])}"


def wrong_option(chance: random.Random) -> str:
    group = chance.choice(sorted(GROUPS))
    return f"{group}={misspelt(chance.choice(GROUPS[group]), chance, GROUPS[group])}"


def wrong_group(chance: random.Random) -> str:
    group = misspelt(chance.choice(sorted(GROUPS)), chance, KNOWN)
    return f"{group}={chance.choice(['digits', 'gncn_t1', 'fast'])}"


def bad_brackets(chance: random.Random) -> str:
    key = chance.choice(sorted(LEAVES))
    return f"{key}={chance.choice(['[1,2', '[', ']', '{a:1', '[1,2}', '(1', '1)', '[[1]', chr(39) + '1', chr(34) + '1', '${seed', '${nothing}', 'a=[', '[1 2'])}"


def no_override(chance: random.Random) -> str:
    key = chance.choice(sorted(LEAVES))
    return chance.choice([key, f"={key}", f"~{misspelt(key, chance, KNOWN)}", f"{key}:1", f"--{key}=1", f"-{key}", f"{key} = ", "=", "[]", "+", "~"])


MAKERS = (wrong_key, wrong_key, mistyped, mistyped, out_of_range, wrong_choice, wrong_option, wrong_group, bad_brackets, no_override)


def generated(n: int) -> list[str]:
    chance = random.Random(0)
    made: dict[str, None] = {}
    while len(made) < n:
        made[MAKERS[len(made) % len(MAKERS)](chance)] = None
    return list(made)


@pytest.mark.parametrize("wrong", generated(200))
def test_a_wrong_override_is_one_line_and_creates_nothing(wrong, tmp_path):
    require_one_line(warm("ncf-train", "model.layers=[24,24,24]", "model.lateral.columns=[6]", "epochs=1", "threads=1", wrong, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []

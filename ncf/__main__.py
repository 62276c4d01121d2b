"""``python -m ncf train ...``: the commands without their scripts, for an interpreter whose folder of scripts is not on the path."""

import sys
from importlib import import_module

from ncf.charsets import print_losslessly
from ncf.errors import nearest

COMMANDS = {
    "train": ("ncf.cli", "train"),
    "eval": ("ncf.cli", "evaluate"),
    "sample": ("ncf.cli", "sample"),
    "report": ("ncf.cli", "report"),
    "runs": ("ncf.listing", "main"),
    "export": ("ncf.export", "main"),
}


def main() -> None:
    print_losslessly()
    usage = f"python -m ncf {'|'.join(COMMANDS)} ...; each is the command ncf-NAME"
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(f"usage: {usage}", file=sys.stderr if len(sys.argv) < 2 else sys.stdout)
        sys.exit(len(sys.argv) < 2)
    name = sys.argv.pop(1).removeprefix("ncf-")
    if name not in COMMANDS:
        sys.exit(f"error: {name!r} is no command of ncf; {nearest(name, COMMANDS)}: {usage}")
    sys.argv[0] = f"ncf-{name}"
    module, function = COMMANDS[name]
    getattr(import_module(module), function)()


if __name__ == "__main__":
    main()

"""Text in any character set: what a terminal or a file cannot show is escaped, and file names keep their bytes.

Python gives a file name that is no text of the locale as lone surrogates, one per byte.
"""

import codecs
import sys
from contextlib import suppress

LOSSLESS = "ncf-lossless"  # the name of the error handler


def escape(error: UnicodeError) -> tuple[bytes, int]:
    letters = error.object[error.start : error.end]
    return b"".join(bytes([ord(c) - 0xDC00]) if "\udc80" <= c <= "\udcff" else c.encode("ascii", "backslashreplace") for c in letters), error.end


codecs.register_error(LOSSLESS, escape)


def print_losslessly() -> None:
    """Have what is printed escaped where the terminal's character set lacks a letter, instead of failing at it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            with suppress(OSError):  # (a terminal opened for reading too cannot be changed)
                stream.reconfigure(errors=LOSSLESS)

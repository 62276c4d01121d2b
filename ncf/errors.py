"""The one exception for everything a user can cause: its text is the single line that the commands print."""


class UserError(Exception):
    """One line: what is wrong, what was expected, what to type instead."""

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))


class Abort(BaseException):
    """Carries an error past Hydra, which would print a line of its own; for single runs only."""

    def __init__(self, error: Exception):
        super().__init__(str(error))
        self.error = error


def nearest(word: str, known) -> str:
    """A hint that ends an error line: the nearest known word, else the known words."""
    from difflib import get_close_matches

    known = sorted(str(k) for k in known)
    close = get_close_matches(str(word), known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}" if 0 < len(known) <= 15 else "--help lists what is known"

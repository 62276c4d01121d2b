"""The one exception for everything a user can cause: its text is the single line that the commands print; and two relatives."""

import signal


class UserError(Exception):
    """One line: what is wrong, what was expected, what to type instead."""

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))


class Abort(BaseException):
    """Carries an error past Hydra, which would print a line of its own; for single runs only."""

    def __init__(self, error: Exception):
        super().__init__(str(error))
        self.error = error


class Stopped(BaseException):
    """A signal ended a run whose state is saved. No Exception: a sweep must end with it, not go on with its next job."""

    def __init__(self, signum: int, how_to_go_on: str):
        super().__init__(signum, how_to_go_on)
        self.signum, self.exit_code = signum, 128 + signum

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.args[0]).name}; {self.args[1]}"


def nearest(word: str, known) -> str:
    """A hint that ends an error line: the nearest known word, else the known words."""
    from difflib import get_close_matches

    known = sorted(str(k) for k in known)
    close = get_close_matches(str(word), known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}" if 0 < len(known) <= 15 else "--help lists what is known"

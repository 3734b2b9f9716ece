"""How commands end."""

from __future__ import annotations

import sys

OK = 0
BAD_INPUT = 2
VERIFICATION_FAILED = 3
INTERRUPTED = 130


def complain(error: Exception) -> None:
    """One line on standard error."""
    message = " ".join(str(error).split()) or type(error).__name__
    say(f"mobilevit-fast: error: {message}")


def warn(message: str) -> None:
    """One line on standard error."""
    say(f"mobilevit-fast: warning: {message}")


def say(line: str) -> None:
    """A line on standard error, where there is one: print would take its absence for standard output."""
    if sys.stderr is not None:
        print(line, file=sys.stderr, flush=True)

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
    print(f"mobilevit-fast: error: {message}", file=sys.stderr)


def warn(message: str) -> None:
    """One line on standard error."""
    print(f"mobilevit-fast: warning: {message}", file=sys.stderr)

"""How commands end."""

from __future__ import annotations

import sys

OK = 0
BAD_INPUT = 2
INTERRUPTED = 130


def complain(error: Exception) -> None:
    """One line on standard error."""
    message = " ".join(str(error).split()) or type(error).__name__
    print(f"mobilevit-fast: error: {message}", file=sys.stderr)

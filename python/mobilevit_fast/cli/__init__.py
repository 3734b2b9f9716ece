"""The command line, `mobilevit-fast`: one module for each command."""

from mobilevit_fast.cli.entry import main

__all__ = ["main"]

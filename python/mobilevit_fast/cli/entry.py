"""The command line, `mobilevit-fast`. A command's module is imported only when it is the one that runs."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mobilevit_fast.cli.exits import BAD_INPUT, INTERRUPTED, OK, complain, say, warn

EXAMPLE = "example: mobilevit-fast classify photo.jpg"

COMMANDS = {
    "classify": "label photographs",
    "serve": "answer over HTTP, with a web page, for one machine or many",
    "list": "list models and checkpoints",
    "info": "describe a model: size, cost, memory, layers, preprocessing",
    "evaluate": "measure how often a model is right on labelled images",
    "finetune": "train a checkpoint further on images of your own classes",
    "quantize": "make a model smaller and faster, and tell what that costs",
    "export": "write a model in another runtime's format, checked by running it there",
    "sensitivity": "measure what quantising each layer alone costs",
    "bench": "measure speed beside the peers that are installed",
    "doctor": "show what this machine and installation offer",
}
"""Name, also of its module here -> summary. A module has `configure(parser)` and `run(arguments)`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; `argv` excludes the program's name, None takes this process's.

    Returns the exit code: 0 done, 2 bad usage or input, 3 a verification failed, 130 interrupted.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if getattr(sys.stdout, "errors", None) == "strict" and hasattr(sys.stdout, "reconfigure"):
        # A file's name that this terminal has no letters for is no reason to stop.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        arguments = _parser(argv).parse_args(argv)
        with _plain_warnings():
            code = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has left; the interpreter's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (ValueError, OSError, ImportError, MemoryError, ArithmeticError) as error:
        complain(error)
        return BAD_INPUT
    except KeyboardInterrupt:
        say("mobilevit-fast: interrupted")
        return INTERRUPTED


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """A user is told what a library warns of, not which line of which file of it does."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: warn(" ".join(str(message).split()))
        yield


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mobilevit-fast", description="Run MobileViT image classifiers fast.", epilog=EXAMPLE
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((argument for argument in argv if not argument.startswith("-")), None)
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == chosen:
            module = importlib.import_module(f"mobilevit_fast.cli.{name}")
            module.configure(subparser)
            subparser.set_defaults(run=module.run)
    return parser


class _Version(argparse.Action):
    """Looks the version up only when asked: the search through installed packages takes a while."""

    def __call__(self, parser, namespace, values, option_string=None):
        import mobilevit_fast

        print(f"mobilevit-fast {mobilevit_fast.__version__}")
        parser.exit()

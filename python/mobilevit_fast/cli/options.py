"""Options that several commands share."""

from __future__ import annotations

import argparse

from mobilevit_fast.image import MAX_EDGE
from mobilevit_fast.precision import Runnable
from mobilevit_fast.session import Session

_PRECISIONS_HELP = "fp32, bf16 or fp16, as the CPU has them; default: fp32, or a quantised model's own (int8)"
_DEVICE_PRECISIONS_HELP = "on a CUDA device fp16, bf16, tf32, fp32, or a quantised model's own"

DEFAULT_MODEL = "mobilevit_xxs.cifar10"


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for machines")


def add_engine(parser: argparse.ArgumentParser, *, several_threads: bool = False) -> None:
    """How the engine runs; `open_session` reads them. With `several_threads`, --threads takes a list, and the
    engine is the CPU's."""
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--threads",
        type=positive,
        nargs="+" if several_threads else None,
        metavar="N",
        help="default: all cores of this process",
    )
    group.add_argument("--isa", metavar="NAME", help="kernel table, such as avx2; default: the fastest")
    group.add_argument(
        "--precision",
        metavar="NAME",
        help=_PRECISIONS_HELP if several_threads else f"{_PRECISIONS_HELP}; {_DEVICE_PRECISIONS_HELP}",
    )
    if not several_threads:
        group.add_argument(
            "--device", metavar="NAME", default="cpu", help="cpu, cuda or cuda:N; default: cpu"
        )


def add_size(parser: argparse.ArgumentParser, default: str = "the model's own") -> None:
    parser.add_argument(
        "--size", type=size, metavar="HxW", help=f"pixels, such as 224 or 192x320; default: {default}"
    )


def open_session(source: str | Runnable, arguments: argparse.Namespace) -> Session:
    return Session(
        source,
        precision=arguments.precision,
        threads=arguments.threads,
        isa=arguments.isa,
        device=arguments.device,
    )


def positive(text: str) -> int:
    """A whole number of at least 1 that fits 32 bits."""
    return _whole_number(text, 2**31 - 1)


def size(text: str) -> tuple[int, int]:
    """(height, width) of "224" or "192x320"."""
    height, separator, width = text.partition("x")
    return _whole_number(height, MAX_EDGE), _whole_number(width if separator else height, MAX_EDGE)


def _whole_number(text: str, most: int) -> int:
    if not text.isdecimal() or len(text) > 20 or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {most}, got {text!r}")
    return int(text)

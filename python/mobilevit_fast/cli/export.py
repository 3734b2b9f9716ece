"""`mobilevit-fast export`: a model in another runtime's format, checked by running it."""

from __future__ import annotations

import argparse
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import mobilevit_fast as mvf
from mobilevit_fast.cli.exits import OK, VERIFICATION_FAILED, complain
from mobilevit_fast.cli.options import add_json, add_size, positive
from mobilevit_fast.export import FORMATS
from mobilevit_fast.export.format_options import is_switch
from mobilevit_fast.json_text import to_json

EPILOG = """examples:
  mobilevit-fast export apple/mobilevit-small --format onnx -o small.onnx
  mobilevit-fast export small_int8.safetensors --format onnx --images photographs/ -o small_int8.onnx

formats:
{formats}

The written model is loaded in its own runtime and compared with MODEL; the outcome stands in a .json file
beside it. Where it differs too much it is kept with .failed behind its name, and the exit code is 3.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG.format(
        formats="\n".join(
            f"  {row.name:<12} {row.summary} ({', '.join(row.bounds)})" for row in FORMATS.values()
        )
    )
    parser.add_argument("model", metavar="MODEL", help="embedded model, hub id, folder or file")
    parser.add_argument("--format", required=True, metavar="F", help="one of those below")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PATH", help="file or folder")
    parser.add_argument("--force", action="store_true", help="overwrite it")
    parser.add_argument(
        "--precision",
        metavar="NAME",
        help="fp32, fp16 or bf16; a quantised model goes out as int8. default: the model's own",
    )
    add_size(parser)
    parser.add_argument(
        "--batch",
        type=positive,
        nargs="+",
        metavar="N",
        help="take so many images at once; several numbers where the format can. default: any number, or 1",
    )
    parser.add_argument("--dynamic-batch", action="store_true", help="take any number of images at once")
    parser.add_argument("--dynamic-size", action="store_true", help="take any multiples of 32 pixels from 96")
    parser.add_argument(
        "--raw-pixels",
        action="store_true",
        help="take bytes, 0 to 255, in RGB order; scaling and normalisation go into the model",
    )
    parser.add_argument("--softmax", action="store_true", help="answer with probabilities")
    parser.add_argument(
        "--keep-custom-ops", action="store_true", help="leave this package's operations in it (onnx, torch)"
    )
    parser.add_argument("--images", metavar="DIR", help="photographs to compare on; default: made ones")
    for name, question in _questions().items():
        _add_question(parser, name, question)
    add_json(parser)


def _questions() -> dict[str, Field]:
    """What only some formats can be asked, by name."""
    return {question.name: question for row in FORMATS.values() for question in fields(row.options)}


def _add_question(parser: argparse.ArgumentParser, name: str, question: Field) -> None:
    able = ", ".join(row.name for row in FORMATS.values() if name in row.option_names())
    # What is not given is left out, so that a format is not asked what it does not know.
    kind: dict[str, Any] = {"action": "store_true"}
    if not is_switch(question):
        kind = {"metavar": "NAME" if type(question.default) is str else "N", "type": type(question.default)}
    parser.add_argument(
        f"--{name.replace('_', '-')}",
        dest=name,
        default=argparse.SUPPRESS,
        help=f"{question.metadata['help']} ({able})",
        **kind,
    )


def run(arguments: argparse.Namespace) -> int:
    from mobilevit_fast.export import VerificationError

    try:
        report, code = (
            mvf.export(
                arguments.model,
                arguments.format,
                arguments.output,
                precision=arguments.precision,
                size=arguments.size,
                dynamic_batch=arguments.dynamic_batch or None,
                batches=arguments.batch,
                dynamic_size=arguments.dynamic_size,
                raw_pixels=arguments.raw_pixels,
                softmax=arguments.softmax,
                keep_custom_ops=arguments.keep_custom_ops,
                images=arguments.images,
                force=arguments.force,
                **{name: getattr(arguments, name) for name in _questions() if name in arguments},
            ),
            OK,
        )
    except VerificationError as error:
        complain(error)
        report, code = error.report, VERIFICATION_FAILED
    print(to_json(report.to_data()) if arguments.json else report)
    return code

"""`mobilevit-fast info`: what a model is and what each of its layers costs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from mobilevit_fast.benchmark.subject import load_subject
from mobilevit_fast.cli.exits import OK
from mobilevit_fast.cli.model_size import count_parameters
from mobilevit_fast.cli.options import add_engine, add_json, add_size, open_session
from mobilevit_fast.cli.text import facts, megabytes, table
from mobilevit_fast.config import MODELS
from mobilevit_fast.json_text import to_json
from mobilevit_fast.session import Session
from mobilevit_fast.weights import load_runnable

EPILOG = """examples:
  mobilevit-fast info mobilevit_xxs.cifar10
  mobilevit-fast info mobilevit_s --size 192x320
  mobilevit-fast info mobilevit_s --precision int8
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="embedded model, hub id, folder or file; or a variant, such as mobilevit_s",
    )
    add_size(parser)
    add_json(parser)
    add_engine(parser)


def run(arguments: argparse.Namespace) -> int:
    model = arguments.model
    subject = load_subject(model, arguments.precision) if model in MODELS else load_runnable(model)
    session = open_session(subject, arguments)
    report = gather(session, arguments.size or session.input_size)
    if arguments.json:
        print(to_json(report))
    else:
        print(describe(report))
    return OK


def gather(session: Session, size: tuple[int, int]) -> dict[str, Any]:
    """Everything that the command tells, as JSON can hold it."""
    steps = session.profile(repeats=1, size=size)
    return {
        "source": session.source,
        "model": session.config.name,
        "classes": len(session.labels),
        "labels": list(session.labels),
        "parameters": count_parameters(session.config),
        "size": list(size),
        "macs": sum(step.macs for step in steps),
        "memory": asdict(session.memory_for(*size)),
        "preprocessing": session.preprocessing.to_dict(),
        "preprocessing_text": session.preprocessing.describe(),
        "channel_order": session.preprocessing.channel_order,
        "channel_order_folded": session.is_channel_order_folded,
        "precision": session.precision,
        "isa": session.isa,
        "threads": session.threads,
        "layers": [
            {
                "name": step.name,
                "kind": step.kind,
                "output": step.output,
                "macs": step.macs,
                "bytes": step.bytes,
            }
            for step in steps
        ],
    }


def describe(report: dict[str, Any]) -> str:
    size, memory = "x".join(map(str, report["size"])), report["memory"]
    order = f"{report['channel_order']}, applied when an image is prepared; the weights are as they came"
    entries = [
        ("model", f"{report['model']}, {report['classes']} classes"),
        ("parameters", f"{report['parameters']:,}"),
        ("cost", f"{report['macs'] / 1e9:.3f} GMAC at {size}"),
        ("weights", f"{megabytes(memory['weights'])}, packed"),
        (
            "activations",
            f"{megabytes(memory['arena'])} a thread; {megabytes(memory['unshared'])} without sharing",
        ),
        ("scratch", f"{megabytes(memory['scratch'])} a thread"),
        ("preprocessing", report["preprocessing_text"]),
        ("channel order", order),
        ("engine", f"{report['precision']}, {report['isa']}, threads: {report['threads']}"),
    ]
    rows = [
        (
            layer["name"],
            layer["kind"],
            "x".join(map(str, layer["output"])),
            f"{layer['macs'] / 1e6:.2f}",
            f"{layer['bytes'] / 1e3:.0f}",
        )
        for layer in report["layers"]
    ]
    layers = table(("layer", "kind", "output", "MMAC", "kB"), rows, left=2)
    return f"{report['source']}\n{facts(entries)}\n\n{layers}"

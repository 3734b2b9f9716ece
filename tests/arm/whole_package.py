"""What the package computes, on one machine and on another.

    python whole_package.py write FILE      computes, and keeps the answers
    python whole_package.py compare FILE    computes, and exits with 1 where an answer is another

Every variant with random weights in float, in 8 bits and half in each, and the embedded model on a photo;
without torch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mobilevit_fast import _C, Session
from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.benchmark.random_weights import random_checkpoint, random_images
from mobilevit_fast.config import list_models
from mobilevit_fast.image import preprocess
from mobilevit_fast.weights import LayerFormat

EMBEDDED = "mobilevit_xxs.cifar10"
CAT = Path(__file__).resolve().parent.parent / "data" / "cat.jpg"
FLOAT = LayerFormat("fp32", "float")

BOUNDS = {"fp32": 1e-4, "fp16": 2e-2, "int8": 5e-2, "mixed": 5e-2}
"""Precision -> greatest difference over the greatest logit; random weights make much of a rounding. A machine
without half precision computes in floats for it."""


def mixed(name: str):
    """The first half in 8 bits, the last stage and the classifier in float."""
    layers = random_quantized(name).layers
    float_parts = ("stages.4", "head", "classifier")
    return random_quantized(name, formats={layer: FLOAT for layer in layers if layer.startswith(float_parts)})


def answers() -> Iterator[tuple[str, str, np.ndarray]]:
    """(name, precision, logits)"""
    session = Session(EMBEDDED)
    yield EMBEDDED, "fp32", session.run(preprocess(CAT, session.preprocessing))
    images = random_images(1, 96, 96)
    for name in list_models():
        halves = "fp16" if _C.isa_tables("fp16") else "fp32"
        session = Session(random_checkpoint(name), precision=halves)
        yield f"{name} {halves} {session.isa}", "fp16", session.run(images)
        for precision, make in (("fp32", random_checkpoint), ("int8", random_quantized), ("mixed", mixed)):
            session = Session(make(name))
            assert session.precision == precision
            yield f"{name} {precision} {session.isa}", precision, session.run(images)


def main() -> int:
    command, path = sys.argv[1:]
    if command == "write":
        np.savez(path, *[logits for _, _, logits in answers()])
        return 0
    failed = False
    expected = np.load(path)
    for index, (name, precision, logits) in enumerate(answers()):
        wanted = expected[f"arr_{index}"]
        error = float(np.abs(logits - wanted).max() / np.abs(wanted).max())
        good = error <= BOUNDS[precision]
        failed |= not good
        print(f"{'ok' if good else 'FAILED':<6} {name}: relative error {error:.1e}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

"""Whole models on emulated processors: the C example's logits beside those of Session on this machine.

    python whole_models.py CLASSIFY CPU...

CLASSIFY is the example, built for 64-bit ARM. Exits with 1 where an answer differs by more than the bound of
its precision, or in the label.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import mobilevit_fast as mvf
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.image import load_image, preprocess
from mobilevit_fast.precision import lower_to_plan
from mobilevit_fast.weights import NativeModel, load_checkpoint, save_native

MODEL = "mobilevit_xxs.cifar10"
CAT = Path(__file__).resolve().parent.parent / "data" / "cat.jpg"
SYSROOT = "/usr/aarch64-linux-gnu"

BOUNDS = {"fp32": 1e-4, "fp16": 1e-2, "int8": 2e-2, "mixed": 2e-2}
"""Precision -> greatest difference over the greatest logit. Sums of integers are the same everywhere, which
the native tests hold; floats between them are not, and a number between two bytes may go either way. Half
precision is held against this machine's fp32."""

WITHOUT_HALVES = ("cortex-a53",)
"""Processors that must refuse half precision."""


def models():
    """(precision, checkpoint)"""
    yield "fp32", load_checkpoint(MODEL)
    yield "fp16", load_checkpoint(MODEL)
    yield "int8", mvf.quantize(MODEL, mvf.StaticInt8(), calibration=random_images(32, 96, 96)).checkpoint()
    yield "mixed", mvf.quantize(MODEL, mvf.DynamicInt8()).checkpoint()


def answer(classify: str, cpu: str, model: Path, photograph: Path) -> tuple[str, dict[str, float]]:
    """What the example says of itself, and its logits by label."""
    command = ["qemu-aarch64", "-cpu", cpu, "-L", SYSROOT, classify, str(model), str(photograph)]
    first, *rows = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return first, {row.split()[0]: float(row.split()[1]) for row in rows}


def is_refused(classify: str, cpu: str, model: Path, photograph: Path) -> bool:
    """Whether the example ends with the reason why that processor has no kernels for half precision."""
    command = ["qemu-aarch64", "-cpu", cpu, "-L", SYSROOT, classify, str(model), str(photograph)]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode != 0 and "neon_fp16 needs fp16" in done.stderr


def main() -> int:
    classify, *cpus = sys.argv[1:]
    failed = False
    with TemporaryDirectory() as folder:
        photograph, path = Path(folder) / "cat.ppm", Path(folder) / "model.safetensors"
        load_image(CAT).save(photograph)
        for precision, checkpoint in models():
            session = mvf.Session(checkpoint)
            model = NativeModel(
                config=checkpoint.config,
                plan=lower_to_plan(checkpoint, precision),
                precision=precision,
                preprocessing=checkpoint.preprocessing,
                labels=checkpoint.labels,
                source=checkpoint.source,
            )
            save_native(path, model, session.input_size)
            expected = session.run(preprocess(CAT, session.preprocessing))[0]
            for cpu in cpus:
                if precision == "fp16" and cpu in WITHOUT_HALVES:
                    good = is_refused(classify, cpu, path, photograph)
                    failed |= not good
                    print(f"{'ok' if good else 'FAILED':<6} {cpu:<20} {precision} is refused")
                    continue
                ran, logits = answer(classify, cpu, path, photograph)
                found = np.array([logits[label] for label in session.labels])
                error = float(np.abs(found - expected).max() / np.abs(expected).max())
                same = found.argmax() == expected.argmax()
                good = same and error <= BOUNDS[precision]
                failed |= not good
                print(
                    f"{'ok' if good else 'FAILED':<6} {cpu:<20} {ran:<32} "
                    f"{session.labels[int(found.argmax())]}, relative error {error:.1e} against {session.isa}"
                )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

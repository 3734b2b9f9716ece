"""Our operations inside onnxruntime: the same model in standard operators, in ours, and in a session of ours.

    python benchmarks/onnxruntime_library.py
    python benchmarks/onnxruntime_library.py --models mobilevit_s --size 224 --batch 8

One thread. Models take turns, so that all meet the same machine; a run's time is its thread's own, as far as
the system knows it, so that other work on the machine counts little. Weights are random.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from mobilevit_fast import Session, list_models, onnxruntime_library
from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.benchmark.random_weights import random_checkpoint, random_images
from mobilevit_fast.cli.text import table
from mobilevit_fast.export import export
from mobilevit_fast.weights import Checkpoint, QuantizedCheckpoint

WARM_UP = 3

SOURCES = {"fp32": random_checkpoint, "int8": random_quantized}

Run = Callable[[], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", metavar="NAME", default=["mobilevit_xxs", "mobilevit_s"])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if unknown := set(arguments.models) - set(list_models()):
        parser.error(f"unknown model {', '.join(sorted(unknown))}; there are {', '.join(list_models())}")
    results = [
        {"model": name, "precision": precision, **measure(make(name), arguments)}
        for precision, make in SOURCES.items()
        for name in arguments.models
    ]
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    print(table(list(results[0]), [[shown(value) for value in row.values()] for row in results], left=2))


def measure(source: Checkpoint | QuantizedCheckpoint, arguments: argparse.Namespace) -> dict[str, Any]:
    """Medians in milliseconds, and how much faster our kernels are than the standard operators."""
    size = (arguments.size, arguments.size)
    images = random_images(arguments.batch, *size)
    with tempfile.TemporaryDirectory() as folder:
        standard, ours = Path(folder) / "standard.onnx", Path(folder) / "ours.onnx"
        export(source, "onnx", standard, size=size)
        export(source, "onnx", ours, size=size, keep_custom_ops=True)
        session = Session(source, threads=1)
        medians = interleaved(
            {
                "standard operators": in_onnxruntime(standard, images),
                "our functions": in_onnxruntime(ours, images),
                "our library": in_onnxruntime(ours, images, with_library=True),
                "Session": lambda: session.run(images),
            },
            arguments.rounds,
        )
    return {**medians, "library faster": medians["standard operators"] / medians["our library"]}


def in_onnxruntime(path: Path, images: np.ndarray, *, with_library: bool = False) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if with_library:
        options.add_session_config_entry("mobilevit_fast.threads", "1")
        options.register_custom_ops_library(onnxruntime_library())
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    return lambda: session.run(None, {given.name: images})[0]


def interleaved(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        for _ in range(WARM_UP):
            run()
    for _ in range(rounds):
        for name, run in runs.items():
            run()  # Whoever ran before left its own data in the caches.
            before = time.thread_time()
            run()
            times[name].append(1e3 * (time.thread_time() - before))
    return {name: statistics.median(values) for name, values in times.items()}


def shown(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()

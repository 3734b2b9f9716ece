"""Instructions and modelled cycles on 64-bit ARM, ours beside onnxruntime's, LiteRT's and ncnn's.

    benchmarks/arm/environment FOLDER
    python benchmarks/arm/report.py FOLDER --models mobilevit_xxs mobilevit_s
    python benchmarks/arm/report.py FOLDER --models mobilevit_xxs --stages --peers

No ARM processor takes part: an emulator counts, and llvm-mca says what a processor would make of the counted
instructions where caches always hit. The figures are for comparison with each other, never milliseconds. One
image, one thread, random weights; needs this project with the extras of the peers' exporters.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from blocks import count_macs, read_blocks
from cycles import model_cycles

from mobilevit_fast import export, list_models
from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.benchmark.random_weights import random_checkpoint
from mobilevit_fast.cli.text import table
from mobilevit_fast.export.driver import VerificationError
from mobilevit_fast.lower import OUTPUTS
from mobilevit_fast.weights import Checkpoint, QuantizedCheckpoint, save_checkpoint, save_quantized

HERE = Path(__file__).parent
OURS = "mobilevit_fast"

FORMATS = {"onnxruntime": ("onnx", ".onnx"), "litert": ("litert", ".tflite"), "ncnn": ("ncnn", ".param")}
"""Runtime -> what it runs, and the ending of the file."""

PRECISIONS = ("fp32", "fp16", "int8")

EMULATED = {
    "cortex-a53": ("cortex-a53", ("cortex-a53", "cortex-a55")),
    "neoverse-n1": ("neoverse-n1", ("neoverse-n1", "neoverse-v2", "cortex-a55")),
    "max": ("max,sve=off,sme=off", ("neoverse-v2",)),
}
"""Processor that is emulated -> the emulator's name of it, and the models that its instructions fit."""


@dataclass(frozen=True)
class Count:
    """What ran; cycles by modelled processor, as throughput and as latency has it."""

    instructions: float
    macs: float
    cycles: dict[str, float]
    latency: dict[str, float]

    def __sub__(self, other: Count) -> Count:
        return Count(
            self.instructions - other.instructions,
            self.macs - other.macs,
            {name: self.cycles[name] - other.cycles[name] for name in self.cycles},
            {name: self.latency[name] - other.latency[name] for name in self.latency},
        )


@dataclass(frozen=True)
class Row:
    """`misses` of the first and second level of the cache model."""

    model: str
    precision: str
    runtime: str
    emulated: str
    part: str
    count: Count
    misses: tuple[int, int] | None


class Emulator:
    """Runs guest.py on one emulated processor in the folder that `environment` made."""

    def __init__(self, folder: Path, processor: str) -> None:
        self.folder, self.processor = folder, processor

    def count(self, arguments: list[str], *, cache: bool = False) -> Path:
        """The file of the counted region. Raises RuntimeError where the guest fails."""
        counts = self.folder / "counts"
        plugin = f"{self.folder / 'count_blocks.so'},out={counts}" + (",cache=1" if cache else "")
        command = ["qemu-aarch64", "-cpu", EMULATED[self.processor][0]]
        command += ["-L", str(self.folder / "cpu" / self.processor), "-plugin", plugin]
        command += [str(self.folder / "sysroot/usr/bin/python3.11"), str(HERE / "guest.py"), *arguments]
        settings = {"PYTHONPATH": str(self.folder / "site"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings})
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)} on {self.processor}: {done.stderr.strip()}")
        return Path(f"{counts}.0")


def main() -> None:
    arguments = parse_arguments()
    rows = []
    for name in arguments.models:
        for precision in arguments.precisions:
            source = random_quantized(name) if precision == "int8" else random_checkpoint(name)
            # Peers are measured in floats and bytes alone.
            peers = [] if precision == "fp16" else arguments.peers
            files = write_files(source, arguments.folder, name, precision, peers)
            for processor in arguments.processors:
                if precision == "fp16" and processor == "cortex-a53":
                    continue
                emulator = Emulator(arguments.folder, processor)
                for runtime, path in files.items():
                    for part in measure(emulator, runtime, path, precision, arguments):
                        rows.append(Row(name, precision, runtime, processor, *part))
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print(describe(rows))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=lambda given: Path(given).resolve(), help="made by `environment`")
    parser.add_argument("--models", nargs="+", choices=list_models(), default=["mobilevit_xxs"])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--processors", nargs="+", choices=list(EMULATED), default=["neoverse-n1"])
    parser.add_argument("--peers", nargs="*", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--stages", action="store_true", help="ours part by part as well")
    parser.add_argument("--cache", action="store_true", help="misses of a two-level cache, too; slow")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def write_files(
    source: Checkpoint | QuantizedCheckpoint, folder: Path, name: str, precision: str, peers: list[str]
) -> dict[str, Path]:
    """Runtime -> the model as it takes it."""
    stem = folder / f"{name}-{precision}"
    files = {OURS: stem.with_suffix(".safetensors")}
    if isinstance(source, QuantizedCheckpoint):
        save_quantized(files[OURS], source)
    else:
        save_checkpoint(files[OURS], source, dtype="float32")
    for runtime in peers:
        file_format, suffix = FORMATS[runtime]
        if runtime == "ncnn" and precision == "int8":
            continue
        path = stem.with_suffix(suffix)
        try:
            export(source, file_format, path, force=True)
        except VerificationError as error:
            # Random weights amplify roundings; what the runtime computes, it computes all the same.
            print(f"{runtime} {precision}: {error}", file=sys.stderr)
            path = Path(error.report.path)
        files[runtime] = path
    return files


def measure(
    emulator: Emulator, runtime: str, path: Path, precision: str, arguments: argparse.Namespace
) -> Iterator[tuple[str, Count, tuple[int, int] | None]]:
    """Name, count and cache misses of the whole model and, where asked for, of our parts of it."""
    command = [runtime, str(path), str(arguments.size), "own" if precision == "int8" else precision]
    misses = None
    if arguments.cache:
        first, second = emulator.count(command, cache=True).read_text().split()
        misses = int(first), int(second)
    yield "all", count(emulator, command), misses
    if arguments.stages and runtime == OURS:
        before = None
        for output in OUTPUTS:
            until = count(emulator, [*command, output])
            yield output, until if before is None else until - before, None
            before = until


def count(emulator: Emulator, command: list[str]) -> Count:
    """Of the emulated run and what llvm-mca makes of it."""
    blocks = read_blocks(emulator.count(command))
    found = {model: model_cycles(blocks, model) for model in EMULATED[emulator.processor][1]}
    return Count(
        sum(block.executed for block in blocks),
        count_macs(blocks),
        {model: cycles.throughput for model, cycles in found.items()},
        {model: cycles.latency for model, cycles in found.items()},
    )


def describe(rows: list[Row]) -> str:
    """A table; cycles as throughput - latency."""
    header = ["model", "precision", "runtime", "emulated", "part", "M instructions", "MACs each"]
    header += ["M cycles, modelled", "cache misses"]
    lines = [
        [
            *(row.model, row.precision, row.runtime, row.emulated, row.part),
            f"{row.count.instructions / 1e6:.1f}",
            f"{row.count.macs / row.count.instructions:.2f}",
            ", ".join(
                f"{name} {cycles / 1e6:.1f}-{row.count.latency[name] / 1e6:.1f}"
                for name, cycles in row.count.cycles.items()
            ),
            "" if row.misses is None else f"{row.misses[0]:,} + {row.misses[1]:,}",
        ]
        for row in rows
    ]
    return table(header, lines, left=5)


if __name__ == "__main__":
    main()

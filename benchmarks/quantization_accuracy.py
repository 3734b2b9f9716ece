"""What quantisation costs and saves: accuracy of every recipe on labelled images, and bytes of every file.

    python benchmarks/quantization_accuracy.py --data cifar10/          # train.parquet and test.parquet
    python benchmarks/quantization_accuracy.py --data cifar10/ --model mobilevit_s.safetensors --limit 1000
    python benchmarks/quantization_accuracy.py --sizes                  # of all variants, weights random

Calibration takes training images, spread evenly. Accuracy is the engine's, or with --torch that of the
network in torch that computes what the engine computes. Training with roundings in place learns from labels
and from the float model.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mobilevit_fast import (
    DynamicInt8,
    HalfPrecision,
    Mixed,
    Session,
    StaticInt8,
    WeightOnly,
    convert,
    evaluate,
    list_models,
    load_checkpoint,
    load_dataset,
    prepare_qat,
    quantize,
)
from mobilevit_fast.benchmark.peers import PEERS, Assets
from mobilevit_fast.benchmark.random_weights import random_checkpoint, random_images
from mobilevit_fast.cli.text import table
from mobilevit_fast.evaluation import Dataset, Evaluation
from mobilevit_fast.image import preprocess
from mobilevit_fast.model import from_checkpoint
from mobilevit_fast.quantization import QuantizedModel
from mobilevit_fast.quantization.quantized_model import float_size
from mobilevit_fast.train.distillation import DistillationLoss
from mobilevit_fast.weights import Checkpoint

RECIPES = {
    "half": HalfPrecision(),
    "dynamic": DynamicInt8(),
    "static": StaticInt8(),
    "weight-only 8": WeightOnly(8),
    "weight-only 4": WeightOnly(4),
    "mixed, a sixth": Mixed(),
}
FLOAT = "float32"
PEER_NAMES = tuple(peer.name for peer in PEERS if "int8" in peer.precisions)
PEER_BATCH = 16
QAT = "static, trained"
QAT_MIXED = "mixed, trained"
TRAINED = {QAT: StaticInt8(), QAT_MIXED: Mixed()}
EVERY = (FLOAT, *RECIPES, *TRAINED)


@dataclass(frozen=True)
class Row:
    """One recipe's outcome; `loss` in points of top-1 against float32. Peers' files are not weighed."""

    recipe: str
    bytes: int | None
    smaller: float | None
    top1: float
    top5: float
    loss: float
    images: int
    seconds: float


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    checkpoint = load_checkpoint(arguments.model)
    training = load_dataset(arguments.data / "train.parquet")
    test = load_dataset(arguments.data / "test.parquet")
    calibration = list(training.head(arguments.calibration).images)
    whole = float_size(checkpoint.config)
    before = evaluate(Session(checkpoint, threads=arguments.threads), test, limit=arguments.limit)
    yield _row(FLOAT, whole, whole, before, before, 0.0)
    for name in arguments.recipes:
        started = time.monotonic()
        if name in TRAINED:
            model = train(checkpoint, TRAINED[name], calibration, training, arguments)
        else:
            model = quantize(checkpoint, RECIPES[name], calibration=calibration)
        seconds = time.monotonic() - started
        runner = model if arguments.torch else Session(model.checkpoint(), threads=arguments.threads)
        after = evaluate(runner, test, limit=arguments.limit)
        if arguments.save:
            model.save(arguments.save / f"{checkpoint.config.name}.{name.replace(', ', '-')}.safetensors")
        yield _row(name, model.report.bytes, whole, after, before, seconds)
    for name in arguments.peers:
        started = time.monotonic()
        runner = PeerModel(
            name, checkpoint, preprocess(calibration, checkpoint.preprocessing), arguments.threads
        )
        seconds = time.monotonic() - started
        after = evaluate(runner, test, limit=arguments.limit, batch_size=PEER_BATCH)
        yield _row(f"{name}, static", None, whole, after, before, seconds)


class PeerModel:
    """A peer's own static quantisation of `checkpoint`, for images of the checkpoint's size."""

    def __init__(self, name: str, checkpoint: Checkpoint, calibration: np.ndarray, threads: int) -> None:
        self.preprocessing, self.labels = checkpoint.preprocessing, checkpoint.labels
        [peer] = (peer for peer in PEERS if peer.name == name)
        with tempfile.TemporaryDirectory() as folder:
            assets = Assets(checkpoint, Path(folder), calibration)
            self._run = peer.build(assets, (PEER_BATCH, *calibration.shape[1:]), threads, "int8")

    def run(self, pixel_values: np.ndarray) -> np.ndarray:
        """Logits; the last batch is filled up to the size that the peer's model was made for."""
        missing = PEER_BATCH - len(pixel_values)
        whole = np.concatenate([pixel_values, np.zeros_like(pixel_values[:1]).repeat(missing, 0)])
        return self._run(whole)[: len(pixel_values)]


def train(
    checkpoint: Checkpoint, recipe: Any, calibration: list[Any], data: Dataset, options: argparse.Namespace
) -> QuantizedModel:
    """Some steps of AdamW down a cosine, mirrored images, the float model as teacher."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    student = prepare_qat(checkpoint, recipe, calibration=calibration)
    teacher = from_checkpoint(checkpoint).eval()
    criterion = DistillationLoss()
    truth = data.labels_for(checkpoint.labels)
    optimizer = torch.optim.AdamW(student.parameters(), lr=options.learning_rate, weight_decay=0.0)
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        batch = rng.integers(len(truth), size=options.batch)
        pixels = torch.from_numpy(preprocess([data.images[i] for i in batch], checkpoint.preprocessing))
        pixels = torch.where(torch.rand(len(pixels), 1, 1, 1) < 0.5, pixels, pixels.flip(3))
        with torch.no_grad():
            wanted = teacher(pixels)
        loss = criterion(student(pixels), wanted, torch.from_numpy(truth[batch]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
    return convert(student)


def sizes() -> Iterator[tuple[str, str, int, float]]:
    """(variant, recipe, bytes of the file, times smaller than float32)."""
    images = torch.from_numpy(random_images(32, 64, 64))
    for name in list_models():
        checkpoint = random_checkpoint(name)
        whole = float_size(checkpoint.config)
        yield name, FLOAT, whole, 1.0
        for recipe_name, recipe in RECIPES.items():
            report = quantize(checkpoint, recipe, calibration=images).report
            yield name, recipe_name, report.bytes, report.ratio


def _row(
    name: str, size: int | None, whole: int, after: Evaluation, before: Evaluation, seconds: float
) -> Row:
    loss = 100 * (before.top1 - after.top1)
    return Row(name, size, whole / size if size else None, after.top1, after.top5, loss, after.count, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mobilevit_xxs.cifar10", help="float checkpoint")
    parser.add_argument("--data", type=Path, help="folder with train.parquet and test.parquet")
    parser.add_argument("--recipes", nargs="+", choices=EVERY[1:], default=EVERY[1:], metavar="RECIPE")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=PEER_NAMES,
        default=(),
        metavar="PEER",
        help="their quantisation beside ours",
    )
    parser.add_argument("--calibration", type=int, default=128, help="training images to calibrate with")
    parser.add_argument("--limit", type=int, help="so many test images instead of all")
    parser.add_argument("--steps", type=int, default=400, help="of training")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--torch", action="store_true", help="evaluate quantised models in torch")
    parser.add_argument("--save", type=Path, help="folder for the quantised files")
    parser.add_argument("--sizes", action="store_true", help="bytes of each variant and recipe instead")
    parser.add_argument("--json", type=Path, help="write the rows there, too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.sizes:
        rows = []
        for row in sizes():
            rows.append(row)
            print(*row, flush=True)
        cells = [[name, recipe, f"{size:,}", f"{ratio:.2f}"] for name, recipe, size, ratio in rows]
        print("\n" + table(("model", "recipe", "bytes", "smaller"), cells, left=2))
        return
    if arguments.data is None:
        parser.error("--data is needed, or --sizes")
    rows = []
    for row in measure(arguments):
        print(row, flush=True)
        rows.append(row)
        if arguments.json:
            arguments.json.write_text(json.dumps([asdict(each) for each in rows], indent=2))
    cells = [
        [
            row.recipe,
            *((f"{row.bytes:,}", f"{row.smaller:.2f}") if row.bytes else ("", "")),
            *(f"{row.top1:.2%}", f"{row.top5:.2%}"),
            *(f"{-row.loss:+.2f}", f"{row.seconds:.0f}"),
        ]
        for row in rows
    ]
    header = ("recipe", "bytes", "smaller", "top-1", "top-5", "points", "seconds")
    print(f"\n{arguments.model}, {rows[0].images} test images, {arguments.calibration} calibration images")
    print(table(header, cells))


if __name__ == "__main__":
    main()

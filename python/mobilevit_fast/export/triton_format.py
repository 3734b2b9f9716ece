"""A model repository for Triton and KServe: an ONNX file for its onnxruntime backend, requests batched."""

from __future__ import annotations

import json
from pathlib import Path

from mobilevit_fast.export import onnx_format
from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job
from mobilevit_fast.weights.labels import label_lines

MAX_BATCH = 64
PREFERRED_BATCHES = (8, 16, 32)
MAX_QUEUE_DELAY = 2000
"""Microseconds that a request may wait for others."""

LABELS = "labels.txt"


def write(job: Job, path: Path) -> None:
    folder = path / job.source.config.name
    file = _onnx_file(job, path)
    file.parent.mkdir(parents=True)
    onnx_format.write(job, file)
    (folder / LABELS).write_text(label_lines(job.source.labels), encoding="utf-8")
    (folder / "config.pbtxt").write_text(configuration(job), encoding="utf-8")


def load(job: Job, path: Path) -> Run:
    return onnx_format.load(job, _onnx_file(job, path))


def configuration(job: Job) -> str:
    """The text of config.pbtxt."""
    options = job.options
    height, width = (-1, -1) if options.dynamic_size else options.size
    # Without max_batch_size dimensions have the batch among them.
    batch = "" if options.dynamic_batch else f"{options.batches[0]}, "
    lines = [
        f'name: "{job.source.config.name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {MAX_BATCH if options.dynamic_batch else 0}",
        f'input [{{ name: "{options.input_name}" data_type: {_input_type(job)} '
        f"dims: [{batch}3, {height}, {width}] }}]",
        f'output [{{ name: "{options.output_name}" data_type: TYPE_FP32 '
        f'dims: [{batch}{job.source.config.num_classes}] label_filename: "{LABELS}" }}]',
    ]
    if options.dynamic_batch:
        preferred = ", ".join(map(str, PREFERRED_BATCHES))
        lines.append(
            f"dynamic_batching {{ preferred_batch_size: [{preferred}] "
            f"max_queue_delay_microseconds: {MAX_QUEUE_DELAY} }}"
        )
    lines += [
        f'parameters {{ key: "{key}" value {{ string_value: {json.dumps(job.metadata[key])} }} }}'
        for key in ("model", "preprocessing")
    ]
    return "\n".join(lines) + "\n"


def _input_type(job: Job) -> str:
    return "TYPE_UINT8" if job.options.raw_pixels else "TYPE_FP32"


def _onnx_file(job: Job, path: Path) -> Path:
    return path / job.source.config.name / "1" / "model.onnx"

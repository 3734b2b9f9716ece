"""ONNX files: opset 18, standard operators; labels and preprocessing in the model's metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job, quietly

OPSET = 18


def write(job: Job, path: Path) -> None:
    with quietly():
        program = torch.onnx.export(
            job.lowered(),
            dynamo=True,
            opset_version=OPSET,
            input_names=[job.options.input_name],
            output_names=[job.options.output_name],
            dynamic_shapes=job.dynamic_shapes(),
            verbose=False,
        )
    program.model.metadata_props.update(job.metadata)
    program.model.producer_name = "mobilevit_fast"
    program.save(path, external_data=False)


def load(job: Job, path: Path) -> Run:
    import onnxruntime

    # Its warnings are about initialisers that its own optimiser left over.
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> np.ndarray:
        return session.run([job.options.output_name], {job.options.input_name: images})[0]

    return run

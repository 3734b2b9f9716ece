"""ONNX files of opset 18; labels and preprocessing in the model's metadata.

Standard operators, or with `keep_custom_ops` nodes of this package's domain and functions that define them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, IdentityEliminationPass

from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job, quietly
from mobilevit_fast.export.onnx_functions import add_functions
from mobilevit_fast.export.onnx_fusions import fuse
from mobilevit_fast.export.onnx_int8 import int8_model
from mobilevit_fast.weights import QuantizedCheckpoint

OPSET = 18


def write(job: Job, path: Path) -> None:
    """Raises ValueError for our operations in half precision."""
    if job.options.keep_custom_ops and job.options.precision == "fp16":
        raise ValueError("nodes of this package's domain compute in fp32; leave out keep_custom_ops for fp16")
    if job.options.keep_custom_ops and isinstance(job.source, QuantizedCheckpoint):
        model = int8_model(job, OPSET)
    else:
        model = _float_or_standard(job)
    helper.set_model_props(model, job.metadata)
    model.producer_name = "mobilevit_fast"
    # Functions come last: the exporter's own optimisation would dissolve them into the graph.
    add_functions(model, OPSET)
    onnx.save(model, path)


def _float_or_standard(job: Job) -> onnx.ModelProto:
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
    if job.options.keep_custom_ops:
        fuse(program.model)
    IdentityEliminationPass()(program.model)
    # Every node came with the lines of source that made it, by their paths on this machine.
    ClearMetadataAndDocStringPass()(program.model)
    return program.model_proto


def load(job: Job, path: Path) -> Run:
    import onnxruntime

    # Its warnings are about initialisers that its own optimiser left over.
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> np.ndarray:
        return session.run([job.options.output_name], {job.options.input_name: images})[0]

    return run

"""ONNX files of opset 18; labels and preprocessing in the model's metadata.

Standard operators, or with `keep_custom_ops` nodes of this package's domain and functions that define them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, IdentityEliminationPass
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.rules.common import no_op_transpose_rule, transpose_transpose_rule

from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job, quietly
from mobilevit_fast.export.onnx_functions import add_functions

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
    # Around nodes of ours maps are permuted and permuted back.
    rewrite(program.model, [transpose_transpose_rule, no_op_transpose_rule])
    IdentityEliminationPass()(program.model)
    # Every node came with the lines of source that made it, by their paths on this machine.
    ClearMetadataAndDocStringPass()(program.model)
    program.model.metadata_props.update(job.metadata)
    program.model.producer_name = "mobilevit_fast"
    model = program.model_proto
    # Functions come last: the exporter's own optimisation would dissolve them into the graph.
    add_functions(model, OPSET)
    onnx.save(model, path)


def load(job: Job, path: Path) -> Run:
    import onnxruntime

    # Its warnings are about initialisers that its own optimiser left over.
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> np.ndarray:
        return session.run([job.options.output_name], {job.options.input_name: images})[0]

    return run

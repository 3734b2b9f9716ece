"""OpenVINO's intermediate representation, .xml and .bin; labels and preprocessing in its rt_info."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino
import torch

from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job, quietly
from mobilevit_fast.export.whole_layers import ScaledWeightsNetwork

RT_INFO = "mobilevit_fast"
"""Section of the model's rt_info that holds the metadata."""


def write(job: Job, path: Path) -> None:
    job = replace(job, quantized_network=ScaledWeightsNetwork)
    narrows = job.options.precision == "fp16"
    with quietly():
        # OpenVINO narrows weights itself, and computes in what the device is best at.
        model = openvino.convert_model((job.as_fp32() if narrows else job).lowered())
    model.inputs[0].get_tensor().set_names({job.options.input_name})
    model.outputs[0].get_tensor().set_names({job.options.output_name})
    for key, text in job.metadata.items():
        model.set_rt_info(text, [RT_INFO, key])
    openvino.save_model(model, str(path), compress_to_fp16=narrows)


def load(job: Job, path: Path) -> Run:
    # By its own choice it would compute in bfloat16 on a CPU that can.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)

    def run(images: np.ndarray) -> np.ndarray:
        return np.array(compiled([images], share_inputs=False)[0])

    return run

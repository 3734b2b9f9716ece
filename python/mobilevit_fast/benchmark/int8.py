"""8-bit models of the peers, each made from the float one as its own documentation has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def quantize_onnx(model: Path, batches: Sequence[np.ndarray]) -> Path:
    """onnxruntime's static quantisation: QDQ, unsigned activations, signed weights per channel.

    `batches` of images have the shape that `model` takes.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"pixel_values": batch}

    prepared, quantized = model.with_suffix(".prepared.onnx"), model.with_suffix(".int8.onnx")
    if not quantized.exists():
        quant_pre_process(model, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
    return quantized


def quantize_openvino(model: Path, batches: Sequence[np.ndarray]):
    """NNCF's post-training quantisation for transformers; an `openvino.Model`."""
    import nncf
    import openvino

    return nncf.quantize(
        openvino.Core().read_model(model),
        nncf.Dataset(batches),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(batches),
    )

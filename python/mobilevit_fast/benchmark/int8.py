"""8-bit models of the peers, each made from the float one as its own documentation has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mobilevit_fast.benchmark.random_weights import random_images

CALIBRATION_IMAGES = 32


def quantize_onnx(model: Path, shape: tuple[int, ...]) -> Path:
    """onnxruntime's static quantisation: QDQ, unsigned activations, signed weights per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = _batches(shape)

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


def quantize_openvino(model: Path, shape: tuple[int, ...]):
    """NNCF's post-training quantisation for transformers; an `openvino.Model`."""
    import nncf
    import openvino

    return nncf.quantize(
        openvino.Core().read_model(model),
        nncf.Dataset(list(_batches(shape))),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(list(_batches(shape))),
    )


def _batches(shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Calibration images in batches of exactly `shape`."""
    batch, _, height, width = shape
    count = -(-CALIBRATION_IMAGES // batch)
    images = random_images(count * batch, height, width)
    return iter(np.split(images, count))

"""Quantisation: recipes, calibration, sensitivity, mixed precision and quantisation-aware training."""

from mobilevit_fast.quantization.config import DynamicInt8, HalfPrecision, Mixed, StaticInt8, WeightOnly
from mobilevit_fast.quantization.observer import MeanSquaredError, MinMax, Percentile
from mobilevit_fast.quantization.qat import TrainableMobileViT, convert, prepare_qat
from mobilevit_fast.quantization.quantized_model import QuantizedModel, Report
from mobilevit_fast.quantization.sensitivity import LayerSensitivity, Sensitivity, sensitivity
from mobilevit_fast.quantization.sources import CalibrationWarning
from mobilevit_fast.quantization.workflows import quantize

__all__ = [
    "CalibrationWarning",
    "DynamicInt8",
    "HalfPrecision",
    "LayerSensitivity",
    "MeanSquaredError",
    "MinMax",
    "Mixed",
    "Percentile",
    "QuantizedModel",
    "Report",
    "Sensitivity",
    "StaticInt8",
    "TrainableMobileViT",
    "WeightOnly",
    "convert",
    "prepare_qat",
    "quantize",
    "sensitivity",
]

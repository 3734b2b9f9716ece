"""Checkpoints of transformers, timm and ml-cvnets in, safetensors out; without torch."""

from mobilevit_fast.files import replacing
from mobilevit_fast.weights.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_classifier,
    load_model,
    load_runnable,
    save_checkpoint,
    with_new_classifier,
)
from mobilevit_fast.weights.convert import find_config, to_canonical, to_timm, to_transformers
from mobilevit_fast.weights.hub import HUB_IDS, check_repository, upload
from mobilevit_fast.weights.integers import Grid, silu_table
from mobilevit_fast.weights.native import NativeModel, save_native
from mobilevit_fast.weights.pretrained import save_pretrained
from mobilevit_fast.weights.quantized import LayerFormat, QuantizedCheckpoint, save_quantized
from mobilevit_fast.weights.safetensors_file import read_safetensors, write_safetensors
from mobilevit_fast.weights.shapes import layer_shapes, parameter_shapes
from mobilevit_fast.weights.sources import embedded_names

__all__ = [
    "HUB_IDS",
    "Checkpoint",
    "Grid",
    "LayerFormat",
    "NativeModel",
    "QuantizedCheckpoint",
    "check_repository",
    "embedded_names",
    "find_config",
    "layer_shapes",
    "load_checkpoint",
    "load_classifier",
    "load_model",
    "load_runnable",
    "parameter_shapes",
    "read_safetensors",
    "replacing",
    "save_checkpoint",
    "save_native",
    "save_pretrained",
    "save_quantized",
    "silu_table",
    "to_canonical",
    "to_timm",
    "to_transformers",
    "upload",
    "with_new_classifier",
    "write_safetensors",
]

"""Checkpoints of transformers, timm and ml-cvnets in, safetensors out; without torch."""

from mobilevit_fast.weights.atomic import replacing
from mobilevit_fast.weights.checkpoint import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
    with_new_classifier,
)
from mobilevit_fast.weights.convert import find_config, to_canonical, to_timm, to_transformers
from mobilevit_fast.weights.hub import HUB_IDS
from mobilevit_fast.weights.pretrained import save_pretrained
from mobilevit_fast.weights.safetensors_file import read_safetensors, write_safetensors
from mobilevit_fast.weights.shapes import parameter_shapes
from mobilevit_fast.weights.sources import embedded_names

__all__ = [
    "HUB_IDS",
    "Checkpoint",
    "embedded_names",
    "find_config",
    "load_checkpoint",
    "parameter_shapes",
    "read_safetensors",
    "replacing",
    "save_checkpoint",
    "save_pretrained",
    "to_canonical",
    "to_timm",
    "to_transformers",
    "with_new_classifier",
    "write_safetensors",
]

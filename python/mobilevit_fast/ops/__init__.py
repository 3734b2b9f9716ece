"""The kernels as torch operators; importing this package registers `torch.ops.mobilevit_fast.*`."""

from mobilevit_fast.ops.flops import FLOP_FORMULAS
from mobilevit_fast.ops.functional import (
    attention,
    batch_norm,
    conv3x3,
    dwconv3x3,
    inverted_residual,
    layer_norm,
    linear,
    trained_inverted_residual,
)
from mobilevit_fast.ops.int8 import INT8_NAMES
from mobilevit_fast.ops.library import NAMES
from mobilevit_fast.ops.training import TRAINING_NAMES
from mobilevit_fast.ops.training_blocks import BLOCK_NAMES

__all__ = [
    "BLOCK_NAMES",
    "FLOP_FORMULAS",
    "INT8_NAMES",
    "NAMES",
    "TRAINING_NAMES",
    "attention",
    "batch_norm",
    "conv3x3",
    "dwconv3x3",
    "inverted_residual",
    "layer_norm",
    "linear",
    "trained_inverted_residual",
]

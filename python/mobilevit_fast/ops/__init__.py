"""The kernels as torch operators; importing this package registers `torch.ops.mobilevit_fast.*`."""

from mobilevit_fast.ops.functional import attention, conv3x3, dwconv3x3, inverted_residual, linear
from mobilevit_fast.ops.int8 import INT8_NAMES
from mobilevit_fast.ops.library import NAMES

__all__ = ["INT8_NAMES", "NAMES", "attention", "conv3x3", "dwconv3x3", "inverted_residual", "linear"]

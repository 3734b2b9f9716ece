"""A layer's integers and how its sums become bytes or floats, as a plan holds them.

All arithmetic is float32, in the order of the network that was calibrated, so that both round alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mobilevit_fast.weights.integers import Grid
from mobilevit_fast.weights.quantized import QuantizedCheckpoint

_MAX_BIAS = 2**28
"""Beyond it a bias is added behind the sums: in 32 bits they might overflow."""


class IntegerLayers:
    """Makes the plan's sets of weights `{weight, bias, multiplier, offset, table}` from a checkpoint.

    Weights keep the checkpoint's shape; `table` is left to the caller.
    """

    def __init__(self, checkpoint: QuantizedCheckpoint) -> None:
        self.checkpoint = checkpoint

    def to_bytes(self, name: str, input_scale: float, *grids: Grid) -> dict[str, Any]:
        """For inputs of that scale and outputs on a grid, or on several, each for an equal share of them."""
        share = len(self.checkpoint.biases[name]) // len(grids)
        scales = np.repeat(np.array([grid.scale for grid in grids], np.float32), share)
        zeros = np.repeat(np.array([grid.zero_point for grid in grids], np.float32), share)
        return self._weights(name, input_scale, scales, zeros)

    def to_float(self, name: str, input_scale: float) -> dict[str, Any]:
        """For inputs of that scale and real outputs."""
        ones = np.ones_like(self.checkpoint.biases[name])
        return self._weights(name, input_scale, ones, np.zeros_like(ones))

    def for_dynamic(self, name: str) -> dict[str, Any]:
        """For rows that bring their own scales, and real outputs."""
        return {
            "weight": self.checkpoint.weights[name],
            "bias": None,
            "multiplier": self.checkpoint.scales[name],
            "offset": self.checkpoint.biases[name],
        }

    def _weights(
        self, name: str, input_scale: float, scales: np.ndarray, zeros: np.ndarray
    ) -> dict[str, Any]:
        unit = np.float32(input_scale) * self.checkpoint.scales[name]
        bias = self.checkpoint.biases[name]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            steps = np.rint(bias / unit)
        in_sums = np.abs(steps) <= _MAX_BIAS
        return {
            "weight": self.checkpoint.weights[name],
            "bias": np.where(in_sums, steps, 0).astype(np.int32),
            "multiplier": unit / scales,
            "offset": zeros + np.where(in_sums, 0, bias / scales).astype(np.float32),
        }

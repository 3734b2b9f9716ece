"""The native engine on a CUDA device: which device, at which precision, on whose arrays."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from mobilevit_fast import _C

PRECISIONS = ("fp16", "bf16", "tf32", "fp32")
"""What a device computes models of floats in, the fastest first: activations and weights; sums are float.
"tf32" keeps floats in memory and rounds them to TF32's eleven bits for products on tensor cores."""


def device_number(device: str) -> int | None:
    """The number of the CUDA device that "cuda" or "cuda:N" names, None for "cpu".

    Raises:
        TypeError: not a string.
        ValueError: another device, or one that this build or this machine lacks, with the reason.
    """
    if not isinstance(device, str):
        raise TypeError(f"device must be a string, got {type(device).__name__}")
    if device == "cpu":
        return None
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (device == "cuda" or number.isdecimal()):
        raise ValueError(f"unknown device {device!r}; use 'cpu', 'cuda' or 'cuda:N'")
    if reason := _C.why_no_cuda():
        raise ValueError(f"device {device!r} is not available: {reason}; use 'cpu'")
    count = len(_C.cuda_devices())
    if int(number or 0) >= count:
        raise ValueError(f"device {device!r} is not available: this machine has {count}; use 'cpu'")
    return int(number or 0)


class DeviceEngine:
    """A plan on a CUDA device, with what `_C.Engine` offers.

    Args:
        plan: as for `_C.Engine`; its linear layers must not quantise dynamically.
        precision: one of `PRECISIONS`, or "int8" for a plan with steps on bytes, whose answers are then those
            of `_C.Engine` with isa="scalar", bit for bit; its steps on floats compute in fp32.
        device: the device's number.

    Raises:
        ValueError: another precision, or a plan that the device has no kernels for.
    """

    def __init__(self, plan: dict[str, Any], precision: str, device: int) -> None:
        self.native = _C.CudaEngine(plan, precision=precision, device=device)
        self.device = device
        self.isa = f"cuda {_C.cuda_devices()[device]['capability']}"
        self.threads = _C.default_threads()
        self.shapes = self.native.shapes
        self.memory = self.native.memory
        self.profile = self.native.profile

    def run(self, x: Any) -> list[Any]:
        """Runs a batch [N, 3, H, W] of float32: a NumPy array, or a torch tensor on this device.

        Returns:
            for each output of the plan an array of the same kind. Tensors are computed in order of torch's
            current stream, and this call does not wait for them.
        """
        return self.native.run(x) if isinstance(x, np.ndarray) else self._run_tensor(x)

    def _run_tensor(self, x: Any) -> list[Any]:
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(x, torch.Tensor):
            raise TypeError(f"x must be a NumPy array or a torch tensor, got {type(x).__name__}")
        if x.device.type != "cuda" or x.device.index != self.device:
            raise ValueError(f"x must be on device cuda:{self.device}, got one on {x.device}")
        x = x.detach()
        if x.ndim != 4 or min(x.shape[2:]) < 1:
            raise ValueError(f"x must be [N, 3, H, W] with H and W of at least 1, got {tuple(x.shape)}")
        shapes = self.shapes(*x.shape[2:])["outputs"]
        outputs = [x.new_empty((x.shape[0], *shape)) for shape in shapes]
        stream = torch.cuda.current_stream(x.device).cuda_stream
        self.native.run_on_device(x, outputs, stream)
        return outputs

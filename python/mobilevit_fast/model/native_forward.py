"""The native engine behind a torch module: built when first needed, and again when the weights changed."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mobilevit_fast import _C, cuda
from mobilevit_fast.config import ModelConfig
from mobilevit_fast.lower import lower
from mobilevit_fast.model.snapshot import Snapshot
from mobilevit_fast.model.structure import UnsupportedError
from mobilevit_fast.ops.cuda_native import has_kernels
from mobilevit_fast.ops.native import intra_op_threads

_PRECISIONS = {
    ("cpu", torch.float32): "fp32",
    ("cuda", torch.float16): "fp16",
    ("cuda", torch.bfloat16): "bf16",
    ("cuda", torch.float32): "tf32",
}
"""Device and dtype of modules and images -> the precision that engines compute them in."""


class Describable(Protocol):
    """A torch module that can say what the engine needs to know of it."""

    training: bool

    def describe(self) -> tuple[ModelConfig, Mapping[str, np.ndarray]]:
        """Config and tensors under this project's names. Raises UnsupportedError."""


@dataclass(frozen=True)
class _Built:
    snapshot: Snapshot
    threads: int
    engine: _C.Engine | cuda.DeviceEngine | None
    place: tuple[torch.device, torch.dtype] | None = None  # of the module's tensors, where there is an engine


class NativeForward:
    """Runs a module's forward pass on engines, one for each choice of outputs.

    Copies and pickles hold the settings only: engines belong to one process and one set of weights.

    Args:
        threads: None for as many as torch uses at each call.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._built: dict[tuple[str, ...], _Built] = {}

    def __reduce__(self) -> tuple:
        return NativeForward, (self._threads,)

    def run(self, module: Describable, outputs: tuple[str, ...], images: Tensor) -> list[Tensor] | None:
        """The outputs (names of `lower.OUTPUTS`) for images [N, 3, H, W], or None where torch has to compute
        them.

        That is: in training, where gradients may be recorded, while torch traces or transforms the call,
        under autocast, with hooks inside the module, for anything but float32 on the CPU, and on a CUDA
        device that there are kernels for float16, bfloat16, or float32 where torch may compute it in TF32.
        """
        if module.training or not _is_plain_input(images):
            return None
        built = self._current(module, outputs)
        if built.engine is None or built.snapshot.is_watched() or built.snapshot.is_training():
            return None
        if (images.device, images.dtype) != built.place:
            return None  # torch says what is wrong
        if isinstance(built.engine, cuda.DeviceEngine):
            if torch.cuda.is_current_stream_capturing():
                return None  # a graph of the user's outlives an engine, and has to see new weights
            return [output.to(images.dtype) for output in built.engine.run(images.float())]
        return [torch.from_numpy(array) for array in built.engine.run(_as_array(images))]

    def forget(self) -> None:
        """Build every engine anew before its next use."""
        self._built.clear()

    def _current(self, module: Describable, outputs: tuple[str, ...]) -> _Built:
        threads = self._threads or intra_op_threads()
        built = self._built.get(outputs)
        if _is_current(built, threads):
            return built
        with self._lock:
            built = self._built.get(outputs)
            if not _is_current(built, threads):
                built = self._built[outputs] = _build(module, outputs, threads)
            return built


def _is_current(built: _Built | None, threads: int) -> bool:
    return built is not None and built.threads == threads and built.snapshot.is_current()


def _build(module: Describable, outputs: tuple[str, ...], threads: int) -> _Built:
    # Taken first: what is written while the engine is built makes the snapshot stale.
    snapshot = Snapshot(module)
    place = _place_of(snapshot.tensors)
    if place is None:
        return _Built(snapshot, threads, None)
    try:
        if not snapshot.is_complete:
            raise UnsupportedError(
                "its tensors were made under torch.inference_mode, where changes go unnoticed"
            )
        config, tensors = module.describe()
    except UnsupportedError as reason:
        warnings.warn(f"torch computes this model, not the engine: {reason}", stacklevel=6)
        return _Built(snapshot, threads, None)
    plan = lower(config, tensors, outputs=outputs)
    device, dtype = place
    if device.type == "cpu":
        return _Built(snapshot, threads, _C.Engine(plan, threads=threads), place)
    precision = _PRECISIONS[device.type, dtype]
    return _Built(snapshot, threads, cuda.DeviceEngine(plan, precision, device.index), place)


def _place_of(tensors: list[Tensor]) -> tuple[torch.device, torch.dtype] | None:
    """Device and dtype of all tensors, but for the integers among them; None where they differ or have no
    engine."""
    places = {(tensor.device, tensor.dtype) for tensor in tensors if tensor.is_floating_point()}
    if len(places) != 1 or len({tensor.device for tensor in tensors}) != 1:
        return None
    [(device, dtype)] = places
    has_engine = (device.type, dtype) in _PRECISIONS and (device.type == "cpu" or has_kernels(device.index))
    return (device, dtype) if has_engine else None


def allows_tf32() -> bool:
    """Whether torch may compute both products of float32 matrices and convolutions in TF32 on CUDA devices.

    It does so by `torch.set_float32_matmul_precision("high")`; convolutions it allows by itself.
    """
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(convolutions, "conv"):  # from torch 2.9 on, where the older names fail once these are set
        return products.fp32_precision == "tf32" and convolutions.conv.fp32_precision == "tf32"
    return products.allow_tf32 and convolutions.allow_tf32


def _is_plain_input(images: Tensor) -> bool:
    """Each function of torch that it asks costs 10 us: an engine leaves none of their code in the caches."""
    if type(images) is not Tensor or images.layout != torch.strided:
        return False
    shape, device = images.shape, images.device.type
    return (
        len(shape) == 4
        and shape[1] == 3
        and 0 not in shape
        and not torch.is_grad_enabled()
        and device in ("cpu", "cuda")
        and not torch.is_autocast_enabled(device)
        and (device == "cpu" or images.dtype != torch.float32 or allows_tf32())
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and not torch._C._len_torch_dispatch_stack()
    )


def _as_array(images: Tensor) -> np.ndarray:
    pixels = images.detach() if images.requires_grad else images
    try:
        return pixels.numpy()
    except RuntimeError:
        return pixels.resolve_neg().numpy()  # what torch has put off negating

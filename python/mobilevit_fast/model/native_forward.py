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
from torch.autograd import forward_ad

from mobilevit_fast import _C, cuda
from mobilevit_fast.config import ModelConfig
from mobilevit_fast.lower import lower
from mobilevit_fast.model.snapshot import Snapshot
from mobilevit_fast.model.structure import UnsupportedError
from mobilevit_fast.ops.cuda_native import has_kernels
from mobilevit_fast.ops.native import intra_op_threads

_PRECISIONS = {
    ("cpu", torch.float32): "fp32",
    ("cpu", torch.bfloat16): "bf16",
    ("cpu", torch.float16): "fp16",
    ("cuda", torch.float16): "fp16",
    ("cuda", torch.bfloat16): "bf16",
    ("cuda", torch.float32): "tf32",
}
"""Device and dtype in which torch would compute -> the precision in which engines do."""


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
    """Runs a module's forward pass on engines, one for each choice of outputs and dtype.

    Copies and pickles hold the settings only: engines belong to one process and one set of weights.

    Args:
        threads: None for as many as torch uses at each call.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._built: dict[tuple[tuple[str, ...], torch.dtype], _Built] = {}

    def __reduce__(self) -> tuple:
        return NativeForward, (self._threads,)

    def run(self, module: Describable, outputs: tuple[str, ...], images: Tensor) -> list[Tensor] | None:
        """The outputs (names of `lower.OUTPUTS`) for images [N, 3, H, W], in the dtype in which torch would
        give them, or None where it has to compute them.

        That is: in training, where gradients may be recorded, while torch traces or transforms the call, with
        hooks inside the module, and for dtypes (autocast's, where it is on) that the CPU, or the CUDA device,
        has no kernels for: float32 has them on every CPU and, where torch may compute it in TF32, on devices.
        """
        if module.training or not _is_plain_input(images):
            return None
        dtype = _dtype_of_results(images)
        built = self._current(module, outputs, dtype)
        if built.engine is None or built.snapshot.is_watched() or built.snapshot.is_training():
            return None
        if (images.device, images.dtype) != built.place:
            return None  # torch says what is wrong
        if isinstance(built.engine, cuda.DeviceEngine):
            if torch.cuda.is_current_stream_capturing():
                return None  # a graph of the user's outlives an engine, and has to see new weights
            return [output.to(dtype) for output in built.engine.run(images.float())]
        results = [torch.from_numpy(array) for array in built.engine.run(_as_array(images))]
        return results if dtype == torch.float32 else [result.to(dtype) for result in results]

    def forget(self) -> None:
        """Build every engine anew before its next use."""
        self._built.clear()

    def _current(self, module: Describable, outputs: tuple[str, ...], dtype: torch.dtype) -> _Built:
        threads = self._threads or intra_op_threads()
        key = (outputs, dtype)
        built = self._built.get(key)
        if _is_current(built, threads):
            return built
        with self._lock:
            built = self._built.get(key)
            if not _is_current(built, threads):
                built = self._built[key] = _build(module, outputs, dtype, threads)
            return built


def _is_current(built: _Built | None, threads: int) -> bool:
    return built is not None and built.threads == threads and built.snapshot.is_current()


def _build(module: Describable, outputs: tuple[str, ...], dtype: torch.dtype, threads: int) -> _Built:
    # Taken first: what is written while the engine is built makes the snapshot stale.
    snapshot = Snapshot(module)
    place = _place_of(snapshot.tensors)
    if place is None or not _has_engine(*place, dtype):
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
    device = place[0]
    precision = _PRECISIONS[device.type, dtype]
    if device.type == "cpu":
        return _Built(snapshot, threads, _C.Engine(plan, threads=threads, precision=precision), place)
    return _Built(snapshot, threads, cuda.DeviceEngine(plan, precision, device.index), place)


def _place_of(tensors: list[Tensor]) -> tuple[torch.device, torch.dtype] | None:
    """Device and dtype of all tensors, but for the integers among them; None where they differ."""
    places = {(tensor.device, tensor.dtype) for tensor in tensors if tensor.is_floating_point()}
    if len(places) != 1 or len({tensor.device for tensor in tensors}) != 1:
        return None
    [place] = places
    return place


def _has_engine(device: torch.device, stored: torch.dtype, computed: torch.dtype) -> bool:
    precision = _PRECISIONS.get((device.type, computed))
    if precision is None or (device.type, stored) not in _PRECISIONS:
        return False  # autocast leaves float64 as it is
    return bool(_C.isa_tables(precision)) if device.type == "cpu" else has_kernels(device.index)


def _dtype_of_results(images: Tensor) -> torch.dtype:
    """What torch would compute in."""
    device = images.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else images.dtype


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
        and (device == "cpu" or _dtype_of_results(images) != torch.float32 or allows_tf32())
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        and not torch._C._len_torch_dispatch_stack()
    )


def _as_array(images: Tensor) -> np.ndarray:
    pixels = images.detach() if images.requires_grad else images
    if pixels.dtype != torch.float32:
        pixels = pixels.float()
    try:
        return pixels.numpy()
    except RuntimeError:
        return pixels.resolve_neg().numpy()  # what torch has put off negating

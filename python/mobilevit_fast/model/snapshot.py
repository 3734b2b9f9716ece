"""What a module tree holds at one moment, so that a change is noticed before its next use."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from mobilevit_fast import _C

_ADDRESS = Tensor.data_ptr
_VERSION = torch._C.TensorBase.__dict__["_version"]
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_SAME_IN_EVERY_MODE = (nn.Conv2d, nn.Linear, nn.LayerNorm, nn.SiLU, nn.Identity)
_CACHE_LINE = 64
_OBJECT_BYTES, _TENSOR_BYTES, _STORAGE_BYTES = 64, 256, 128
"""About as much of a Python object, and of a tensor and a storage in torch's C++, as the checks read."""


class _OptimizerSteps:
    """Counts the steps of all optimizers: fused ones write parameters without counting up their versions."""

    def __init__(self) -> None:
        self.count = 0
        register_optimizer_step_post_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.count += 1


_steps = _OptimizerSteps()


class Snapshot:
    """The submodules, parameters and buffers of `root`.

    Checks run before each forward pass, so they take tens of microseconds: they compare identities, torch's
    version counters and addresses. A value written through `tensor.data` changes none of them.

    Attributes:
        tensors: the parameters and buffers.
        is_complete: whether all of them count versions; those made under torch.inference_mode do not.
    """

    def __init__(self, root: nn.Module) -> None:
        modules = list(root.modules())
        stores = [store for module in modules for store in (module._parameters, module._buffers) if store]
        dicts = [module._modules for module in modules if module._modules] + stores
        # What stands behind an identity is kept, or another object could take it over. The root owns this: it
        # would be freed by the garbage collector alone, were it kept, too.
        self._kept = modules[1:]
        self.tensors: list[Tensor] = [
            tensor for store in stores for tensor in store.values() if tensor is not None
        ]
        self.is_complete = not any(tensor.is_inference() for tensor in self.tensors)
        # Integers count batches, which no answer depends on; where they are is seen among the dicts' values.
        floats = [tensor for tensor in self.tensors if tensor.is_floating_point()]
        readers = (_VERSION, _ADDRESS) if self.is_complete else (_ADDRESS,)
        self._watched = (dicts, floats, readers)
        self._steps = _steps.count
        self._fingerprint = _C.fingerprint(*self._watched)
        self._modes = [vars(module) for module in modules[1:] if _depends_on_mode(module)]
        # Hooks of the root run around its forward pass as ever; those further in would be passed over.
        self._hooks = [getattr(module, name) for module in modules[1:] for name in _HOOKS]
        self._hooks += [_global_forward_hooks, _global_forward_pre_hooks]
        self._is_patched = any("forward" in vars(module) for module in modules[1:])
        self._hooks_made_when_unwatched = -1
        self._cache_lines = _cache_lines([*dicts, *self._modes], floats)

    def is_current(self) -> bool:
        """Whether every module and every tensor is still the same and unwritten."""
        _C.prefetch(self._cache_lines)
        return self._steps == _steps.count and _C.has_fingerprint(self._fingerprint, *self._watched)

    def is_watched(self) -> bool:
        """Whether somebody has hooks on a submodule, or had replaced its `forward` by then."""
        if self._is_patched:
            return True
        hooks_made = RemovableHandle.next_id
        if hooks_made == self._hooks_made_when_unwatched:
            return False
        watched = any(self._hooks)
        self._hooks_made_when_unwatched = -1 if watched else hooks_made
        return watched

    def is_training(self) -> bool:
        """Whether a submodule whose answer depends on the mode is in training mode."""
        return _C.any_true(self._modes, "training")


def _cache_lines(objects: list[Any], tensors: list[Tensor]) -> np.ndarray:
    """Addresses of the memory that checks read. Engines leave none of it in the caches."""
    blocks = [(id(thing), _OBJECT_BYTES) for thing in (*objects, *tensors)]
    for tensor in tensors:
        blocks.append((tensor._cdata, _TENSOR_BYTES))
        blocks.append((tensor.untyped_storage()._cdata, _STORAGE_BYTES))
    lines = {
        line // _CACHE_LINE for start, size in blocks for line in range(start, start + size, _CACHE_LINE)
    }
    return np.array(sorted(lines), dtype=np.uintp) * _CACHE_LINE


def _depends_on_mode(module: nn.Module) -> bool:
    is_leaf = not module._modules
    return isinstance(module, _BatchNorm) or (is_leaf and type(module) not in _SAME_IN_EVERY_MODE)

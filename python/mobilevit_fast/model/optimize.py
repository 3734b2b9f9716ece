"""optimize(): the same model, faster."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Mapping
from typing import TypeVar

from torch import nn

from mobilevit_fast import _C
from mobilevit_fast.arguments import check_count
from mobilevit_fast.model.engine_module import EngineModule
from mobilevit_fast.model.structure import UnsupportedError

Module = TypeVar("Module", bound=nn.Module)

# The library's module that defines the classes -> ours that replaces them. Whoever has such a model has
# imported the library; nobody else has to.
_FAMILIES = {
    "mobilevit_fast.model.mobilevit": "mobilevit_fast.model.optimized_ours",
    "transformers.models.mobilevit.modeling_mobilevit": "mobilevit_fast.model.optimized_transformers",
    "timm.models.mobilevit": "mobilevit_fast.model.optimized_timm",
}

_ACCEPTED = (
    "mobilevit_fast.create_model(...), transformers' MobileViTForImageClassification or MobileViTModel, "
    "or timm's mobilevit_xxs, mobilevit_xs, mobilevit_s"
)


def optimize(module: Module, *, threads: int | None = None) -> Module:
    """A drop-in replacement of a MobileViT v1 that computes the same, faster.

    The answer is of the module's class, takes what it takes and returns what it returns. It shares parameters
    and buffers with `module`, which stays as it is: an optimizer or `load_state_dict` on either is seen by
    both. Training or eval mode is its own. Keep one of the two to move it elsewhere or cast it.

    - In eval mode without gradients (`torch.no_grad()` or `torch.inference_mode()`), images run through the
      native engine in the dtype in which torch would compute, the module's or autocast's: on the CPU in
      float32, and in bfloat16 and float16 where it has kernels for them (`mobilevit-fast doctor` lists them);
      on a CUDA device that this build has kernels for in float16, bfloat16, and float32 as TF32, once torch
      may compute products in it (`torch.set_float32_matmul_precision("high")`). The engine is built at the
      first call, and again when a module, parameter or buffer has changed since; every call checks. Values
      written through `tensor.data` in eval mode go unnoticed, and so do settings (a norm's epsilon, a
      convolution's stride, a replaced `forward`): call `eval()` after `train()`, or `optimize` again.
    - Everything else (training, gradients, hidden states, other types and devices, hooks on submodules,
      torch.compile, torch.export) runs in torch, on the operations `torch.ops.mobilevit_fast.*`.

    Args:
        module: this project's MobileViT, transformers' MobileViTForImageClassification or MobileViTModel, or
            a timm mobilevit_xxs, mobilevit_xs or mobilevit_s.
        threads: for the engine; None for `torch.get_num_threads()` at each call.

    Raises:
        TypeError: any other module, or a variant that the engine does not compute; says which part. Threads
            that are no whole number.
        ValueError: threads below 1 or above 512.
    """
    if threads is not None:
        check_count("threads", threads, most=_C.max_threads)
    replacements = _replacements_for(module)
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    optimized = copy.deepcopy(module, shared)
    for part in optimized.modules():
        part.__class__ = replacements.get(type(part), type(part))
    for part in optimized.modules():
        if isinstance(part, EngineModule):
            part.use_threads(threads)
    try:
        _backbone(optimized).describe()
    except UnsupportedError as reason:
        raise TypeError(
            f"cannot optimize this {type(module).__name__}: {reason}; expected {_ACCEPTED}"
        ) from reason
    return optimized


def _replacements_for(module: nn.Module) -> Mapping[type[nn.Module], type[nn.Module]]:
    for library, ours in _FAMILIES.items():
        if library in sys.modules:
            replacements = importlib.import_module(ours).REPLACEMENTS
            engines = {base: new for base, new in replacements.items() if issubclass(new, EngineModule)}
            if type(module) in engines or type(module) in engines.values():
                return replacements
    raise TypeError(
        f"cannot optimize {type(module).__module__}.{type(module).__name__}; expected {_ACCEPTED}"
    )


def _backbone(module: nn.Module) -> EngineModule:
    """The innermost module with an engine: it does without the classifier, which may be anything."""
    return [part for part in module.modules() if isinstance(part, EngineModule)][-1]

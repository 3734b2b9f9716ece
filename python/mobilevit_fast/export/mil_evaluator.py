"""Core ML programs run by torch, for machines without Core ML.

Evaluates what a saved .mlpackage holds, operation by operation, in the types that it names: weights as they
are stored, quantised ones too, and arithmetic in the precision that the program was converted to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
import torch
from coremltools.converters.mil.frontend.milproto.load import load as load_program
from torch import Tensor
from torch.nn import functional

_DTYPES = {
    "bool": torch.bool,
    "fp16": torch.float16,
    "fp32": torch.float32,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "int32": torch.int32,
}


class MilEvaluator:
    """A saved Core ML program.

    Args:
        path: the .mlpackage.
    """

    def __init__(self, path: Path) -> None:
        model = coremltools.models.MLModel(str(path), skip_model_load=True)
        self.spec = model.get_spec()
        program = load_program(self.spec, self.spec.specificationVersion, model.weights_dir)
        self._main = program.functions["main"]
        self._constants: dict[str, Any] = {}

    def __call__(self, **inputs: Tensor) -> dict[str, Any]:
        """Input tensors by name to outputs by name; a classifier's are its best label and a dictionary.

        Raises NotImplementedError for an operation that no model of this package holds.
        """
        known: dict[str, Any] = dict(inputs)
        with torch.no_grad():
            for operation in self._main.operations:
                if operation.op_type != "const":
                    self._run(operation, known)
        return {output.name: known[output.name] for output in self._main.outputs}

    def _run(self, operation: Any, known: dict[str, Any]) -> None:
        kind, names = operation.op_type, [output.name for output in operation.outputs]
        if kind.startswith("constexpr_"):
            if names[0] not in self._constants:
                self._constants[names[0]] = _to_torch(operation.materialized_val_inference())
            known[names[0]] = self._constants[names[0]]
            return
        if kind not in OPERATIONS:
            raise NotImplementedError(f"the evaluator has no operation {kind!r} of Core ML")
        answers = OPERATIONS[kind](_Inputs(operation.inputs, known, self._constants))
        for name, answer in zip(names, answers if isinstance(answers, tuple) else (answers,), strict=True):
            known[name] = answer


class _Inputs:
    """The inputs of one operation, by name."""

    def __init__(
        self, variables: Mapping[str, Any], known: Mapping[str, Any], constants: dict[str, Any]
    ) -> None:
        self._variables, self._known, self._constants = variables, known, constants

    def tensor(self, name: str) -> Tensor | None:
        """None where it is left out."""
        variable = self._variables.get(name)
        return None if variable is None else self._to_tensor(variable)

    def tensors(self, name: str) -> list[Tensor]:
        return [self._to_tensor(variable) for variable in self._variables[name]]

    def value(self, name: str) -> Any:
        """A number, a text or a list of them; None where it is left out."""
        variable = self._variables.get(name)
        if variable is None:
            return None
        value = self._known.get(variable.name, variable.val)
        return value.tolist() if isinstance(value, Tensor | np.ndarray | np.generic) else value

    def _to_tensor(self, variable: Any) -> Tensor:
        if variable.name in self._known:
            return self._known[variable.name]
        if variable.name not in self._constants:
            self._constants[variable.name] = _to_torch(variable.val)
        return self._constants[variable.name]


def _to_torch(array: Any) -> Tensor:
    return torch.from_numpy(np.array(array))


# ---- the operations, named as Core ML names them


def _conv(given: _Inputs) -> Tensor:
    x, pad = given.tensor("x"), given.value("pad")
    if given.value("pad_type") == "custom":
        x = functional.pad(x, (pad[2], pad[3], pad[0], pad[1]))
    elif given.value("pad_type") != "valid":
        raise NotImplementedError(f"the evaluator has no padding {given.value('pad_type')!r}")
    return functional.conv2d(
        x,
        given.tensor("weight"),
        given.tensor("bias"),
        given.value("strides") or 1,
        dilation=given.value("dilations") or 1,
        groups=given.value("groups") or 1,
    )


def _matmul(given: _Inputs) -> Tensor:
    x, y = given.tensor("x"), given.tensor("y")
    return (x.mT if given.value("transpose_x") else x) @ (y.mT if given.value("transpose_y") else y)


def _layer_norm(given: _Inputs) -> Tensor:
    x = given.tensor("x")
    shape = [x.shape[axis] for axis in given.value("axes")]
    return functional.layer_norm(
        x, shape, given.tensor("gamma"), given.tensor("beta"), given.value("epsilon")
    )


def _batch_norm(given: _Inputs) -> Tensor:
    names = ("x", "mean", "variance", "gamma", "beta")
    return functional.batch_norm(*map(given.tensor, names), eps=given.value("epsilon"))


def _upsample_bilinear(given: _Inputs) -> Tensor:
    x = given.tensor("x")
    factors = (given.value("scale_factor_height"), given.value("scale_factor_width"))
    # Rounded, for a factor such as 7/8 has lost its last bits.
    size = [round(length * factor) for length, factor in zip(x.shape[2:], factors, strict=True)]
    return functional.interpolate(x, size, mode="bilinear", align_corners=given.value("align_corners"))


def _concat(given: _Inputs) -> Tensor:
    parts = [part.reshape(-1) if part.ndim == 0 else part for part in given.tensors("values")]
    return torch.cat(parts, given.value("axis"))


def _slice(given: _Inputs) -> Tensor:
    x = given.tensor("x")
    begins, ends = (
        [
            None if is_open else number
            for number, is_open in zip(numbers, masks or [False] * x.ndim, strict=True)
        ]
        for numbers, masks in (
            (given.value("begin"), given.value("begin_mask")),
            (given.value("end"), given.value("end_mask")),
        )
    )
    return x[tuple(map(slice, begins, ends, given.value("stride") or [1] * x.ndim))]


def _split(given: _Inputs) -> tuple[Tensor, ...]:
    sizes = given.value("split_sizes")
    x, axis = given.tensor("x"), given.value("axis")
    return tuple(x.split(sizes, axis) if sizes else x.chunk(given.value("num_splits"), axis))


def _quantize(given: _Inputs) -> Tensor:
    x, dtype = given.tensor("input"), _DTYPES[given.value("output_dtype")]
    scale, zero_point = _grid(given, x)
    limits = torch.iinfo(dtype)
    return ((x / scale).round() + zero_point).clamp(limits.min, limits.max).to(dtype)


def _dequantize(given: _Inputs) -> Tensor:
    x = given.tensor("input")
    scale, zero_point = _grid(given, x)
    return (x.to(scale.dtype) - zero_point) * scale


def _grid(given: _Inputs, x: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point, in the scale's type, shaped for `x`."""
    scale, zero_point = given.tensor("scale"), given.tensor("zero_point")
    zero_point = torch.zeros_like(scale) if zero_point is None else zero_point.to(scale.dtype)
    shape = [1] * x.ndim
    if scale.ndim:
        shape[given.value("axis")] = -1
    return scale.reshape(shape), zero_point.reshape(shape)


def _classify(given: _Inputs) -> tuple[str, dict[str, float]]:
    probabilities = given.tensor("probabilities").flatten().tolist()
    by_label = dict(zip(given.value("classes"), probabilities, strict=True))
    return max(by_label, key=by_label.get), by_label


OPERATIONS: Mapping[str, Callable[[_Inputs], Any]] = {
    "add": lambda given: given.tensor("x") + given.tensor("y"),
    "batch_norm": _batch_norm,
    "cast": lambda given: given.tensor("x").to(_DTYPES[given.value("dtype")]),
    "classify": _classify,
    "concat": _concat,
    "conv": _conv,
    "dequantize": _dequantize,
    "gather": lambda given: given.tensor("x")[given.tensor("indices").long()],
    "layer_norm": _layer_norm,
    "linear": lambda given: functional.linear(*map(given.tensor, ("x", "weight", "bias"))),
    "matmul": _matmul,
    "mul": lambda given: given.tensor("x") * given.tensor("y"),
    "quantize": _quantize,
    "reduce_mean": lambda given: given.tensor("x").mean(given.value("axes"), given.value("keep_dims")),
    "reshape": lambda given: given.tensor("x").reshape(given.value("shape")),
    "shape": lambda given: torch.tensor(given.tensor("x").shape, dtype=torch.int32),
    "silu": lambda given: functional.silu(given.tensor("x")),
    "slice_by_index": _slice,
    "softmax": lambda given: given.tensor("x").softmax(given.value("axis")),
    "split": _split,
    "transpose": lambda given: given.tensor("x").permute(given.value("perm")),
    "upsample_bilinear": _upsample_bilinear,
}
"""Those that models of this package hold."""

"""Weights of a .tflite file's float layers, stored in float16 or int8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mobilevit_fast.export.tflite_file import TfliteFile, make, twin

_CHANNELS = {
    schema.BuiltinOperator.CONV_2D: 0,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: 3,
    schema.BuiltinOperator.FULLY_CONNECTED: 0,
}
"""Operation with weights, as its second input -> dimension of its output channels in them."""

_DYNAMIC_VERSION = 12
"""Of FULLY_CONNECTED on floats with integer weights that have a scale for each output channel. Runtimes that
do not know it refuse the file by it; they would compute all channels with the first one's scale."""

_DEQUANTIZE_HALF_VERSION, _DEQUANTIZE_CHANNELS_VERSION = 3, 5
"""Of DEQUANTIZE, of float16 and of int8 with a scale for each channel."""


@dataclass(frozen=True)
class NarrowWeight:
    """A weight as it is stored.

    Attributes:
        values: float16 or int8, output channels first.
        scales: of int8, one for each output channel.
        dynamic: compute on bytes that are made of each row of the inputs; else widen the weight first.
    """

    values: np.ndarray
    scales: np.ndarray | None = None
    dynamic: bool = False


Choose = Callable[[np.ndarray], NarrowWeight | None]
"""Takes a float32 weight, output channels first; None leaves it as it is."""


def store_weights(file: TfliteFile, choose: Choose) -> None:
    """Stores float weights as `choose` says; one that several signatures share, once."""
    chosen: dict[int, NarrowWeight | None] = {}
    buffers: dict[int, int] = {}
    for graph in file.model.subgraphs:
        for operation in list(graph.operators):
            axis = _CHANNELS.get(file.code(operation))
            if axis is None:
                continue
            tensor = graph.tensors[operation.inputs[1]]
            content = file.model.buffers[tensor.buffer].data
            if tensor.type != schema.TensorType.FLOAT32 or content is None or not len(content):
                continue
            if tensor.buffer not in chosen:
                weight = np.frombuffer(bytes(content), np.float32).reshape(tensor.shape)
                chosen[tensor.buffer] = choose(np.ascontiguousarray(np.moveaxis(weight, axis, 0)))
            stored = chosen[tensor.buffer]
            if stored is not None:
                if tensor.buffer not in buffers:
                    buffers[tensor.buffer] = file.add_buffer(_laid_out(stored.values, tensor.shape, axis))
                _replace(file, graph, operation, stored, buffers[tensor.buffer])
    file.drop_unused()


def _replace(
    file: TfliteFile,
    graph: schema.SubGraphT,
    operation: schema.OperatorT,
    stored: NarrowWeight,
    buffer: int,
) -> None:
    """Has the operation read the weight from that buffer."""
    wide = graph.tensors[operation.inputs[1]]
    code = file.code(operation)
    fields = {"buffer": buffer, "name": wide.name + b"_stored"}
    kind, version = schema.TensorType.FLOAT16, _DEQUANTIZE_HALF_VERSION
    if stored.scales is not None:
        kind, version = schema.TensorType.INT8, _DEQUANTIZE_CHANNELS_VERSION
        fields["quantization"] = make(
            schema.QuantizationParametersT,
            scale=stored.scales,
            zeroPoint=np.zeros(len(stored.scales), np.int64),
            quantizedDimension=_CHANNELS[code],
        )
    narrow = file.add_tensor(graph, twin(wide, kind, **fields))
    if stored.dynamic and code == schema.BuiltinOperator.FULLY_CONNECTED:
        operation.inputs[1] = narrow
        operation.builtinOptions.asymmetricQuantizeInputs = True
        operation.opcodeIndex = file.operator(code, _DYNAMIC_VERSION)
    else:
        operation.inputs[1] = file.add_tensor(graph, twin(wide, schema.TensorType.FLOAT32))
        file.insert(graph, schema.BuiltinOperator.DEQUANTIZE, version, narrow, operation.inputs[1])


def _laid_out(values: np.ndarray, shape: list[int], axis: int) -> bytes:
    """Output channels first -> as a tensor of that shape has them."""
    channels_first = [shape[axis], *shape[:axis], *shape[axis + 1 :]]
    return np.moveaxis(values.reshape(channels_first), 0, axis).tobytes()

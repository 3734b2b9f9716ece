"""A .tflite file taken apart, changed and put together: what converters leave undone."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

_FIXED_DATE = (1980, 1, 1, 0, 0, 0)
_LARGEST_DEPRECATED_CODE = 127


class TfliteFile:
    """The flatbuffer of a model, to be changed in place, and the files that lie behind it.

    Attributes:
        model: the flatbuffer as objects.
    """

    def __init__(self, content: bytes) -> None:
        self.model = flatbuffer_utils.read_model_from_bytearray(content)
        self.model.metadata = self.model.metadata or []
        self._files: dict[str, str] = {}

    def take_floats(self) -> None:
        """Gives inputs that are bytes, and have a grid, a QUANTIZE operation before them."""
        for index, graph in enumerate(self.model.subgraphs):
            for place, given in enumerate(graph.inputs):
                tensor = graph.tensors[given]
                if tensor.type == schema.TensorType.INT8:
                    floats = self.add_tensor(graph, twin(tensor, schema.TensorType.FLOAT32))
                    tensor.name = tensor.name + b"_bytes"
                    graph.inputs[place] = floats
                    self.insert(graph, schema.BuiltinOperator.QUANTIZE, 1, floats, given)
                    self._redirect(index, given, floats)

    def add_metadata(self, name: str, content: bytes) -> None:
        """A buffer that readers find by name."""
        buffer = self.add_buffer(content)
        self.model.metadata.append(make(schema.MetadataT, name=name.encode(), buffer=buffer))

    def add_file(self, name: str, text: str) -> None:
        """A file in the zip archive behind the flatbuffer."""
        self._files[name] = text

    def write(self, path: Path) -> None:
        path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))
        if self._files:
            # Not compressed: readers on phones take the files where they lie.
            with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
                for name, text in self._files.items():
                    archive.writestr(zipfile.ZipInfo(name, _FIXED_DATE), text)

    # ---- parts

    def code(self, operation: schema.OperatorT) -> int:
        """Which of `schema.BuiltinOperator` it is."""
        return _code(self.model.operatorCodes[operation.opcodeIndex])

    def operator(self, code: int, version: int) -> int:
        """Index of an operation's row, which is made where there is none."""
        rows = self.model.operatorCodes
        for index, row in enumerate(rows):
            if _code(row) == code and row.version == version:
                return index
        deprecated = min(code, _LARGEST_DEPRECATED_CODE)
        rows.append(
            make(schema.OperatorCodeT, builtinCode=code, deprecatedBuiltinCode=deprecated, version=version)
        )
        return len(rows) - 1

    def insert(self, graph: schema.SubGraphT, code: int, version: int, given: int, made: int) -> None:
        """An operation of one input and one output, before all others."""
        index = self.operator(code, version)
        graph.operators.insert(0, make(schema.OperatorT, opcodeIndex=index, inputs=[given], outputs=[made]))

    def add_tensor(self, graph: schema.SubGraphT, tensor: schema.TensorT) -> int:
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    def add_buffer(self, content: bytes) -> int:
        self.model.buffers.append(make(schema.BufferT, data=np.frombuffer(content, np.uint8)))
        return len(self.model.buffers) - 1

    def drop_unused(self) -> None:
        """Empties the tensors that no operation reads, and the buffers that no tensor holds."""
        used = {entry.buffer for entry in self.model.metadata}
        for graph in self.model.subgraphs:
            read = {index for operation in graph.operators for index in operation.inputs if index >= 0}
            read |= {*graph.inputs, *graph.outputs}
            used |= {graph.tensors[index].buffer for index in read}
            for index, tensor in enumerate(graph.tensors):
                tensor.buffer = tensor.buffer if index in read else 0
        for index, buffer in enumerate(self.model.buffers):
            if index not in used:
                buffer.data = None

    def _redirect(self, graph: int, before: int, after: int) -> None:
        for signature in self.model.signatureDefs or []:
            if signature.subgraphIndex == graph:
                for given in signature.inputs:
                    given.tensorIndex = after if given.tensorIndex == before else given.tensorIndex


def make(kind: type, **fields: Any) -> Any:
    """An object of the flatbuffer with those fields set."""
    made = kind()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def twin(tensor: schema.TensorT, kind: int, **fields: Any) -> schema.TensorT:
    """A tensor of the same shape and name in another type, without content unless `fields` says otherwise."""
    same = {name: getattr(tensor, name) for name in ("shape", "shapeSignature", "hasRank", "name")}
    return make(schema.TensorT, **(same | {"type": kind, "buffer": 0} | fields))


def _code(row: schema.OperatorCodeT) -> int:
    # Files from before there were more than 127 operations have the deprecated field alone.
    return max(row.builtinCode, row.deprecatedBuiltinCode)

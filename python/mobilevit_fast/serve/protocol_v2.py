"""Requests and answers of the Open Inference Protocol, as JSON with or without binary tensors."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mobilevit_fast.serve.problems import Problem
from mobilevit_fast.serve.request import Answer

PIXELS, IMAGE = "pixel_values", "image"
LOGITS, SCORES = "logits", "scores"

_DTYPES = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}
_LENGTH = struct.Struct("<I")
"""Before each element of a BYTES tensor."""


@dataclass(frozen=True)
class WantedOutput:
    """An output tensor.

    Attributes:
        name: LOGITS or SCORES.
        binary: as bytes behind the JSON.
        classes: the best so many as text instead; 0 for the tensor itself.
    """

    name: str
    binary: bool = False
    classes: int = 0


@dataclass(frozen=True)
class InferRequest:
    """A request, checked.

    Attributes:
        images: one for each image, as `Batcher.submit` takes it.
        outputs: what to answer with.
        id: the client's own; None for none.
        priority: higher ones first.
        timeout_ms: None for the server's.
    """

    images: Sequence[bytes | np.ndarray]
    outputs: tuple[WantedOutput, ...]
    id: str | None = None
    priority: int = 0
    timeout_ms: float | None = None


@dataclass
class _Tensor:
    """One input before its data are read: data in JSON, or `size` bytes behind it."""

    name: str
    datatype: str
    shape: list[int]
    data: Any = None
    size: int | None = None
    content: bytes = field(default=b"", repr=False)


def parse_request(body: bytes, header_length: str | None, most_images: int) -> InferRequest:
    """Reads a request.

    Args:
        body: JSON, or JSON of `header_length` bytes with binary tensors behind it.
        header_length: the header Inference-Header-Content-Length; None for JSON alone.
        most_images: that one request may hold.

    Raises:
        Problem: 400, saying what is wrong.
    """
    document, rest = _split(body, header_length)
    parameters = _parameters(document)
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1:
        raise _bad(f"'inputs' must hold one tensor, '{PIXELS}' or '{IMAGE}'")
    tensor = _tensor(inputs[0])
    if (tensor.size or 0) != len(rest):
        raise _bad(f"{len(rest)} bytes follow the JSON; the input names {tensor.size or 0}")
    tensor.content = rest
    images = _images(tensor, most_images)
    binary = bool(parameters.get("binary_data_output", False))
    wanted = document.get("outputs") or [{"name": LOGITS}]
    if not isinstance(wanted, list):
        raise _bad("'outputs' must be a list")
    timeout = _number(parameters, "timeout", 0)
    return InferRequest(
        images=images,
        outputs=tuple(_output(entry, binary) for entry in wanted),
        id=None if document.get("id") is None else str(document["id"])[:256],
        priority=int(_number(parameters, "priority", 0)),
        timeout_ms=timeout / 1e3 if timeout > 0 else None,
    )


def format_answer(
    answers: Sequence[Answer], request: InferRequest, model: str, version: int
) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON part where tensors follow it."""
    outputs, contents = [], []
    for wanted in request.outputs:
        described, values = _described(wanted, answers)
        if wanted.binary:
            content = _to_bytes(values)
            described["parameters"] = {"binary_data_size": len(content)}
            contents.append(content)
        else:
            described["data"] = values.ravel().tolist() if isinstance(values, np.ndarray) else values
        outputs.append(described)
    document: dict[str, Any] = {"model_name": model, "model_version": str(version), "outputs": outputs}
    if request.id is not None:
        document["id"] = request.id
    head = json.dumps(document).encode()
    return (head + b"".join(contents), len(head)) if contents else (head, None)


def _split(body: bytes, header_length: str | None) -> tuple[dict[str, Any], bytes]:
    length = len(body)
    if header_length is not None:
        if not header_length.isdecimal() or int(header_length) > length:
            raise _bad(f"Inference-Header-Content-Length must be from 0 to {length}, got {header_length!r}")
        length = int(header_length)
    try:
        document = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise _bad(f"the body is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise _bad("the body must be a JSON object")
    return document, body[length:]


def _tensor(entry: Any) -> _Tensor:
    if not isinstance(entry, dict):
        raise _bad("an input must be an object")
    name, datatype, shape = (entry.get(key) for key in ("name", "datatype", "shape"))
    accepted = {PIXELS: ("FP32",), IMAGE: ("BYTES", "UINT8")}
    if not isinstance(name, str) or name not in accepted:
        raise _bad(f"unknown input {name!r}; there are '{PIXELS}' and '{IMAGE}'")
    if datatype not in accepted[name]:
        raise _bad(f"input '{name}' must be {' or '.join(accepted[name])}, got {datatype!r}")
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
        raise _bad(f"the shape of '{name}' must be a list of positive numbers, got {shape!r}")
    size = _parameters(entry).get("binary_data_size")
    if size is not None and (type(size) is not int or size < 0):
        raise _bad(f"binary_data_size must be a number of bytes, got {size!r}")
    return _Tensor(name, datatype, shape, entry.get("data"), size)


def _images(tensor: _Tensor, most: int) -> Sequence[bytes | np.ndarray]:
    shape = tensor.shape
    if shape and shape[0] > most:
        raise _bad(f"one request may hold {most} images at most, got {shape[0]}")
    if tensor.datatype == "BYTES":
        if len(shape) not in (1, 2) or math.prod(shape[1:]) != 1:
            raise _bad(f"BYTES '{IMAGE}' must have shape [N] or [N, 1], got {shape}")
        images = _elements(tensor.content) if tensor.size is not None else _from_base64(tensor.data)
        if len(images) != shape[0]:
            raise _bad(f"'{IMAGE}' has shape {shape} and {len(images)} elements")
        return images
    expected = "[N, 3, H, W]" if tensor.name == PIXELS else "[N, H, W, 3]"
    if len(shape) != 4 or shape[1 if tensor.name == PIXELS else 3] != 3:
        raise _bad(f"{tensor.datatype} '{tensor.name}' must have shape {expected}, got {shape}")
    return list(_array(tensor))


def _array(tensor: _Tensor) -> np.ndarray:
    dtype, count = _DTYPES[tensor.datatype], math.prod(tensor.shape)
    if tensor.size is not None:
        if tensor.size != count * dtype.itemsize:
            raise _bad(f"shape {tensor.shape} takes {count * dtype.itemsize} bytes, got {tensor.size}")
        values = np.frombuffer(tensor.content, dtype)
    else:
        values = _numbers(tensor, dtype)
    if values.size != count:
        raise _bad(f"'{tensor.name}' has shape {tensor.shape} and {values.size} numbers")
    if not np.isfinite(values).all():
        raise _bad(f"the data of '{tensor.name}' must be finite {tensor.datatype} numbers")
    return values.reshape(tensor.shape)


def _numbers(tensor: _Tensor, dtype: np.dtype) -> np.ndarray:
    """The data in JSON, flat; infinite where a number is too large for `dtype`."""
    accepted = (int,) if dtype.kind == "u" else (int, float)
    try:
        # As objects: numpy would make numbers of true and of "2", and bytes of 1.7.
        values = np.asarray(tensor.data, object).ravel()
        others = {type(value) for value in values} - {*accepted}
        if others:
            found = ", ".join(sorted(kind.__name__ for kind in others))
            raise ValueError(f"expected {' or '.join(kind.__name__ for kind in accepted)}, got {found}")
        wide = values.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise _bad(f"the data of '{tensor.name}' are not {tensor.datatype} numbers: {error}") from error
    if dtype.kind == "u" and wide.size and not (wide.min() >= 0 and wide.max() <= 255):
        raise _bad(f"the data of '{tensor.name}' must be from 0 to 255")
    with np.errstate(over="ignore"):
        return wide.astype(dtype)


def _elements(content: bytes) -> list[bytes]:
    elements, at = [], 0
    while at < len(content):
        end = at + _LENGTH.size
        length = _LENGTH.unpack_from(content, at)[0] if end <= len(content) else len(content)
        if end + length > len(content):
            raise _bad(f"an element of '{IMAGE}' reaches beyond the end of the body")
        elements.append(content[end : end + length])
        at = end + length
    return elements


def _from_base64(data: Any) -> list[bytes]:
    if not isinstance(data, list):
        raise _bad(f"the data of '{IMAGE}' must be a list of image files in base64")
    flat = [item for row in data for item in (row if isinstance(row, list) else [row])]
    try:
        return [base64.b64decode(item, validate=True) for item in flat]
    except (binascii.Error, TypeError, ValueError) as error:
        raise _bad(f"the data of '{IMAGE}' must be image files in base64: {error}") from error


def _output(entry: Any, binary: bool) -> WantedOutput:
    if not isinstance(entry, dict) or entry.get("name") not in (LOGITS, SCORES):
        raise _bad(f"an output must be an object whose name is '{LOGITS}' or '{SCORES}', got {entry!r:.80}")
    parameters = _parameters(entry)
    classes = int(_number(parameters, "classification", 0))
    if classes < 0:
        raise _bad(f"classification must be a number of classes, got {classes}")
    return WantedOutput(entry["name"], bool(parameters.get("binary_data", binary)), classes)


def _described(wanted: WantedOutput, answers: Sequence[Answer]) -> tuple[dict[str, Any], Any]:
    rows = [answer.logits if wanted.name == LOGITS else answer.scores for answer in answers]
    values = np.stack(rows).astype(_DTYPES["FP32"])
    if not wanted.classes:
        return {"name": wanted.name, "datatype": "FP32", "shape": list(values.shape)}, values
    texts = []
    for answer, row in zip(answers, values, strict=True):
        best = answer.predictions(wanted.classes)
        texts += [f"{row[entry.index]:.6f}:{entry.index}:{entry.label}" for entry in best]
    shape = [len(answers), len(texts) // len(answers)]
    return {"name": wanted.name, "datatype": "BYTES", "shape": shape}, texts


def _to_bytes(values: Any) -> bytes:
    if isinstance(values, np.ndarray):
        return values.tobytes()
    encoded = [text.encode() for text in values]
    return b"".join(_LENGTH.pack(len(item)) + item for item in encoded)


def _parameters(entry: dict[str, Any]) -> dict[str, Any]:
    parameters = entry.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise _bad("'parameters' must be an object")
    return parameters


def _number(parameters: dict[str, Any], name: str, default: float) -> float:
    value = parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise _bad(f"{name} must be a number, got {value!r}")
    return value


def _bad(detail: str) -> Problem:
    return Problem(400, detail)

"""Reading and writing of safetensors files.

Both are our own: for errors that name the file and the tensor, for bfloat16 without torch, and for one tensor
in memory at a time instead of the whole file beside its copies.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mobilevit_fast.files import replacing

METADATA_KEY = "mobilevit_fast"
"""Key in a file's metadata under which this project describes the model, as JSON."""

_MAX_HEADER = 100_000_000
_MAX_RANK = 16
_MAX_ELEMENTS = 2**48
_BFLOAT16 = "BF16"

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    _BFLOAT16: np.dtype("<u2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def read_safetensors(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """All tensors of a file in their own dtype (bfloat16 as float32), and the file's metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not safetensors, is cut off, or its header does not describe its content.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no safetensors file {str(path)!r}")
    with path.open("rb") as file:
        try:
            return _read(file, path.stat().st_size)
        except _MalformedError as error:
            raise ValueError(f"{str(path)!r} is not a valid safetensors file: {error}") from None


def write_safetensors(
    path: str | os.PathLike,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    *,
    bfloat16: Collection[str] = (),
) -> None:
    """Write tensors and metadata to `path`, which appears or changes only when all is written.

    Args:
        bfloat16: names of float32 tensors to write as bfloat16, which keeps the upper half of each number.

    Raises:
        TypeError: a tensor of a type that the format does not have.
        ValueError: a path with another ending, by which nothing would know the format.
    """
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"the path must end in .safetensors, got {os.fspath(path)!r}")
    header, parts = _lay_out(tensors, metadata, bfloat16)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        for part in parts:
            file.write(np.ascontiguousarray(part).data)


def safetensors_size(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], *, bfloat16: Collection[str] = ()
) -> int:
    """Bytes of the file that `write_safetensors` writes."""
    header, parts = _lay_out(tensors, metadata, bfloat16)
    return len(header) + sum(part.nbytes for part in parts)


def _lay_out(
    tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], bfloat16: Collection[str]
) -> tuple[bytes, list[np.ndarray]]:
    """What precedes the tensors, and the tensors in the order of the file."""
    parts = {name: _part(tensor, name in bfloat16) for name, tensor in tensors.items()}
    # Wide types first, so that each tensor lies at a multiple of its item's size.
    names = sorted(parts, key=lambda name: (-parts[name][1].itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in names:
        dtype, array = parts[name]
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": (begin, end)}
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    return len(content).to_bytes(8, "little") + content, [parts[name][1] for name in names]


def _part(tensor: np.ndarray, as_bfloat16: bool) -> tuple[str, np.ndarray]:
    """Name in the file of the tensor's type, and the tensor as the file holds it."""
    if as_bfloat16:
        return _BFLOAT16, (np.ascontiguousarray(tensor, "<f4").view("<u4") >> 16).astype("<u2")
    array = np.asarray(tensor)
    little = array.dtype.newbyteorder("<")
    name = next((name for name, dtype in _DTYPES.items() if dtype == little), None)
    if name is None:
        raise TypeError(f"safetensors has no type for {array.dtype}")
    return name, array.astype(little, copy=False)


class _MalformedError(Exception):
    pass


def _read(file: BinaryIO, size: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    if size < 8:
        raise _MalformedError(f"it has {size} bytes, too few for a header")
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, _MAX_HEADER):
        raise _MalformedError(f"its header claims {length} bytes, the file has {size}")
    header = _parse_header(file.read(length))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _MalformedError("its metadata is not a map of strings")
    entries = sorted(
        (_parse_entry(name, entry) for name, entry in header.items()), key=lambda entry: entry[3]
    )
    position = 0
    for name, _, _, begin, end in entries:
        if begin != position:
            raise _MalformedError(
                f"tensor {_short(name)} starts at byte {begin} of the data, expected {position}"
            )
        position = end
    if position != size - 8 - length:
        raise _MalformedError(f"its tensors take {position} bytes, the file has {size - 8 - length} for them")
    return {name: _read_tensor(file, name, dtype, shape) for name, dtype, shape, _, _ in entries}, metadata


def _parse_header(content: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise _MalformedError("its header names something twice")
        return dict(pairs)

    try:
        header = json.loads(content, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _MalformedError(f"its header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise _MalformedError("its header is not a map")
    return header


def _parse_entry(name: str, entry: Any) -> tuple[str, str, tuple[int, ...], int, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _MalformedError(f"tensor {_short(name)} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise _MalformedError(f"tensor {_short(name)} has dtype {_short(dtype)}; known: {', '.join(_DTYPES)}")
    # numpy multiplies all dimensions but the empty ones.
    if (
        not _are_counts(shape)
        or len(shape) > _MAX_RANK
        or math.prod(edge or 1 for edge in shape) > _MAX_ELEMENTS
    ):
        raise _MalformedError(f"tensor {_short(name)} has the impossible shape {_short(shape)}")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _MalformedError(f"tensor {_short(name)} has the impossible offsets {_short(offsets)}")
    wanted, given = math.prod(shape) * _DTYPES[dtype].itemsize, offsets[1] - offsets[0]
    if given != wanted:
        raise _MalformedError(
            f"tensor {_short(name)}: {dtype} {shape} is {wanted} bytes, its offsets give {given}"
        )
    return name, dtype, tuple(shape), offsets[0], offsets[1]


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _short(value: Any) -> str:
    # A hostile header can hold a name of many megabytes.
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def _read_tensor(file: BinaryIO, name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    tensor = np.empty(shape, _DTYPES[dtype])
    if file.readinto(tensor.reshape(-1).view(np.uint8)) != tensor.nbytes:
        raise _MalformedError(f"it was cut off while tensor {_short(name)} was read")
    if dtype != _BFLOAT16:
        return tensor
    # bfloat16 is the upper half of a float32.
    return (tensor.astype(np.uint32) << 16).view(np.float32)

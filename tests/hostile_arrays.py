"""Arrays that no kernel expects, and views of those that it does."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

DTYPES = ["float64", "float16", "int8", "int64", "uint8", "bool", ">f4", "complex64", "object", "U3", "M8[s]"]

small_shapes = st.lists(st.integers(0, 5), max_size=6).map(tuple)


@st.composite
def hostile(draw: st.DrawFn) -> object:
    """Something that is not what was asked for, or is, but of some other shape."""
    kind = draw(st.sampled_from(["object", "dtype", "shape", "huge", "offset", "strided"]))
    if kind == "object":
        return draw(st.sampled_from([None, 3, 2.5, "array", [[1.0, 2.0]], b"bytes", object(), np.float32(1)]))
    shape = draw(small_shapes)
    if kind == "dtype":
        return np.zeros(shape, dtype=draw(st.sampled_from(DTYPES)))
    if kind == "huge":
        return np.broadcast_to(np.float32(0), draw(st.sampled_from([(2**30, 2**30), (1, 3, 2**28, 2**29)])))
    if kind == "offset":
        return np.frombuffer(bytes(4 * 24 + 1), dtype=np.float32, offset=1, count=24).reshape(1, 2, 3, 4)
    array = np.ones(shape, dtype=np.float32)
    return array if kind == "shape" else array[tuple(slice(None, None, -1) for _ in shape)].T


@st.composite
def views(draw: st.DrawFn, values: np.ndarray, unit_last: bool) -> np.ndarray:
    """`values` again, with strides of another kind: gaps, other orders, negative or none.

    `unit_last` keeps the last dimension dense.
    """
    movable = values.ndim - 1 if unit_last else values.ndim
    order = [*draw(st.permutations(range(movable))), *range(movable, values.ndim)]
    gaps = [draw(st.integers(1, 2)) for _ in range(movable)] + [1] * (values.ndim - movable)
    signs = [draw(st.sampled_from([1, -1])) for _ in range(movable)] + [1] * (values.ndim - movable)
    gap_value = np.nan if values.dtype.kind == "f" else 77
    spread = np.full([values.shape[axis] * gaps[axis] for axis in order], gap_value, dtype=values.dtype)
    view = spread.transpose(np.argsort(order))
    view = view[tuple(slice(None, None, gap) for gap in gaps)][tuple(slice(None, None, s) for s in signs)]
    view[...] = values
    return view

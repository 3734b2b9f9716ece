"""_C's walks over Python objects, by which optimize() notices changes: fingerprints, flags, prefetching."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from mobilevit_fast import _C


def test_fingerprints_tell_values_of_dicts_apart_by_identity():
    one, other = object(), object()

    def of(*dicts: dict) -> bytes:
        return _C.fingerprint(list(dicts), [], ())

    before = of({"a": one}, {"b": other, "c": None})
    assert before == of({"a": one, "b": other}, {"c": None})
    assert before != of({"a": other}, {"b": one, "c": None})
    assert len(before) == 3 * np.dtype(np.uintp).itemsize
    for wrong in ([1], [None], [[one]]):
        for read in (_C.fingerprint, partial(_C.has_fingerprint, before)):
            with pytest.raises(TypeError, match="lists of dicts"):
                read(wrong, [], ())


def test_fingerprints_hold_what_readers_read():
    class Thing:
        __slots__ = ("size",)

        def __init__(self, size: object) -> None:
            self.size = size

    def of(*sizes: object) -> bytes:
        things = [Thing(size) for size in sizes]
        return _C.fingerprint([], things, (Thing.size, lambda thing: thing.size + 1))

    assert of(3, 2**64 - 2) == np.array([3, 4, 2**64 - 2, 2**64 - 1], np.uint64).tobytes()
    for wrong, error in ((-1, OverflowError), (2**64, OverflowError), ("3", TypeError), (1.5, TypeError)):
        with pytest.raises(error):
            of(wrong)
    with pytest.raises(TypeError):
        _C.fingerprint([], [3], (Thing.size,))
    with pytest.raises(TypeError, match="not callable"):
        _C.fingerprint([], [3], (3,))


def test_a_fingerprint_is_had_by_the_same_and_by_nothing_longer_shorter_or_else():
    dicts, sizes = [{"a": object(), "b": None}, {}, {"c": 1}], [[1], [2, 3]]

    def has(dicts: list, sizes: list, known: bytes = _C.fingerprint(dicts, sizes, (len,))) -> bool:
        return _C.has_fingerprint(known, dicts, sizes, (len,))

    assert has(dicts, sizes)
    assert not has([*dicts, {"d": 2}], sizes)
    assert not has(dicts[:1], sizes)
    assert not has([{"a": object()}, *dicts[1:]], sizes)
    assert not has(dicts, [*sizes, [4]])
    assert not has(dicts, sizes[:1])
    sizes[1].append(5)
    assert not has(dicts, sizes)
    known = _C.fingerprint([], sizes, (len,))
    for other in (b"", known[:-1], known[:-8], known + b"0", b"0" * len(known)):
        assert not has([], sizes, other)
    with pytest.raises(TypeError):
        has([], [3], known)


def test_any_true_looks_into_each_dict():
    assert not _C.any_true([], "on")
    assert not _C.any_true([{"on": False}, {"on": 0, "off": True}], "on")
    assert _C.any_true([{"on": False}, {"on": [0]}], "on")
    with pytest.raises(KeyError, match="on"):
        _C.any_true([{"on": False}, {"off": True}], "on")
    with pytest.raises(TypeError, match="takes a list of dicts"):
        _C.any_true([None], "on")


def test_fetching_ahead_takes_any_address():
    _C.prefetch(np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uintp))
    _C.prefetch(np.zeros(0, dtype=np.uintp))

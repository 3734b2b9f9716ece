"""The safetensors reader against the reference library, and against files that lie."""

import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load, load_file, save

from mobilevit_fast.weights import read_safetensors, write_safetensors

TENSORS = {
    "half": np.linspace(-2, 2, 6, dtype=np.float16).reshape(2, 3),
    "single": np.linspace(-2, 2, 5, dtype=np.float32),
    "double": np.array([[1e300]]),
    "counter": np.array(3, np.int64),
    "bytes": np.arange(7, dtype=np.uint8),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 4), np.float32),
}


def file_of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def write(folder, content):
    path = folder / "weights.safetensors"
    path.write_bytes(content)
    return path


def test_reads_what_the_reference_library_wrote(tmp_path):
    tensors, metadata = read_safetensors(write(tmp_path, save(TENSORS, {"who": "me"})))
    assert metadata == {"who": "me"}
    assert tensors.keys() == TENSORS.keys()
    for name, expected in TENSORS.items():
        assert tensors[name].dtype == expected.dtype
        assert tensors[name].shape == expected.shape
        np.testing.assert_array_equal(tensors[name], expected)


def test_the_reference_library_reads_what_was_written(tmp_path):
    path = tmp_path / "out.safetensors"
    turned = {**TENSORS, "strided": np.arange(12, dtype=np.float32).reshape(3, 4).T}
    write_safetensors(path, turned, {"who": "me"})
    again = load_file(path)
    for name, expected in turned.items():
        assert again[name].shape == expected.shape
        np.testing.assert_array_equal(again[name], expected)
    assert [file.name for file in tmp_path.iterdir()] == ["out.safetensors"]


def test_bfloat16_is_read_as_float32_without_torch(tmp_path):
    values = np.array([0.0, -1.5, 3.140625, np.inf, 1e-40], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2")
    expected = (upper.astype(np.uint32) << 16).view(np.float32)
    path = write(tmp_path, file_of({"x": entry("BF16", (5,), (0, 10))}, upper.tobytes()))
    tensor = read_safetensors(path)[0]["x"]
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor, expected)


MALFORMED = {
    "no bytes": b"",
    "seven bytes": b"1234567",
    "text": b"this is a text file that somebody renamed",
    "a header longer than the file": struct.pack("<Q", 1000) + b"{}",
    "a header of exabytes": struct.pack("<Q", 2**63) + b"{}",
    "a header that is not JSON": file_of(b"{nonsense"),
    "a header that is not text": file_of(b"\xff\xfe\x00\x01"),
    "a header of nested lists": file_of(b"[" * 100_000),
    "a header that is a list": file_of([]),
    "a name twice": file_of(b'{"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"x":{}}'),
    "metadata that is no map": file_of({"__metadata__": [1]}),
    "metadata with numbers": file_of({"__metadata__": {"a": 1}}),
    "an entry that is a number": file_of({"x": 1}),
    "an entry without offsets": file_of({"x": {"dtype": "F32", "shape": []}}, bytes(4)),
    "an unknown dtype": file_of({"x": entry("F3")}, bytes(4)),
    "a dtype that is a list": file_of({"x": {**entry(), "dtype": ["F32"]}}, bytes(4)),
    "a negative dimension": file_of({"x": entry(shape=(-1,))}, bytes(4)),
    "a dimension that is a float": file_of({"x": entry(shape=(1.0,))}, bytes(4)),
    "a dimension that is a truth value": file_of({"x": entry(shape=(True,))}, bytes(4)),
    "a product that overflows": file_of({"x": entry(shape=(2**32, 2**32, 2**32), offsets=(0, 0))}),
    "a vast and empty shape": file_of({"x": entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}),
    "a hundred dimensions": file_of({"x": entry(shape=(1,) * 100)}, bytes(4)),
    "offsets backwards": file_of({"x": entry(offsets=(4, 0))}, bytes(4)),
    "offsets below zero": file_of({"x": entry(offsets=(-4, 0))}, bytes(4)),
    "offsets beyond the file": file_of({"x": entry(shape=(4,), offsets=(0, 16))}, bytes(4)),
    "offsets that do not match the shape": file_of({"x": entry(shape=(2,))}, bytes(4)),
    "tensors that overlap": file_of({"x": entry(), "y": entry()}, bytes(8)),
    "a hole between tensors": file_of({"x": entry(), "y": entry(offsets=(8, 12))}, bytes(12)),
    "bytes after the last tensor": file_of({"x": entry()}, bytes(5)),
    "a name of many megabytes": file_of({"x" * 5_000_000: entry(offsets=(4, 0))}, bytes(4)),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_files_are_refused_by_name(tmp_path, case):
    path = write(tmp_path, MALFORMED[case])
    with pytest.raises(ValueError, match=r"weights\.safetensors' is not a valid safetensors file") as caught:
        read_safetensors(path)
    assert len(str(caught.value)) < 2000


def test_a_file_cut_off_anywhere_is_refused(tmp_path):
    whole = save(TENSORS)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match="is not a valid safetensors file"):
            read_safetensors(write(tmp_path, whole[:length]))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing_here"):
        read_safetensors(tmp_path / "nothing_here.safetensors")


def assert_read_like_the_reference(folder, content):
    """Every file is refused by name or read as the reference library reads it."""
    tensors, refusal = {}, ""
    try:
        tensors, _ = read_safetensors(write(folder, content))
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert "is not a valid safetensors file" in refusal
        return
    try:
        expected = load(content)
    except (SafetensorError, KeyError, ValueError, TypeError):
        return
    assert tensors.keys() == expected.keys()
    for name in expected:
        assert tensors[name].tobytes() == expected[name].tobytes()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_random_bytes(tmp_path, content):
    assert_read_like_the_reference(tmp_path, content)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_good_file_with_some_bytes_changed(tmp_path, data):
    content = bytearray(save(TENSORS))
    positions = st.integers(0, len(content) - 1)
    for position, value in data.draw(st.lists(st.tuples(positions, st.integers(0, 255)), max_size=6)):
        content[position] = value
    assert_read_like_the_reference(tmp_path, bytes(content))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4)
    ),
    max_leaves=12,
)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16", "U8", "I64", "F8_E4M3"]) | JSON_VALUES,
        "shape": st.lists(st.integers(-1, 4) | st.integers(0, 2**64), max_size=4) | JSON_VALUES,
        "data_offsets": st.lists(st.integers(-1, 40), min_size=2, max_size=2) | JSON_VALUES,
    }
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=4), ENTRIES | JSON_VALUES, max_size=3), st.binary(max_size=40))
def test_any_json_header(tmp_path, header, data):
    assert_read_like_the_reference(tmp_path, file_of(header, data))


def test_nothing_is_left_behind_when_writing_fails(tmp_path):
    path = tmp_path / "out.safetensors"
    path.write_text("what was there before")
    with pytest.raises((SafetensorError, TypeError, KeyError)):
        write_safetensors(path, {"x": np.array(["text"])}, {})
    assert path.read_text() == "what was there before"
    assert [file.name for file in tmp_path.iterdir()] == ["out.safetensors"]


def test_writing_needs_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_safetensors(tmp_path / "nowhere" / "out.safetensors", {}, {})

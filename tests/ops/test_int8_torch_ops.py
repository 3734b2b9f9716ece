"""torch.ops.mobilevit_fast.int8_*: against integer loops, through torch.library's own checks, and what they
refuse.
"""

import numpy as np
import pytest
import torch
from int8_oracles import ORACLES, fma, linear_sums, quantize
from int8_samples import INT8_SAMPLES, Int8Sample, attention_options
from torch._subclasses.fake_tensor import FakeTensorMode

from mobilevit_fast import ops

on_every_sample = pytest.mark.parametrize("sample", INT8_SAMPLES, ids=str)
MAPS_FIRST = ("int8_conv3x3", "int8_dwconv3x3", "int8_inverted_residual")


def channels_first(op, name, array):
    """An array in the layout of `_C.ops` as a tensor in torch's."""
    if array is None:
        return None
    tensor = torch.from_numpy(array)
    if name in ("x", "second") and op in MAPS_FIRST:
        return tensor.permute(0, 3, 1, 2)
    if name in ("weight", "depthwise_weight") and tensor.ndim == 3:
        return tensor.permute(2, 0, 1)[:, None]
    if name == "weight" and tensor.ndim == 4:
        return tensor.permute(0, 3, 1, 2)
    if name in ("expand_weight", "project_weight"):
        return tensor[:, :, None, None]
    return tensor


def arguments(sample, **changes):
    """All arguments of the operator by name."""
    given = {
        ("input" if name == "x" else name): channels_first(sample.op, name, array)
        for name, array in sample.arrays().items()
    }
    options = dict(sample.options)
    if "patch" in options:
        options["patch_height"], options["patch_width"] = options.pop("patch")
    return {**given, **options, **changes}


def overload(op):
    return getattr(torch.ops.mobilevit_fast, op).default


def call(sample, **changes):
    return overload(sample.op)(**arguments(sample, **changes))


def expected_of(sample):
    expected = torch.from_numpy(ORACLES[sample.op](**sample.arrays(), **sample.options))
    return expected.permute(0, 3, 1, 2) if sample.op in MAPS_FIRST else expected


def test_every_operation_has_samples():
    assert {sample.op for sample in INT8_SAMPLES} == set(ops.INT8_NAMES)


@on_every_sample
def test_bytes_equal_integer_loops(sample):
    actual = call(sample)
    assert actual.dtype == torch.uint8
    assert torch.equal(actual, expected_of(sample))
    assert sample.op not in MAPS_FIRST or actual.is_contiguous(memory_format=torch.channels_last)


@on_every_sample
def test_torch_accepts_schema_and_fake(sample):
    torch.library.opcheck(overload(sample.op), (), arguments(sample))


def test_torch_accepts_schema_and_fake_of_float_rows():
    layer = {name: value for name, value in arguments(INT8_SAMPLES[0]).items() if name != "table"}
    layer |= {"input": torch.randn(9, 24), "residual": torch.randn(9, 17), "float_output": True}
    torch.library.opcheck(overload("int8_linear"), (), {**layer, "input_scale": 0.02, "silu": True})
    torch.library.opcheck(overload("int8_linear"), (), {**layer, "input_zero": 0})


def test_float_rows_are_quantised():
    sample = INT8_SAMPLES[0]
    layer = sample.arrays()
    x = np.random.default_rng(1).normal(0, 1, (9, 24)).astype(np.float32)
    sums = linear_sums(quantize(x, 0.02, 119), layer["weight"], layer["bias"], 119)
    expected = fma(sums.astype(np.float32), layer["multiplier"], layer["offset"])
    options = {"input": torch.from_numpy(x), "table": None, "input_scale": 0.02, "float_output": True}
    assert torch.equal(call(sample, **options), torch.from_numpy(expected))


@on_every_sample
def test_strides_do_not_matter(sample):
    def spread(tensor):
        wide = tensor.new_full([2 * n for n in tensor.shape], 7)
        view = wide[tuple(slice(None, None, 2) for _ in wide.shape)]
        return view.copy_(tensor)

    views = {
        name: spread(value) for name, value in arguments(sample).items() if isinstance(value, torch.Tensor)
    }
    assert torch.equal(call(sample, **views), call(sample))


@on_every_sample
def test_an_empty_batch_gives_an_empty_result(sample):
    given = arguments(sample)
    if next(iter(given.values())).ndim < 2:
        pytest.skip("one row has no batch")
    empty = {name: given[name][:0] for name in ("input", "qkv", "second") if name in given}
    assert call(sample, **empty).shape == (0, *call(sample).shape[1:])


def test_operations_are_traced():
    sample = INT8_SAMPLES[3]
    given = arguments(sample)
    x = given.pop("input")

    class Layer(torch.nn.Module):
        def forward(self, x):
            return overload(sample.op)(x, **given)

    program = torch.export.export(Layer(), (x,))
    assert torch.equal(program.module()(x), call(sample))


LINEAR = Int8Sample("int8_linear", ((2,), 5, 3))
CONV = Int8Sample("int8_conv3x3", (4, 5, 4, 0, 6))
DEPTHWISE = Int8Sample("int8_dwconv3x3", (4, 5, 4))
BLOCK = Int8Sample("int8_inverted_residual", (4, 5, 4, 8, 6))
ATTENTION = Int8Sample("int8_attention", (4, 4, 24), attention_options(2, 1e-3))

REFUSED = {
    "weight's dtype": (LINEAR, {"weight": torch.zeros(3, 5)}, TypeError, "weight must be torch.int8, got"),
    "input's dtype": (
        LINEAR,
        {"input": torch.zeros(2, 5, dtype=torch.int8)},
        TypeError,
        "int8_linear: input must be torch.uint8 or torch.float32, got torch.int8",
    ),
    "inner size": (
        LINEAR,
        {"weight": torch.zeros(3, 4, dtype=torch.int8)},
        ValueError,
        r"int8_linear: weight must be \[3, 5\], got \[3, 4\]",
    ),
    "bias": (LINEAR, {"bias": torch.zeros(4, dtype=torch.int32)}, ValueError, r"bias must be \[3\]"),
    "table": (LINEAR, {"table": torch.zeros(16, dtype=torch.uint8)}, ValueError, r"table must be \[256\]"),
    "zero point": (LINEAR, {"input_zero": 300}, ValueError, "input_zero must be from 0 to 255, got 300"),
    "bytes' scale": (LINEAR, {"input_scale": 0.1}, ValueError, "input_scale needs a float32 input"),
    "floats to bytes": (LINEAR, {"input": torch.zeros(2, 5)}, ValueError, "input needs an input_scale or"),
    "scale": (LINEAR, {"input_scale": 0.0}, ValueError, "input_scale must be above 0 and finite, got 0.0"),
    "activation of bytes": (LINEAR, {"silu": True}, ValueError, "silu needs float_output"),
    "residual of bytes": (LINEAR, {"residual": torch.zeros(2, 3)}, ValueError, "residual needs float_output"),
    "table of floats": (LINEAR, {"float_output": True}, ValueError, "table needs bytes out"),
    "stride": (CONV, {"stride": 3}, ValueError, "int8_conv3x3: stride must be 1 or 2, got 3"),
    "floats": (CONV, {"input": torch.zeros(1, 4, 5, 5)}, TypeError, "input must be torch.uint8, got"),
    "second": (
        CONV,
        {"second": torch.zeros(2, 4, 9, 9, dtype=torch.uint8)},
        ValueError,
        r"second must be \[2, 4, 4, 5\], got \[2, 4, 9, 9\]",
    ),
    "no pixels": (
        DEPTHWISE,
        {"input": torch.zeros(1, 4, 0, 5, dtype=torch.uint8)},
        ValueError,
        r"int8_dwconv3x3: input must be \[N, C, H, W\] with H, W >= 1",
    ),
    "residual": (BLOCK, {"residual_multiplier": 1.0}, ValueError, "got stride 1, 4 in, 6 out"),
    "inner zero point": (BLOCK, {"expanded_zero": -1}, ValueError, "expanded_zero must be from 0 to 255"),
    "heads": (ATTENTION, {"heads": 5}, ValueError, "got 24 for 5 heads"),
    "patch": (ATTENTION, {"patch_height": 3}, ValueError, "a patch of 3x2 must divide the map of 4x4"),
    "score scale": (ATTENTION, {"score_scale": -1.0}, ValueError, "score_scale must be above 0"),
}


@pytest.mark.parametrize("fake", [False, True], ids=["eager", "fake"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_named(name, fake):
    sample, changes, error, message = REFUSED[name]
    if fake:
        with FakeTensorMode(allow_non_fake_inputs=True), pytest.raises(error, match=message):
            call(sample, **changes)
    else:
        with pytest.raises(error, match=message):
            call(sample, **changes)

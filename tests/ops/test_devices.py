"""Devices other than the CPU: every operation is there, is traced, and its formulas are the kernels'."""

import numpy as np
import pytest
import torch
from int8_samples import INT8_SAMPLES
from op_samples import SAMPLES
from test_int8_torch_ops import arguments, call, overload
from torch._subclasses.fake_tensor import FakeTensorMode

from mobilevit_fast import create_model, ops
from mobilevit_fast.ops import int8_reference, reference

ALL_NAMES = (*ops.NAMES, *ops.TRAINING_NAMES, *ops.BLOCK_NAMES, *ops.INT8_NAMES)
on_every_int8_sample = pytest.mark.parametrize("sample", INT8_SAMPLES, ids=str)


def named_arguments(sample):
    """All arguments of an operation on floats."""
    schema = sample.overload()._schema.arguments
    given = (*sample.tensors(), *sample.others)
    defaults = [argument.default_value for argument in schema[len(given) :]]
    return dict(zip([argument.name for argument in schema], (*given, *defaults), strict=True))


@pytest.mark.parametrize("key", ["CUDA", "Meta"])
@pytest.mark.parametrize("name", ALL_NAMES)
def test_every_operation_has_an_implementation(name, key):
    has = torch._C._dispatch_has_computed_kernel_for_dispatch_key
    assert has(f"mobilevit_fast::{name}", key)


@pytest.mark.parametrize("name", [*ops.NAMES, "layer_norm", "batch_norm", "trained_inverted_residual"])
def test_gradients_are_of_every_device(name):
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"mobilevit_fast::{name}", "Autograd")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("training", [False, True])
def test_a_model_and_its_gradients_trace_away_from_the_cpu(training, dtype):
    model = create_model("mobilevit_xxs", num_classes=10).train(training).to("meta", dtype)
    logits = model(torch.empty(2, 3, 64, 64, device="meta", dtype=dtype))
    assert (logits.device.type, logits.dtype, logits.shape) == ("meta", dtype, (2, 10))
    logits.sum().backward()
    assert all(parameter.grad.device.type == "meta" for parameter in model.parameters())


@pytest.mark.parametrize("sample", [*SAMPLES, *INT8_SAMPLES], ids=str)
def test_operations_are_traced_on_cuda(sample):
    given = arguments(sample) if sample in INT8_SAMPLES else named_arguments(sample)
    with FakeTensorMode():
        fakes = {
            name: torch.empty(value.shape, dtype=value.dtype, device="cuda")
            if isinstance(value, torch.Tensor)
            else value
            for name, value in given.items()
        }
        answer = getattr(torch.ops.mobilevit_fast, sample.op)(**fakes)
    assert answer.device.type == "cuda"


# ---- formulas


def formula_of(sample, **changes):
    given = arguments(sample, **changes)
    schema = overload(sample.op)._schema.arguments
    values = [given.get(argument.name, argument.default_value) for argument in schema]
    return getattr(int8_reference, sample.op)(*values)


@on_every_int8_sample
def test_bytes_are_the_kernels(sample):
    expected, actual = call(sample), formula_of(sample)
    assert actual.dtype == torch.uint8
    assert actual.stride() == expected.stride()
    assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"input_scale": 0.02},
        {"input_zero": 0},
        {"input_scale": 0.02, "silu": True},
        {"input_scale": 0.02, "bytes": 1},
    ],
    ids=str,
)
def test_float_rows_are_the_kernels(options):
    sample = INT8_SAMPLES[0]
    x = np.random.default_rng(1).normal(0, 1, (9, 24)).astype(np.float32)
    x[3], x[4], x[5, 2], x[6] = 0, np.abs(x[4]), 1e30, 1e-41
    residual = np.random.default_rng(2).normal(0, 1, (9, 17)).astype(np.float32)
    to_floats = {"table": None, "residual": torch.from_numpy(residual), "float_output": True}
    changes = {"input": torch.from_numpy(x), **to_floats, **options}
    if changes.pop("bytes", False):
        changes = {"input": changes["input"], "input_scale": changes["input_scale"]}
    actual, expected = formula_of(sample, **changes), call(sample, **changes)
    if "silu" in options:
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-4)
    else:
        assert torch.equal(actual, expected)


@on_every_int8_sample
def test_formulas_on_bytes_stay_on_their_device(sample):
    """Nothing is fetched to the host, and an empty batch will do."""
    given = {
        name: value.to("meta") if isinstance(value, torch.Tensor) else value
        for name, value in arguments(sample).items()
    }
    assert formula_of(sample, **given).device.type == "meta"
    if next(iter(given.values())).ndim > 1:
        empty = {name: arguments(sample)[name][:0] for name in ("input", "qkv", "second") if name in given}
        assert formula_of(sample, **empty).shape == (0, *call(sample).shape[1:])


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_formulas_stay_on_their_device(sample):
    given = [
        value.to("meta") if isinstance(value, torch.Tensor) else value
        for value in named_arguments(sample).values()
    ]
    assert getattr(reference, sample.op)(*given).device.type == "meta"


def test_tensors_of_different_devices_are_refused():
    for name in ("weight", "bias", "table"):
        moved = arguments(INT8_SAMPLES[0])[name].to("meta")
        with pytest.raises(ValueError, match=f"int8_linear: {name} is on meta and input on cpu; move one"):
            call(INT8_SAMPLES[0], **{name: moved})

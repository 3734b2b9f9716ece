"""Every operation against float64 loops, through torch.library's own checks, and in its memory formats."""

import numpy as np
import pytest
import torch
from op_oracles import ORACLES
from op_samples import SAMPLES
from torch.utils.flop_counter import FlopCounterMode

from mobilevit_fast import create_model, ops

MAPS_FIRST = ("dwconv3x3", "conv3x3", "inverted_residual")
on_every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)


def expected_of(sample, tensors):
    arrays = [None if tensor is None else tensor.double().numpy() for tensor in tensors]
    return torch.from_numpy(np.ascontiguousarray(ORACLES[sample.op](*arrays, *sample.others)))


def assert_near(actual, expected, epsilons=40):
    error = (actual.double() - expected).abs().max()
    assert error <= epsilons * torch.finfo(actual.dtype).eps * expected.abs().max().clamp(min=1)


def test_every_operation_has_samples():
    assert {sample.op for sample in SAMPLES} == set(ops.NAMES)


@on_every_sample
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_equal_float64_loops(sample, dtype):
    tensors = sample.tensors(dtype)
    expected = expected_of(sample, tensors)
    assert expected.std() > 0 or expected.numel() == 1
    actual = sample.call(tensors)
    assert actual.dtype == dtype
    assert_near(actual, expected)


@on_every_sample
def test_torch_accepts_schema_fake_and_autograd(sample):
    tensors = [None if tensor is None else tensor.requires_grad_() for tensor in sample.tensors()]
    torch.library.opcheck(sample.overload(), (*tensors, *sample.others))


def test_operations_count_as_torchs_own_do():
    assert set(ops.FLOP_FORMULAS) == set(ops.NAMES)
    model = create_model("mobilevit_xxs").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 3, 256, 256))
    # Of multiply-accumulates, as `info` counts them, two for each.
    assert counter.get_total_flops() == 2 * 2 * 407_364_096


@on_every_sample
def test_strides_do_not_matter(sample):
    tensors = sample.tensors()
    # Every second element of a tensor twice as large in each dimension.
    spread = [
        None if tensor is None else tensor.new_full([2 * n for n in tensor.shape], 7.0) for tensor in tensors
    ]
    views = [
        None if wide is None else wide[tuple(slice(None, None, 2) for _ in wide.shape)] for wide in spread
    ]
    for view, tensor in zip(views, tensors, strict=True):
        if view is not None:
            view.copy_(tensor)
    assert_near(sample.call(views), sample.call(tensors).double())


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.op in MAPS_FIRST], ids=str)
def test_maps_come_out_channels_last_from_either_memory_format(sample):
    tensors = sample.tensors()
    expected = sample.call(tensors)
    tensors[0] = tensors[0].contiguous(memory_format=torch.contiguous_format)
    actual = sample.call(tensors)
    for result in (actual, expected):
        assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.op != "linear"], ids=str)
def test_an_empty_batch_gives_an_empty_result(sample):
    tensors = sample.tensors()
    one = sample.call(tensors)
    tensors[0] = tensors[0][:0]
    assert sample.call(tensors).shape == (0, *one.shape[1:])


def test_no_rows_give_no_rows():
    assert ops.linear(torch.ones(0, 5), torch.ones(3, 5)).shape == (0, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@on_every_sample
def test_half_precision_stays_half_precision(sample, dtype):
    tensors = sample.tensors(dtype)
    actual = sample.call(tensors)
    assert actual.dtype == dtype
    assert_near(actual, expected_of(sample, tensors), epsilons=8)


def test_autocast_casts_every_tensor():
    torch.manual_seed(0)
    x, weight = torch.randn(4, 8), torch.randn(6, 8, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ops.linear(x, weight, silu=True)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert weight.grad.dtype == torch.float32
    assert_near(y, torch.nn.functional.silu(x @ weight.T).detach().double(), epsilons=8)


def test_autocast_gives_float32_to_operations_that_have_kernels_for_nothing_else():
    torch.manual_seed(0)
    qkv = torch.randn(1, 4, 4, 24).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ops.attention(qkv, 2)
    assert torch.equal(y, ops.attention(qkv.float(), 2))
    y.sum().backward()
    assert qkv.grad.dtype == torch.bfloat16


def test_thread_counts_give_the_same_numbers():
    sample = next(sample for sample in SAMPLES if sample.op == "inverted_residual")
    tensors, before = sample.tensors(), torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(sample.call(tensors))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)

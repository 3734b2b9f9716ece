"""The operations on CUDA tensors: this package's kernels beside the formulas on the CPU, wherever there is a
device.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from op_oracles import ORACLES
from op_samples import SAMPLES, Sample, block
from torch._subclasses.fake_tensor import FakeTensorMode

from mobilevit_fast import _C
from mobilevit_fast.ops import cuda_native, reference

WHY_NOT = _C.why_no_cuda()
needs_cuda = pytest.mark.skipif(bool(WHY_NOT), reason=f"CUDA: {WHY_NOT}")
on_every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)


WIDE_BLOCK = Sample("inverted_residual", block(400, 40, 16, 1, 5, 5), (1, False))
WIDE_HEADS = Sample("attention", ((1, 4, 4, 3 * 80),), (1,))


# ---- which calls run kernels


@pytest.fixture
def capability(monkeypatch):
    """Makes calls look for kernels as where there is a device, of the compute capability given."""
    limits = SimpleNamespace(max_head_dim=64, max_inverted_residual_input=384)
    monkeypatch.setattr(cuda_native, "_C", SimpleNamespace(why_no_cuda=lambda: "", cuda_ops=limits))

    def pretend(*version):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: version)
        cuda_native.has_kernels.cache_clear()

    yield pretend
    cuda_native.has_kernels.cache_clear()


def schema_of(sample):
    return sample.overload()._schema.arguments


def arguments(sample, dtype, device):
    """All of a call's, of fake tensors."""
    with FakeTensorMode():
        tensors = [
            None if shape is None else torch.empty(shape, dtype=dtype, device=device)
            for shape in sample.shapes
        ]
    given = (*tensors, *sample.others)
    return (*given, *[argument.default_value for argument in schema_of(sample)[len(given) :]])


def has_kernel(sample, dtype=torch.float16, device="cuda"):
    given = arguments(sample, dtype, device)
    return cuda_native.kernel_for(sample.op, given, given[0]) is not None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kernels_run_what_has_something_to_fuse(capability, dtype):
    capability(8, 0)
    assert {str(sample) for sample in SAMPLES if has_kernel(sample, dtype)} == {
        str(sample)
        for sample in SAMPLES
        if sample.op in ("inverted_residual", "attention")
        or (sample.op == "conv3x3" and sample.others[1])
        or (sample.op == "linear" and (sample.others[0] or sample.shapes[3]))
    }


def test_formulas_run_the_rest(capability):
    capability(9, 0)
    for sample in (WIDE_BLOCK, WIDE_HEADS, Sample("linear", ((3, 0), (4, 0), None, None), (True,))):
        assert not has_kernel(sample)
    assert not any(has_kernel(sample, dtype=torch.float32) for sample in SAMPLES)
    assert not any(has_kernel(sample, device="cpu") for sample in SAMPLES)
    capability(7, 5)
    assert not any(has_kernel(sample) for sample in SAMPLES)


# ---- with a device


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@on_every_sample
def test_results_equal_float64_loops(sample, dtype):
    tensors = sample.tensors(dtype)
    arrays = [None if tensor is None else tensor.double().numpy() for tensor in tensors]
    expected = torch.from_numpy(np.ascontiguousarray(ORACLES[sample.op](*arrays, *sample.others)))
    actual = sample.call([None if tensor is None else tensor.cuda() for tensor in tensors])
    assert (actual.device.type, actual.dtype) == ("cuda", dtype)
    assert actual.stride() == sample.call(tensors).stride()
    error = (actual.cpu().double() - expected).abs().max()
    bound = 1e-3 if dtype == torch.float32 else 8 * torch.finfo(dtype).eps  # of TF32 in torch's own
    assert error <= bound * expected.abs().max().clamp(min=1)


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@on_every_sample
def test_gradients_are_those_of_the_formulas(sample, dtype):
    def gradients(device, compute, dtype):
        tensors = [
            None if tensor is None else tensor.to(device, dtype).requires_grad_()
            for tensor in sample.tensors(torch.float32)
        ]
        output = compute(*tensors, *sample.others)
        given = [tensor for tensor in tensors if tensor is not None]
        return torch.autograd.grad(output, given, torch.ones_like(output))

    count = len(sample.shapes) + len(sample.others)
    defaults = [argument.default_value for argument in schema_of(sample)[count:]]

    def formula(*given):
        return getattr(reference, sample.op)(*given, *defaults)

    expected = gradients("cpu", formula, torch.float64)
    for found, wanted in zip(gradients("cuda", sample.overload(), dtype), expected, strict=True):
        bound = 40 * torch.finfo(dtype).eps * wanted.abs().max().clamp(min=1)
        assert (found.cpu().double() - wanted).abs().max() <= bound


@needs_cuda
def test_results_come_in_the_order_of_streams():
    sample = Sample("inverted_residual", block(16, 64, 16, 8, 32, 32), (1, True))
    tensors = [tensor.cuda() for tensor in sample.tensors(torch.float16)]
    expected = sample.call(tensors)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        late = [tensor + 0 for tensor in tensors]
        answers = [sample.call(late) for _ in range(20)]
    torch.cuda.current_stream().wait_stream(stream)
    assert all(torch.equal(answer, expected) for answer in answers)


@needs_cuda
@on_every_sample
def test_tensors_of_any_strides_are_taken(sample):
    def spread(tensor):
        """The same numbers, every second of an array that is filled the other way around."""
        if tensor is None:
            return None
        turned = torch.empty(2 * tensor.numel(), dtype=tensor.dtype, device="cuda")
        view = turned[::2].view(tensor.shape[::-1]).permute(*range(tensor.ndim)[::-1])
        return view.copy_(tensor)

    tensors = sample.tensors(torch.float16)
    expected = sample.call([None if tensor is None else tensor.cuda() for tensor in tensors])
    actual = sample.call([spread(tensor) for tensor in tensors])
    torch.testing.assert_close(actual, expected, rtol=1e-2, atol=1e-2)


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@on_every_sample
def test_opcheck_accepts_it(sample, dtype):
    tensors = [None if tensor is None else tensor.cuda() for tensor in sample.tensors(dtype)]
    torch.library.opcheck(sample.overload(), (*tensors, *sample.others))


@needs_cuda
def test_calls_can_be_recorded_in_a_graph():
    sample = Sample("inverted_residual", block(16, 64, 16, 2, 12, 12), (1, True))
    tensors = [tensor.cuda() for tensor in sample.tensors(torch.float16)]
    sample.call(tensors)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        answer = sample.call(tensors)
    others = sample.tensors(torch.float16, seed=1)
    for tensor, other in zip(tensors, others, strict=True):  # weights are read at each replay, too
        tensor.copy_(other)
    graph.replay()
    assert torch.equal(answer, sample.call(tensors))


@needs_cuda
def test_what_kernels_cannot_take_is_computed():
    for sample in (WIDE_BLOCK, WIDE_HEADS):
        tensors = sample.tensors(torch.float16)
        actual = sample.call([tensor.cuda() for tensor in tensors]).cpu()
        torch.testing.assert_close(actual, sample.call(tensors), rtol=2e-2, atol=2e-2)


@needs_cuda
def test_what_does_not_fit_is_named():
    place = {"device": 0, "cuda_stream": 0}
    qkv, out = (torch.zeros(1, 4, 4, n, device="cuda", dtype=torch.float16) for n in (24, 8))

    def within(tensor, start):
        return tensor.flatten()[start : start + out.numel()].view_as(out)

    refused = [
        (qkv.cpu(), 2, (2, 2), out, TypeError, "on a CUDA device, got Tensor"),
        (qkv.double(), 2, (2, 2), out, TypeError, "elements of type '<f8'"),
        (qkv.transpose(1, 3), 2, (2, 2), out, ValueError, "must be dense"),
        (qkv, 3, (2, 2), out, ValueError, "3 heads of q, k and v do not divide"),
        (qkv, 2, (3, 2), out, ValueError, r"patch \(3, 2\) does not divide"),
        (qkv, 2, (2, 2), out[..., :4], ValueError, r"out must be \(1, 4, 4, 8\)"),
        (qkv, 2, (2, 2), out.float(), TypeError, "out must be a float16 array"),
        (qkv, 2, (2, 2), within(qkv, 2), ValueError, "out shares memory with qkv"),
        (qkv, 2, (2, 2), within(qkv + 0, 1), ValueError, "out must begin at a multiple of 4 bytes"),
    ]
    for x, heads, patch, filled, error, message in refused:
        with pytest.raises(error, match=message):
            _C.cuda_ops.attention(x, heads, patch, out=filled, **place)
    x, y = (torch.zeros(5, 8, device="cuda", dtype=torch.float16) for _ in range(2))
    for give, error, message in (
        (lambda size: torch.zeros(size - 1, device="cuda", dtype=torch.uint8), ValueError, "workspace gives"),
        (lambda size: torch.zeros(size, dtype=torch.uint8), TypeError, "must be a uint8 array"),
    ):
        with pytest.raises(error, match=message):
            _C.cuda_ops.linear(x, torch.cat([x, x])[:8], None, None, True, out=y, workspace=give, **place)

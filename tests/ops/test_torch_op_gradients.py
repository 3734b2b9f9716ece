"""Gradients against finite differences in float64, for every choice of what needs one; and float32 against
float64.
"""

import itertools

import pytest
import torch
from op_samples import SAMPLES
from torch.utils.checkpoint import checkpoint

on_every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=str)


def gradients(sample, tensors, needed, upstream):
    """Gradients of the needed tensors under a random `upstream` gradient."""
    leaves = [
        None if tensor is None else tensor.detach().clone().requires_grad_(need)
        for tensor, need in zip(tensors, needed, strict=True)
    ]
    wanted = [leaf for leaf, need in zip(leaves, needed, strict=True) if need]
    return torch.autograd.grad(sample.call(leaves), wanted, upstream)


@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
@on_every_sample
def test_gradients_and_their_gradients_equal_finite_differences(sample, check):
    tensors = sample.tensors(torch.float64)
    given = [tensor.requires_grad_() for tensor in tensors if tensor is not None]

    def call(*values):
        values = iter(values)
        return sample.call([None if tensor is None else next(values) for tensor in tensors])

    assert check(call, given, fast_mode=True)


@on_every_sample
def test_inputs_may_be_computed_again_for_the_gradient(sample):
    tensors = sample.tensors(torch.float64)
    given = [tensor.requires_grad_() for tensor in tensors if tensor is not None]
    expected = torch.autograd.grad(sample.call(tensors).sum(), given)
    output = checkpoint(lambda *_: sample.call(tensors), *given, use_reentrant=False)
    torch.testing.assert_close(torch.autograd.grad(output.sum(), given), expected)


@on_every_sample
def test_float32_gradients_equal_float64_ones(sample):
    tensors = sample.tensors(torch.float64)
    needed = [tensor is not None for tensor in tensors]
    torch.manual_seed(0)
    upstream = torch.randn_like(sample.call(tensors))
    exact = gradients(sample, tensors, needed, upstream)
    single = [None if tensor is None else tensor.float() for tensor in tensors]
    for actual, expected in zip(gradients(sample, single, needed, upstream.float()), exact, strict=True):
        assert actual.dtype == torch.float32
        error = (actual.double() - expected).abs().max()
        assert error <= 1e-5 * expected.abs().max().clamp(min=1)


@on_every_sample
def test_any_choice_of_inputs_may_need_a_gradient(sample):
    tensors = sample.tensors(torch.float64)
    present = [tensor is not None for tensor in tensors]
    torch.manual_seed(0)
    upstream = torch.randn_like(sample.call(tensors))
    everything = iter(gradients(sample, tensors, present, upstream))
    full = [next(everything) if there else None for there in present]
    for needed in itertools.product((False, True), repeat=len(tensors)):
        if not any(needed) or any(need and not there for need, there in zip(needed, present, strict=True)):
            continue
        expected = [gradient for gradient, need in zip(full, needed, strict=True) if need]
        for actual, wanted in zip(gradients(sample, tensors, needed, upstream), expected, strict=True):
            torch.testing.assert_close(actual, wanted)


def test_attention_keeps_no_scores_for_the_backward_pass():
    kept = []
    qkv = torch.randn(1, 16, 16, 24, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t
    ):
        torch.ops.mobilevit_fast.attention(qkv, 2)
    assert kept == [qkv.numel()]

"""What the operations refuse, eagerly and while torch traces them with fake tensors."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mobilevit_fast import ops


def zeros(*shape, dtype=torch.float32):
    return torch.zeros(shape, dtype=dtype)


def inverted_residual(x, hidden=8, out=4, **options):
    channels = x.shape[1]
    expand, depthwise = (
        (zeros(hidden, channels, 1, 1), zeros(hidden)),
        (zeros(hidden, 1, 3, 3), zeros(hidden)),
    )
    return ops.inverted_residual(x, expand, depthwise, (zeros(out, hidden, 1, 1), zeros(out)), **options)


REFUSED = {
    "linear, inner size": (
        lambda: ops.linear(zeros(2, 5), zeros(3, 4)),
        r"linear: weight must be \[3, 5\], got \[3, 4\]",
    ),
    "linear, bias": (
        lambda: ops.linear(zeros(2, 5), zeros(3, 5), zeros(4)),
        r"linear: bias must be \[3\], got \[4\]",
    ),
    "linear, residual": (
        lambda: ops.linear(zeros(2, 5), zeros(3, 5), residual=zeros(3)),
        r"linear: residual must be \[2, 3\], got \[3\]",
    ),
    "linear, weight's rank": (
        lambda: ops.linear(zeros(2, 5), zeros(3, 5, 1)),
        r"linear: weight must be \[M, K\], got \[3, 5, 1\]",
    ),
    "linear, scalar": (lambda: ops.linear(zeros(), zeros(3, 5)), "got a scalar"),
    "dwconv3x3, rank": (
        lambda: ops.dwconv3x3(zeros(4, 5, 5), zeros(4, 1, 3, 3)),
        r"dwconv3x3: input must be \[N, C, H, W\] with H, W >= 1, got \[4, 5, 5\]",
    ),
    "dwconv3x3, no pixels": (
        lambda: ops.dwconv3x3(zeros(1, 4, 0, 5), zeros(4, 1, 3, 3)),
        r"with H, W >= 1, got \[1, 4, 0, 5\]",
    ),
    "dwconv3x3, stride": (
        lambda: ops.dwconv3x3(zeros(1, 4, 5, 5), zeros(4, 1, 3, 3), stride=3),
        "dwconv3x3: stride must be 1 or 2, got 3",
    ),
    "conv3x3, kernel": (
        lambda: ops.conv3x3(zeros(1, 4, 5, 5), zeros(6, 4, 5, 5)),
        r"conv3x3: weight must be \[6, 4, 3, 3\], got \[6, 4, 5, 5\]",
    ),
    "inverted_residual, residual with stride": (
        lambda: inverted_residual(zeros(1, 4, 5, 5), stride=2, residual=True),
        "got stride 2, 4 in, 4 out",
    ),
    "inverted_residual, residual with other channels": (
        lambda: inverted_residual(zeros(1, 4, 5, 5), out=6, residual=True),
        "got stride 1, 4 in, 6 out",
    ),
    "attention, heads": (
        lambda: ops.attention(zeros(1, 4, 4, 24), 5),
        "a multiple of 3 \\* heads channels, got 24 for 5 heads",
    ),
    "attention, patch": (
        lambda: ops.attention(zeros(1, 4, 5, 24), 2),
        "a patch of 2x2 must divide the map of 4x5",
    ),
}


@pytest.mark.parametrize("fake", [False, True], ids=["eager", "fake"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_shape_that_does_not_fit_is_named(name, fake):
    call, message = REFUSED[name]
    if fake:
        with FakeTensorMode(), pytest.raises(ValueError, match=message):
            call()
    else:
        with pytest.raises(ValueError, match=message):
            call()


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"linear: input must be floating point, got torch.int64"):
        ops.linear(zeros(2, 5, dtype=torch.int64), zeros(3, 5, dtype=torch.int64))


def test_dtypes_are_not_mixed_silently():
    with pytest.raises(TypeError, match=r"weight is torch.float64 and input is torch.float32; cast one"):
        ops.linear(zeros(2, 5), zeros(3, 5, dtype=torch.float64))


def test_devices_are_not_mixed():
    with pytest.raises(ValueError, match="weight is on meta and input on cpu"):
        ops.linear(zeros(2, 5), torch.zeros(3, 5, device="meta"))

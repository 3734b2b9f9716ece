"""Images prepared on a CUDA device, beside the CPU's bits; what a session makes of them, on any machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mobilevit_fast import _C, Session, cuda
from mobilevit_fast.benchmark.random_weights import random_checkpoint
from mobilevit_fast.image import Preprocessing, preprocess
from mobilevit_fast.lower import lower
from photographs import encoded, photograph

WHY_NOT = _C.why_no_cuda()
needs_cuda = pytest.mark.skipif(bool(WHY_NOT), reason=f"CUDA: {WHY_NOT}")

APPLE = Preprocessing()
TIMM = Preprocessing(
    shortest_edge=284,
    crop_rounding="even",
    resample="bicubic",
    channel_order="RGB",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
RULES = {
    "apple": APPLE,
    "timm": TIMM,
    "padded": replace(APPLE, shortest_edge=201, crop_size=(256, 255), resample="lanczos"),
    "exact": replace(APPLE, shortest_edge=None, exact_size=(96, 160), crop_size=None, resample="box"),
    "nearest": replace(TIMM, resample="nearest"),
    "no resize": replace(APPLE, shortest_edge=None, crop_size=(64, 64)),
}
SIZES = [(640, 480), (480, 640), (3000, 2000), (288, 288), (289, 431), (1001, 33), (40, 51), (1, 1), (1, 40)]
"""Width, height."""


def photographs(sizes=SIZES):
    return [np.asarray(photograph(width, height, seed=width)) for width, height in sizes]


def checkpoint(rule=APPLE):
    return replace(random_checkpoint("mobilevit_xxs"), preprocessing=rule)


# ---- without a device


class HostPreparer:
    """`_C.CudaPreparer` by `preprocess`."""

    def __init__(self, rule, device):
        self._rule = Preprocessing.from_dict(rule)

    def size(self, height, width):
        if max(height, width) > 1000 * min(height, width):
            raise ValueError("too long and thin")
        return self._rule.crop_size or self._rule.resized_size(height, width)

    def run(self, engine, images):
        assert all(image.dtype == np.uint8 and image.ndim == 3 for image in images)
        return engine.run(preprocess(images, self._rule))


class HostEngine:
    """`DeviceEngine` by the host's engine."""

    def __init__(self, plan, precision, device):
        self.native, self.device = _C.Engine(plan), device
        self.run, self.threads = self.native.run, 2


@pytest.fixture
def session(monkeypatch):
    """A session that takes the way of a device, and computes on the host."""
    monkeypatch.setattr(cuda, "device_number", lambda device: 0)
    monkeypatch.setattr(cuda, "DeviceEngine", HostEngine)
    monkeypatch.setattr(_C, "CudaPreparer", HostPreparer, raising=False)
    return Session(checkpoint(), device="cuda")


def test_images_of_a_device_session_are_loaded_and_handed_over_as_bytes(session):
    host = Session(checkpoint())
    photo, grey = photograph(331, 267), np.full((30, 40), 9, np.uint8)
    images = [photo, encoded(photo, "PNG"), np.asarray(photo)[:, ::-1], grey, *photographs([(50, 60)])]
    np.testing.assert_array_equal(session.run_images(images), host.run_images(images))
    for given in (images, photo, np.stack(photographs([(50, 60)] * 3))):
        assert session.classify(given, batch_size=2) == host.classify(given, batch_size=2)


def test_a_bad_image_of_a_device_session_leaves_the_others_alone(session):
    good, *_ = photographs([(50, 60)])
    bad = [
        good.astype(np.float32),
        good[:0],
        b"no image",
        np.zeros((1, 2000, 3), np.uint8),
        torch.ones(2, 2, 3),
    ]
    answers = list(session.classify_each([good, *bad, good], batch_size=3))
    assert [type(answer) for answer in answers[1:-1]] == [TypeError, *[ValueError] * 3, TypeError]
    assert answers[0] == answers[-1] == session.classify(good)[0]
    with pytest.raises(ValueError, match="too long and thin"):
        session.run_images(bad[3])


@pytest.mark.parametrize(
    ("tensor", "error", "message"),
    [
        (
            torch.zeros(4, 4, 3),
            TypeError,
            r"must be uint8 \[H, W, 3\] on cuda:0, got torch.float32",
        ),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), ValueError, "on cuda:0, got .* on cpu"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), ValueError, r"got torch.uint8 \[3, 4, 4\]"),
    ],
    ids=["float", "of the host", "batch of the host"],
)
def test_tensors_that_the_device_cannot_prepare_are_refused(tensor, error, message, session):
    with pytest.raises(error, match=message):
        session.run_images(tensor)


def test_sessions_of_the_host_run_images_too():
    session, images = Session(checkpoint()), photographs([(50, 60), (70, 40)])
    expected = session.run(preprocess(images, session.preprocessing))
    np.testing.assert_array_equal(session.run_images(images), expected)
    batch = np.stack([images[0]] * 2)
    np.testing.assert_array_equal(session.run_images(batch)[0], session.run_images(images[0])[0])
    with pytest.raises(ValueError, match="no images were given"):
        session.run_images([])
    with pytest.raises(TypeError, match="cannot read an image from Tensor"):
        session.run_images(torch.zeros(4, 4, 3, dtype=torch.uint8))


# ---- with a device


@needs_cuda
@pytest.mark.parametrize("rule", RULES)
def test_planes_are_the_cpus_bit_for_bit(rule):
    preparer = _C.CudaPreparer(RULES[rule].to_dict())
    images = photographs()
    expected = torch.from_numpy(preprocess(images, RULES[rule]))
    on_device = [torch.from_numpy(image.copy()).cuda() for image in images]
    turned = [image.permute(1, 0, 2).contiguous().permute(1, 0, 2) for image in on_device]
    for given in (images, on_device, turned, [*images[:4], *turned[4:]]):
        planes = torch.full(expected.shape, -1.0, device="cuda")
        preparer.prepare(given, planes, torch.cuda.current_stream().cuda_stream)
        assert torch.equal(planes.cpu(), expected)


@needs_cuda
@pytest.mark.parametrize("rule", ["apple", "timm"])
def test_logits_of_images_are_those_of_prepared_ones(rule):
    session, images = Session(checkpoint(RULES[rule]), device="cuda"), photographs()
    expected = session.run(preprocess(images, session.preprocessing))
    np.testing.assert_array_equal(session.run_images(images), expected)
    tensors = [torch.from_numpy(image.copy()).cuda() for image in images]
    for given in (tensors, [images[0], *tensors[1:]]):
        logits = session.run_images(given)
        assert logits.device == tensors[0].device
        np.testing.assert_array_equal(logits.cpu().numpy(), expected)
    assert session.classify(tensors, batch_size=4) == session.classify(images, batch_size=4)
    batch = torch.stack([tensors[0]] * 3)
    assert session.classify(batch) == session.classify([images[0]] * 3)


@needs_cuda
def test_images_are_prepared_in_the_order_of_streams():
    session, (image, *_) = Session(checkpoint(), device="cuda"), photographs()
    expected = session.run_images(image)
    for _ in range(10):
        with torch.cuda.stream(torch.cuda.Stream()):
            tensor = torch.zeros(image.shape, dtype=torch.uint8, device="cuda")
            torch.cuda._sleep(10_000_000)
            tensor.copy_(torch.from_numpy(image.copy()), non_blocking=True)
            np.testing.assert_array_equal(session.run_images(tensor).cpu().numpy(), expected)


@needs_cuda
def test_what_cannot_be_prepared_is_refused():
    preparer = _C.CudaPreparer(APPLE.to_dict())
    image = torch.zeros(4, 5, 3, dtype=torch.uint8, device="cuda")
    planes = torch.zeros(1, 3, 256, 256, device="cuda")
    refused = [
        ([], planes, ValueError, "no images"),
        (image, planes, TypeError, "a list of uint8 arrays"),
        ([image.float()], planes, TypeError, "'<f4'"),
        ([image.cpu()], planes, TypeError, "on a CUDA device"),
        ([image[:0]], planes, ValueError, "at least 1"),
        ([image[..., :2]], planes, ValueError, r"must be \[H, W, 3\]"),
        ([np.zeros((4, 5, 3), np.float32)], planes, TypeError, r"images\[0\]"),
        ([np.zeros((1, 500000, 3), np.uint8)], planes, ValueError, "too long and thin"),
        ([image], planes[:, :, :255], ValueError, "planes must be"),
        ([image], planes.cpu(), TypeError, "on a CUDA device"),
    ]
    for images, to, error, message in refused:
        with pytest.raises(error, match=message):
            preparer.prepare(images, to, 0)
    with pytest.raises(ValueError, match="shortest_edge"):
        _C.CudaPreparer({**APPLE.to_dict(), "shortest_edge": 0})
    with pytest.raises(ValueError, match="there is no CUDA device 99"):
        _C.CudaPreparer(APPLE.to_dict(), device=99)
    whole = _C.CudaPreparer(replace(APPLE, shortest_edge=None, crop_size=None).to_dict())
    model = random_checkpoint("mobilevit_xxs")
    engine = _C.CudaEngine(lower(model.config, model.tensors))
    with pytest.raises(ValueError, match="different sizes cannot form a batch"):
        whole.run(engine, photographs([(64, 65), (65, 64)]))

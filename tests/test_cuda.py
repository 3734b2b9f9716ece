"""The engine on a CUDA device beside the CPU's, wherever there is one and a build with CUDA kernels."""

from __future__ import annotations

import copy
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from mobilevit_fast import _C, Session, create_model, cuda, optimize
from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.benchmark.random_weights import random_checkpoint, random_images
from mobilevit_fast.lower import OUTPUTS, lower
from mobilevit_fast.lower_quantized import lower_quantized
from mobilevit_fast.model import native_forward
from mobilevit_fast.weights import LayerFormat

WHY_NOT = _C.why_no_cuda()
needs_cuda = pytest.mark.skipif(bool(WHY_NOT), reason=f"CUDA: {WHY_NOT}")
without_cuda = pytest.mark.skipif(not WHY_NOT, reason="there is a CUDA device")

BOUNDS = {"fp32": 1e-4, "tf32": 5e-3, "fp16": 5e-3, "bf16": 5e-2}
SIZES = [(1, 256, 256), (3, 224, 160), (8, 64, 64), (2, 33, 47)]
"""Images, height, width; the last are of maps that the patch does not divide."""


def relative_error(actual, expected):
    return np.abs(np.asarray(actual, np.float64) - expected).max() / np.abs(expected).max()


# ---- without a device


@without_cuda
def test_sessions_say_why_there_is_no_device():
    for device in ("cuda", "cuda:0"):
        with pytest.raises(ValueError, match=r"is not available: .*; use 'cpu'") as error:
            Session("mobilevit_xxs.cifar10", device=device)
        assert WHY_NOT in str(error.value)
    assert _C.cuda_devices() == []


@without_cuda
@pytest.mark.skipif(not hasattr(_C, "CudaEngine"), reason="this build has no CUDA kernels")
def test_engines_say_why_there_is_no_device():
    checkpoint = random_checkpoint("mobilevit_xxs")
    with pytest.raises(ValueError, match="no CUDA device can be used"):
        _C.CudaEngine(lower(checkpoint.config, checkpoint.tensors))


@without_cuda
def test_the_benchmark_says_why_it_cannot_run():
    path = Path(__file__).parent.parent / "benchmarks" / "on_cuda.py"
    ended = subprocess.run([sys.executable, path], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"this benchmark needs a CUDA device: {WHY_NOT}")


class KeptEngine:
    """In place of `DeviceEngine`: keeps what it was asked for."""

    def __init__(self, plan, precision, device):
        self.plan, self.kernels = plan, precision


@pytest.fixture
def keeps_engines(monkeypatch):
    monkeypatch.setattr(cuda, "device_number", lambda device: 0)
    monkeypatch.setattr(cuda, "DeviceEngine", KeptEngine)


FLOAT, DYNAMIC = LayerFormat("fp32", "float"), LayerFormat("int8", "dynamic")


@pytest.mark.parametrize(
    ("checkpoint", "wanted", "precision", "kernels"),
    [
        (random_quantized("mobilevit_xxs"), None, "int8", "int8"),
        (random_quantized("mobilevit_xxs"), "int8", "int8", "int8"),
        (random_quantized("mobilevit_xxs", formats={"classifier": FLOAT}), None, "mixed", "int8"),
        (random_checkpoint("mobilevit_xxs"), None, "fp16", "fp16"),
        (random_checkpoint("mobilevit_xxs"), "bf16", "bf16", "bf16"),
        (random_checkpoint("mobilevit_xxs"), "tf32", "tf32", "tf32"),
    ],
    ids=["bytes", "bytes by name", "mixed", "floats", "floats by name", "tf32"],
)
def test_sessions_choose_kernels_by_the_model(checkpoint, wanted, precision, kernels, keeps_engines):
    session = Session(checkpoint, device="cuda", precision=wanted)
    assert session.precision == precision
    assert session._engine.kernels == kernels
    on_bytes = any(step["kind"].startswith("int8_") for step in session._engine.plan["steps"])
    assert on_bytes == (kernels == "int8")


def test_precisions_that_are_not_the_models_are_refused(keeps_engines):
    with pytest.raises(ValueError, match="computes in int8; leave out precision='fp16'"):
        Session(random_quantized("mobilevit_xxs"), device="cuda", precision="fp16")
    with pytest.raises(ValueError, match="is not quantised"):
        Session(random_checkpoint("mobilevit_xxs"), device="cuda", precision="int8")


# ---- with a device


@needs_cuda
@pytest.mark.parametrize("precision", cuda.PRECISIONS)
@pytest.mark.parametrize("model", ["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"])
def test_logits_are_the_cpus(model, precision):
    checkpoint = random_checkpoint(model)
    host, device = Session(checkpoint), Session(checkpoint, device="cuda", precision=precision)
    for shape in SIZES:
        images = random_images(*shape)
        for _ in range(2):  # recorded, then repeated
            assert relative_error(device.run(images), host.run(images)) < BOUNDS[precision]


@needs_cuda
@pytest.mark.parametrize("model", ["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"])
def test_logits_of_bytes_are_the_cpus_bit_for_bit(model):
    checkpoint = random_quantized(model)
    host, device = Session(checkpoint, isa="scalar"), Session(checkpoint, device="cuda")
    assert device.precision == "int8"
    for shape in SIZES:
        images = random_images(*shape)
        for _ in range(2):  # recorded, then repeated
            np.testing.assert_array_equal(device.run(images), host.run(images))


@needs_cuda
def test_every_output_of_bytes_is_the_cpus():
    plan = lower_quantized(random_quantized("mobilevit_xs"), outputs=OUTPUTS)
    images = random_images(2, 96, 72)
    expected = _C.Engine(plan, isa="scalar", precision="int8").run(images)
    actual = _C.CudaEngine(plan, precision="int8").run(images)
    for name, ours, wanted in zip(OUTPUTS, actual, expected, strict=True):
        np.testing.assert_array_equal(ours, wanted, err_msg=name)


@needs_cuda
def test_float_layers_run_beside_those_on_bytes():
    checkpoint = random_quantized("mobilevit_xxs", formats={"classifier": FLOAT})
    images = random_images(3, 64, 64)
    device = Session(checkpoint, device="cuda")
    assert device.precision == "mixed"
    assert relative_error(device.run(images), Session(checkpoint, isa="scalar").run(images)) < 1e-5


@needs_cuda
def test_models_that_quantise_dynamically_are_refused():
    dynamic = random_quantized("mobilevit_xxs", formats={"classifier": DYNAMIC})
    with pytest.raises(ValueError, match=r"'classifier'.*dynamic quantisation; use device='cpu'"):
        Session(dynamic, device="cuda")


@needs_cuda
def test_every_output_is_the_cpus():
    checkpoint = random_checkpoint("mobilevit_xs")
    plan = lower(checkpoint.config, checkpoint.tensors, outputs=OUTPUTS)
    images = random_images(2, 96, 72)
    expected = _C.Engine(plan).run(images)
    for actual, wanted in zip(_C.CudaEngine(plan, precision="fp32").run(images), expected, strict=True):
        assert relative_error(actual, wanted) < 1e-4


@needs_cuda
def test_tensors_of_any_strides_are_taken_in_the_order_of_streams():
    session = Session(random_checkpoint("mobilevit_xxs"), device="cuda")
    images = random_images(4, 64, 64)
    expected = session.run(images)
    for stream in (torch.cuda.current_stream(), torch.cuda.Stream()):
        with torch.cuda.stream(stream):
            tensor = torch.from_numpy(images).cuda()
            for x in (tensor, tensor.to(memory_format=torch.channels_last), tensor.flip(0).flip(0)):
                answer = session.run(x)
                assert answer.device == x.device
                np.testing.assert_array_equal(answer.cpu().numpy(), expected)


@needs_cuda
def test_streams_and_threads_do_not_disturb_each_other():
    session = Session(random_checkpoint("mobilevit_xxs"), device="cuda")
    batches = [random_images(count, size, size, seed=count) for count, size in ((1, 64), (3, 96), (5, 64))]
    expected = [session.run(images) for images in batches]
    wrong = []

    def work(index):
        with torch.cuda.stream(torch.cuda.Stream()):
            x = torch.from_numpy(batches[index]).cuda()
            for _ in range(20):
                answer = session.run(x).cpu().numpy()
                if not np.array_equal(answer, expected[index]):
                    wrong.append(index)

    threads = [threading.Thread(target=work, args=(index % 3,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@needs_cuda
def test_a_run_can_be_recorded_in_somebodys_graph():
    session = Session(random_checkpoint("mobilevit_xxs"), device="cuda")
    x = torch.from_numpy(random_images(2, 64, 64)).cuda()
    session.run(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        answer = session.run(x)
    other = torch.from_numpy(random_images(2, 64, 64, seed=5)).cuda()
    expected = session.run(other)
    x.copy_(other)
    graph.replay()
    torch.testing.assert_close(answer, expected, rtol=0, atol=0)


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_optimized_modules_run_on_the_device(dtype):
    model = create_model("mobilevit_xxs", num_classes=10).eval()
    images = torch.from_numpy(random_images(2, 128, 128))
    with torch.no_grad():
        expected = model(images).numpy()
        optimized = optimize(copy.deepcopy(model).to("cuda", dtype))
        answer = optimized(images.to("cuda", dtype))
        assert answer.dtype == dtype
        assert answer.device.type == "cuda"
        bound = BOUNDS["fp16" if dtype == torch.float16 else "bf16"]
        assert relative_error(answer.float().cpu(), expected) < 2 * bound
        graph = torch.cuda.CUDAGraph()
        x = images.to("cuda", dtype)
        with torch.cuda.graph(graph):  # torch's own work: a replay has to see what the weights are by then
            recorded = optimized(x)
        optimized.classifier.bias.add_(1)  # noticed
        graph.replay()
        assert relative_error((recorded - answer).float().cpu(), np.ones_like(expected)) < 0.1
        moved = optimized(images.to("cuda", dtype)) - answer
    assert relative_error(moved.float().cpu(), np.ones_like(expected)) < 0.1


@pytest.fixture
def tf32_switches():
    """Leaves torch's switches as it found them."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize("matrices", ["highest", "high"])
@pytest.mark.parametrize("convolutions", [False, True])
def test_tf32_takes_both_of_torchs_switches(matrices, convolutions, tf32_switches):
    torch.set_float32_matmul_precision(matrices)
    torch.backends.cudnn.allow_tf32 = convolutions
    assert native_forward.allows_tf32() == (matrices == "high" and convolutions)


@needs_cuda
def test_optimized_modules_of_floats_run_in_tf32_where_torch_may(tf32_switches, monkeypatch):
    model = create_model("mobilevit_xxs", num_classes=10).eval()
    images = torch.from_numpy(random_images(2, 128, 128))
    built = []
    build = cuda.DeviceEngine
    monkeypatch.setattr(cuda, "DeviceEngine", lambda *args: built.append(args[1]) or build(*args))
    with torch.no_grad():
        expected = model(images).numpy()
        optimized = optimize(copy.deepcopy(model).cuda())
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True
        optimized(images.cuda())
        assert built == []
        torch.set_float32_matmul_precision("high")
        answer = optimized(images.cuda())
        assert built == ["tf32"]
    assert answer.dtype == torch.float32
    assert relative_error(answer.cpu(), expected) < BOUNDS["tf32"]


@needs_cuda
def test_what_the_device_cannot_take_is_refused():
    engine = _C.CudaEngine(lower(*_config_and_tensors()), precision="fp16")
    x, out = torch.zeros(1, 3, 64, 64, device="cuda"), torch.zeros(1, 1000, device="cuda")
    refused = [
        (x.cpu(), [out], TypeError, "on a CUDA device"),
        (x.half(), [out], TypeError, "'<f2'"),
        (x[:, :2], [out], ValueError, r"must be \[N, 3, H, W\]"),
        (x, [], ValueError, "outputs must be 1 arrays"),
        (x, [out[:, :999]], ValueError, r"outputs\[0\] must be"),
        (x, [torch.zeros(1000, 2, device="cuda").T[:1]], ValueError, "dense"),
    ]
    for images, outputs, error, message in refused:
        with pytest.raises(error, match=message):
            engine.run_on_device(images, outputs, 0)
    with pytest.raises(ValueError, match="there is no CUDA device 99"):
        _C.CudaEngine(lower(*_config_and_tensors()), device=99)
    for setting in ({"threads": 2}, {"isa": "avx2"}):
        with pytest.raises(ValueError, match="applies to the CPU only"):
            Session(random_checkpoint("mobilevit_xxs"), device="cuda", **setting)


def _config_and_tensors():
    checkpoint = random_checkpoint("mobilevit_xxs")
    return checkpoint.config, checkpoint.tensors

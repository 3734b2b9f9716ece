"""Latency, throughput and memory on a CUDA device, beside whichever peers are installed.

    python benchmarks/on_cuda.py --models mobilevit_s --batch 1 8 32 128 256 512 --precision fp16
    python benchmarks/on_cuda.py --models mobilevit_s --batch 256 --profile

Same weights, same images, taking turns in one process: transformers and timm eager in both memory formats,
each as torch.compile's max-autotune leaves it, and onnxruntime with its CUDA and TensorRT providers. With
--precision int8 ours are the same weights rounded to bytes, and the peers compute in fp16. Images
are on the device already; a time is the median of calls that wait for their answer. Memory is what a call
adds at its peak, weights left out. With --profile, each of our kinds of steps beside its own bounds: bytes
over the bandwidth, multiply-adds over the matrix rate that this device was measured to have.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mobilevit_fast import _C, Session, list_models
from mobilevit_fast.benchmark.interleave import Pace, interleave
from mobilevit_fast.benchmark.peers import Assets
from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.benchmark.random_weights import random_checkpoint, random_images
from mobilevit_fast.cli.exits import BAD_INPUT
from mobilevit_fast.cli.text import table
from mobilevit_fast.cuda import DeviceEngine
from mobilevit_fast.precision import lower_to_plan
from mobilevit_fast.weights import Checkpoint, QuantizedCheckpoint, to_timm

DTYPES = {
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "tf32": torch.float32,
    "fp32": torch.float32,
    "int8": torch.float16,
}
LAYOUTS = {"": torch.contiguous_format, " channels_last": torch.channels_last}
PROVIDERS = {"onnxruntime CUDA": "CUDAExecutionProvider", "TensorRT": "TensorrtExecutionProvider"}

Call = Callable[[], Tensor]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8, 32, 128, 256, 512])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--precision", choices=DTYPES, default="fp16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    arguments = parser.parse_args()
    if reason := _C.why_no_cuda():
        print(f"this benchmark needs a CUDA device: {reason}", file=sys.stderr)
        return BAD_INPUT
    unknown = set(arguments.models) - set(list_models())
    if unknown:
        print(f"unknown models {sorted(unknown)}; choose among {list_models()}", file=sys.stderr)
        return BAD_INPUT
    # Convolutions of float32 are TF32 unless torch is told otherwise, products of matrices are not.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = arguments.precision == "tf32"
    results = [measure(model, batch, arguments) for model in arguments.models for batch in arguments.batch]
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2), encoding="utf-8")
    return 0


def measure(model: str, batch: int, arguments: argparse.Namespace) -> dict:
    """Prints and returns the figures of one model at one batch size."""
    checkpoint = random_checkpoint(model)
    images = random_images(batch, arguments.size, arguments.size)
    ours = random_quantized(model) if arguments.precision == "int8" else checkpoint
    session = Session(ours, device="cuda", precision=arguments.precision)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        assets = Assets(checkpoint, Path(folder))
        calls = {"ours": our_call(session, images)}
        calls |= torch_calls(checkpoint, assets, images, DTYPES[arguments.precision])
        calls |= onnxruntime_calls(assets, images, arguments.precision)
        reference = torch.from_numpy(Session(checkpoint).run(images))
        errors = {name: relative_error(call().float().cpu(), reference) for name, call in calls.items()}
        memory = {name: added_memory(call) for name, call in calls.items()}
        # Of the library's own memory torch knows nothing.
        memory["ours"] = session.memory_for(arguments.size, arguments.size).arena * batch
        seconds = interleave(
            {name: lambda call=call: finish(call) for name, call in calls.items()},
            Pace(rounds=arguments.rounds),
        )
    rows = [
        [
            name,
            f"{1e3 * seconds[name]:.3f}",
            f"{batch / seconds[name]:.0f}",
            f"{seconds[name] / seconds['ours']:.2f}",
            f"{memory[name] / batch / 2**20:.1f}" if memory[name] else "unknown",
            f"{errors[name]:.1e}",
        ]
        for name in calls
    ]
    print(f"\n{model}, batch {batch}, {arguments.size}x{arguments.size}, {arguments.precision}")
    print(table(["", "ms", "images/s", "times ours", "MiB/image", "error"], rows))
    figures = {"model": model, "batch": batch, "seconds": seconds, "memory": memory, "errors": errors}
    if arguments.profile:
        figures["steps"] = profile(ours, images, arguments.precision)
    return figures


def finish(call: Call) -> None:
    call()
    torch.cuda.synchronize()


def relative_error(logits: Tensor, reference: Tensor) -> float:
    return float((logits - reference).abs().max() / reference.abs().max())


def added_memory(call: Call) -> int:
    """Bytes that torch allocates for a call, at its peak; 0 for what allocates by itself."""
    finish(call)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    finish(call)
    return torch.cuda.max_memory_allocated() - before


# ---- contenders


def our_call(session: Session, images: np.ndarray) -> Call:
    on_device = torch.from_numpy(images).cuda()
    return lambda: session.run(on_device)


def torch_calls(
    checkpoint: Checkpoint, assets: Assets, images: np.ndarray, dtype: torch.dtype
) -> dict[str, Call]:
    calls = {}
    for library, build in (("transformers", transformers_model), ("timm", timm_model)):
        if importlib.util.find_spec(library) is None:
            continue
        for layout, memory_format in LAYOUTS.items():
            model = build(checkpoint, assets).to("cuda", dtype, memory_format=memory_format)
            x = torch.from_numpy(images).to("cuda", dtype, memory_format=memory_format)
            calls[f"{library}{layout}"] = logits_of(model, x)
            compiled = torch.compile(model, mode="max-autotune")
            calls[f"{library}{layout} compiled"] = logits_of(compiled, x)
    return calls


def logits_of(model: Callable, x: Tensor) -> Call:
    def call() -> Tensor:
        answer = model(x)
        return answer if isinstance(answer, Tensor) else answer.logits

    return call


def transformers_model(checkpoint: Checkpoint, assets: Assets) -> nn.Module:
    from transformers import AutoModelForImageClassification

    return AutoModelForImageClassification.from_pretrained(assets.transformers_folder).eval()


def timm_model(checkpoint: Checkpoint, assets: Assets) -> nn.Module:
    import timm

    model = timm.create_model(checkpoint.config.name, num_classes=checkpoint.config.num_classes)
    model.load_state_dict(
        {
            name: torch.from_numpy(array)
            for name, array in to_timm(checkpoint.tensors, checkpoint.config).items()
        }
    )
    return model.eval()


def onnxruntime_calls(assets: Assets, images: np.ndarray, precision: str) -> dict[str, Call]:
    """On the float32 network; TensorRT may choose half precision for it where that is what is measured."""
    if importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("transformers") is None:
        return {}
    import onnxruntime

    calls = {}
    x = torch.from_numpy(images).cuda()
    by_cuda = ("CUDAExecutionProvider", {"use_tf32": "1" if precision == "tf32" else "0"})
    half = {"trt_fp16_enable": "1"} if DTYPES[precision] == torch.float16 else {}
    for name, provider in PROVIDERS.items():
        if provider not in onnxruntime.get_available_providers():
            continue
        providers = [by_cuda] if provider == by_cuda[0] else [(provider, half), by_cuda]
        runtime = onnxruntime.InferenceSession(str(assets.onnx(images.shape)), providers=providers)
        calls[name] = bound_call(runtime, x, assets.checkpoint.config.num_classes)
    return calls


def bound_call(runtime, x: Tensor, classes: int) -> Call:
    """A run whose input and output stay on the device."""
    logits = torch.empty(len(x), classes, device="cuda")
    binding = runtime.io_binding()
    for bind, tensor, node in (
        (binding.bind_input, x, runtime.get_inputs()[0]),
        (binding.bind_output, logits, runtime.get_outputs()[0]),
    ):
        bind(node.name, "cuda", 0, np.float32, tuple(tensor.shape), tensor.data_ptr())

    def call() -> Tensor:
        runtime.run_with_iobinding(binding)
        return logits

    return call


# ---- where our time goes


def profile(checkpoint: Checkpoint | QuantizedCheckpoint, images: np.ndarray, precision: str) -> list[dict]:
    """Prints and returns what each kind of step takes, beside what the device could do."""
    bandwidth, rate = measured_bandwidth(), measured_rate(precision)
    kinds: dict[str, dict[str, float]] = defaultdict(lambda: {"ms": 0.0, "macs": 0, "bytes": 0, "steps": 0})
    engine = DeviceEngine(lower_to_plan(checkpoint, "fp32"), precision, device=0)
    for step in engine.profile(images):
        kind = kinds[step["kind"]]
        kind["steps"] += 1
        for field in ("ms", "macs", "bytes"):
            kind[field] += step[field]
    rows, figures = [], []
    for name, kind in sorted(kinds.items(), key=lambda entry: -entry[1]["ms"]):
        by_bytes, by_macs = 1e3 * kind["bytes"] / bandwidth, 1e3 * kind["macs"] / rate
        bound = max(by_bytes, by_macs)
        limit = "bytes" if by_bytes > by_macs else "multiply-adds"
        rows.append([name, f"{kind['steps']:.0f}", f"{kind['ms']:.3f}", f"{bound:.3f}", limit])
        figures.append({"kind": name, **kind, "bound_ms": bound, "bound_by": limit})
    print(f"this device: {bandwidth / 1e9:.0f} GB/s, {rate / 1e12:.0f} T multiply-adds/s at {precision}")
    print(table(["step", "count", "ms", "bound ms", "bound by"], rows))
    return figures


def measured_bandwidth() -> float:
    """Bytes a second, read and written, of a copy far larger than the caches."""
    source = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    seconds = interleave({"copy": lambda: finish(lambda: target.copy_(source))}, Pace(rounds=3))["copy"]
    return 2 * source.numel() / seconds


def measured_rate(precision: str) -> float:
    """Multiply-adds a second of a large product of random matrices."""
    size = 8192
    a, b = (torch.randn(size, size, device="cuda") for _ in range(2))
    if precision == "int8":
        a, b = (matrix.mul(40).to(torch.int8) for matrix in (a, b.T))
        multiply = partial(torch._int_mm, a, b.T)
    else:
        multiply = partial(torch.mm, a.to(DTYPES[precision]), b.to(DTYPES[precision]))
    seconds = interleave({"product": lambda: finish(multiply)}, Pace(rounds=3))["product"]
    return size**3 / seconds


if __name__ == "__main__":
    sys.exit(main())

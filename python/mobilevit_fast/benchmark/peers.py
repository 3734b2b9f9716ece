"""How each peer runs the same weights on the same images, as its own documentation has it."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mobilevit_fast.benchmark.int8 import quantize_onnx, quantize_openvino
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.weights import Checkpoint, save_pretrained, to_timm

Run = Callable[[np.ndarray], np.ndarray]
"""float32 [N, 3, H, W] -> logits [N, classes]."""

OPSET = 17
CALIBRATION_IMAGES = 32


class Assets:
    """A checkpoint in the forms that peers load, each written to `folder` when it is first asked for.

    `calibration`, float32 [N, 3, H, W], is what they quantise by; random images unless given.
    """

    def __init__(self, checkpoint: Checkpoint, folder: Path, calibration: np.ndarray | None = None) -> None:
        self.checkpoint = checkpoint
        self._folder = folder
        self._calibration = calibration

    @cached_property
    def transformers_folder(self) -> Path:
        folder = self._folder / f"{self.checkpoint.config.name}-transformers"
        save_pretrained(folder, self.checkpoint)
        return folder

    @cached_property
    def transformers_model(self):
        from transformers import AutoModelForImageClassification

        with _quiet_transformers():
            return AutoModelForImageClassification.from_pretrained(self.transformers_folder).eval()

    def onnx(self, shape: tuple[int, ...]) -> Path:
        """transformers' model for images of exactly that [N, 3, H, W], which runtimes optimise best."""
        import torch

        path = self._folder / f"{self.checkpoint.config.name}-{'x'.join(map(str, shape))}.onnx"
        if not path.exists():
            with warnings.catch_warnings(), torch.inference_mode():
                # The exporter warns that the sizes become constants, which is the purpose.
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    self.transformers_model,
                    (torch.zeros(shape),),
                    str(path),
                    dynamo=False,
                    opset_version=OPSET,
                    input_names=["pixel_values"],
                    output_names=["logits"],
                )
        return path

    def calibration_batches(self, shape: tuple[int, ...]) -> list[np.ndarray]:
        """Calibration images in batches of exactly `shape`; the last ones may be left over."""
        batch, _, height, width = shape
        images = self._calibration
        if images is None:
            images = random_images(max(batch, CALIBRATION_IMAGES), height, width)
        return [images[i : i + batch] for i in range(0, len(images) - batch + 1, batch)]


@dataclass(frozen=True)
class Peer:
    """`build(assets, shape, threads, precision)` gives the call to time, for one of `precisions`.

    "int8" needs `int8_modules` besides `modules`.
    """

    name: str
    modules: tuple[str, ...]
    build: Callable[[Assets, tuple[int, ...], int, str], Run]
    by_default: bool = True
    precisions: tuple[str, ...] = ("fp32",)
    int8_modules: tuple[str, ...] = ()

    def missing(self, precision: str = "fp32") -> list[str]:
        """Modules that are not installed."""
        modules = self.modules + (self.int8_modules if precision == "int8" else ())
        return [module for module in modules if importlib.util.find_spec(module) is None]


def _transformers(assets: Assets, shape: tuple[int, ...], threads: int, precision: str) -> Run:
    model = assets.transformers_model
    return _torch_run(lambda pixels: model(pixel_values=pixels).logits, threads)


def _compiled(assets: Assets, shape: tuple[int, ...], threads: int, precision: str) -> Run:
    import torch

    model = torch.compile(assets.transformers_model, dynamic=False)
    return _torch_run(lambda pixels: model(pixel_values=pixels).logits, threads)


def _timm(assets: Assets, shape: tuple[int, ...], threads: int, precision: str) -> Run:
    import timm
    import torch

    checkpoint = assets.checkpoint
    model = timm.create_model(checkpoint.config.name, num_classes=checkpoint.config.num_classes)
    state = to_timm(checkpoint.tensors, checkpoint.config)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return _torch_run(model.eval(), threads)


def _torch_run(model: Callable, threads: int) -> Run:
    import torch

    torch.set_num_threads(threads)

    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(pixels)).numpy()

    return run


def _onnxruntime(assets: Assets, shape: tuple[int, ...], threads: int, precision: str) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    path = assets.onnx(shape)
    if precision == "int8":
        path = quantize_onnx(path, assets.calibration_batches(shape))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"pixel_values": pixels})[0]


def _openvino(assets: Assets, shape: tuple[int, ...], threads: int, precision: str) -> Run:
    import openvino

    hint = "INFERENCE_PRECISION_HINT"
    settings = {
        # What stays float in an 8-bit model is left to OpenVINO, as by default.
        **{"fp32": {hint: "f32"}, "bf16": {hint: "bf16"}, "int8": {}}[precision],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core, path = openvino.Core(), assets.onnx(shape)
    if precision == "int8":
        model = quantize_openvino(path, assets.calibration_batches(shape))
    else:
        model = core.read_model(path)
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    # It may write to an array that it shares.
    return lambda pixels: request.infer([pixels], share_inputs=False)[0]


PEERS = (
    Peer("transformers", ("torch", "transformers"), _transformers),
    Peer("timm", ("torch", "timm"), _timm),
    Peer("torch.compile", ("torch", "transformers"), _compiled, by_default=False),
    Peer(
        "onnxruntime",
        ("torch", "transformers", "onnx", "onnxruntime"),
        _onnxruntime,
        precisions=("fp32", "int8"),
    ),
    Peer(
        "openvino",
        ("torch", "transformers", "openvino"),
        _openvino,
        precisions=("fp32", "bf16", "int8"),
        int8_modules=("nncf",),
    ),
)
"""`torch.compile` takes a minute for each shape, so it is left out unless asked for."""


@contextmanager
def _quiet_transformers():
    """Without its progress bar over the tensors of a file."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()

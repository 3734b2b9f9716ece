"""The formats: what each is called, needs and promises. Its driver is the module of its name here."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mobilevit_fast.arguments import suggest
from mobilevit_fast.export.format_options import (
    CoremlOptions,
    FormatOptions,
    LitertOptions,
    TensorflowOptions,
    WebOptions,
)

if TYPE_CHECKING:
    from mobilevit_fast.export.job import Job

Run = Callable[[np.ndarray], np.ndarray]
"""Images as the exported model takes them, [N, 3, H, W], to its answers, [N, classes]."""

OLDEST_TORCH = (2, 13)
"""Whose exporters these formats were made with."""


class Driver(Protocol):
    """What the module of a format has.

    One whose models can be asked in another way too has also `further_checks(job, path, session)`, which
    gives a tuple of `Check`.
    """

    def write(self, job: Job, path: Path) -> None:
        """Writes the model to `path`, in an empty folder, and beside it what belongs to it."""

    def load(self, job: Job, path: Path) -> Run:
        """The written model in the format's own runtime, on the CPU."""

    def runtime_version(self, path: Path) -> str:
        """Of the runtime that `load` used; only where it is no module of Python."""


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: also of its row in `mapping.LOWERINGS` where `is_traced`; its driver module is `<name>_format`.
        summary: one line.
        suffix: of the file or folder.
        is_folder: whether it is a folder.
        modules: what writing and checking need.
        bounds: precision that it has -> greatest relative error against the source.
        runtime: module, or package of another kind, that runs it.
        extra: of this package, that brings the modules.
        companions: endings that replace the suffix in files that belong to it.
        keeps_custom_ops: whether it can hold this package's operations.
        keeps_int8_ops: whether it can hold those on bytes.
        dynamic_batch: whether a model can take any number of images.
        dynamic_size: whether a model can take images of several sizes.
        several_batches: whether a model can take some numbers of images, and no others.
        batches: that a model takes unless told otherwise; empty for any number.
        options: what it alone, or it among a few, can be asked.
        is_timed: whether what runs it here tells how fast it is where it is used.
        is_traced: whether it holds the model's operations as torch traces them, and not our own plan.
    """

    name: str
    summary: str
    suffix: str
    modules: tuple[str, ...]
    bounds: Mapping[str, float]
    runtime: str
    extra: str
    is_folder: bool = False
    companions: tuple[str, ...] = ()
    keeps_custom_ops: bool = False
    keeps_int8_ops: bool = False
    dynamic_batch: bool = True
    dynamic_size: bool = True
    several_batches: bool = False
    batches: tuple[int, ...] = ()
    options: type[FormatOptions] = FormatOptions
    is_timed: bool = True
    is_traced: bool = True

    def driver(self) -> Driver:
        """Raises ImportError, with the line that installs it, where something is missing or too old."""
        _check_torch(self.extra)
        missing = [module for module in self.modules if importlib.util.find_spec(module) is None]
        if missing:
            raise ImportError(
                f"format {self.name!r} needs {', '.join(missing)}: pip install 'mobilevit_fast[{self.extra}]'"
            )
        return importlib.import_module(f"mobilevit_fast.export.{self.name}_format")

    def option_names(self) -> tuple[str, ...]:
        return tuple(question.name for question in fields(self.options))

    def outputs(self, path: Path) -> list[Path]:
        """Everything that is written for `path`, but for the report."""
        return [path, *(path.with_suffix(suffix) for suffix in self.companions)]


_FLOAT_BOUNDS = {"fp32": 1e-5, "fp16": 5e-3}

_BOUNDS = {**_FLOAT_BOUNDS, "int8": 5e-2}
"""The last against our integer engine, which adds up in integers what runtimes may add up in floats, so that
numbers between two bytes go either way."""

_ROWS = (
    Format(
        name="onnx",
        summary="ONNX, opset 18: ONNX Runtime and most others",
        suffix=".onnx",
        modules=("torch", "onnx", "onnxscript", "onnxruntime"),
        bounds=_BOUNDS,
        runtime="onnxruntime",
        extra="onnx",
        keeps_custom_ops=True,
        keeps_int8_ops=True,
    ),
    Format(
        name="coreml",
        summary="Core ML: .mlpackage for iOS 17 and macOS 14",
        suffix=".mlpackage",
        is_folder=True,
        modules=("torch", "coremltools"),
        bounds=_BOUNDS,
        runtime="coremltools",
        extra="coreml",
        options=CoremlOptions,
        is_timed=False,
        dynamic_size=False,
        several_batches=True,
        batches=(1,),
    ),
    Format(
        name="openvino",
        summary="OpenVINO: .xml with a .bin beside it",
        suffix=".xml",
        modules=("torch", "openvino"),
        bounds=_BOUNDS,
        runtime="openvino",
        extra="openvino",
        companions=(".bin",),
    ),
    Format(
        name="ncnn",
        summary="ncnn: .param with a .bin beside it, one image at a time",
        suffix=".param",
        modules=("torch", "pnnx", "ncnn"),
        bounds=_FLOAT_BOUNDS,
        runtime="ncnn",
        extra="ncnn",
        companions=(".bin", ".metadata.json"),
        dynamic_batch=False,
        dynamic_size=False,
        batches=(1,),
    ),
    Format(
        name="executorch",
        summary="ExecuTorch: .pte for its XNNPACK delegate, a fixed number of images",
        suffix=".pte",
        modules=("torch", "executorch"),
        bounds={"fp32": _BOUNDS["fp32"]},
        runtime="executorch",
        extra="executorch",
        dynamic_batch=False,
        dynamic_size=False,
        batches=(1,),
    ),
    Format(
        name="litert",
        summary="LiteRT, formerly TFLite: .tflite for phones and boards, for one or more numbers of images",
        suffix=".tflite",
        modules=("torch", "litert_torch", "ai_edge_litert"),
        bounds=_BOUNDS,
        runtime="ai_edge_litert",
        extra="litert",
        dynamic_batch=False,
        dynamic_size=False,
        several_batches=True,
        batches=(1,),
        options=LitertOptions,
    ),
    Format(
        name="tensorflow",
        summary="SavedModel: TensorFlow and TensorFlow Serving",
        suffix="",
        is_folder=True,
        modules=("torch", "tensorflow"),
        bounds={"fp32": _BOUNDS["fp32"]},
        runtime="tensorflow",
        extra="tensorflow",
        options=TensorflowOptions,
    ),
    Format(
        name="torch",
        summary="torch.export: .pt2 for torch alone, or with our operations",
        suffix=".pt2",
        modules=("torch",),
        bounds=_BOUNDS,
        runtime="torch",
        extra="torch",
        keeps_custom_ops=True,
    ),
    Format(
        name="triton",
        summary="a model repository for Triton and KServe, ONNX inside",
        suffix="",
        is_folder=True,
        modules=("torch", "onnx", "onnxscript", "onnxruntime"),
        bounds=_BOUNDS,
        runtime="onnxruntime",
        extra="onnx",
    ),
    Format(
        name="web",
        summary="a folder with a page that classifies photographs in the browser, ONNX inside",
        suffix="",
        is_folder=True,
        modules=("torch", "onnx", "onnxscript"),
        bounds=_BOUNDS,
        runtime="onnxruntime-web",
        extra="onnx",
        options=WebOptions,
        is_timed=False,
    ),
    Format(
        name="native",
        summary="our own plan: .safetensors for the C library, phones and boards without Python",
        suffix=".safetensors",
        modules=(),
        bounds={"fp32": _BOUNDS["fp32"], "bf16": 5e-2, "int8": _BOUNDS["fp32"]},
        runtime="mobilevit_fast",
        extra="torch",
        is_traced=False,
    ),
)

FORMATS: Mapping[str, Format] = {row.name: row for row in _ROWS}
"""Every format by name."""


def _check_torch(extra: str) -> None:
    installed = version("torch")
    if tuple(map(int, installed.split(".")[:2])) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        raise ImportError(
            f"export needs torch {oldest} or newer, found {installed}: pip install -U "
            f"'torch>={oldest}' 'mobilevit_fast[{extra}]'"
        )


def get_format(name: str) -> Format:
    """The format called `name`. Raises ValueError, with near names, where there is none."""
    if name not in FORMATS:
        raise ValueError(f"unknown format {name!r}; {suggest(name, FORMATS, cutoff=0.4)}")
    return FORMATS[name]

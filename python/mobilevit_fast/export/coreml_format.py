"""Core ML programs, .mlpackage, for iOS 17 and macOS 14; labels and preprocessing in the user's metadata.

A model of one image that takes raw pixels takes an image of Core ML; one that answers with probabilities is a
classifier of Core ML, and answers with the label and a dictionary. Others take and give arrays of floats, raw
pixels too. `predict` of coremltools runs it on macOS, an evaluator of the same file elsewhere.
"""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job, quietly
from mobilevit_fast.export.whole_layers import WholeLayersNetwork
from mobilevit_fast.image import Preprocessing

with quietly():
    import coremltools

MOST_IMAGES = 64
"""A batch of any number needs a bound."""

LABEL = "classLabel"


def write(job: Job, path: Path) -> None:
    """Raises ValueError for a palette of weights that are integers."""
    bits = job.options.of_format.palette
    if bits != "none" and job.options.precision == "int8":
        raise ValueError(f"{job.source.source!r} is quantised; palettes are for float models")
    narrows = job.options.precision != "fp32"
    precision = coremltools.precision.FLOAT16 if narrows else coremltools.precision.FLOAT32
    # Its converter narrows by itself; and its passes draw bars.
    with quietly(), redirect_stderr(io.StringIO()):
        model = coremltools.convert(
            _traced(job).lowered().run_decompositions({}),
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS17,
            compute_precision=precision,
            inputs=[_input(job)],
            outputs=[coremltools.TensorType(job.options.output_name, dtype=np.float32)],
            classifier_config=coremltools.ClassifierConfig(class_labels(job)) if _classifies(job) else None,
            skip_model_load=True,
        )
        if bits != "none":
            model = _with_palettes(model, int(bits))
    model.short_description = f"MobileViT image classifier {job.source.config.name}"
    model.user_defined_metadata.update(job.metadata)
    model.save(str(path))


def load(job: Job, path: Path) -> Run:
    predict = _predict(path) if sys.platform == "darwin" else _evaluate(path)
    return lambda images: np.concatenate([_to_array(job, predict(feed)) for feed in _feeds(job, images)])


def class_labels(job: Job) -> list[str]:
    """One for each class; those that several share have the class's number behind them."""
    labels = job.source.labels
    times = Counter(labels)
    return [f"{label} ({i})" if times[label] > 1 else label for i, label in enumerate(labels)]


# ---- how it is written


def _takes_an_image(job: Job) -> bool:
    return job.options.raw_pixels and job.options.batches == (1,)


def _classifies(job: Job) -> bool:
    options = job.options
    return options.softmax and options.batches == (1,) and len(job.source.labels) > 0


def _traced(job: Job) -> Job:
    """What is traced: an image of Core ML brings scale, bias and the order of channels, if one scale does."""
    options = job.options
    if options.precision == "fp16":
        options = replace(options, precision="fp32")
    if _takes_an_image(job) and _has_one_scale(job.source.preprocessing):
        options = replace(options, raw_pixels=False)
    return replace(job, options=options, quantized_network=WholeLayersNetwork).with_float_pixels()


def _has_one_scale(rule: Preprocessing) -> bool:
    return rule.std is None or len(set(rule.std)) == 1


def _input(job: Job) -> Any:
    name, size, rule = job.options.input_name, (3, *job.options.size), job.source.preprocessing
    if not _takes_an_image(job):
        return coremltools.TensorType(name, shape=_shape(job.options.batches, size), dtype=np.float32)
    if not _has_one_scale(rule):
        return coremltools.ImageType(name, shape=(1, *size))
    std = rule.std[0] if rule.std else 1.0
    return coremltools.ImageType(
        name,
        shape=(1, *size),
        scale=rule.rescale / std,
        bias=[-mean / std for mean in rule.mean or (0.0,) * 3],
        color_layout=coremltools.colorlayout.BGR
        if rule.channel_order == "BGR"
        else coremltools.colorlayout.RGB,
    )


def _shape(batches: Sequence[int], size: tuple[int, int, int]) -> Any:
    if not batches:
        return coremltools.Shape((coremltools.RangeDim(1, MOST_IMAGES, 1), *size))
    shapes = [(batch, *size) for batch in batches]
    return shapes[0] if len(shapes) == 1 else coremltools.EnumeratedShapes(shapes, default=shapes[0])


def _with_palettes(model: Any, bits: int) -> Any:
    from coremltools.optimize import coreml

    rule = coreml.OpPalettizerConfig(mode="kmeans", nbits=bits)
    return coreml.palettize_weights(model, coreml.OptimizationConfig(global_config=rule))


# ---- how it is run


def _predict(path: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return coremltools.models.MLModel(str(path)).predict


def _evaluate(path: Path) -> Callable[[dict[str, Any]], dict[str, Any]]:
    from mobilevit_fast.export.mil_evaluator import MilEvaluator

    with quietly():
        evaluator = MilEvaluator(path)
    [given] = evaluator.spec.description.input
    colours = given.type.imageType.ColorSpace
    is_bgr = given.type.imageType.colorSpace == colours.Value("BGR")

    def predict(feed: dict[str, Any]) -> dict[str, Any]:
        [(name, value)] = feed.items()
        if not isinstance(value, np.ndarray):
            # Core ML hands the program floats, in the order that the model's description names.
            pixels = np.asarray(value, np.float32).transpose(2, 0, 1)[None]
            value = np.ascontiguousarray(pixels[:, ::-1] if is_bgr else pixels)
        return evaluator(**{name: torch.from_numpy(value)})

    return predict


def _feeds(job: Job, images: np.ndarray) -> list[dict[str, Any]]:
    name = job.options.input_name
    if not _takes_an_image(job):
        return [{name: images.astype(np.float32)}]
    from PIL import Image

    return [{name: Image.fromarray(image.transpose(1, 2, 0))} for image in images]


def _to_array(job: Job, answers: dict[str, Any]) -> np.ndarray:
    if not _classifies(job):
        return np.asarray(answers[job.options.output_name])
    [by_label] = [answer for name, answer in answers.items() if name != LABEL]
    return np.array([[by_label[label] for label in class_labels(job)]], np.float32)

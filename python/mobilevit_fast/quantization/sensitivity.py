"""What quantising one layer alone does to the answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mobilevit_fast.evaluation import Dataset
from mobilevit_fast.pictures import figure_class, save_picture
from mobilevit_fast.progress import Progress
from mobilevit_fast.quantization.calibration import calibrate, run
from mobilevit_fast.quantization.layer import FULL
from mobilevit_fast.quantization.network import QuantizedMobileViT, fold_network
from mobilevit_fast.quantization.observer import MeanSquaredError
from mobilevit_fast.quantization.rounding import choose_scales
from mobilevit_fast.quantization.sources import Images, ModelSource, to_checkpoint, to_images
from mobilevit_fast.weights import LayerFormat

_MOST_LABELLED = 512
"""Images that tell the fall of top-1, which fewer would tell too coarsely."""


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer, its weight in `bits` bits and its activations in 8; everything else in float32.

    Attributes:
        layer: its name.
        bits: 8 or 4.
        parameters: weights of the layer.
        sqnr: power of the float logits over that of their error, in decibels.
        divergence: mean Kullback-Leibler divergence of the answers from the float model's, in nats.
        changed: share of the images whose first answer is another.
        loss: fall of top-1, as a share of 1; None where labels were not given.
    """

    layer: str
    bits: int
    parameters: int
    sqnr: float
    divergence: float
    changed: float
    loss: float | None = None


@dataclass(frozen=True)
class Sensitivity:
    """A table with one row for each layer and number of bits, in the order of computation."""

    rows: tuple[LayerSensitivity, ...]

    def worst(self, count: int = 10) -> list[LayerSensitivity]:
        """The rows with the greatest divergence, greatest first."""
        return sorted(self.rows, key=lambda row: -row.divergence)[:count]

    def __str__(self) -> str:
        width = max(len(row.layer) for row in self.rows)
        has_loss = any(row.loss is not None for row in self.rows)
        header = f"{'layer':{width}}  bits  weights  SQNR dB  divergence  changed"
        lines = [header + ("   top-1" if has_loss else "")]
        for row in self.rows:
            line = f"{row.layer:{width}}  {row.bits:4}  {row.parameters:7}  {row.sqnr:7.1f}"
            line += f"  {row.divergence:10.2e}  {row.changed:7.2%}"
            lines.append(line + ("" if row.loss is None else f"  {-row.loss:+6.2%}"))
        return "\n".join(lines)

    def plot(self, path: str | os.PathLike | None = None) -> Any:
        """Divergences as bars: matplotlib's Figure, also written to `path` where given.

        Raises ImportError where matplotlib is not installed.
        """
        layers = list(dict.fromkeys(row.layer for row in self.rows))
        every_bits = sorted({row.bits for row in self.rows}, reverse=True)
        figure = figure_class()(figsize=(9, 1 + 0.2 * len(layers)), layout="constrained")
        axes = figure.subplots()
        height = 0.8 / len(every_bits)
        for index, bits in enumerate(every_bits):
            rows = [row for row in self.rows if row.bits == bits]
            places = [layers.index(row.layer) + index * height for row in rows]
            axes.barh(places, [row.divergence for row in rows], height, label=f"{bits} bits")
        axes.set_yticks([place + 0.4 - height / 2 for place in range(len(layers))], layers, fontsize=7)
        axes.set(xscale="log", xlabel="divergence of the answers from the float model's, nats")
        axes.invert_yaxis()
        axes.legend()
        if path is not None:
            save_picture(figure, path)
        return figure


def sensitivity(
    model: ModelSource,
    data: Images | Dataset,
    *,
    bits: Sequence[int] | int = (8, 4),
    progress: Progress | None = None,
) -> Sensitivity:
    """Quantise each layer alone and measure what that does to the answers.

    Args:
        model: as `quantize` takes it.
        data: images as `quantize` takes them for calibration; or a `Dataset`, whose labels tell the fall of
            top-1. At most 128 images are used, with labels 512, spread evenly.
        bits: of the weights: 8, 4 or both.
        progress: as `quantize` takes it.

    Raises:
        TypeError, ValueError, FileNotFoundError: a model or data that does not serve; other bits.
        FloatingPointError: logits that are not finite, from which nothing can differ by more or less.

    Warns:
        CalibrationWarning: images that are too few, look like noise, or were prepared for another model.
    """
    if isinstance(bits, int):
        bits = (bits,)
    unknown = set(bits) - {8, 4}
    if unknown or not bits:
        raise ValueError(f"bits must be 8, 4 or both, got {tuple(bits)!r}")
    checkpoint = to_checkpoint(model)
    labels = None
    if isinstance(data, Dataset):
        data = data.head(_MOST_LABELLED)
        labels = torch.from_numpy(data.labels_for(checkpoint.labels))
        images = to_images(list(data.images), checkpoint.preprocessing, _MOST_LABELLED)
    else:
        images = to_images(data, checkpoint.preprocessing)
    network = fold_network(checkpoint)
    calibrate(network, images, MeanSquaredError(), progress)
    return measure(network, images, bits, labels=labels, progress=progress)


def measure(
    network: QuantizedMobileViT,
    images: Tensor,
    bits: Sequence[int],
    *,
    labels: Tensor | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """As `sensitivity`, of a network that computes in float and has its grids; it stays so."""
    expected = run(network, images)
    _check_finite(expected, "the float model")
    pairs = [(name, width) for name in network.layers for width in bits]
    steps = pairs if progress is None else progress(pairs, len(pairs), "sensitivity")
    rows = []
    for name, width in steps:
        layer = network.layers[name]
        layer.format = LayerFormat(f"int{width}", "int8")
        choose_scales(layer, network.second_ratio(name))
        logits = run(network, images)
        layer.format = FULL
        _check_finite(logits, f"{name} in {width} bits")
        rows.append(
            compare(logits, expected, labels, layer=name, bits=width, parameters=layer.weight.numel())
        )
    return Sensitivity(tuple(rows))


def _check_finite(logits: Tensor, what: str) -> None:
    """Raises FloatingPointError for logits [N, classes] that are not finite."""
    bad = int((~logits.isfinite().all(1)).sum())
    if bad:
        raise FloatingPointError(
            f"the logits of {bad} of {len(logits)} images are not finite with {what}: weights or pixels are "
            "not finite, or too large; take another checkpoint, or other images"
        )


def compare(
    logits: Tensor, expected: Tensor, labels: Tensor | None = None, **fields: Any
) -> LayerSensitivity:
    """How logits [N, classes] differ from the float ones."""
    error = (logits - expected).double().square().sum()
    power = expected.double().square().sum()
    answers, answers_before = logits.argmax(1), expected.argmax(1)
    divergence = functional.kl_div(
        logits.log_softmax(1), expected.log_softmax(1), log_target=True, reduction="batchmean"
    )
    loss = None
    if labels is not None:
        loss = float((answers_before == labels).double().mean() - (answers == labels).double().mean())
    return LayerSensitivity(
        sqnr=float(10 * torch.log10(power / error)) if error > 0 else float("inf"),
        divergence=float(divergence.clamp(min=0)),
        changed=changed_answers(logits, expected),
        loss=loss,
        **fields,
    )


def changed_answers(logits: Tensor, expected: Tensor) -> float:
    """Share of the images whose first answer is another, 0 to 1; both logits [N, classes]."""
    return float((logits.argmax(1) != expected.argmax(1)).double().mean())

"""What the caller asks of an exported model."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

from mobilevit_fast.export.format_options import FormatOptions
from mobilevit_fast.image import MAX_EDGE

PRECISIONS = ("fp32", "fp16", "bf16", "int8")

SIZE_STEP = 32
"""A model of dynamic size takes multiples of it: those are the sizes at which no layer loses pixels."""

SMALLEST_SIZE = 96

LARGEST_BATCH = 4096


@dataclass(frozen=True)
class Options:
    """How a model is exported.

    Attributes:
        precision: one of `PRECISIONS`. "fp16" has weights in 16 bits, and arithmetic where the runtime has
            it; "bf16" is arithmetic in bfloat16; "int8" is a quantised model on its own scales and zero
            points.
        size: (height, width) in pixels, that the model is traced at and, unless `dynamic_size`, bound to.
        batches: numbers of images that it takes at once; empty for any number.
        dynamic_size: take any multiples of `SIZE_STEP` from `SMALLEST_SIZE`.
        raw_pixels: take uint8 images in RGB order, 0 to 255, and do scaling, normalisation and the order of
            channels inside; else float32 images as `Preprocessing` makes them.
        softmax: answer with probabilities instead of logits.
        keep_custom_ops: leave this package's operations in place of standard operators.
        of_format: what the format alone was asked.
    """

    precision: str
    size: tuple[int, int]
    batches: tuple[int, ...] = ()
    dynamic_size: bool = False
    raw_pixels: bool = False
    softmax: bool = False
    keep_custom_ops: bool = False
    of_format: FormatOptions = field(default_factory=FormatOptions)

    def __post_init__(self) -> None:
        sizes = _whole_numbers(self.size)
        if sizes is None or len(sizes) != 2 or not all(1 <= size <= MAX_EDGE for size in sizes):
            raise ValueError(
                f"size must be (height, width) in pixels, each from 1 to {MAX_EDGE}, got {self.size!r}"
            )
        object.__setattr__(self, "size", sizes)
        batches = _whole_numbers(self.batches)
        if batches is None or not all(1 <= batch <= LARGEST_BATCH for batch in batches):
            raise ValueError(
                f"batches must be numbers of images, from 1 to {LARGEST_BATCH}, got {self.batches!r}"
            )
        object.__setattr__(self, "batches", tuple(sorted(set(batches))))
        if self.dynamic_size and any(size % SIZE_STEP or size < SMALLEST_SIZE for size in self.size):
            raise ValueError(
                f"a model of dynamic size takes multiples of {SIZE_STEP} from {SMALLEST_SIZE}, "
                f"which {self.size[0]}x{self.size[1]} is not; give another size"
            )

    @property
    def dynamic_batch(self) -> bool:
        """Whether it takes any number of images."""
        return not self.batches

    @property
    def input_name(self) -> str:
        return "images" if self.raw_pixels else "pixel_values"

    @property
    def output_name(self) -> str:
        return "probabilities" if self.softmax else "logits"

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "precision": self.precision,
            "size": list(self.size),
            "batches": list(self.batches),
            "dynamic_size": self.dynamic_size,
            "raw_pixels": self.raw_pixels,
            "softmax": self.softmax,
            "keep_custom_ops": self.keep_custom_ops,
            **self.of_format.to_dict(),
        }


def _whole_numbers(values: Any) -> tuple[int, ...] | None:
    """None for anything but a sequence of ints, NumPy's among them."""
    if not isinstance(values, tuple | list) or any(isinstance(value, bool) for value in values):
        return None
    try:
        return tuple(operator.index(value) for value in values)
    except TypeError:
        return None

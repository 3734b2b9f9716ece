"""What only some formats can be asked: one frozen dataclass for each of them, one field for each question.

A field's metadata holds its `help`, and `choices` where the answer is one of some words. `export` takes the
fields as keywords and the command line as flags, both from here.
"""

from __future__ import annotations

from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class FormatOptions:
    """Of a format that can be asked nothing of its own."""

    def __post_init__(self) -> None:
        """Raises ValueError for what is none of the choices, TypeError for what is no switch."""
        for question in fields(self):
            answer, choices = getattr(self, question.name), question.metadata.get("choices")
            if choices and answer not in choices:
                raise ValueError(f"{question.name} must be one of {', '.join(choices)}, got {answer!r}")
            if is_switch(question) and type(answer) is not bool:
                raise TypeError(f"{question.name} must be True or False, got {answer!r}")

    @property
    def bound(self) -> float | None:
        """Greatest relative error, where what was asked has one of its own."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def question(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    """A field of `FormatOptions`."""
    return field(default=default, metadata={"help": help, "choices": choices})


PALETTES = {"none": None, "8": 5e-2, "6": 2e-1}
"""Bits of a palette's index -> greatest relative error; 64 values for a layer are few."""


@dataclass(frozen=True)
class CoremlOptions(FormatOptions):
    """Of format "coreml".

    Attributes:
        palette: bits for each weight of a float model, as the number of one of its layer's 2^bits values.
    """

    palette: str = question(
        "none", f"bits for each weight of a float model: {' or '.join(PALETTES)}", tuple(PALETTES)
    )

    @property
    def bound(self) -> float | None:
        return PALETTES[self.palette]


RUNTIMES = ("litert", "tflite-runtime")


@dataclass(frozen=True)
class LitertOptions(FormatOptions):
    """Of format "litert".

    Attributes:
        channels_last: take images as [N, H, W, 3], as cameras and most TFLite models have them; else
            [N, 3, H, W].
        runtime: the oldest that has to run the file. "tflite-runtime" is the package of before LiteRT, which
            boards may still have; it takes no model with layers that quantise their inputs at run time.
        byte_sigmoid: of a model in int8, compute sigmoids on bytes too: a fifth to a quarter faster, and what
            accelerators of integers need, but coarser than the source, for TFLite fixes their scale at 1/256.
    """

    channels_last: bool = question(False, "take images as [N, H, W, 3]")
    runtime: str = question("litert", f"the oldest to run on: {' or '.join(RUNTIMES)}", RUNTIMES)
    byte_sigmoid: bool = question(False, "sigmoids of int8 models on bytes too: faster, and coarser")


@dataclass(frozen=True)
class TensorflowOptions(FormatOptions):
    """Of format "tensorflow".

    Attributes:
        image_bytes: give the model a second signature, that takes JPEG and PNG files as strings and does all
            of the preprocessing inside.
    """

    image_bytes: bool = question(False, "a second signature, which takes JPEG and PNG files as strings")


@dataclass(frozen=True)
class WebOptions(FormatOptions):
    """Of format "web"."""

    runtime_folder: str = question(
        "", "the npm package onnxruntime-web, unpacked or as .tgz. default: npm fetches it"
    )

    def to_dict(self) -> dict[str, Any]:
        # Where files lay on this machine does not travel.
        return {}


def is_switch(question: Field) -> bool:
    return type(question.default) is bool

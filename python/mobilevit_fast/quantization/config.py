"""Recipes: what a model is to be quantised to, as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real

from mobilevit_fast.arguments import check_count
from mobilevit_fast.quantization.observer import OBSERVERS, Observer


@dataclass(frozen=True)
class HalfPrecision:
    """Weights in 16 bits, computed in float: half the size.

    Attributes:
        dtype: "fp16" or "bf16".
    """

    dtype: str = "fp16"

    def __post_init__(self) -> None:
        _check_choice("dtype", self.dtype, ("fp16", "bf16"))


MAX_GROUP = 2**20
"""Inputs that may share a scale; no layer has so many."""


@dataclass(frozen=True)
class WeightOnly:
    """Integer weights, computed in float. Needs no calibration; 4 bits are much better with it.

    Attributes:
        bits: 8 or 4. With 4 the stem and the depthwise convolutions, 1 to 2% of the weights, keep 8.
        group_size: inputs that share a scale; 0 for one scale for each output channel.
    """

    bits: int = 8
    group_size: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", check_count("bits", self.bits))
        _check_choice("bits", self.bits, (8, 4))
        group_size = check_count("group_size", self.group_size, least=0, most=MAX_GROUP)
        object.__setattr__(self, "group_size", group_size)


@dataclass(frozen=True)
class DynamicInt8:
    """8-bit weights; the linear layers compute on bytes that they make of each row at run time.

    Needs no calibration. The 3x3 convolutions and the inverted residuals compute in float.
    """


@dataclass(frozen=True)
class StaticInt8:
    """8-bit weights and activations throughout, on grids that calibration fixes: the fastest.

    Attributes:
        observer: how grids are chosen: "mse", "percentile" or "minmax", or an observer with its own settings.
        equalize: level the channels that share a grid, where the layers around them can take the factors.
        correct_bias: shift each layer's outputs so that rounding leaves their mean as it was.
        keep: names of layers, or of what they are in, that stay in fp16 and compute in float, such as
            "stages.4.1.layers.0.attention".
    """

    observer: str | Observer = "mse"
    equalize: bool = True
    correct_bias: bool = True
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_observer(self.observer)
        keep = _as_tuple("keep", self.keep)
        if not all(isinstance(name, str) and name for name in keep):
            raise TypeError(f"keep must hold names of layers, got {self.keep!r}")
        object.__setattr__(self, "keep", keep)


@dataclass(frozen=True)
class Mixed:
    """4, 8 or 16 bits for each layer, as its sensitivity and the budget allow.

    With 4 or 8 bits a layer computes on bytes; with 16 in float.

    Attributes:
        max_loss: greatest fall of top-1, as a share of 1: the model is made as small as that allows. None
            sets no bound.
        max_bytes: greatest size of the file: the model is made as exact as that allows. Without either bound
            it is a sixth of the float32 file's size.
        bits: what to choose from, of 4, 8 and 16.
        observer, equalize, correct_bias: as for `StaticInt8`.
    """

    max_loss: float | None = None
    max_bytes: int | None = None
    bits: tuple[int, ...] = (4, 8, 16)
    observer: str | Observer = "mse"
    equalize: bool = True
    correct_bias: bool = True

    def __post_init__(self) -> None:
        bits = tuple(check_count("bits", width) for width in _as_tuple("bits", self.bits))
        if not bits or any(width not in (4, 8, 16) for width in bits):
            raise ValueError(f"bits must be some of 4, 8 and 16, got {self.bits!r}")
        object.__setattr__(self, "bits", tuple(sorted(set(bits))))
        _check_observer(self.observer)
        if self.max_loss is not None and not (isinstance(self.max_loss, Real) and 0 <= self.max_loss <= 1):
            raise ValueError(f"max_loss must be a share of 1, such as 0.01, got {self.max_loss!r}")
        if self.max_bytes is not None:
            object.__setattr__(self, "max_bytes", check_count("max_bytes", self.max_bytes, least=0))


Recipe = HalfPrecision | WeightOnly | DynamicInt8 | StaticInt8 | Mixed


def make_observer(observer: str | Observer) -> Observer:
    """The observer that a recipe names or holds."""
    return OBSERVERS[observer]() if isinstance(observer, str) else observer


def _as_tuple(field: str, value: object) -> tuple:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{field} must be a tuple, such as ({value!r},), got {value!r}")
    return tuple(value)


def _check_choice(field: str, value: object, known: tuple) -> None:
    if value not in known:
        raise ValueError(f"{field} must be one of {', '.join(map(str, known))}, got {value!r}")


def _check_observer(observer: object) -> None:
    if isinstance(observer, str):
        _check_choice("observer", observer, tuple(OBSERVERS))
    elif not hasattr(observer, "choose"):
        raise TypeError(f"observer must be one of {', '.join(OBSERVERS)} or an observer, got {observer!r}")

"""The recipe `Mixed`: measures what bits cost, chooses them, and checks the choice on the model itself."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property

from torch import Tensor

from mobilevit_fast.evaluation import ROUNDING, Dataset, evaluate
from mobilevit_fast.progress import Progress
from mobilevit_fast.quantization.bit_choice import FLOAT, Bits, Costs, ladder
from mobilevit_fast.quantization.calibration import run
from mobilevit_fast.quantization.config import Mixed
from mobilevit_fast.quantization.handlers import (
    Notes,
    find_grids,
    is_delicate,
    require_images,
    round_weights,
)
from mobilevit_fast.quantization.network import QuantizedMobileViT
from mobilevit_fast.quantization.quantized_model import float_size, to_checkpoint
from mobilevit_fast.quantization.refine import refine
from mobilevit_fast.quantization.sensitivity import changed_answers, measure
from mobilevit_fast.weights import LayerFormat
from mobilevit_fast.weights.byte_tensors import integer_groups
from mobilevit_fast.weights.quantized import quantized_size

_TIMES_SMALLER = 6
"""Than float32, where a recipe sets no bound."""

_MEASURED = 64
"""Images that sensitivity is measured on: one pass over them for each layer and number of bits."""


def mixed(
    recipe: Mixed,
    network: QuantizedMobileViT,
    images: Tensor | None,
    validation: Dataset | None,
    progress: Progress | None,
) -> Notes:
    images = require_images(recipe, images)
    find_grids(recipe, network, images, progress)
    costs = _costs(network, recipe.bits, images[:_MEASURED], progress)
    rungs = ladder(costs, _options(network, recipe.bits))
    search = _Search(recipe, network, rungs, images, validation)
    budget = recipe.max_bytes
    if budget is None and recipe.max_loss is None:
        budget = float_size(network.config) // _TIMES_SMALLER
    rung = search.last_within(recipe.max_loss) if budget is None else search.first_below(budget)
    chosen = search.attempt(rung)
    network.set_formats({name: layer.format for name, layer in chosen.layers.items()})
    network.load_state_dict(chosen.state_dict())
    counts = Counter(rungs[rung].values())
    notes = ", ".join(f"{count} layers with {width} bits" for width, count in sorted(counts.items()))
    if recipe.max_loss is None:
        return (notes,)
    loss = search.loss(rung)
    is_kept = loss <= recipe.max_loss + ROUNDING
    verdict = "within" if is_kept else "more than"
    told = f"top-1 falls by {loss:.2%}, {verdict} the allowed {recipe.max_loss:.2%}"
    if not is_kept:
        warnings.warn(f"max_loss is not kept: {told}", stacklevel=4)
    return notes, told


class _Search:
    """Tries rungs of a ladder on copies of the network, which computes in float and has its grids."""

    def __init__(
        self,
        recipe: Mixed,
        network: QuantizedMobileViT,
        rungs: Sequence[Bits],
        images: Tensor,
        validation: Dataset | None,
    ) -> None:
        self._recipe, self._network, self._rungs = recipe, deepcopy(network), rungs
        self._images, self._validation = images, validation
        self._attempts: dict[int, QuantizedMobileViT] = {}

    def first_below(self, budget: int) -> int:
        """The most exact rung whose file has at most `budget` bytes.

        Raises ValueError where no rung is as small.
        """
        low, high = 0, len(self._rungs) - 1
        while low < high:
            middle = (low + high) // 2
            if self._size(middle) <= budget:
                high = middle
            else:
                low = middle + 1
        if self._size(low) > budget:
            raise ValueError(
                f"the file is to have at most {budget} bytes; with bits {self._recipe.bits} it has at least "
                f"{self._size(low)}: allow fewer bits, or set max_bytes or max_loss"
            )
        return low

    def last_within(self, loss: float) -> int:
        """The smallest rung that loses no more than `loss`, if smaller ones lose more."""
        low, high = 0, len(self._rungs)
        while high - low > 1:
            middle = (low + high) // 2
            if self.loss(middle) <= loss + ROUNDING:
                low = middle
            else:
                high = middle
        return low

    def loss(self, rung: int) -> float:
        """Fall of top-1 on the validation data; without any, the share of images answered otherwise."""
        attempt = self.attempt(rung)
        if self._validation is None:
            return changed_answers(run(attempt, self._images), run(self._network, self._images))
        return self._float_top1 - evaluate(attempt, self._validation).top1

    @cached_property
    def _float_top1(self) -> float:
        return evaluate(self._network, self._validation).top1

    def attempt(self, rung: int) -> QuantizedMobileViT:
        """The network with the bits of that rung."""
        if rung not in self._attempts:
            network = deepcopy(self._network)
            formats = _formats(self._rungs[rung])
            refine(network, formats, self._images, correct_bias=self._recipe.correct_bias)
            self._attempts[rung] = network
        return self._attempts[rung]

    def _size(self, rung: int) -> int:
        """Bytes of the file, for which it does not matter how weights were rounded."""
        network = deepcopy(self._network)
        round_weights(network, _formats(self._rungs[rung]))
        return quantized_size(to_checkpoint(network, repr(self._recipe)))


def _options(network: QuantizedMobileViT, bits: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The bits that each layer may have."""
    options = {}
    for name in network.layers:
        spared = tuple(width for width in bits if width != 4)
        options[name] = spared if is_delicate(name) and 8 in bits else bits
    return options


def _costs(
    network: QuantizedMobileViT, bits: tuple[int, ...], images: Tensor, progress: Progress | None
) -> Costs:
    rows = measure(network, images, [width for width in bits if width != FLOAT], progress=progress).rows
    return Costs(
        divergence={(row.layer, row.bits): row.divergence for row in rows},
        weights={name: layer.weight.numel() for name, layer in network.layers.items()},
        groups=tuple(layers for layers, _ in integer_groups(network.config)),
    )


def _formats(bits: Bits) -> dict[str, LayerFormat]:
    return {
        name: LayerFormat("fp16", "float") if width == FLOAT else LayerFormat(f"int{width}", "int8")
        for name, width in bits.items()
    }

"""Which layer gets how many bits: from the most exact choice down to the smallest, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FLOAT = 16
"""Bits of a layer that computes in float."""

Bits = dict[str, int]
"""Layer -> bits of its weight."""


@dataclass(frozen=True)
class Costs:
    """What the choice goes by.

    Attributes:
        divergence: (layer, bits) -> what that alone does to the answers; 16 bits do nothing.
        weights: layer -> its number of weights.
        groups: the layers that compute in float together or not at all.
    """

    divergence: Mapping[tuple[str, int], float]
    weights: Mapping[str, int]
    groups: tuple[tuple[str, ...], ...]

    def layer_bytes(self, layer: str, width: int) -> int:
        return math.ceil(self.weights[layer] * width / 8)

    def layer_divergence(self, layer: str, width: int) -> float:
        return 0.0 if width == FLOAT else self.divergence[layer, width]


def ladder(costs: Costs, options: Mapping[str, Sequence[int]]) -> list[Bits]:
    """Choices of bits, each smaller and less exact than the one before.

    The first gives every layer the most bits that it may have. Every step down gives one layer, or a group
    that computed in float, the next fewer bits: the one with the least divergence for each byte it saves.

    Args:
        options: layer -> the bits that it may have. A layer that may have 16 has a group that may.
    """
    bits = {layer: max(widths) for layer, widths in options.items()}
    rungs = [bits]
    while moves := list(_moves(bits, costs.groups, options)):
        bits = bits | min(moves, key=lambda move: _price(costs, bits, move))
        rungs.append(bits)
    return rungs


def _moves(bits: Bits, groups: Sequence[Sequence[str]], options: Mapping[str, Sequence[int]]) -> list[Bits]:
    """What could become smaller next: whole groups that compute in float, else single layers."""
    moves = []
    for group in groups:
        is_float = bits[group[0]] == FLOAT
        for layers in [group] if is_float else [[layer] for layer in group]:
            fewer = {layer: [width for width in options[layer] if width < bits[layer]] for layer in layers}
            if all(fewer.values()):
                moves.append({layer: max(widths) for layer, widths in fewer.items()})
    return moves


def _price(costs: Costs, bits: Bits, move: Bits) -> float:
    """Divergence for each byte saved."""
    divergence = saved = 0.0
    for layer, width in move.items():
        divergence += costs.layer_divergence(layer, width) - costs.layer_divergence(layer, bits[layer])
        saved += costs.layer_bytes(layer, bits[layer]) - costs.layer_bytes(layer, width)
    return divergence / saved

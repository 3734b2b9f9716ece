"""What rounding activations to bytes changes in a quantised model's answers."""

from __future__ import annotations

import torch
from torch import Tensor

from mobilevit_fast.export.end_to_end import EndToEnd
from mobilevit_fast.export.mapping import SPLITS
from mobilevit_fast.export.options import Options
from mobilevit_fast.export.pictures import Pictures
from mobilevit_fast.export.quantized_network import QuantizedExportNetwork
from mobilevit_fast.export.verification import expected_answers, relative_error
from mobilevit_fast.session import Session
from mobilevit_fast.weights import QuantizedCheckpoint


class UnroundedNetwork(QuantizedExportNetwork):
    """As `QuantizedExportNetwork`, on the same integer weights, but every activation stays as it is."""

    def at(self, name: str, x: Tensor, factor: float = 1.0) -> Tensor:
        return x if factor == 1 else x * factor


def rounding_error(
    source: QuantizedCheckpoint, session: Session, options: Options, pictures: Pictures
) -> float:
    """Greatest difference between the session's answers and those of the same weights with activations
    unrounded, over the greatest of the session's.

    A runtime that adds up in floats rounds numbers between two bytes the other way here and there, which
    moves the answers by an error of this size, not of the size of a float's.
    """
    network = UnroundedNetwork(source, SPLITS["torch"])
    with torch.no_grad():
        given = torch.from_numpy(pictures.given(options.raw_pixels))
        unrounded = EndToEnd(network, source.preprocessing, options).eval()(given).numpy()
    return relative_error(unrounded, expected_answers(session, pictures.pixels, options))

"""How LiteRT files store the weights of layers whose inputs are floats."""

from __future__ import annotations

import numpy as np

from mobilevit_fast.export.tflite_file import TfliteFile
from mobilevit_fast.export.tflite_weights import NarrowWeight, store_weights
from mobilevit_fast.weights import Checkpoint, QuantizedCheckpoint


def narrow_weights(file: TfliteFile, source: Checkpoint | QuantizedCheckpoint, precision: str) -> None:
    """Stores a quantised model's weights as the model has them, integers with their scales or 16 bits; a
    float model's in 16 bits for precision "fp16".

    Weights of 4 bits take 8, and those of groups with a scale each stay float32: neither exists in the file.

    Raises:
        ValueError: the converter changed a weight's numbers; the layer is named.
    """
    if isinstance(source, QuantizedCheckpoint):
        weights = _StoredWeights(source)
        store_weights(file, weights.find)
        weights.check_all_found()
    elif precision == "fp16":
        store_weights(file, lambda weight: NarrowWeight(weight.astype(np.float16)))


class _StoredWeights:
    """Knows a layer by its numbers: a converter keeps those, but neither names nor shapes."""

    def __init__(self, source: QuantizedCheckpoint) -> None:
        self.known: dict[bytes, tuple[str, NarrowWeight]] = {}
        for name, layer in source.layers.items():
            stored = None
            if layer.is_integer and not layer.group_size:
                dynamic = layer.compute == "dynamic"
                stored = NarrowWeight(_channels_last(source.weights[name]), source.scales[name], dynamic)
            elif layer.weights == "fp16":
                stored = NarrowWeight(_channels_last(source.weights[name]).astype(np.float16))
            if stored is not None:
                key = _channels_last(source.real_weight(name)).astype(np.float32).tobytes()
                self.known[key] = name, stored
        # Of those that compute on bytes the converter stores most itself.
        self.missing = {name for name, _ in self.known.values() if source.layers[name].compute != "int8"}

    def find(self, weight: np.ndarray) -> NarrowWeight | None:
        name, stored = self.known.get(weight.tobytes(), (None, None))
        self.missing.discard(name)
        return stored

    def check_all_found(self) -> None:
        if self.missing:
            names = ", ".join(sorted(self.missing))
            raise ValueError(f"the converter changed the weights of {names}; export images of another size")


def _channels_last(weight: np.ndarray) -> np.ndarray:
    """[out, in, height, width] as TFLite has it, [out, height, width, in]."""
    return weight.transpose(0, 2, 3, 1) if weight.ndim == 4 else weight

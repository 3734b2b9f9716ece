"""TFLite's own metadata: the flatbuffer in the buffer `TFLITE_METADATA`, as metadata_schema.fbs defines it.

There are no generated classes for it that install beside today's packages, so tables are written by the
numbers of their fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import flatbuffers

from mobilevit_fast.export.options import Options
from mobilevit_fast.image import Preprocessing

NAME = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_PARSER_VERSION = "1.0.0"

LABELS = "labels.txt"
FACTS = "mobilevit_fast.json"


class _Kind(IntEnum):
    """Numbers of the schema's enums and unions."""

    DESCRIPTIONS = 1
    TENSOR_AXIS_LABELS = 2
    FEATURES = 1
    IMAGE = 2
    UNKNOWN_COLOURS = 0
    RGB = 1
    NORMALIZATION = 1


def model_metadata(name: str, signatures: int, rule: Preprocessing, options: Options) -> bytes:
    """Says what goes in and out of each signature, and that `LABELS` names the classes.

    Args:
        name: of the model.
        signatures: how many graphs the file has; all take the same but for the number of images.
        rule: how images were prepared in training.
        options: how the model was exported.
    """
    write = _Writer()
    graphs = [_graph(write, rule, options) for _ in range(signatures)]
    model = write.table(
        {
            0: write.text(name),
            1: write.text("Image classifier, written by mobilevit_fast"),
            3: write.tables(graphs),
            6: write.tables([_file(write, FACTS, "What users need to know, as JSON", _Kind.DESCRIPTIONS)]),
            7: write.text(_PARSER_VERSION),
        }
    )
    return write.finish(model)


def _graph(write: _Writer, rule: Preprocessing, options: Options) -> int:
    height, width = options.size
    size = write.table({0: ("uint32", width), 1: ("uint32", height)})
    reads_rgb = options.raw_pixels or rule.channel_order == "RGB"
    image = write.table({0: ("int8", _Kind.RGB if reads_rgb else _Kind.UNKNOWN_COLOURS), 1: size})
    given = write.table(
        {
            0: write.text(options.input_name),
            1: write.text(_describe(rule, options)),
            3: write.table({0: ("uint8", _Kind.IMAGE), 1: image}),
            4: write.tables([] if options.raw_pixels else [_normalization(write, rule)]),
        }
    )
    features = write.table({})
    answer = write.table(
        {
            0: write.text(options.output_name),
            1: write.text("A score for each class"),
            3: write.table({0: ("uint8", _Kind.FEATURES), 1: features}),
            6: write.tables([_file(write, LABELS, "Names of the classes", _Kind.TENSOR_AXIS_LABELS)]),
        }
    )
    return write.table({2: write.tables([given]), 3: write.tables([answer])})


def _describe(rule: Preprocessing, options: Options) -> str:
    order = "RGB" if options.raw_pixels else rule.channel_order
    layout = "height, width, channels" if options.of_format.channels_last else "channels, height, width"
    return f"Images, {layout}, in {order} order"


def _normalization(write: _Writer, rule: Preprocessing) -> int:
    """(pixel - mean) / std of pixels 0 to 255, which is how readers apply it."""
    means, deviations = rule.mean or (0.0,) * 3, rule.std or (1.0,) * 3
    options = write.table(
        {
            0: write.floats([mean / rule.rescale for mean in means]),
            1: write.floats([deviation / rule.rescale for deviation in deviations]),
        }
    )
    return write.table({0: ("uint8", _Kind.NORMALIZATION), 1: options})


def _file(write: _Writer, name: str, description: str, kind: _Kind) -> int:
    return write.table({0: write.text(name), 1: write.text(description), 2: ("int8", kind)})


class _Writer:
    """A flatbuffer, from the leaves to the root. Every method gives an offset."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder()

    def text(self, text: str) -> int:
        return self.builder.CreateString(text)

    def floats(self, values: Sequence[float]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependFloat32(value)
        return self.builder.EndVector()

    def tables(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def table(self, fields: dict[int, int | tuple[str, int]]) -> int:
        """A table of offsets, or of (type, number), by the field's number."""
        builder = self.builder
        builder.StartObject(1 + max(fields, default=0))
        for slot, value in fields.items():
            if isinstance(value, tuple):
                kind, number = value
                getattr(builder, f"Prepend{kind.capitalize()}Slot")(slot, number, 0)
            else:
                builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        return builder.EndObject()

    def finish(self, root: int) -> bytes:
        self.builder.Finish(root, file_identifier=_IDENTIFIER)
        return bytes(self.builder.Output())

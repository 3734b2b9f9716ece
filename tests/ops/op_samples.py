"""Sample inputs of every torch operation: sizes around the vector width, strides, epilogues, memory
formats.
"""

from dataclasses import dataclass

import torch

import mobilevit_fast.ops  # noqa: F401, registers the operations


@dataclass(frozen=True)
class Sample:
    """One call: `shapes` of its tensor arguments (None: left out), and the other arguments."""

    op: str
    shapes: tuple
    others: tuple = ()

    def __str__(self):
        shapes = "-".join("x".join(map(str, shape)) if shape else "none" for shape in self.shapes[:4])
        return f"{self.op}-{shapes}-{self.others}"

    def tensors(self, dtype=torch.float32, seed=0):
        """Random tensors, smaller where more are summed; maps in channels_last memory."""
        generator = torch.Generator().manual_seed(seed)

        def tensor(shape):
            if shape is None:
                return None
            fan_in = max(1, torch.Size(shape[1:]).numel()) if len(shape) > 1 else 1
            scale = 1.0 if self.is_map(shape) else fan_in**-0.5
            values = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
            values = values.to(dtype)
            return values.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else values

        return [tensor(shape) for shape in self.shapes]

    def is_map(self, shape):
        return shape is self.shapes[0]

    def overload(self):
        return getattr(torch.ops.mobilevit_fast, self.op).default

    def call(self, tensors):
        return self.overload()(*tensors, *self.others)


def block(channels, hidden, out, batch, height, width):
    weights = ((hidden, channels, 1, 1), (hidden,), (hidden, 1, 3, 3), (hidden,), (out, hidden, 1, 1), (out,))
    return ((batch, channels, height, width), *weights)


SAMPLES = [
    Sample("dwconv3x3", ((2, 16, 6, 5), (16, 1, 3, 3), (16,)), (1, True)),
    Sample("dwconv3x3", ((1, 7, 5, 9), (7, 1, 3, 3), None), (2, False)),
    Sample("dwconv3x3", ((3, 33, 1, 1), (33, 1, 3, 3), (33,)), (2, True)),
    Sample("dwconv3x3", ((1, 1, 4, 4), (1, 1, 3, 3), (1,)), (1, False)),
    Sample("conv3x3", ((2, 3, 9, 8), (16, 3, 3, 3), (16,)), (2, True)),
    Sample("conv3x3", ((1, 24, 7, 7), (17, 24, 3, 3), None), (1, False)),
    Sample("conv3x3", ((1, 5, 1, 3), (1, 5, 3, 3), (1,)), (1, True)),
    Sample("inverted_residual", block(16, 32, 16, 2, 6, 7), (1, True)),
    Sample("inverted_residual", block(12, 40, 20, 1, 7, 5), (2, False)),
    Sample("inverted_residual", block(5, 8, 5, 3, 1, 1), (1, False)),
    Sample("linear", ((9, 24), (17, 24), (17,), (9, 17)), (True,)),
    Sample("linear", ((2, 3, 5, 16), (48, 16), None, None), (False,)),
    Sample("linear", ((33,), (7, 33), (7,), None), (True,)),
    Sample("linear", ((2, 3, 1, 5), (1, 5), None, (2, 3, 1, 1)), (False,)),
    Sample("attention", ((2, 4, 6, 48),), (4,)),
    Sample("attention", ((1, 6, 6, 3 * 2 * 17),), (2, 3, 2)),
    Sample("attention", ((2, 1, 1, 9),), (1, 1, 1)),
]

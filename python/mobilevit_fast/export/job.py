"""One export: the model to write, how, and what travels with it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from logging import ERROR, getLogger
from warnings import catch_warnings, simplefilter

import torch
from torch import nn

from mobilevit_fast.export.end_to_end import EndToEnd
from mobilevit_fast.export.mapping import LOWERINGS, NODES, PatchSplit, lower, split_for
from mobilevit_fast.export.native_network import NativeNetwork
from mobilevit_fast.export.network import ExportNetwork
from mobilevit_fast.export.options import SIZE_STEP, SMALLEST_SIZE, Options
from mobilevit_fast.export.quantized_network import QuantizedExportNetwork
from mobilevit_fast.folding import Folding
from mobilevit_fast.weights import Checkpoint, QuantizedCheckpoint

_MOST_IMAGES = 4096
_LARGEST_SIZE = 4096


@dataclass(frozen=True)
class Job:
    """`source` in `format_name` as `options` say; raw pixels are traced as `raw_dtype`, and quantised models
    as a `quantized_network`.
    """

    source: Checkpoint | QuantizedCheckpoint
    format_name: str
    options: Options
    raw_dtype: torch.dtype = torch.uint8
    quantized_network: type[QuantizedExportNetwork] = QuantizedExportNetwork

    @cached_property
    def network(self) -> nn.Module:
        """The torch module that is traced, in eval mode."""
        network = self._network()
        return EndToEnd(network, self.source.preprocessing, self.options).eval()

    @property
    def metadata(self) -> dict[str, str]:
        """What users of the file need to know, each as text."""
        return {
            "model": self.source.config.name,
            "labels": json.dumps(self.source.labels, ensure_ascii=False),
            "preprocessing": json.dumps(self.source.preprocessing.to_dict()),
            "options": json.dumps(self.options.to_dict()),
        }

    def trace(self) -> torch.export.ExportedProgram:
        """The model with `torch.ops.mobilevit_fast.*` as nodes."""
        return self._export(self.network)

    def lowered(self) -> torch.export.ExportedProgram:
        """The model in torch's own operators, as the format's row of the mapping has them; or with the
        format's nodes for ours, where those are kept.
        """
        graph = self.trace().module(check_guards=False)
        table = NODES if self.options.keep_custom_ops else LOWERINGS
        return self._export(lower(graph, table[self.format_name]))

    def example(self) -> torch.Tensor:
        """Images to trace with; two where the batch is open, for one would be taken for a constant."""
        batch = 2 if self._batch_is_open else self.options.batches[0]
        dtype = self.raw_dtype if self.options.raw_pixels else torch.float32
        return torch.zeros((batch, 3, *self.options.size), dtype=dtype)

    def dynamic_shapes(self) -> tuple[dict[int, object] | None]:
        """The open dimensions, as torch.export takes them."""
        dim, shapes = torch.export.Dim, {}
        if self._batch_is_open:
            shapes[0] = dim("batch", min=1, max=_MOST_IMAGES)
        if self.options.dynamic_size:
            limits = {"min": SMALLEST_SIZE // SIZE_STEP, "max": _LARGEST_SIZE // SIZE_STEP}
            shapes |= {2: SIZE_STEP * dim("h", **limits), 3: SIZE_STEP * dim("w", **limits)}
        return (shapes or None,)

    def with_float_pixels(self) -> Job:
        """The same for runtimes whose images are floats, raw ones too."""
        return replace(self, raw_dtype=torch.float32)

    def as_fp32(self) -> Job:
        """The same in 32 bits, for formats that narrow weights themselves."""
        return replace(self, options=replace(self.options, precision="fp32"))

    @property
    def _batch_is_open(self) -> bool:
        return len(self.options.batches) != 1

    @property
    def _split(self) -> PatchSplit:
        return split_for(self.format_name, self.source.config, self.options.size)

    def _network(self) -> ExportNetwork:
        source = self.source
        if isinstance(source, QuantizedCheckpoint):
            return self.quantized_network(source, self._split)
        weights = Folding(source.config, source.tensors)
        if self.options.keep_custom_ops:
            return NativeNetwork(source.config, weights)
        return ExportNetwork(source.config, weights, self._split)

    def _export(self, module: nn.Module) -> torch.export.ExportedProgram:
        with torch.no_grad(), quietly():
            return torch.export.export(module, (self.example(),), dynamic_shapes=self.dynamic_shapes())


_TALKATIVE = ("torch.onnx._internal.exporter", "torch.utils._pytree", "torchao", "coremltools")


@contextmanager
def quietly():
    """Without what converters tell of themselves: of libraries that nothing here needs, and of their own
    deprecated parts.
    """
    loggers = [getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(ERROR)
    try:
        with catch_warnings():
            simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

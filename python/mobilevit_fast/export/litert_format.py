"""LiteRT files, .tflite: one signature for each number of images, all on the same weights.

A single signature is called `SIGNATURE`; of several each is `batch_<number>`. Labels and preprocessing are
TFLite metadata, with the files `labels.txt` and `mobilevit_fast.json` in the zip archive behind the model:
`zipfile.ZipFile("model.tflite").read("labels.txt")`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from torch import Tensor, nn

from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job, quietly
from mobilevit_fast.export.litert_network import ByteSigmoidNetwork, LitertNetwork
from mobilevit_fast.export.litert_weights import narrow_weights
from mobilevit_fast.export.tflite_file import TfliteFile
from mobilevit_fast.export.tflite_metadata import FACTS, LABELS, NAME, model_metadata
from mobilevit_fast.weights import QuantizedCheckpoint
from mobilevit_fast.weights.labels import label_lines

SIGNATURE = "serving_default"


def write(job: Job, path: Path) -> None:
    """Raises ValueError for a model that does not go with its `LitertOptions`."""
    _check_options(job)
    source = job.source
    network = ByteSigmoidNetwork if job.options.of_format.byte_sigmoid else LitertNetwork
    file = TfliteFile(_convert(replace(job.as_fp32(), quantized_network=network)))
    narrow_weights(file, source, job.options.precision)
    file.take_floats()
    description = model_metadata(
        source.config.name, len(job.options.batches), source.preprocessing, job.options
    )
    file.add_metadata(NAME, description)
    file.add_file(LABELS, label_lines(source.labels))
    file.add_file(FACTS, json.dumps(job.metadata, indent=2, ensure_ascii=False) + "\n")
    file.write(path)


def load(job: Job, path: Path) -> Run:
    interpreter = Interpreter(str(path), num_threads=torch.get_num_threads())
    options = job.options

    def run(images: np.ndarray) -> np.ndarray:
        given = images.transpose(0, 2, 3, 1) if options.of_format.channels_last else images
        signature = interpreter.get_signature_runner(signature_name(options.batches, len(images)))
        return signature(**{options.input_name: given})[options.output_name]

    return run


def signature_name(batches: tuple[int, ...], batch: int) -> str:
    return SIGNATURE if len(batches) == 1 else f"batch_{batch}"


class _Signature(nn.Module):
    """A model under the names that a signature has."""

    def __init__(self, model: nn.Module, job: Job) -> None:
        super().__init__()
        self.model, self.output_name = model, job.options.output_name
        self.channels_last = job.options.of_format.channels_last
        self.training = False  # eval() would reach for the program inside, which has no such modes.

    def forward(self, **images: Tensor) -> dict[str, Tensor]:
        [given] = images.values()
        return {self.output_name: self.model(given.permute(0, 3, 1, 2) if self.channels_last else given)}


def _convert(job: Job) -> bytes:
    with _silently():
        return _convert_aloud(job)


def _convert_aloud(job: Job) -> bytes:
    # Here, for loading it takes seconds and says much.
    import litert_torch
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig

    litert_torch.config.show_progress = False
    converter = litert_torch.Converter()
    for batch in job.options.batches:
        one = replace(job, options=replace(job.options, batches=(batch,)))
        given = one.example()
        if job.options.of_format.channels_last:
            given = given.permute(0, 2, 3, 1).contiguous()
        model = _Signature(one.lowered().module(check_guards=False), job)
        converter.add_signature(
            signature_name(job.options.batches, batch), model, sample_kwargs={job.options.input_name: given}
        )
    quantizes = None
    if isinstance(job.source, QuantizedCheckpoint) and job.source.activations:
        # The network has its nodes already; this tells the converter what they are for.
        settings = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=False)
        quantizes = QuantConfig(pt2e_quantizer=PT2EQuantizer().set_global(settings))
    return converter.convert(quant_config=quantizes).model_content()


def _check_options(job: Job) -> None:
    source, asked = job.source, job.options.of_format
    quantized = isinstance(source, QuantizedCheckpoint)
    if asked.byte_sigmoid and not (quantized and source.activations):
        raise ValueError(
            f"byte_sigmoid is for models that compute in int8, and {source.source!r} does not; "
            "quantize() with StaticInt8 makes one"
        )
    if asked.runtime != "tflite-runtime" or not quantized:
        return
    dynamic = [name for name, layer in source.layers.items() if layer.compute == "dynamic"]
    if dynamic:
        raise ValueError(
            f"tflite-runtime cannot run {source.source!r}: {len(dynamic)} layers, {dynamic[0]} the first, "
            "quantise their inputs at run time with a scale for each output channel, and it would compute "
            "all channels with the first one's scale, without a word; export the float model, or one "
            "quantised with StaticInt8"
        )


@contextmanager
def _silently() -> Iterator[None]:
    """Without what the converter and the libraries that it loads say of themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with quietly():
            yield
    finally:
        logging.disable(before)

"""SavedModels of TensorFlow. Labels and preprocessing are the assets `labels.txt` and `mobilevit_fast.json`.

Signature `SIGNATURE` takes images as every other format does; `BYTES_SIGNATURE`, where it was asked for,
takes strings that are JPEG or PNG files.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tensorflow as tf
from PIL import Image

from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job, quietly
from mobilevit_fast.export.pictures import made_pictures
from mobilevit_fast.export.tensorflow_images import decode_images, normalise
from mobilevit_fast.export.tensorflow_program import TensorflowProgram
from mobilevit_fast.export.verification import Check, check, expected_answers
from mobilevit_fast.image import preprocess
from mobilevit_fast.session import Session
from mobilevit_fast.weights.labels import label_lines

SIGNATURE = "serving_default"
BYTES_SIGNATURE = "serving_bytes"
BYTES_INPUT = "image_bytes"

LABELS = "labels.txt"
FACTS = "mobilevit_fast.json"

FILES = 2
"""How many are compared."""


def write(job: Job, path: Path) -> None:
    """Raises ValueError where `TensorflowOptions.image_bytes` and the size do not go together."""
    _check_image_bytes(job)
    program = TensorflowProgram(job.lowered())
    options = job.options

    # Not for autograph: what it would rewrite is a plain loop over nodes.
    @tf.function(autograph=False, input_signature=[_input(job)])
    def classify(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {options.output_name: program(images)}

    signatures = {SIGNATURE: classify}
    if options.of_format.image_bytes:
        signatures[BYTES_SIGNATURE] = _bytes_signature(job, program)
    with TemporaryDirectory() as folder, quietly():
        for name, text in (
            (LABELS, label_lines(job.source.labels)),
            (FACTS, json.dumps(job.metadata, indent=2, ensure_ascii=False) + "\n"),
        ):
            file = Path(folder) / name
            file.write_text(text, encoding="utf-8")
            setattr(program, Path(name).stem, tf.saved_model.Asset(str(file)))
        tf.saved_model.save(program, str(path), signatures=signatures)


def load(job: Job, path: Path) -> Run:
    model = tf.saved_model.load(str(path))

    def run(images: np.ndarray) -> np.ndarray:
        # Through the model, for a signature alone does not keep its variables alive.
        classify = model.signatures[SIGNATURE]
        return classify(**{job.options.input_name: tf.constant(images)})[job.options.output_name].numpy()

    return run


def _bytes_signature(job: Job, program: TensorflowProgram) -> tf.types.experimental.PolymorphicFunction:
    options, rule = job.options, job.source.preprocessing

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, BYTES_INPUT)])
    def classify_bytes(files: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = decode_images(files, rule)
        return {options.output_name: program(pixels if options.raw_pixels else normalise(pixels, rule))}

    return classify_bytes


def _check_image_bytes(job: Job) -> None:
    if not job.options.of_format.image_bytes:
        return
    rule = job.source.preprocessing
    size = rule.crop_size or rule.exact_size
    if size is None:
        raise ValueError(
            "image_bytes needs a rule that brings all images to one size, and the checkpoint's does not"
        )
    if size != job.options.size or not job.options.dynamic_batch:
        raise ValueError(
            f"image_bytes makes images of {size[0]}x{size[1]}, any number, by the checkpoint's rule; leave "
            "out size and batches"
        )


def further_checks(job: Job, path: Path, session: Session) -> tuple[Check, ...]:
    """Of the signature that takes files. The images need no resizing, so that answers are the same."""
    if not job.options.of_format.image_bytes:
        return ()
    rule = job.source.preprocessing
    size = rule.exact_size
    if size is None:
        edge = rule.shortest_edge or max(rule.crop_size)
        size = (edge, edge + 32)
    files = [_png(image) for image in made_pictures(FILES, size, rule).raw]
    model = tf.saved_model.load(str(path))
    found = model.signatures[BYTES_SIGNATURE](**{BYTES_INPUT: tf.constant(files)})[job.options.output_name]
    expected = expected_answers(session, preprocess(files, rule), job.options)
    return (check(FILES, size, found.numpy(), expected),)


def _png(image: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(stream, "PNG")
    return stream.getvalue()


def _input(job: Job) -> tf.TensorSpec:
    options = job.options
    batch = None if options.dynamic_batch else options.batches[0]
    size = (None, None) if options.dynamic_size else options.size
    return tf.TensorSpec(
        [batch, 3, *size], tf.uint8 if options.raw_pixels else tf.float32, options.input_name
    )

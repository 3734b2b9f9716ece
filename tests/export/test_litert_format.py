"""LiteRT files: what they hold, and that they answer as a session does, in this runtime and the last."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile

import numpy as np
import pytest

import mobilevit_fast as mvf
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.export import VerificationError, export
from mobilevit_fast.export.tflite_metadata import FACTS, LABELS, NAME
from mobilevit_fast.weights import layer_shapes

pytest.importorskip("litert_torch")
interpreters = pytest.importorskip("ai_edge_litert.interpreter")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

OLD_PYTHON = "MOBILEVIT_FAST_TFLITE_RUNTIME_PYTHON"
"""Environment variable with the Python of an environment of tflite-runtime, which needs an older numpy."""

SAMPLES = 3
BOUNDS = {"float": 1e-5, "half": 5e-3, "static": 5e-2, "dynamic": 5e-2}


@pytest.fixture(scope="module")
def sources(checkpoint):
    images = random_images(32, 96, 96)
    return {
        "float": checkpoint,
        "half": checkpoint,
        "static": mvf.quantize(checkpoint, mvf.StaticInt8(), calibration=images).checkpoint(),
        "dynamic": mvf.quantize(checkpoint, mvf.DynamicInt8()).checkpoint(),
    }


@pytest.fixture(scope="module")
def files(sources, tmp_path_factory):
    """Each kind's file, written when first asked for: conversion takes long."""
    folder, written = tmp_path_factory.mktemp("litert"), {}

    def file(kind):
        if kind not in written:
            path = folder / f"{kind}.tflite"
            options = {"float": {"batches": (1, 2), "channels_last": True}, "half": {"precision": "fp16"}}
            written[kind] = path, export(sources[kind], "litert", path, **options.get(kind, {}))
        return written[kind]

    return file


def error(found, expected):
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


def tensors(path):
    """Type of each weight, bias and activation -> tensors."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    found = {}
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            found.setdefault(tensor.type, []).append(tensor)
    return model, found


@pytest.mark.parametrize("kind", BOUNDS)
def test_every_precision_answers_as_a_session_does(files, sources, kind):
    path, report = files(kind)
    assert report.passed
    images = random_images(SAMPLES, 96, 96, seed=3)
    expected = mvf.Session(sources[kind]).run(images)
    interpreter = interpreters.Interpreter(str(path))
    if kind == "float":
        run = interpreter.get_signature_runner("batch_1")
        found = [run(pixel_values=image.transpose(1, 2, 0)[None])["logits"] for image in images]
    else:
        run = interpreter.get_signature_runner()
        found = [run(pixel_values=image[None])["logits"] for image in images]
    assert error(np.concatenate(found), expected) < BOUNDS[kind]


def test_signatures_share_their_weights(files, checkpoint):
    path, report = files("float")
    assert [check.batch for check in report.checks] == [1, 2]
    parameters = sum(array.size for array in checkpoint.tensors.values())
    assert path.stat().st_size < 4.6 * parameters
    signatures = interpreters.Interpreter(str(path)).get_signature_list()
    assert signatures == {
        name: {"inputs": ["pixel_values"], "outputs": ["logits"]} for name in ("batch_1", "batch_2")
    }


def test_half_and_quantised_files_are_small(files, checkpoint):
    parameters = sum(array.size for array in checkpoint.tensors.values())
    for kind, most in (("half", 2.6), ("static", 1.7), ("dynamic", 1.7)):
        assert files(kind)[0].stat().st_size < most * parameters, kind


def test_a_static_file_holds_our_scales_and_integers(files, sources):
    source = sources["static"]
    model, found = tensors(files("static")[0])
    stored = found[schema.TensorType.INT8]
    grids = {
        (np.float32(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0]) + 128)
        for tensor in stored
        if tensor.quantization is not None and len(tensor.quantization.scale) == 1
    }
    for name, grid in source.activations.items():
        if not name.endswith("attention"):
            assert (np.float32(grid.scale), grid.zero_point) in grids, name
    contents = [
        np.sort(np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int8))
        for tensor in stored
        if model.buffers[tensor.buffer].data is not None
    ]
    for layer in layer_shapes(source.config):
        parts = np.split(source.weights[layer], 3) if layer.endswith("qkv") else [source.weights[layer]]
        for part in parts:
            assert any(np.array_equal(content, np.sort(part, axis=None)) for content in contents), layer


def test_a_dynamic_file_computes_linear_layers_on_bytes(files, sources):
    model, _ = tensors(files("dynamic")[0])
    [graph] = model.subgraphs
    codes = [row.builtinCode for row in model.operatorCodes]
    linears = [
        operation
        for operation in graph.operators
        if codes[operation.opcodeIndex] == schema.BuiltinOperator.FULLY_CONNECTED
    ]
    dynamic = sum(layer.compute == "dynamic" for layer in sources["dynamic"].layers.values())
    assert dynamic == len(linears)
    for operation in linears:
        assert graph.tensors[operation.inputs[0]].type == schema.TensorType.FLOAT32
        assert graph.tensors[operation.inputs[1]].type == schema.TensorType.INT8
        assert model.operatorCodes[operation.opcodeIndex].version >= 12


def test_labels_and_preprocessing_travel(files, checkpoint):
    path, _ = files("half")
    with zipfile.ZipFile(path) as archive:
        assert archive.read(LABELS).decode().split() == list(checkpoint.labels)
        facts = json.loads(archive.read(FACTS))
    assert mvf.Preprocessing.from_dict(json.loads(facts["preprocessing"])) == checkpoint.preprocessing
    model, _ = tensors(path)
    [entry] = [entry for entry in model.metadata if entry.name.decode() == NAME]
    content = bytes(model.buffers[entry.buffer].data)
    assert content[4:8] == b"M001"
    assert LABELS.encode() in content
    assert np.array(0.4 * 255, np.float32).tobytes() in content


def test_any_number_of_images_is_refused(tmp_path, checkpoint):
    with pytest.raises(ValueError, match="'litert' takes fixed numbers of images; any number go into onnx"):
        export(checkpoint, "litert", tmp_path / "a.tflite", dynamic_batch=True)


def test_dynamic_models_are_refused_for_the_runtime_before(tmp_path, sources):
    with pytest.raises(ValueError, match=r"tflite-runtime cannot run .* quantise their inputs at run time"):
        export(sources["dynamic"], "litert", tmp_path / "a.tflite", runtime="tflite-runtime")
    assert list(tmp_path.iterdir()) == []


def test_bytes_in_the_sigmoid_are_for_int8(tmp_path, checkpoint):
    with pytest.raises(ValueError, match="byte_sigmoid is for models that compute in int8"):
        export(checkpoint, "litert", tmp_path / "a.tflite", byte_sigmoid=True)


def test_bytes_in_the_sigmoid_and_in_the_image(tmp_path, sources):
    """Near the source, but not its own error: one step in 256 of every activation's greatest value."""
    path = tmp_path / "model.tflite"
    try:
        report = export(
            sources["static"], "litert", path, byte_sigmoid=True, raw_pixels=True, channels_last=True
        )
    except VerificationError as error:
        report, path = error.report, path.with_name(f"{path.name}.failed")
    assert report.max_relative_error < 0.1
    model, _ = tensors(path)
    [graph] = model.subgraphs
    codes = [row.builtinCode for row in model.operatorCodes]
    sigmoids = [
        operation
        for operation in graph.operators
        if codes[operation.opcodeIndex] == schema.BuiltinOperator.LOGISTIC
    ]
    assert sigmoids
    assert all(graph.tensors[step.outputs[0]].type == schema.TensorType.INT8 for step in sigmoids)
    [given] = graph.inputs
    assert graph.tensors[given].type == schema.TensorType.UINT8
    assert list(graph.tensors[given].shape) == [1, 96, 96, 3]


RUN = """
import sys
import numpy as np
from tflite_runtime.interpreter import Interpreter
path, images, answers = sys.argv[1:]
interpreter = Interpreter(path)
signatures = interpreter.get_signature_list()
run = interpreter.get_signature_runner("batch_1" if "batch_1" in signatures else None)
images = np.load(images)
if "batch_1" in signatures:
    images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
np.save(answers, np.concatenate([run(pixel_values=image[None])["logits"] for image in images]))
"""


def run_in_tflite_runtime(path, images, folder):
    python = os.environ.get(OLD_PYTHON)
    if not python:
        pytest.skip(f"no tflite-runtime: set {OLD_PYTHON} to the Python of an environment that has it")
    np.save(folder / "images.npy", images)
    arguments = [python, "-c", RUN, path, folder / "images.npy", folder / "answers.npy"]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", ["float", "half", "static"])
def test_the_runtime_before_answers_the_same(tmp_path, files, sources, kind):
    images = random_images(SAMPLES, 96, 96, seed=3)
    outcome = run_in_tflite_runtime(files(kind)[0], images, tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    found = np.load(tmp_path / "answers.npy")
    assert error(found, mvf.Session(sources[kind]).run(images)) < BOUNDS[kind]


def test_the_runtime_before_refuses_a_dynamic_file_itself(tmp_path, files):
    outcome = run_in_tflite_runtime(files("dynamic")[0], random_images(1, 96, 96), tmp_path)
    assert outcome.returncode != 0
    assert "FULLY_CONNECTED' version '12'" in outcome.stderr

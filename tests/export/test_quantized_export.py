"""Quantised models go out on their own scales and zero points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mobilevit_fast as mvf
from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.export import FORMATS, export
from mobilevit_fast.export.mapping import PatchSplit
from mobilevit_fast.export.options import Options
from mobilevit_fast.export.pictures import Pictures, made_pictures
from mobilevit_fast.export.quantized_network import QuantizedExportNetwork, input_names
from mobilevit_fast.export.rounding import rounding_error
from mobilevit_fast.weights import LayerFormat, layer_shapes

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

RECIPES = {
    "static": mvf.StaticInt8(),
    "dynamic": mvf.DynamicInt8(),
    "weight-only": mvf.WeightOnly(8),
    "grouped": mvf.WeightOnly(4, 32),
}


@pytest.fixture(scope="module")
def quantized(checkpoint):
    images = random_images(32, 96, 96)
    return {name: mvf.quantize(checkpoint, recipe, calibration=images) for name, recipe in RECIPES.items()}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_network_computes_what_the_engine_computes(quantized, recipe):
    source = quantized[recipe].checkpoint()
    network = QuantizedExportNetwork(source, PatchSplit()).eval()
    for height, width in ((96, 96), (64, 128)):
        images = random_images(4, height, width, seed=1)
        with torch.no_grad():
            found = network(torch.from_numpy(images)).numpy()
        expected = mvf.Session(source).run(images)
        assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_the_rounding_error_is_that_of_activations_alone(quantized):
    options = Options("int8", (96, 96), ())
    pixels = random_images(4, 96, 96, seed=1)  # like those calibrated on
    pictures = Pictures((pixels * 255).astype(np.uint8), pixels)
    errors = {}
    for name, model in quantized.items():
        source = model.checkpoint()
        errors[name] = rounding_error(source, mvf.Session(source), options, pictures)
    assert max(errors["weight-only"], errors["grouped"]) < 1e-5
    assert 1e-4 < errors["dynamic"] < errors["static"] < 0.2


def test_a_quantized_model_may_differ_by_as_much_as_its_own_rounding_changes(tmp_path):
    # Random grids cut off so much that even exact answers are far from the unrounded ones.
    source = random_quantized("mobilevit_xxs")
    report = export(source, "onnx", tmp_path / "model.onnx", size=(96, 96))
    options = Options("int8", (96, 96), ())
    pictures = made_pictures(8, (96, 96), source.preprocessing)
    assert rounding_error(source, mvf.Session(source), options, pictures) > 0.25
    assert report.bound == 0.25 > FORMATS["onnx"].bounds["int8"]


def test_layers_of_several_formats():
    formats = {
        "stages.2.1.fuse": LayerFormat("int8", "float"),
        "stages.3.1.embed": LayerFormat("fp16", "float"),
        **dict.fromkeys(
            [f"stages.3.1.layers.0.ffn.{part}" for part in ("up", "down")], LayerFormat("int8", "dynamic")
        ),
    }
    source = random_quantized("mobilevit_xxs", formats=formats)
    network = QuantizedExportNetwork(source, PatchSplit()).eval()
    images = random_images(2, 64, 96)
    with torch.no_grad():
        found = network(torch.from_numpy(images)).numpy()
    expected = mvf.Session(source).run(images)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_an_int8_file_holds_our_numbers(tmp_path, quantized):
    source, path = quantized["static"].checkpoint(), tmp_path / "model.onnx"
    report = export(quantized["static"], "onnx", path)
    assert report.options["precision"] == "int8"
    assert report.passed
    model = onnx.load(path)
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scales = {float(array) for array in stored.values() if array.dtype == np.float32 and array.size == 1}
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("QuantizeLinear") >= len(source.activations)
    for node in model.graph.node:
        if node.op_type == "Constant":
            value = onnx.numpy_helper.to_array(node.attribute[0].t)
            if value.dtype == np.float32 and value.size == 1:
                scales.add(float(value))
    assert {np.float32(grid.scale) for grid in source.activations.values()} <= {np.float32(s) for s in scales}
    integers = [array for array in stored.values() if array.dtype == np.int8]
    for layer in layer_shapes(source.config):
        ours = np.sort(source.weights[layer], axis=None)
        assert any(np.array_equal(np.sort(array, axis=None), ours) for array in integers), layer


def test_a_format_without_int8_says_what_it_has(tmp_path, quantized):
    pytest.importorskip("ncnn")
    pytest.importorskip("pnnx")
    with pytest.raises(ValueError, match="'ncnn' has no precision 'int8'; it has fp32, fp16"):
        export(quantized["static"], "ncnn", tmp_path / "model.param")


def test_int8_is_for_quantised_models_and_only_int8(tmp_path, checkpoint, quantized):
    with pytest.raises(ValueError, match=r"'int8' is not available.*not quantised; quantize\(\) makes"):
        export(checkpoint, "onnx", tmp_path / "a.onnx", precision="int8")
    with pytest.raises(ValueError, match=r"'fp16' is not available.*is quantised, and goes out as int8"):
        export(quantized["static"], "onnx", tmp_path / "a.onnx", precision="fp16")


def test_every_layer_has_an_input(checkpoint, quantized):
    names = input_names(checkpoint.config)
    assert set(names) == set(layer_shapes(checkpoint.config))
    assert set(names.values()) <= set(quantized["static"].checkpoint().activations)

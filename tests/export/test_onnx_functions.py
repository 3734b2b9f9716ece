"""Nodes of our domain: stock onnxruntime computes by their functions what the operations compute."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import mobilevit_fast as mvf
from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.export import export

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx_cases import CASES, given_to, model_of  # noqa: E402
from onnx_int8_cases import INT8_CASES  # noqa: E402

from mobilevit_fast.export import onnx_functions  # noqa: E402
from mobilevit_fast.export.onnx_nodes import DOMAIN  # noqa: E402


def run(name, case):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = model_of(name, case, with_function=True)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, given_to(case))[0])


def test_every_node_is_tested():
    assert {*CASES, *INT8_CASES} == set(onnx_functions.NAMES)


@pytest.mark.parametrize("name", CASES)
def test_a_function_computes_what_the_operation_computes(name):
    for make in CASES[name]:
        case = make()
        torch.testing.assert_close(run(name, case), case.expected.contiguous(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", INT8_CASES)
def test_a_function_comes_within_a_step_of_the_operation_on_bytes(name):
    """It multiplies and adds in two roundings, the operation in one."""
    for make in INT8_CASES[name]:
        case = make()
        found, expected = run(name, case), case.expected
        assert found.dtype == expected.dtype
        if expected.dtype == torch.uint8:
            # Where a table follows, a neighbouring byte may lie anywhere.
            off = (found.int() - expected.int()).abs()
            assert (off > (1 if name == "Int8Attention" else 0)).float().mean() < 0.01
        else:
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dynamic_size", [False, True], ids=["one size", "any size"])
def test_a_model_of_our_operations_runs_in_stock_onnxruntime(tmp_path, checkpoint, dynamic_size):
    path = tmp_path / "model.onnx"
    assert export(checkpoint, "onnx", path, keep_custom_ops=True, dynamic_size=dynamic_size).passed
    model = onnx.load(path)
    onnx.checker.check_model(model)
    ours = {node.op_type for node in model.graph.node if node.domain == DOMAIN}
    assert ours == {function.name for function in model.functions}
    assert ours == {
        "PlanarConv3x3Silu",
        "InvertedResidual",
        "InvertedResidualAdd",
        "Conv3x3Silu",
        "JoinedConv3x3Silu",
        "Linear",
        "LinearSilu",
        "LinearAdd",
        "NormalizedLinear",
        "Ffn",
        "Attention",
    }
    # Maps are channels last from the first node to the last, but where onnx resizes one.
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Transpose") == 2 * kinds.count("Resize")
    assert "Conv" not in kinds
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    sizes = [(1, 96, 96), (3, 96, 96), *([(2, 160, 128)] if dynamic_size else [])]
    for batch, height, width in sizes:
        images = random_images(batch, height, width)
        expected = mvf.Session(checkpoint).run(images)
        found = session.run(None, {"pixel_values": images})[0]
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_our_nodes_compute_in_single_precision(tmp_path, checkpoint):
    with pytest.raises(ValueError, match="compute in fp32"):
        export(checkpoint, "onnx", tmp_path / "a.onnx", keep_custom_ops=True, precision="fp16")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dynamic_size", [False, True], ids=["one size", "any size"])
def test_a_model_on_bytes(tmp_path, dynamic_size):
    quantized, path = random_quantized("mobilevit_xxs"), tmp_path / "model.onnx"
    # Its last map is 5 x 6 pixels, which patches do not divide.
    report = export(quantized, "onnx", path, size=(160, 192), keep_custom_ops=True, dynamic_size=dynamic_size)
    assert report.passed
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {function.name for function in model.functions} == set(INT8_CASES)
    assert json.loads(next(entry.value for entry in model.metadata_props if entry.key == "labels"))


def test_a_model_on_bytes_with_what_comes_before_and_after(tmp_path, checkpoint):
    path = tmp_path / "model.onnx"
    quantized = mvf.quantize(checkpoint, mvf.StaticInt8(), calibration=random_images(32, 96, 96))
    options = {"raw_pixels": True, "softmax": True, "dynamic_batch": False}
    assert export(quantized, "onnx", path, keep_custom_ops=True, **options).passed
    [given] = onnx.load(path).graph.input
    assert [dim.dim_value for dim in given.type.tensor_type.shape.dim] == [1, 3, 96, 96]

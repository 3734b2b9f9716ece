"""Nodes of our domain: stock onnxruntime computes by their functions what the operations compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mobilevit_fast as mvf
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.export import export
from mobilevit_fast.model.blocks import to_map, to_tokens

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from mobilevit_fast.export import onnx_functions  # noqa: E402
from mobilevit_fast.export.onnx_nodes import DOMAIN  # noqa: E402

OPSET = 18
operations = torch.ops.mobilevit_fast


def model_of(name, inputs, attributes, rank):
    """One node, with its function; `rank` is that of its answer."""
    names = [f"x{index}" for index in range(len(inputs))]
    node = helper.make_node(name, names, ["y"], domain=DOMAIN, **attributes)
    given = [
        helper.make_tensor_value_info(given, TensorProto.FLOAT, tuple(tensor.shape))
        for given, tensor in zip(names, inputs, strict=True)
    ]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)
    graph = helper.make_graph([node], "one", given, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    onnx_functions.add_functions(model, OPSET)
    onnx.checker.check_model(model)
    return model


def run(name, inputs, attributes, rank=4):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = model_of(name, inputs, attributes, rank).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = {f"x{index}": tensor.contiguous().numpy() for index, tensor in enumerate(inputs)}
    return torch.from_numpy(session.run(None, given)[0])


def tensors(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def convolution(operation, stride, silu):
    channels = 6 if operation == "dwconv3x3" else 5
    x, weight, bias = tensors((2, 6, 9, 8), (channels, 1 if channels == 6 else 6, 3, 3), (channels,))
    expected = getattr(operations, operation)(x, weight, bias, stride, silu)
    attributes = {"strides": [stride, stride]} | ({"group": 6} if channels == 6 else {})
    return [to_tokens(x), weight, bias], attributes, to_tokens(expected)


def inverted_residual(stride, adds):
    x, *layers = tensors((2, 6, 8, 10), (12, 6, 1, 1), (12,), (12, 1, 3, 3), (12,), (6, 12, 1, 1), (6,))
    expected = operations.inverted_residual(x, *layers, stride, adds)
    return [to_tokens(x), *layers], {"strides": [stride, stride], "group": 12}, to_tokens(expected)


def linear(silu, adds):
    x, weight, bias, residual = tensors((2, 3, 5, 6), (4, 6), (4,), (2, 3, 5, 4))
    residual = residual if adds else None
    expected = operations.linear(x, weight, bias, residual, silu)
    return [x, weight, bias, *([residual] if adds else [])], {}, expected


def attention(patch):
    [qkv] = tensors((2, 4, 6, 24))
    return [qkv], {"heads": 2, "patch": list(patch)}, operations.attention(qkv, 2, *patch)


CASES = {
    "Conv3x3": [lambda: convolution("conv3x3", 2, False)],
    "Conv3x3Silu": [lambda: convolution("conv3x3", 1, True)],
    "DwConv3x3": [lambda: convolution("dwconv3x3", 1, False)],
    "DwConv3x3Silu": [lambda: convolution("dwconv3x3", 2, True)],
    "InvertedResidual": [lambda: inverted_residual(2, False), lambda: inverted_residual(1, False)],
    "InvertedResidualAdd": [lambda: inverted_residual(1, True)],
    "Linear": [lambda: linear(False, False)],
    "LinearSilu": [lambda: linear(True, False)],
    "LinearAdd": [lambda: linear(False, True)],
    "LinearSiluAdd": [lambda: linear(True, True)],
    "Attention": [lambda: attention((2, 2)), lambda: attention((1, 1)), lambda: attention((1, 3))],
}


@pytest.mark.parametrize("name", onnx_functions.NAMES)
def test_a_function_computes_what_the_operation_computes(name):
    for case in CASES[name]:
        inputs, attributes, expected = case()
        torch.testing.assert_close(run(name, inputs, attributes), expected, rtol=1e-5, atol=1e-5)


def test_maps_are_channels_last():
    x, weight, bias = tensors((1, 3, 5, 7), (4, 3, 3, 3), (4,))
    answer = run("Conv3x3", [to_tokens(x), weight, bias], {"strides": [2, 2]})
    assert answer.shape == (1, 3, 4, 4)
    assert to_map(answer).shape == (1, 4, 3, 4)


@pytest.mark.parametrize("dynamic_size", [False, True], ids=["one size", "any size"])
def test_a_model_of_our_operations_runs_in_stock_onnxruntime(tmp_path, checkpoint, dynamic_size):
    path = tmp_path / "model.onnx"
    assert export(checkpoint, "onnx", path, keep_custom_ops=True, dynamic_size=dynamic_size).passed
    model = onnx.load(path)
    onnx.checker.check_model(model)
    ours = {node.op_type for node in model.graph.node if node.domain == DOMAIN}
    assert {"Conv3x3Silu", "InvertedResidual", "InvertedResidualAdd", "LinearAdd", "Attention"} <= ours
    assert ours == {function.name for function in model.functions}
    # Maps stay channels last from the first node to the last, but where onnx resizes one.
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Transpose") == 1 + 2 * kinds.count("Resize")
    assert "Conv" not in kinds
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    sizes = [(1, 96, 96), (3, 96, 96), *([(2, 160, 128)] if dynamic_size else [])]
    for batch, height, width in sizes:
        images = random_images(batch, height, width)
        expected = mvf.Session(checkpoint).run(images)
        found = session.run(None, {"pixel_values": images})[0]
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()

"""OpenVINO, torch.export and Triton: what each file holds, and that it answers as a session does."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import mobilevit_fast as mvf
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.export import export, torch_format

TOLERANCE = 1e-5


def error(found, expected):
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def quantized(checkpoint):
    return mvf.quantize(checkpoint, mvf.StaticInt8(), calibration=random_images(32, 96, 96))


def load_program(path):
    extra = {torch_format.METADATA: ""}
    return torch.export.load(path, extra_files=extra), json.loads(extra[torch_format.METADATA])


@pytest.mark.parametrize("keeps", [False, True], ids=["standard", "custom"])
def test_a_program_of_torch(tmp_path, checkpoint, keeps):
    path = tmp_path / "model.pt2"
    assert export(checkpoint, "torch", path, keep_custom_ops=keeps).passed
    program, facts = load_program(path)
    assert tuple(json.loads(facts["labels"])) == checkpoint.labels
    assert ("mobilevit_fast.attention" in str(program.graph)) is keeps
    module = program.module()
    for batch in (1, 3, 8):
        images = random_images(batch, 96, 96)
        with torch.no_grad():
            found = module(torch.from_numpy(images)).numpy()
        assert error(found, mvf.Session(checkpoint).run(images)) < TOLERANCE


def test_a_quantised_program_of_torch(tmp_path, quantized):
    assert export(quantized, "torch", tmp_path / "model.pt2").passed
    program, _ = load_program(tmp_path / "model.pt2")
    assert "quantized_decomposed.dequantize_per_channel" in str(program.graph)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_openvino(tmp_path, checkpoint, precision):
    openvino = pytest.importorskip("openvino")
    path = tmp_path / "model.xml"
    report = export(checkpoint, "openvino", path, precision=precision)
    assert report.passed
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.bin", "model.xml", "model.xml.json"]
    model = openvino.Core().read_model(path)
    assert [given.any_name for given in model.inputs] == ["pixel_values"]
    labels = model.get_rt_info(["mobilevit_fast", "labels"]).astype(str)
    assert tuple(json.loads(labels)) == checkpoint.labels
    size = (tmp_path / "model.bin").stat().st_size
    parameters = sum(array.size for array in checkpoint.tensors.values())
    assert size < (4.4 if precision == "fp32" else 2.4) * parameters
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    images = random_images(3, 96, 96)
    found = compiled([images.copy()], share_inputs=False)[0]
    assert error(found, mvf.Session(checkpoint).run(images)) < (TOLERANCE if precision == "fp32" else 5e-3)


@pytest.mark.parametrize("size", [(64, 64), (48, 64), (32, 32)])
def test_openvino_of_images_whose_last_map_is_one_patch(tmp_path, checkpoint, size):
    pytest.importorskip("openvino")
    assert export(checkpoint, "openvino", tmp_path / "model.xml", size=size).passed


def test_openvino_multiplies_integers(tmp_path, checkpoint, quantized):
    openvino = pytest.importorskip("openvino")
    path = tmp_path / "model.xml"
    assert export(quantized, "openvino", path).passed
    parameters = sum(array.size for array in checkpoint.tensors.values())
    assert (tmp_path / "model.bin").stat().st_size < 1.4 * parameters
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    facts = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops()]
    layers = [fact for fact in facts if fact["layerType"].astype(str) in ("Convolution", "FullyConnected")]
    assert len(layers) == len(quantized.checkpoint().weights)
    assert {fact["runtimePrecision"].astype(str) for fact in layers} <= {"u8", "i8"}


def test_a_model_repository_for_triton(tmp_path, checkpoint):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    repository = tmp_path / "models"
    assert export(checkpoint, "triton", repository, raw_pixels=True).passed
    folder = repository / "mobilevit_xxs"
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    assert files == ["1/model.onnx", "config.pbtxt", "labels.txt"]
    assert (folder / "labels.txt").read_text(encoding="utf-8").split() == list(checkpoint.labels)
    text = (folder / "config.pbtxt").read_text()
    for part in (
        'backend: "onnxruntime"',
        "max_batch_size: 64",
        'name: "images" data_type: TYPE_UINT8 dims: [3, 96, 96]',
        'name: "logits" data_type: TYPE_FP32 dims: [7]',
        "dynamic_batching { preferred_batch_size: [8, 16, 32]",
    ):
        assert part in text
    session = onnxruntime.InferenceSession(
        str(folder / "1" / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    assert [given.name for given in session.get_inputs()] == ["images"]
    assert [given.name for given in session.get_outputs()] == ["logits"]
    with pytest.raises(FileExistsError):
        export(checkpoint, "triton", repository)

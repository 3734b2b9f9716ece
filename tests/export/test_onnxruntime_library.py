"""Nodes of our domain on our kernels, inside onnxruntime."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

import mobilevit_fast as mvf
from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.benchmark.random_weights import random_checkpoint, random_images
from mobilevit_fast.export import export

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx_cases import CASES, given_to, model_of  # noqa: E402
from onnx_int8_cases import INT8_CASES  # noqa: E402

from mobilevit_fast import _C  # noqa: E402

try:
    LIBRARY = mvf.onnxruntime_library()
except FileNotFoundError as error:
    pytest.skip(str(error), allow_module_level=True)

ALL_CASES = CASES | INT8_CASES

THREADS = "mobilevit_fast.threads"


def session_of(model, threads=None, intra_op=2):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op
    options.log_severity_level = 4
    if threads is not None:
        options.add_session_config_entry(THREADS, str(threads))
    options.register_custom_ops_library(LIBRARY)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ALL_CASES)
def test_a_node_computes_what_the_operation_computes(name, threads):
    for make in ALL_CASES[name]:
        case = make()
        # Without its function, so that nothing else can have computed it.
        session = session_of(model_of(name, case, with_function=False), threads)
        found = torch.from_numpy(session.run(None, given_to(case))[0])
        # Winograd's transforms lose a digit; bytes are bytes.
        tolerance = 0 if found.dtype == torch.uint8 else 1e-4
        torch.testing.assert_close(found, case.expected.contiguous(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ALL_CASES)
def test_no_images_at_all(name):
    case = ALL_CASES[name][0]()
    session = session_of(model_of(name, case, with_function=False))
    given = {key: np.zeros((0, *value.shape[1:]), value.dtype) for key, value in given_to(case).items()}
    assert session.run(None, given)[0].shape == (0, *case.expected.shape[1:])


# Every channel count is one to a mean over pixels.
@pytest.mark.parametrize("name", sorted(ALL_CASES.keys() - {"Int8GlobalPool"}))
def test_what_does_not_fit_is_refused(name):
    case = ALL_CASES[name][0]()
    session = session_of(model_of(name, case, with_function=False))
    given = given_to(case)
    # One channel too many.
    axis = 1 if "Planar" in name else given["x0"].ndim - 1
    wrong = np.concatenate((given["x0"], given["x0"].take([0], axis)), axis)
    with pytest.raises(Exception, match="input 0 must"):
        session.run(None, given | {"x0": wrong})


def test_weights_are_initializers():
    case = CASES["Linear"][0]()
    case.weights = {2}
    with pytest.raises(Exception, match="input 1 is a weight, and must be an initializer"):
        session_of(model_of("Linear", case, with_function=False))


@pytest.mark.parametrize("epsilon", [-1.0, float("inf")])
@pytest.mark.parametrize("name", [name for name in ALL_CASES if "epsilon" in ALL_CASES[name][0]().attributes])
def test_epsilon_is_not_negative(name, epsilon):
    case = ALL_CASES[name][0]()
    case.attributes["epsilon"] = epsilon
    with pytest.raises(Exception, match="epsilon must be finite and not negative"):
        session_of(model_of(name, case, with_function=False))


@pytest.mark.parametrize("name", ["Attention", "Int8Attention"])
def test_more_heads_than_channels_are_refused(name):
    case = ALL_CASES[name][0]()
    case.attributes["heads"] = (2**64 + 2) // 3  # three times as many are 2 in 64 bits
    session = session_of(model_of(name, case, with_function=False))
    with pytest.raises(Exception, match="input 0 must have q, k and v of"):
        session.run(None, given_to(case))


def test_more_tokens_than_integers_sum_are_refused():
    case = INT8_CASES["Int8Attention"][0]()
    case.attributes |= {"heads": 1, "patch": [1, 1]}
    session = session_of(model_of("Int8Attention", case, with_function=False))
    with pytest.raises(Exception, match="at most 65536 tokens"):
        session.run(None, {"x0": np.zeros((1, 257, 256, 3), np.uint8)})


def test_more_products_than_integers_sum_are_refused():
    case = INT8_CASES["Int8LinearFloat"][0]()
    case.inputs[1] = torch.zeros(4, 2**14 + 1, dtype=torch.int8)
    with pytest.raises(Exception, match="input 1 sums 16385 products for each output"):
        session_of(model_of("Int8LinearFloat", case, with_function=False))


@pytest.mark.parametrize("threads", ["0", "none", "3x", ""])
def test_threads_are_a_number(threads):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(THREADS, threads)
    with pytest.raises(Exception, match=r"mobilevit_fast\.threads must be a number from 1"):
        options.register_custom_ops_library(LIBRARY)


@pytest.mark.parametrize("name", mvf.list_models())
def test_a_whole_model(tmp_path, name):
    checkpoint, path = random_checkpoint(name), tmp_path / "model.onnx"
    assert export(checkpoint, "onnx", path, size=(64, 96), keep_custom_ops=True).passed
    expected = mvf.Session(checkpoint)
    for threads in (1, 2):
        session = session_of(str(path), threads)
        for batch in (1, 3, 8):
            images = random_images(batch, 64, 96)
            answer = expected.run(images)
            found = session.run(None, {"pixel_values": images})[0]
            assert np.abs(found - answer).max() < 1e-5 * np.abs(answer).max()


@pytest.mark.parametrize("name", mvf.list_models())
def test_a_whole_model_on_bytes_is_the_engine(tmp_path, name):
    quantized, path = random_quantized(name), tmp_path / "model.onnx"
    # Of sizes that patches divide: else onnxruntime resizes, and rounds otherwise.
    assert export(quantized, "onnx", path, size=(128, 192), keep_custom_ops=True).passed
    expected, session = mvf.Session(quantized), session_of(str(path))
    for batch in (1, 3, 8):
        images = random_images(batch, 128, 192)
        np.testing.assert_array_equal(session.run(None, {"pixel_values": images})[0], expected.run(images))


def test_one_session_in_several_threads(tmp_path, checkpoint):
    path = tmp_path / "model.onnx"
    export(checkpoint, "onnx", path, keep_custom_ops=True)
    session = session_of(str(path))
    images = random_images(4, 96, 96)
    expected, found = mvf.Session(checkpoint).run(images), [None] * 4

    def run(index):
        for _ in range(5):
            found[index] = session.run(None, {"pixel_values": images[index : index + 1]})[0]

    workers = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert np.abs(np.concatenate(found) - expected).max() < 1e-5 * np.abs(expected).max()


def test_an_installation_without_the_library(monkeypatch):
    monkeypatch.setattr(_C, "has_onnxruntime_operations", False)
    with pytest.raises(FileNotFoundError, match="MVF_ONNXRUNTIME=OFF"):
        mvf.onnxruntime_library()

"""The Open Inference Protocol: JSON and binary tensors in and out, and everything malformed refused."""

from __future__ import annotations

import base64
import json
import struct
import threading

import numpy as np
import pytest
from colour_sessions import ColourSession, red_png, red_tensor
from hypothesis import given, settings
from hypothesis import strategies as st
from running_server import serving, wait_until

from mobilevit_fast.serve.problems import Problem
from mobilevit_fast.serve.protocol_v2 import parse_request

INFER = "/v2/models/colours/infer"


@pytest.fixture(scope="module")
def server():
    with serving(max_images=8) as running:
        yield running


def image_input(**changes):
    data = [base64.b64encode(red_png(red)).decode() for red in (30, 31)]
    return {"name": "image", "datatype": "BYTES", "shape": [2], "data": data} | changes


def tensor_input(**changes):
    data = np.stack([red_tensor(30), red_tensor(31)])
    shape = list(data.shape)
    return {"name": "pixel_values", "datatype": "FP32", "shape": shape, "data": data.tolist()} | changes


def bytes_of_pixels(data):
    return {"name": "image", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": data}


def infer(server, document, rest=b"", path=INFER):
    head = json.dumps(document).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))} if rest else {}
    return server.post(path, head + rest, headers)


def test_server_and_model_describe_themselves(server):
    assert "binary_tensor_data" in server.get("/v2").json["extensions"]
    assert server.get("/v2/health/live").json == {"live": True}
    assert server.get("/v2/health/ready").json == {"ready": True}
    model = server.get("/v2/models/colours").json
    assert model["versions"] == ["1"]
    assert {"name": "pixel_values", "datatype": "FP32", "shape": [-1, 3, 8, 8]} in model["inputs"]
    assert {"name": "logits", "datatype": "FP32", "shape": [-1, 256]} in model["outputs"]
    assert server.get("/v2/models/colours/versions/1").json == model
    assert server.get("/v2/models/colours/ready").json == {"name": "colours", "ready": True}
    assert server.get("/v2/models/colours/versions/2").status == 404
    assert server.get("/v2/models/none/ready").status == 404
    assert server.post("/v2/repository/index", b"").json[0]["state"] == "READY"


@pytest.mark.parametrize("tensor", [image_input(), image_input(shape=[2, 1]), tensor_input()])
def test_json_in_and_out(server, tensor):
    reply = infer(server, {"id": "mine", "inputs": [tensor]})
    assert reply.status == 200, reply.body
    [output] = reply.json["outputs"]
    assert reply.json["id"] == "mine"
    assert (reply.json["model_name"], reply.json["model_version"]) == ("colours", "1")
    assert (output["name"], output["datatype"], output["shape"]) == ("logits", "FP32", [2, 256])
    assert np.reshape(output["data"], (2, 256)).argmax(axis=1).tolist() == [30, 31]


def test_flat_data_and_bytes_of_pixels(server):
    flat = tensor_input()
    flat["data"] = np.ravel(flat["data"]).tolist()
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    pixels[..., 0] = 50
    raw = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 3], "data": pixels.ravel().tolist()}
    for tensor, reds in ((flat, [30, 31]), (raw, [50])):
        [output] = infer(server, {"inputs": [tensor]}).json["outputs"]
        assert np.reshape(output["data"], output["shape"]).argmax(axis=1).tolist() == reds


def test_binary_tensors_in_and_out(server):
    content = np.stack([red_tensor(60), red_tensor(61)]).tobytes()
    document = {
        "inputs": [
            {
                "name": "pixel_values",
                "datatype": "FP32",
                "shape": [2, 3, 8, 8],
                "parameters": {"binary_data_size": len(content)},
            }
        ],
        "outputs": [
            {"name": "scores", "parameters": {"binary_data": True}},
            {"name": "logits", "parameters": {"binary_data": True, "classification": 2}},
            {"name": "logits"},
        ],
    }
    reply = infer(server, document, content)
    assert reply.status == 200, reply.body
    length = int(reply.headers["Inference-Header-Content-Length"])
    head, rest = json.loads(reply.body[:length]), reply.body[length:]
    scores, classes, logits = head["outputs"]
    size = scores["parameters"]["binary_data_size"]
    values = np.frombuffer(rest[:size], "<f4").reshape(scores["shape"])
    assert values.argmax(axis=1).tolist() == [60, 61]
    np.testing.assert_allclose(values.sum(axis=1), 1, rtol=1e-5)
    assert (classes["datatype"], classes["shape"]) == ("BYTES", [2, 2])
    (first,) = struct.unpack_from("<I", rest, size)
    assert rest[size + 4 : size + 4 + first] == b"9.000000:60:class 60"
    assert len(rest) == size + classes["parameters"]["binary_data_size"]
    assert np.reshape(logits["data"], (2, 256)).argmax(axis=1).tolist() == [60, 61]


def test_binary_images_and_binary_output_for_all(server):
    files = [red_png(70), red_png(71), red_png(72)]
    content = b"".join(struct.pack("<I", len(file)) + file for file in files)
    tensor = image_input(shape=[3], parameters={"binary_data_size": len(content)})
    del tensor["data"]
    reply = infer(server, {"inputs": [tensor], "parameters": {"binary_data_output": True}}, content)
    length = int(reply.headers["Inference-Header-Content-Length"])
    assert reply.headers["Content-Type"] == "application/octet-stream"
    values = np.frombuffer(reply.body[length:], "<f4").reshape(3, 256)
    assert values.argmax(axis=1).tolist() == [70, 71, 72]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "JSON object"),
        ({}, "'inputs' must hold one tensor"),
        ({"inputs": []}, "'inputs' must hold one tensor"),
        ({"inputs": [image_input(), tensor_input()]}, "'inputs' must hold one tensor"),
        ({"inputs": [7]}, "an input must be an object"),
        ({"inputs": [image_input(name="picture")]}, "unknown input 'picture'"),
        ({"inputs": [image_input(datatype="FP64")]}, "must be BYTES or UINT8, got 'FP64'"),
        ({"inputs": [image_input(shape=[3])]}, "2 elements"),
        ({"inputs": [image_input(shape=[])]}, r"[N] or [N, 1]"),
        ({"inputs": [image_input(shape=[2, 3])]}, r"[N] or [N, 1]"),
        ({"inputs": [image_input(shape=[0])]}, "positive numbers"),
        ({"inputs": [image_input(shape=[True])]}, "positive numbers"),
        ({"inputs": [image_input(shape=[9])]}, "8 images at most"),
        ({"inputs": [image_input(data=["?", "!"])]}, "base64"),
        ({"inputs": [image_input(data=[1, 2])]}, "base64"),
        ({"inputs": [image_input(data=7)]}, "base64"),
        ({"inputs": [tensor_input(shape=[2, 8, 8, 3])]}, "[N, 3, H, W]"),
        ({"inputs": [tensor_input(shape=[2, 3, 8, 9])]}, "384 numbers"),
        ({"inputs": [tensor_input(data=["x"])]}, "not FP32 numbers"),
        ({"inputs": [tensor_input(data=[[1], [1, 2]])]}, "not FP32 numbers"),
        ({"inputs": [tensor_input(data={"a": 1})]}, "not FP32 numbers"),
        ({"inputs": [tensor_input(shape=[1, 3, 1, 1], data=[1, 2, float("nan")])]}, "finite FP32 numbers"),
        ({"inputs": [tensor_input(shape=[1, 3, 1, 1], data=[1, 2, float("inf")])]}, "finite FP32 numbers"),
        ({"inputs": [tensor_input(shape=[1, 3, 1, 1], data=[1, 2, 1e39])]}, "finite FP32 numbers"),
        ({"inputs": [tensor_input(shape=[1, 3, 1, 1], data=[1, 2, 10**400])]}, "not FP32 numbers"),
        ({"inputs": [tensor_input(shape=[1, 3, 1, 1], data=[1, 2, "3"])]}, "expected int or float, got str"),
        ({"inputs": [tensor_input(shape=[1, 3, 1, 1], data=[1, 2, None])]}, "got NoneType"),
        ({"inputs": [bytes_of_pixels([1, 2, 256])]}, "from 0 to 255"),
        ({"inputs": [bytes_of_pixels([1, 2, -1])]}, "from 0 to 255"),
        ({"inputs": [bytes_of_pixels([1.7, "2", True])]}, "expected int, got bool, float, str"),
        ({"inputs": [bytes_of_pixels([1, 2, True])]}, "not UINT8 numbers: expected int, got bool"),
        ({"inputs": [bytes_of_pixels([1, 2, 3.5])]}, "not UINT8 numbers: expected int, got float"),
        ({"inputs": [image_input()], "outputs": {"name": "logits"}}, "must be a list"),
        ({"inputs": [image_input()], "outputs": [{"name": "boxes"}]}, "'logits' or 'scores'"),
        ({"inputs": [image_input()], "parameters": []}, None),
        ({"inputs": [image_input()], "parameters": 7}, "'parameters' must be an object"),
        ({"inputs": [image_input()], "parameters": {"priority": "high"}}, "priority must be a number"),
        ({"inputs": [image_input(parameters={"binary_data_size": -1})]}, "number of bytes"),
        ({"inputs": [image_input(parameters={"binary_data_size": 10})]}, "0 bytes follow the JSON"),
    ],
)
def test_malformed_requests_are_refused(server, document, message):
    reply = infer(server, document)
    if message is None:
        assert reply.status == 200
        return
    assert reply.status == 400, reply.body
    assert message in reply.json["error"]
    assert reply.json["detail"] == reply.json["error"]


def test_bytes_that_do_not_fit_are_refused(server):
    tensor = tensor_input(parameters={"binary_data_size": 12})
    assert "takes 1536 bytes, got 12" in infer(server, {"inputs": [tensor]}, b"x" * 12).json["error"]
    assert "11 bytes follow" in infer(server, {"inputs": [tensor]}, b"x" * 11).json["error"]
    image = image_input(parameters={"binary_data_size": 8})
    reply = infer(server, {"inputs": [image]}, struct.pack("<I", 99) + b"abcd")
    assert "beyond the end" in reply.json["error"]
    headers = {"Inference-Header-Content-Length": "999999"}
    assert server.post(INFER, b"{}", headers).status == 400
    assert server.post(INFER, b"no json").status == 400
    assert server.post(INFER, b"[" * 100_000).status == 400
    assert infer(server, {"inputs": [image_input()]}, path="/v2/models/none/infer").status == 404


def test_numbers_that_are_not_finite_are_refused_as_bytes_too(server):
    content = np.array([1, 2, np.nan], "<f4").tobytes()
    tensor = tensor_input(shape=[1, 3, 1, 1], parameters={"binary_data_size": len(content)})
    reply = infer(server, {"inputs": [tensor]}, content)
    assert reply.status == 400
    assert "finite FP32 numbers" in reply.json["error"]


@pytest.mark.parametrize("output", ["logits", "scores"])
def test_an_answer_that_json_cannot_hold_is_a_problem(output):
    session = ColourSession()
    session.run = lambda pixels: np.full((len(pixels), 256), np.inf, np.float32)
    with serving({"colours": lambda: session}) as running:
        reply = infer(running, {"inputs": [image_input()], "outputs": [{"name": output}]})
        assert reply.status == 500
        assert "model 'colours' gave no finite answer" in reply.json["error"]


def test_one_bad_image_fails_the_whole_request(server):
    data = [base64.b64encode(content).decode() for content in (red_png(30), b"no image")]
    reply = infer(server, {"inputs": [image_input(data=data)]})
    assert reply.status == 422
    assert "not an image" in reply.json["error"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("name", "datatype", "shape", "data", "parameters")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from((image_input(), tensor_input())),
    st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES, max_size=3),
    st.dictionaries(st.sampled_from(("outputs", "parameters", "id")), JSON_VALUES, max_size=2),
    st.binary(max_size=20),
)
def test_any_request_is_read_or_refused(tensor, changes, more, rest):
    head = json.dumps({"inputs": [tensor | changes]} | more).encode()
    try:
        count = len(parse_request(head + rest, str(len(head)), most_images=8).images)
    except Problem as problem:
        count = -problem.status
    assert count == -400 or 1 <= count <= 8


def test_a_model_is_reloaded_while_it_answers():
    made = []

    def make():
        made.append(ColourSession(fixed_ms=1))
        if len(made) == 3:
            raise ValueError("the file is broken")
        return made[-1]

    with serving({"colours": make}) as running:
        running.session.gate.clear()
        replies = []
        threads = [
            threading.Thread(target=lambda: replies.append(running.post("/classify", red_png(20))))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        old = running.models.get()
        wait_until(lambda: old.batcher.pending == 4)
        loading = threading.Thread(
            target=lambda: replies.append(running.post("/v2/repository/models/colours/load", b""))
        )
        loading.start()
        wait_until(lambda: running.models.get().version == 2)
        assert running.post("/classify", red_png(21)).json["predictions"][0]["index"] == 21
        made[0].gate.set()
        for thread in (*threads, loading):
            thread.join(30)
        assert [reply.status for reply in replies] == [200] * 5
        assert running.get("/v2/models/colours").json["versions"] == ["2"]
        reply = running.post("/v2/repository/models/colours/load", b"")
        assert reply.status == 422
        assert "the old one stays: the file is broken" in reply.json["error"]
        assert running.post("/classify", red_png(22)).json["predictions"][0]["index"] == 22
        assert running.post("/v2/repository/models/none/load", b"").status == 404

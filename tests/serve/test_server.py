"""The server over real connections: answers, refusals, and clients that misbehave."""

from __future__ import annotations

import io
import threading
import time

import numpy as np
import pytest
from colour_sessions import ColourSession, red_png
from PIL import Image
from running_server import LONG, multipart, serving, wait_until


@pytest.fixture(scope="module")
def server():
    sessions = {"colours": ColourSession(), "others": ColourSession()}
    with serving({name: lambda session=session: session for name, session in sessions.items()}) as running:
        yield running


def problem(reply, status):
    """The detail of problem JSON of that status."""
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == "application/problem+json"
    content = reply.json
    assert content["status"] == status
    assert content["request_id"] == reply.headers["X-Request-Id"]
    assert {"type", "title", "instance"} <= content.keys()
    return content["detail"]


def best(reply):
    assert reply.status == 200, reply.body
    return reply.json["predictions"][0]["index"]


def test_an_image_as_body(server):
    reply = server.post("/classify?top_k=2", red_png(77), {"Content-Type": "image/png"})
    assert best(reply) == 77
    assert len(reply.json["predictions"]) == 2
    assert reply.json["model"] == "colours"
    assert reply.json["precision"] == "fp32"
    assert reply.json["batch_size"] >= 1
    assert reply.json["total_ms"] >= reply.json["run_ms"]
    assert server.post("/classify?model=others", red_png(78)).json["model"] == "others"


def test_files_of_a_form_are_answered_one_by_one_and_bad_ones_named(server):
    body, headers = multipart([("a.png", red_png(30)), ("b.txt", b"no image"), ("c.png", red_png(31))])
    reply = server.post("/classify?top_k=1", body, headers)
    assert reply.status == 200
    first, bad, last = reply.json["images"]
    assert (first["name"], first["predictions"][0]["index"]) == ("a.png", 30)
    assert (last["name"], last["predictions"][0]["index"]) == ("c.png", 31)
    assert bad["error"]["status"] == 422
    assert "not an image" in bad["error"]["detail"]


def test_media_types_have_no_case(server):
    body, headers = multipart([("a.png", red_png(30))])
    headers["Content-Type"] = headers["Content-Type"].replace("multipart/form-data", "Multipart/Form-Data")
    reply = server.post("/classify", body, headers)
    assert reply.status == 200, reply.body
    assert reply.json["images"][0]["predictions"][0]["index"] == 30


class BlindSession(ColourSession):
    """Its logits are not finite, as those of a model with a weight that is not."""

    def run(self, pixels):
        return np.full((len(pixels), len(self.labels)), np.nan, np.float32)


def test_a_model_without_finite_answers_is_told_as_its_own_fault():
    with serving({"blind": BlindSession}) as running:
        for path in ("/classify", "/saliency"):
            detail = problem(running.post(path, red_png(20)), 500)
            assert "model 'blind' gave no finite answer" in detail
        body, headers = multipart([("a.png", red_png(30))])
        [image] = running.post("/classify", body, headers).json["images"]
        assert image["error"]["status"] == 500
        assert "no finite answer" in image["error"]["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/classify", b"no image at all", 422, "not an image"),
        ("/classify", red_png(20)[:50], 422, "damaged"),
        ("/classify", b"", 400, "no body"),
        ("/classify?model=none", red_png(20), 404, "there is no model 'none'; there are colours, others"),
        ("/classify?top_k=0", red_png(20), 422, "top_k"),
        ("/classify?top_k=many", red_png(20), 422, "top_k"),
        ("/classify?timeout_ms=-1", red_png(20), 422, "timeout_ms"),
        ("/saliency", b"no image at all", 422, "not an image"),
        ("/saliency?index=256", red_png(20), 422, "256 classes"),
        ("/saliency?grid=99", red_png(20), 422, "grid"),
        ("/nowhere", b"x", 404, "Not Found"),
        ("/metrics", b"x", 405, "Method Not Allowed"),
    ],
)
def test_what_is_wrong_is_told_as_problem_json(server, path, body, status, message):
    assert message in problem(server.post(path, body), status)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"nonsense", "multipart/form-data; boundary=frontier"),
        (b"--frontier\r\nnonsense", "multipart/form-data; boundary=frontier"),
        (b"--frontier--\r\n", "multipart/form-data; boundary=frontier"),
        (b"nonsense", "multipart/form-data"),
        (multipart([("a.png", b"x")] * 65)[0], "multipart/form-data; boundary=frontier"),
    ],
)
def test_a_form_that_is_none_is_refused(server, body, content_type):
    problem(server.post("/classify", body, {"Content-Type": content_type}), 400)


def test_what_the_model_looked_at(server):
    array = np.zeros((8, 8, 3), np.uint8)
    array[:, :, 0] = 40
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    reply = server.post("/saliency?grid=3", stream.getvalue())
    assert reply.status == 200
    assert reply.json["index"] == 40
    assert np.array(reply.json["grid"]).shape == (3, 3)
    assert reply.json["box"] == [0, 0, 1, 1]


def test_many_clients_get_their_own_answers():
    wrong = []

    def ask(seed):
        reds = np.random.default_rng(seed).integers(20, 256, 25)
        for red in reds.tolist():
            if best(running.post("/classify?top_k=1", red_png(red))) != red:
                wrong.append(red)

    with serving(options={"max_batch": 8}) as running:
        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        assert running.models.get().batcher.metrics.outcomes["answered"] == 200
        assert max(len(batch) for batch in running.session.batches[-200:]) > 1
    assert not wrong


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_with_a_reason(chunked):
    with serving(max_body_bytes=1000) as running:
        body = iter([b"x" * 600, b"x" * 600]) if chunked else b"x" * 1200
        reply = (
            running.post("/classify", body, encode_chunked=chunked)
            if chunked
            else running.post("/classify", body)
        )
        assert "1000 bytes at most" in problem(reply, 413)
        assert reply.headers["Connection"] == "close"
        assert best(running.post("/classify", red_png(20))) == 20


def test_an_announced_body_over_the_limit_is_refused_before_it_is_sent():
    with serving(max_body_bytes=1000) as running, running.connect() as client:
        client.sendall(
            b"POST /classify HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_a_slow_body_is_given_up():
    with serving(body_timeout_s=0.2) as running, running.connect() as client:
        client.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nxx")
        assert client.recv(100).startswith(b"HTTP/1.1 408")
        assert best(running.post("/classify", red_png(20))) == 20


@pytest.mark.parametrize("start", [b"", b"POST /classify HT", b"GET / HTTP/1.1\r\nHost: x\r\nA: "])
def test_a_client_that_never_ends_its_headers_is_cut_off(start):
    with serving(body_timeout_s=0.3) as running, running.connect() as client:
        client.sendall(start)
        assert client.recv(100) == b""


def test_headers_without_end_are_cut_off(server):
    with server.connect() as client:
        try:
            client.sendall(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000)
            assert client.recv(100)[:12] in (b"HTTP/1.1 400", b"")
        except ConnectionError:
            pass
    assert server.get("/v2/health/live").status == 200


def test_what_is_no_http_is_refused(server):
    with server.connect() as client:
        client.sendall(b"\x16\x03\x01nonsense\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")


def test_an_aborted_upload_leaves_nothing_behind(server):
    for _ in range(5):
        with server.connect() as client:
            client.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nxx")
    wait_until(lambda: server.guard.active == 0)
    assert server.models.get().batcher.pending == 0


def test_the_image_of_a_client_that_leaves_is_given_up():
    with serving(options={"max_batch": 1}) as running:
        running.session.gate.clear()
        clients = [running.connect() for _ in range(3)]
        for client in clients:
            body = red_png(20)
            client.sendall(
                b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
        batcher = running.models.get().batcher
        wait_until(lambda: batcher.pending == 3)
        for client in clients:
            client.close()
        wait_until(lambda: batcher.metrics.outcomes["cancelled"] >= 2)
        running.session.gate.set()
        wait_until(lambda: batcher.pending == 0)
        assert running.guard.statuses["POST", "/classify", 499] >= 2


def background(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


def test_more_requests_than_allowed_are_refused_at_once():
    with serving(max_requests=2) as running:
        running.session.gate.clear()
        threads = [background(running.post, "/classify", red_png(20)) for _ in range(2)]
        wait_until(lambda: running.guard.active == 2)
        reply = running.post("/classify", red_png(20))
        assert "2 requests are worked on already" in problem(reply, 503)
        assert reply.headers["Retry-After"] == "1"
        assert running.get("/v2/health/live").status == 200
        running.session.gate.set()
        for thread in threads:
            thread.join(LONG)


def test_a_full_queue_is_told_at_once():
    with serving(options={"queue": 1}) as running:
        running.session.gate.clear()
        thread = background(running.post, "/classify", red_png(20))
        wait_until(lambda: running.models.get().batcher.pending == 1)
        reply = running.post("/classify", red_png(21))
        assert "as many as the queue holds" in problem(reply, 503)
        assert reply.headers["Retry-After"] == "1"
        running.session.gate.set()
        thread.join(LONG)


def test_an_answer_that_takes_too_long_is_given_up():
    with serving() as running:
        running.session.gate.clear()
        before = running.session.begun
        thread = background(running.post, "/classify", red_png(20))
        wait_until(lambda: running.session.begun > before)
        replies = []
        late = background(lambda: replies.append(running.post("/classify?timeout_ms=20", red_png(21))))
        wait_until(lambda: running.models.get().batcher.pending == 2)
        time.sleep(0.05)
        running.session.gate.set()
        late.join(LONG)
        assert "time allowed" in problem(replies[0], 504)
        thread.join(LONG)


def test_all_that_one_request_asks_shares_one_limit():
    # Each group of covered copies is within the limit; all of them together are far beyond it.
    session = ColourSession(fixed_ms=200)
    with serving({"slow": lambda: session}, request_timeout_s=1.0) as running:
        assert "allowed" in problem(running.post("/saliency?grid=24", red_png(20)), 504)
        assert sum(map(len, session.batches)) < 24 * 24


def test_a_stuck_engine_does_not_keep_clients_forever(monkeypatch):
    monkeypatch.setattr("mobilevit_fast.serve.asking._GRACE_S", 0.1)
    with serving(request_timeout_s=0.1) as running:
        running.session.gate.clear()
        assert "longer than allowed" in problem(running.post("/classify", red_png(20)), 504)


def test_an_image_of_too_many_pixels_is_refused():
    with serving(options={"max_pixels": 100}, max_pixels=100) as running:
        for path in ("/classify", "/saliency"):
            assert "over the limit of 100" in problem(running.post(path, red_png(20, side=11)), 422)


def test_a_token_is_asked_for():
    with serving(token="secret") as running:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer secretive"}):
            reply = running.post("/classify", red_png(20), headers)
            assert "bearer token" in problem(reply, 401)
            assert reply.headers["WWW-Authenticate"] == "Bearer"
            assert running.get("/metrics", headers).status == 401
        good = {"Authorization": "Bearer secret"}
        assert best(running.post("/classify", red_png(20), good)) == 20
        assert running.get("/metrics", good).status == 200
        assert running.get("/v2/health/ready").status == 200
        assert running.get("/").status == 200


def test_an_error_of_our_own_is_told_without_details(server, monkeypatch):
    def fail(*_):
        raise RuntimeError("a secret of the house")

    monkeypatch.setattr("mobilevit_fast.serve.prometheus.render", fail)
    assert "secret" not in problem(server.get("/metrics"), 500)


def test_metrics_are_prometheus_text(server):
    server.post("/classify", red_png(20))
    reply = server.get("/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = {}
    for line in reply.body.decode().splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name not in samples
            samples[name] = float(value)
    count = samples['mobilevit_fast_latency_seconds_count{model="colours"}']
    assert count == samples['mobilevit_fast_latency_seconds_bucket{model="colours",le="+Inf"}']
    assert count == samples['mobilevit_fast_requests_total{model="colours",outcome="answered"}'] > 0
    assert samples['mobilevit_fast_http_requests_total{method="POST",route="/classify",status="200"}'] > 0
    assert samples['mobilevit_fast_pending_images{model="others"}'] == 0


def test_invented_addresses_do_not_grow_the_metrics(server):
    for number in range(50):
        server.get(f"/nowhere/{number}")
        server.request(f"ODD{number}", "/nowhere")
    assert len(server.guard.statuses) < 40


def test_the_models_and_their_speed_are_listed(server):
    server.post("/classify", red_png(20))
    first, second = server.get("/models").json
    assert (first["name"], second["name"]) == ("colours", "others")
    assert first["group"] == "colours"
    assert first["p50_ms"] <= first["p99_ms"]
    assert first["answered"] > 0
    assert first["image_ms"] > 0
    assert second["classes"] == 256


def test_the_api_describes_itself(server):
    paths = server.get("/openapi.json").json["paths"]
    assert {"/classify", "/saliency", "/models", "/metrics", "/v2/models/{name}/infer"} <= paths.keys()
    assert "image/*" in paths["/classify"]["post"]["requestBody"]["content"]


def test_shutting_down_answers_what_was_accepted():
    replies = []
    with serving(drain_s=0.3) as running:
        running.session.gate.clear()
        threads = [
            background(lambda red=red: replies.append((red, running.post("/classify", red_png(red)))))
            for red in range(20, 30)
        ]
        wait_until(lambda: running.models.get().batcher.pending == 10)
        running.server.should_exit = True
        wait_until(lambda: running.guard.draining)
        assert running.get("/v2/health/ready").status == 503
        running.session.gate.set()
        for thread in threads:
            thread.join(LONG)
    assert sorted(red for red, _ in replies) == list(range(20, 30))
    assert all(best(reply) == red and reply.headers["Connection"] == "close" for red, reply in replies)

"""`mobilevit-fast serve` as a process: what it is told, signals under load, and how it ends."""

from __future__ import annotations

import http.client
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
from running_server import LONG, read_reply, wait_until
from server_process import server_process

from checkpoints import random_checkpoint
from mobilevit_fast import Session, cli
from mobilevit_fast.benchmark.random_quantized import random_quantized
from mobilevit_fast.cli.serve import find_variants
from mobilevit_fast.weights import save_checkpoint, save_quantized
from photographs import encoded, photograph

CAT = Path(__file__).resolve().parent.parent / "data" / "cat.jpg"


def versions(server):
    return {model["version"] for model in server.request("POST", "/v2/repository/index", b"").json}


class Load:
    """Clients that ask again and again, each answer checked against its image's.

    A request counts as lost if its client was connected and it came back with anything but its own answer.
    A client ends when its next connection is refused.
    """

    def __init__(self, address, images, expected, clients=6):
        self.address, self.images, self.expected = address, images, expected
        self.answered = 0
        self.lost = []
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number):
        connection = http.client.HTTPConnection(self.address, timeout=LONG)
        while True:
            number = (number + 1) % len(self.images)
            try:
                if connection.sock is None:
                    connection.connect()
            except ConnectionError:
                break
            try:
                connection.request("POST", "/classify?top_k=1", self.images[number])
                reply = read_reply(connection)
            except Exception as error:
                self.lost.append(error)
                break
            if reply.status != 200 or reply.json["predictions"][0]["index"] != self.expected[number]:
                self.lost.append(reply)
            self.answered += 1
        connection.close()

    def join(self):
        for thread in self._threads:
            thread.join(LONG)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def photos():
    session = Session("mobilevit_xxs.cifar10")
    images = [encoded(photograph(120, 100, seed), "JPEG") for seed in range(12)] + [CAT.read_bytes()]
    return images, [answer[0].index for answer in session.classify(images, top_k=1)]


def test_sigterm_under_load_loses_no_request_and_ends_with_0(photos):
    with server_process("--no-request-log") as server:
        load = Load(server.address, *photos)
        wait_until(lambda: load.answered > 20)
        server.send_signal(signal.SIGTERM)
        load.join()
        assert server.wait(LONG) == 0
        events = [line["event"] for line in server.log()]
    assert not load.lost
    assert events == ["listening", "shutting down", "stopped"]


def test_sighup_under_load_reloads_and_loses_no_request(photos):
    with server_process() as server:
        load = Load(server.address, *photos)
        wait_until(lambda: load.answered)
        for version in ("2", "3"):
            server.send_signal(signal.SIGHUP)
            wait_until(lambda wanted=version: versions(server) == {wanted})
        server.send_signal(signal.SIGTERM)
        load.join()
        assert server.wait(LONG) == 0
    assert not load.lost
    assert load.answered > 20


def test_the_page_of_a_group_has_every_precision(tmp_path):
    save_checkpoint(tmp_path / "tiny.safetensors", random_checkpoint())
    save_quantized(tmp_path / "small.safetensors", random_quantized("mobilevit_xxs"))
    float_source, small = str(tmp_path / "tiny.safetensors"), str(tmp_path / "small.safetensors")
    assert find_variants([float_source], ["fp32"]) == [("tiny", "tiny", float_source, "fp32")]
    variants = find_variants([f"net={float_source}", f"net={small}"], ["fp32", "bf16"])
    assert [name for name, *_ in variants] == ["net", "net-bf16", "net-int8"]
    assert {group for _, group, *_ in variants} == {"net"}
    with pytest.raises(ValueError, match="two models would be 'net' at fp32"):
        find_variants([f"net={float_source}"] * 2, ["fp32"])
    with pytest.raises(ValueError, match="a model's name may have"):
        find_variants([f"n/t={float_source}"], ["fp32"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.safetensors"], "nowhere.safetensors"),
        (["--port", "70000"], "port must be from 0 to 65535"),
        (["--timeout", "0"], "request_timeout_s"),
        (["--precision", "fp8"], "fp8"),
        (["--token-file", "nowhere.txt"], "nowhere.txt"),
        (["--host", "203.0.113.1", "--port", "0"], "cannot listen on 203.0.113.1"),
    ],
)
def test_bad_usage_exits_with_2_and_says_why(capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("mobilevit_fast.serve.logs.start_logging", lambda: None)
    assert cli.main(["serve", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe\x00secret", "token.bin' holds no token"), (b"one\ntwo\n", "one line"), (b"\n", "not empty")],
)
def test_a_file_that_holds_no_token_exits_with_2_and_says_why(capsys, tmp_path, content, message):
    path = tmp_path / "token.bin"
    path.write_bytes(content)
    assert cli.main(["serve", "--token-file", str(path)]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert "secret" not in errors


def test_a_port_that_is_taken_exits_with_2(capsys, monkeypatch):
    monkeypatch.setattr("mobilevit_fast.serve.logs.start_logging", lambda: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert cli.main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot listen on 127.0.0.1" in capsys.readouterr().err


def test_without_the_extra_the_remedy_is_named(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "mobilevit_fast.serve.app", raising=False)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert cli.main(["serve"]) == 2
    assert "pip install 'mobilevit_fast[serve]'" in capsys.readouterr().err


def test_a_token_comes_from_the_environment_or_a_file(tmp_path, monkeypatch, photos):
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.setenv("MOBILEVIT_FAST_TOKEN", "other")
    with server_process("--token-file", str(tmp_path / "token")) as server:
        assert server.request("POST", "/classify", photos[0][0]).status == 401
        good = {"Authorization": "Bearer secret"}
        assert server.request("POST", "/classify", photos[0][0], good).status == 200

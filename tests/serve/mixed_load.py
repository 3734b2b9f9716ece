"""Clients of every kind at once: good ones, whose every answer is checked, and the bad ones we know of."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import random
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from running_server import LONG, Reply, multipart, read_reply

GOOD_SHARE = 0.6


class MixedLoad:
    """Sends `count` requests from `clients` threads.

    Args:
        address: host and port.
        images: encoded photographs.
        expected: (index, score) of the best answer to each.
        most_bytes: the server's limit of a body.

    Attributes:
        faults: everything that went otherwise than it must, in words; empty after a good run.
        kinds: requests by kind.
    """

    def __init__(
        self, address: str, images: list[bytes], expected: list[tuple[int, float]], most_bytes: int
    ) -> None:
        self.address, self.images, self.expected, self.most_bytes = address, images, expected, most_bytes
        self.faults: list[str] = []
        self.kinds: Counter[str] = Counter()
        self._bad: list[Callable[[random.Random], None]] = [
            self._truncated,
            self._text,
            self._bomb,
            self._empty,
            self._oversized,
            self._oversized_in_chunks,
            self._unknown_model,
            self._bad_question,
            self._bad_tensor,
            self._bad_form,
            self._aborted_upload,
            self._leaves_before_the_answer,
            self._no_http,
        ]
        self._good: list[Callable[[random.Random], None]] = [
            self._plain,
            self._plain,
            self._plain,
            self._form,
            self._base64,
            self._binary,
            self._slow,
        ]

    def run(self, count: int, clients: int, seed: int = 0) -> None:
        threads = [
            threading.Thread(
                target=self._client, args=(random.Random(seed * 1000 + number), count // clients)
            )
            for number in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _client(self, rng: random.Random, count: int) -> None:
        for _ in range(count):
            action = rng.choice(self._good if rng.random() < GOOD_SHARE else self._bad)
            self.kinds[action.__name__.strip("_")] += 1
            try:
                action(rng)
            except Exception as error:
                self.faults.append(f"{action.__name__}: {type(error).__name__}: {error}")

    # Good requests

    def _plain(self, rng: random.Random) -> None:
        number = rng.randrange(len(self.images))
        self._check(self._post("/classify?top_k=1", self.images[number]), number)

    def _form(self, rng: random.Random) -> None:
        numbers = rng.choices(range(len(self.images)), k=3)
        body, headers = multipart([(str(number), self.images[number]) for number in numbers])
        reply = self._post("/classify?top_k=1", body, headers)
        self._expect(reply, 200)
        for number, answer in zip(numbers, reply.json["images"], strict=True):
            if answer["name"] != str(number):
                self.faults.append(f"form: {answer['name']} in the place of {number}")
            self._check_best(answer["predictions"][0], number)

    def _base64(self, rng: random.Random) -> None:
        numbers = rng.choices(range(len(self.images)), k=2)
        data = [base64.b64encode(self.images[number]).decode() for number in numbers]
        tensor = {"name": "image", "datatype": "BYTES", "shape": [2], "data": data}
        reply = self._post(self._infer(), json.dumps({"inputs": [tensor], "outputs": [{"name": "scores"}]}))
        self._expect(reply, 200)
        scores = np.reshape(reply.json["outputs"][0]["data"], reply.json["outputs"][0]["shape"])
        self._check_scores(scores, numbers)

    def _binary(self, rng: random.Random) -> None:
        numbers = rng.choices(range(len(self.images)), k=2)
        files = [self.images[number] for number in numbers]
        content = b"".join(struct.pack("<I", len(file)) + file for file in files)
        size = {"binary_data_size": len(content)}
        tensor = {"name": "image", "datatype": "BYTES", "shape": [2], "parameters": size}
        output = {"name": "scores", "parameters": {"binary_data": True}}
        head = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
        reply = self._post(self._infer(), head + content, {"Inference-Header-Content-Length": str(len(head))})
        self._expect(reply, 200)
        length = int(reply.headers["Inference-Header-Content-Length"])
        self._check_scores(np.frombuffer(reply.body[length:], "<f4").reshape(2, -1), numbers)

    def _slow(self, rng: random.Random) -> None:
        number = rng.randrange(len(self.images))
        image = self.images[number]

        def pieces():
            for start in range(0, len(image), len(image) // 3 + 1):
                yield image[start : start + len(image) // 3 + 1]
                time.sleep(rng.random() * 0.05)

        headers = {"Content-Length": str(len(image))}
        self._check(self._post("/classify?top_k=1", pieces(), headers), number)

    # Bad requests

    def _truncated(self, rng: random.Random) -> None:
        image = rng.choice(self.images)
        self._expect(self._post("/classify", image[: rng.randrange(2, len(image) // 2)]), 422)

    def _text(self, rng: random.Random) -> None:
        self._expect(self._post("/classify", b"no image" * rng.randrange(1, 99)), 422)

    def _bomb(self, rng: random.Random) -> None:
        self._expect(self._post("/classify", bomb(30_000 + rng.randrange(100))), 422)

    def _empty(self, rng: random.Random) -> None:
        self._expect(self._post("/classify", b""), 400)

    def _oversized(self, rng: random.Random) -> None:
        self._expect(self._post("/classify", bytes(self.most_bytes + rng.randrange(1, 1000))), 413)

    def _oversized_in_chunks(self, rng: random.Random) -> None:
        pieces = iter([bytes(self.most_bytes // 2 + 1)] * 2)
        self._expect(self._post("/classify", pieces), 413)

    def _unknown_model(self, rng: random.Random) -> None:
        self._expect(self._post("/classify?model=none", rng.choice(self.images)), 404)

    def _bad_question(self, rng: random.Random) -> None:
        self._expect(self._post("/classify?top_k=-1", rng.choice(self.images)), 422)

    def _bad_tensor(self, rng: random.Random) -> None:
        tensor = {"name": "pixel_values", "datatype": "FP32", "shape": [1, 3, 8, 8], "data": [1, 2]}
        self._expect(self._post(self._infer(), json.dumps({"inputs": [tensor]})), 400)

    def _bad_form(self, rng: random.Random) -> None:
        headers = {"Content-Type": "multipart/form-data; boundary=frontier"}
        self._expect(self._post("/classify", rng.choice(self.images), headers), 400)

    def _aborted_upload(self, rng: random.Random) -> None:
        image = rng.choice(self.images)
        with self._connect() as client:
            client.sendall(_head(len(image)) + image[: rng.randrange(len(image))])

    def _leaves_before_the_answer(self, rng: random.Random) -> None:
        image = rng.choice(self.images)
        with self._connect() as client:
            client.sendall(_head(len(image)) + image)

    def _no_http(self, rng: random.Random) -> None:
        with self._connect() as client:
            client.sendall(rng.randbytes(40) + b"\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                client.recv(100)

    # Tools

    def _infer(self) -> str:
        return "/v2/models/mobilevit_xxs.cifar10/infer"

    def _connect(self) -> socket.socket:
        host, port = self.address.split(":")
        return socket.create_connection((host, int(port)), timeout=LONG)

    def _post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection(self.address, timeout=LONG)
        try:
            chunked = not isinstance(body, bytes | str) and "Content-Length" not in (headers or {})
            connection.request("POST", path, body, headers or {}, encode_chunked=chunked)
            return read_reply(connection)
        finally:
            connection.close()

    def _check(self, reply: Reply, number: int) -> None:
        self._expect(reply, 200)
        self._check_best(reply.json["predictions"][0], number)

    def _check_best(self, prediction: dict[str, Any], number: int) -> None:
        index, score = self.expected[number]
        if prediction["index"] != index or abs(prediction["score"] - score) > 1e-4:
            self.faults.append(f"image {number}: {prediction} where {index} at {score} is right")

    def _check_scores(self, scores: np.ndarray, numbers: list[int]) -> None:
        for row, number in zip(scores, numbers, strict=True):
            best = int(row.argmax())
            self._check_best({"index": best, "score": float(row[best])}, number)

    def _expect(self, reply: Reply, status: int) -> None:
        if reply.status != status:
            raise AssertionError(f"status {reply.status} where {status} is right: {reply.body[:200]!r}")


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that claims `side` x `side` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


def _head(length: int) -> bytes:
    return b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length

"""A server of this process, on a port of its own, in a thread; and small clients for it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from colour_sessions import ColourSession

from mobilevit_fast.serve.app import create_app
from mobilevit_fast.serve.guard import Guard
from mobilevit_fast.serve.models import ModelSet, ModelSpec
from mobilevit_fast.serve.runner import Server, make_server
from mobilevit_fast.serve.settings import ServerSettings

LONG = 30


@dataclass
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class RunningServer:
    """Attributes: session: of the first model; models; guard; server; port."""

    session: Any
    models: ModelSet
    guard: Guard
    server: Server
    port: int

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        try:
            connection.request(method, path, body, headers or {}, **options)
            return read_reply(connection)
        finally:
            connection.close()

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None, **options: Any) -> Reply:
        return self.request("POST", path, body, headers, **options)

    def get(self, path: str, headers: dict[str, str] | None = None) -> Reply:
        return self.request("GET", path, headers=headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LONG)


def read_reply(connection: http.client.HTTPConnection) -> Reply:
    response = connection.getresponse()
    return Reply(response.status, response.headers, response.read())


@contextmanager
def serving(
    sessions: dict[str, Callable[[], Any]] | None = None,
    *,
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> Iterator[RunningServer]:
    """Serves sessions by name, by default one `ColourSession` named "colours", until the block ends."""
    session = ColourSession()
    openers = sessions or {"colours": lambda: session}
    limits = ServerSettings(port=0, **{"drain_s": 0.0, "log_requests": False} | settings)
    models = ModelSet([ModelSpec(name, "colours", make) for name, make in openers.items()], options)
    guard = create_app(models, limits)
    server = make_server(guard, models, limits)
    listener = server.bind()
    port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        yield RunningServer(models.get().session, models, guard, server, port)
    finally:
        server.should_exit = True
        getattr(models.get().session, "gate", threading.Event()).set()
        thread.join(LONG)
        assert not thread.is_alive(), "the server did not end"


def wait_until(condition: Callable[[], Any]) -> None:
    limit = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.002)


def multipart(files: list[tuple[str, bytes]]) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a form that sends files."""
    parts = [
        b'--frontier\r\nContent-Disposition: form-data; name="image"; filename="%s"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n%s\r\n" % (name.encode(), content)
        for name, content in files
    ]
    headers = {"Content-Type": "multipart/form-data; boundary=frontier"}
    return b"".join(parts) + b"--frontier--\r\n", headers

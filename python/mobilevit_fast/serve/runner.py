"""Running the application in uvicorn: slow clients, signals, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import threading
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mobilevit_fast.serve.guard import Guard
from mobilevit_fast.serve.logs import log
from mobilevit_fast.serve.models import ModelSet
from mobilevit_fast.serve.settings import ServerSettings

_MOST_HEADER_BYTES = 1 << 16
_LAST_WORDS_S = 0.25
"""On the way down: what a client has sent on an idle connection by then is still answered."""


def make_server(app: Guard, models: ModelSet, settings: ServerSettings) -> Server:
    """A uvicorn server, not started."""

    class Protocol(GuardedProtocol):
        header_timeout_s = settings.body_timeout_s / 3

    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(settings.body_timeout_s + settings.request_timeout_s) + 5,
    )
    return Server(config, app, models, settings)


class Server(uvicorn.Server):
    """Stops at SIGTERM and SIGINT after answering what was accepted; reloads all models at SIGHUP."""

    def __init__(
        self, config: uvicorn.Config, guard: Guard, models: ModelSet, settings: ServerSettings
    ) -> None:
        super().__init__(config)
        self._guard = guard
        self._models = models
        self._settings = settings
        self._reloads: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self.url = ""

    def bind(self) -> socket.socket:
        """Takes the port and sets `url`; clients may connect from now on, and wait until the server runs.

        Raises OSError where the address is taken or is none of this machine's.
        """
        host = self._settings.host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, self._settings.port))
            listener.listen(self.config.backlog)
        except OSError as error:
            listener.close()
            raise OSError(f"cannot listen on {host} port {self._settings.port}: {error.strerror}") from error
        # A second handle: the loop closes its own before the last connections are taken.
        self._listener = listener.dup()
        name = f"[{host}]" if family == socket.AF_INET6 else host
        self.url = f"http://{name}:{listener.getsockname()[1]}"
        return listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        log("listening", url=self.url, models=self._models.names)
        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload_all)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Every answer from here on tells its client to close; new connections are still served meanwhile.
        self._guard.draining = True
        log("shutting down", active=self._guard.active)
        await asyncio.sleep(self._settings.drain_s)
        await self._take_last_connections()
        await super().shutdown(sockets)
        log("stopped")

    async def _take_last_connections(self) -> None:
        """Stops listening, and serves the clients that have connected and were not accepted until now.

        Closing the port on them would reset their connections.
        """
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        with self._listener as listener:
            listener.setblocking(False)
            while True:
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    break
                await loop.connect_accepted_socket(self._make_protocol, connection)

    def _make_protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own raises the signal again at the end, and a clean end would look like a kill.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    def _reload_all(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload_each())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload_each(self) -> None:
        for name in self._models.names:
            try:
                await self._models.reload(name)
            except Exception as error:
                # A bad file must not end a server that runs; the old model stays.
                log("reload failed", level=logging.ERROR, error=error, model=name)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol for clients of ill will: headers have a limit of time and size.

    Attributes:
        header_timeout_s: from a connection, or a request's first byte, to the end of its headers.
    """

    header_timeout_s = 10.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._header_bytes: int | None = 0
        self._ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._header_bytes is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._header_bytes is not None and self._header_bytes > _MOST_HEADER_BYTES:
            self.send_400_response("The headers are too long.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_bytes = 0
        self._start_timer()

    def on_headers_complete(self) -> None:
        self._header_bytes = None
        self._stop_timer()
        super().on_headers_complete()
        if self._ending:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        self._ending = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_LAST_WORDS_S, super().shutdown)
        else:
            super().shutdown()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self.header_timeout_s, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def announce(server: Server, models: ModelSet, as_json: bool) -> str:
    """What a person, or with `as_json` a program, is told at the start."""
    if as_json:
        return json.dumps({"url": server.url, "models": models.names})
    return f"Serving {', '.join(models.names)} on {server.url} (page: /, API: /docs); stop with Ctrl+C"

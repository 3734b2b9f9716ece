"""`mobilevit-fast serve` as a process of its own."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from running_server import LONG, Reply, read_reply


class ServerProcess(subprocess.Popen):
    """Attributes: address: host and port; log_path: its standard error."""

    address: str
    log_path: Path

    def log(self) -> list[dict]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection(self.address, timeout=LONG)
        try:
            connection.request(method, path, body, headers or {})
            return read_reply(connection)
        finally:
            connection.close()

    @property
    def resident_bytes(self) -> int:
        """Memory that the process holds."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024


@contextmanager
def server_process(*arguments: str) -> Iterator[ServerProcess]:
    """The command on a free port, ended when the block ends."""
    command = [sys.executable, "-m", "mobilevit_fast", "serve", "--port", "0", "--json", *arguments]
    with tempfile.TemporaryDirectory() as folder:
        log_path = Path(folder) / "log"
        with (
            log_path.open("w") as log,
            ServerProcess(command, stdout=subprocess.PIPE, stderr=log, text=True) as server,
        ):
            try:
                line = server.stdout.readline()
                assert line, log_path.read_text()
                server.address, server.log_path = urlsplit(json.loads(line)["url"]).netloc, log_path
                yield server
            finally:
                server.kill()

"""What a server allows."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class ServerSettings:
    """Limits of one server; each has a default that suits photographs.

    Attributes:
        host, port: where it listens; the default is reachable from this machine alone. Port 0: any free one.
        token: what clients must send as `Authorization: Bearer ...`; None for no such check.
        max_body_bytes: largest body of a request.
        max_pixels: largest image that is decoded.
        max_images: images in one request of the Open Inference Protocol.
        max_requests: requests that are worked on at a time; further ones are refused with status 503.
        body_timeout_s: longest time that a client may take to send a body; for its headers a third of that.
        request_timeout_s: longest time from a complete request to its answer.
        drain_s: on the way down, how long connections are still accepted, so that no client that is just
            connecting is cut off.
        log_requests: write a line for each request.

    Raises:
        ValueError: a limit that is not positive, or a token that no header can hold.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    max_body_bytes: int = 16 * _MEBIBYTE
    max_pixels: int = 40_000_000
    max_images: int = 64
    max_requests: int = 256
    body_timeout_s: float = 30.0
    request_timeout_s: float = 30.0
    drain_s: float = 0.5
    log_requests: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.startswith("max_") and value < 1:
                raise ValueError(f"{field.name} must be at least 1, got {value!r}")
            if field.name.endswith("_timeout_s") and not 0 < value < float("inf"):
                raise ValueError(f"{field.name} must be a positive number of seconds, got {value!r}")
        if not 0 <= self.port < 1 << 16:
            raise ValueError(f"port must be from 0 to 65535, got {self.port!r}")
        if not 0 <= self.drain_s < float("inf"):
            raise ValueError(f"drain_s must be a number of seconds, got {self.drain_s!r}")
        if self.token is not None and not re.fullmatch("[!-~]+", self.token):
            # Without the token itself, which is a secret.
            raise ValueError("the token must be one line of printable ASCII without spaces, and not empty")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("127.0.0.1", "::1", "localhost")

"""Log lines as JSON, one object a line, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import TextIO

LOGGER = logging.getLogger("mobilevit_fast.serve")


class JsonFormatter(logging.Formatter):
    """time, level, event, and what was passed as `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log(
    event: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: object
) -> None:
    """One line. Fields must not hold what clients keep secret."""
    LOGGER.log(level, event, exc_info=error, extra={"fields": fields})


def start_logging(stream: TextIO | None = None) -> None:
    """Sends this process's lines, and the warnings of all that it uses, to `stream`, by default stderr."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    LOGGER.setLevel(logging.INFO)
    # It warns of each broken form; the line of the request says so already.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)

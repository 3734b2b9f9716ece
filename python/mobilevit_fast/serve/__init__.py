"""From one image at a time to many at once: an in-process batcher, and a server around it."""

from mobilevit_fast.serve.batcher import Batcher
from mobilevit_fast.serve.errors import ClosedError, DeadlineError, QueueFullError, ServeError
from mobilevit_fast.serve.request import Answer

__all__ = ["Answer", "Batcher", "ClosedError", "DeadlineError", "QueueFullError", "ServeError"]

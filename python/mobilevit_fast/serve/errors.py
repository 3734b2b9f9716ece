"""Why a request was not answered, beyond an image that cannot be read."""

from __future__ import annotations


class ServeError(RuntimeError):
    """A request that was refused or given up; nothing is wrong with its image."""


class QueueFullError(ServeError):
    """As many requests as the queue holds wait already. Try again later, or send fewer at a time."""


class DeadlineError(ServeError):
    """The time that the caller gave had passed before the image could run."""


class ClosedError(ServeError):
    """The batcher has been closed."""

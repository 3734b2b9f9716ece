"""Sets of CPUs for processes that share a machine: each takes one that no other has."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from typing import IO


class CpuSet:
    """Keeps this process on `size` CPUs that no other `CpuSet` of this user has, until the process ends.

    Where all are taken, the process stays on all that it may use: slower, and never refused.

    Attributes:
        cpus: where the process runs now.
    """

    def __init__(self, size: int) -> None:
        allowed = sorted(os.sched_getaffinity(0))
        self.cpus = frozenset(allowed)
        self._locks: dict[int, IO[str]] = {}
        folder = Path(tempfile.gettempdir()) / f"mobilevit_fast-cpus-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        with (folder / "choice").open("w") as choice:
            # One process chooses at a time: two could each keep what the other lacks.
            fcntl.flock(choice, fcntl.LOCK_EX)
            free = {cpu: lock for cpu in allowed if (lock := _try_lock(folder / str(cpu)))}
            chosen = list(free)[:size]
            if len(chosen) == size:
                self._locks = {cpu: free.pop(cpu) for cpu in chosen}
            for lock in free.values():
                lock.close()
        if self._locks:
            self.cpus = frozenset(chosen)
            os.sched_setaffinity(0, self.cpus)


def _try_lock(path: Path) -> IO[str] | None:
    """The locked file; the system lets go of it when the process ends, however it ends."""
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock

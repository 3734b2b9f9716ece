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
        self._lock: IO[str] | None = None
        folder = Path(tempfile.gettempdir()) / f"mobilevit_fast-cpus-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        for start in range(0, len(allowed) - size + 1, size):
            cpus = allowed[start : start + size]
            lock = (folder / "-".join(map(str, cpus))).open("w")
            try:
                # The system lets go of it when the process ends, however it ends.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            self._lock = lock
            self.cpus = frozenset(cpus)
            os.sched_setaffinity(0, self.cpus)
            return

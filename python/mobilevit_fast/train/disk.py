"""A full disk, told as such."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

_KEPT = 3
"""Checkpoints that lie on the disk at the same time: two, and the one being written."""


@contextmanager
def explaining_full_disks(folder: Path, checkpoint_bytes: int) -> Iterator[None]:
    """Around a training that writes its checkpoints into `folder`, which is made.

    Raises:
        OSError: ENOSPC, before the block where there is no space for its checkpoints, or in its place where
            a write failed for want of space, which torch and safetensors report in types of their own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < checkpoint_bytes * _KEPT:
        raise _full(folder, f"checkpoints need {checkpoint_bytes * _KEPT / 1e6:.0f} MB")
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        full = shutil.disk_usage(folder).free < checkpoint_bytes
        if full or "os error 28" in str(error):
            raise _full(folder, "a checkpoint could not be written; those before it are whole") from error
        raise


def _full(folder: Path, why: str) -> OSError:
    free = shutil.disk_usage(folder).free
    return OSError(
        errno.ENOSPC,
        f"no space left on the device ({free / 1e6:.0f} MB free): {why}; make room and go on with resume",
        str(folder),
    )

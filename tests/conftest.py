"""Every test that takes `isa` runs on every kernel table that this machine can run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from mobilevit_fast import _C
from stub_hub import hub  # noqa: F401, a fixture

ISA_TABLES = _C.isa_tables()

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core; torch, which comes later, would take all of them in every one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """Gives back the cores and torch's threads that a test limits: all that follow would be slower."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    threads = _torch_threads()
    yield
    if cores is not None and os.sched_getaffinity(0) != cores:
        os.sched_setaffinity(0, cores)
    if threads is not None and _torch_threads() != threads:
        sys.modules["torch"].set_num_threads(threads)


def _torch_threads() -> int | None:
    """None where no test has needed torch yet."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if hasattr(torch, "get_num_threads") else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "isa" in metafunc.fixturenames:
        metafunc.parametrize("isa", ISA_TABLES)


def pytest_collection_modifyitems() -> None:
    if not ISA_TABLES:
        raise pytest.UsageError("no kernel table runs on this machine, so the tests would prove nothing")


def pytest_report_header() -> str:
    return f"kernel tables: {', '.join(ISA_TABLES)}"

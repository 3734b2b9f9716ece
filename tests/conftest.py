"""Every test that takes `isa` runs on every kernel table that this machine can run."""

from __future__ import annotations

import pytest

from mobilevit_fast import _C
from stub_hub import hub  # noqa: F401, a fixture

ISA_TABLES = _C.isa_tables()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "isa" in metafunc.fixturenames:
        metafunc.parametrize("isa", ISA_TABLES)


def pytest_collection_modifyitems() -> None:
    if not ISA_TABLES:
        raise pytest.UsageError("no kernel table runs on this machine, so the tests would prove nothing")


def pytest_report_header() -> str:
    return f"kernel tables: {', '.join(ISA_TABLES)}"

"""Fixtures of the benchmarks, and the table of ratios at their end. Nothing here fails on time.

    pytest benchmarks --benchmark-json=results.json

The peers that are installed run beside this project; MOBILEVIT_FAST_BENCH_PEERS="onnxruntime openvino" picks
some of them, MOBILEVIT_FAST_BENCH_PRECISION=bf16 another precision.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mobilevit_fast import _C
from mobilevit_fast.benchmark.comparison import Result
from mobilevit_fast.benchmark.peers import Assets, Peer
from mobilevit_fast.benchmark.random_weights import random_checkpoint
from mobilevit_fast.cli.bench import choose_peers, describe
from mobilevit_fast.config import list_models

ISA_TABLES = _C.isa_tables()
PRECISION = os.environ.get("MOBILEVIT_FAST_BENCH_PRECISION", "fp32")
RESULTS = pytest.StashKey[list[Result]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "isa" in metafunc.fixturenames:
        metafunc.parametrize("isa", ISA_TABLES)


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    results = config.stash[RESULTS]
    if results:
        terminalreporter.section("milliseconds an image (times ours)")
        terminalreporter.write_line(describe(results, PRECISION))


@pytest.fixture(scope="session")
def precision() -> str:
    return PRECISION


@pytest.fixture(scope="session")
def peers(precision: str) -> list[Peer]:
    names = os.environ.get("MOBILEVIT_FAST_BENCH_PEERS")
    return choose_peers(names.split() if names else None, precision)


@pytest.fixture(scope="module", params=list_models())
def assets(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Assets:
    folder: Path = tmp_path_factory.mktemp("assets")
    return Assets(random_checkpoint(request.param), folder)


@pytest.fixture
def results(request: pytest.FixtureRequest) -> list[Result]:
    return request.config.stash[RESULTS]

"""Whole models beside the peers: our time by pytest-benchmark, the ratios from turns in the same process."""

from __future__ import annotations

import pytest

from mobilevit_fast import _C, Session
from mobilevit_fast.benchmark.comparison import Workload, compare_one
from mobilevit_fast.benchmark.random_weights import random_images

ROUNDS = 10


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 8, 32])
def test_model(benchmark, assets, peers, precision, results, batch, threads):
    if threads > _C.default_threads():
        pytest.skip(f"this process may use {_C.default_threads()} cores")
    workload = Workload(assets.checkpoint.config.name, batch, threads)
    result = compare_one(workload, assets.checkpoint, assets, peers, precision=precision)
    results.append(result)
    benchmark.group = f"{workload.model} {precision}, batch {batch}, threads {threads}"
    benchmark.extra_info.update(ms=result.ms, ratios=result.ratios, differences=result.differences)
    images = random_images(batch, *workload.size)
    session = Session(assets.checkpoint, precision=precision, threads=threads)
    benchmark.pedantic(session.run, (images,), rounds=ROUNDS, warmup_rounds=2)


def test_cold_classification(benchmark, assets, precision):
    """A session made and one image run: what a short-lived process pays besides its imports."""
    images = random_images(1, 256, 256)
    benchmark.group = f"{assets.checkpoint.config.name}, from checkpoint to first logits"
    benchmark.pedantic(lambda: Session(assets.checkpoint, precision=precision).run(images), rounds=ROUNDS)

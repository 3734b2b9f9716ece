"""Batch sizes from measured latencies."""

from __future__ import annotations

import math

import pytest
from colour_sessions import ColourSession, red_tensor

from mobilevit_fast import Batcher
from mobilevit_fast.serve import latency_curve
from mobilevit_fast.serve.latency_curve import LatencyCurve
from mobilevit_fast.serve.metrics import Histogram, percentile
from mobilevit_fast.serve.policy import BatchPolicy


def curve(milliseconds, largest=32):
    made = LatencyCurve(largest)
    for size, ms in milliseconds.items():
        made.observe(size, ms)
    return made


FALLING = {1: 10.0, 2: 12.0, 4: 16.0, 8: 24.0, 16: 48.0}
"""Each doubling up to 8 pays; beyond, an image costs as much as before."""


def test_sizes_between_lie_on_a_line_and_beyond_cost_the_same_an_image():
    made = curve(FALLING)
    assert made.latency(1) == 10
    assert made.latency(3) == pytest.approx(14)
    assert made.latency(12) == pytest.approx(36)
    assert made.latency(32) == pytest.approx(96)
    assert curve({4: 16.0}).latency(2) == 16
    assert LatencyCurve(4).latency(3) == 0
    assert made.points() == sorted(FALLING.items())


@pytest.mark.parametrize(
    ("most_ms", "size"), [(math.inf, 8), (24, 8), (23.9, 7), (16, 4), (11, 1), (1, 1), (0, 1)]
)
def test_the_smallest_of_the_best_batches_within_the_time_is_chosen(most_ms, size):
    assert curve(FALLING).choose(most_ms) == size


def test_where_an_image_always_costs_the_same_one_is_enough():
    assert curve({1: 10.0, 2: 20.0, 4: 40.0}).choose(math.inf) == 1


def test_observations_move_the_curve_slowly():
    made = curve({1: 10.0})
    made.observe(1, 20.0)
    assert made.points() == [(1, 11.0)]
    for _ in range(100):
        made.observe(1, 20.0)
    assert made.latency(1) == pytest.approx(20, rel=0.01)


def test_noise_does_not_make_more_images_quicker_than_fewer():
    made = curve({1: 10.0, 2: 9.0, 4: 12.0})
    assert [made.latency(size) for size in (1, 2, 3, 4)] == [10.0, 10.0, 10.5, 12.0]


def test_measuring_keeps_to_its_budget_and_to_what_may_be_chosen(monkeypatch):
    sizes = []
    now = [0.0]
    monkeypatch.setattr(latency_curve, "perf_counter", lambda: now[0])

    def run(size):
        sizes.append(size)
        now[0] += 0.004 * size

    made = LatencyCurve(64)
    made.measure(run, budget_ms=100, most_ms=math.inf)
    assert max(sizes) == 4
    assert made.points() == [(1, pytest.approx(4)), (2, pytest.approx(8)), (4, pytest.approx(16))]
    sizes.clear()
    made = LatencyCurve(64)
    made.measure(run, budget_ms=1e6, most_ms=7)
    assert max(sizes) == 2
    sizes.clear()
    made.measure(sizes.append, budget_ms=1e6, most_ms=math.inf)
    assert sizes == [1, *(size for size in (1, 2, 4, 8, 16, 32, 64) for _ in range(2))]


def test_a_target_leaves_each_batch_half_of_what_decoding_does_not_take():
    policy = BatchPolicy(curve(FALLING), 32, 2.0, target_ms=58.0, decode_ms=10.0)
    assert policy.size() == 8
    policy.decode_ms = 20.0
    assert policy.size() == 5
    policy.target_ms = 1.0
    assert policy.size() == 1
    assert BatchPolicy(curve(FALLING), 32, 2.0).size() == 32


def test_images_wait_only_where_company_pays_and_the_target_allows():
    policy = BatchPolicy(curve(FALLING), 32, 2.0)
    assert policy.delay(1) == pytest.approx(0.002)
    assert policy.delay(8) == 0
    assert BatchPolicy(curve(FALLING), 32, 0.0).delay(1) == 0
    assert BatchPolicy(curve({1: 10.0, 2: 20.0}), 32, 2.0).delay(1) == 0
    assert BatchPolicy(curve(FALLING), 32, 5.0, target_ms=49.0).delay(1) == pytest.approx(0.0005)
    assert BatchPolicy(curve(FALLING), 32, 5.0, target_ms=2.0).delay(1) == 0


def test_a_batch_is_no_larger_than_its_earliest_deadline_allows():
    policy = BatchPolicy(curve(FALLING), 32, 2.0)
    assert policy.fitting([math.inf] * 8, now=5.0) == 8
    assert policy.fitting([math.inf] * 3 + [5.017] + [math.inf] * 4, now=5.0) == 4
    assert policy.fitting([5.013] + [math.inf] * 7, now=5.0) == 2
    assert policy.fitting([5.001] * 8, now=5.0) == 1
    policy.note_decoding(20.0)
    assert policy.decode_ms == pytest.approx(1.0)


def test_the_batcher_keeps_batches_within_its_target():
    session = ColourSession(fixed_ms=2, image_ms=2)
    with Batcher(session, max_batch=32, target_p99_ms=25) as batcher:
        session.batches.clear()
        futures = [batcher.submit(red_tensor(20)) for _ in range(64)]
        for future in futures:
            future.result(30)
        chosen = batcher.metrics.chosen_batch
    assert max(len(batch) for batch in session.batches) < 16
    assert 1 <= chosen < 8


def test_the_snapshot_tells_what_happened():
    session = ColourSession(fixed_ms=1)
    with Batcher(session, max_batch=4) as batcher:
        assert batcher.metrics.p99_ms is None
        assert batcher.metrics.images_per_second == 0
        for red in range(20, 30):
            batcher.submit(red_tensor(red)).result(30)
        snapshot = batcher.metrics
    assert snapshot.outcomes["answered"] == snapshot.images == sum(snapshot.total_ms.counts) == 10
    assert sum(snapshot.batch_size.counts) == snapshot.batches == sum(snapshot.run_ms.counts)
    assert 1 <= snapshot.p50_ms <= snapshot.p99_ms
    assert snapshot.images_per_second > 0
    assert snapshot.curve[0][0] == 1


def test_histograms_count_up_to_and_with_each_bound():
    histogram = Histogram((1, 2, 5))
    for value in (0.5, 1, 2, 3, 9):
        histogram.add(value)
    assert histogram.counts == [2, 1, 1, 1]
    assert histogram.total == 15.5
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0
    assert percentile([], 0.5) is None

"""The measuring itself: turns are fair, peers compute what we compute."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from mobilevit_fast import _C, Session
from mobilevit_fast.benchmark.comparison import OURS, Workload, compare, pin
from mobilevit_fast.benchmark.interleave import Pace, interleave
from mobilevit_fast.benchmark.peers import PEERS, Assets
from mobilevit_fast.benchmark.random_weights import random_checkpoint, random_images
from mobilevit_fast.benchmark.roofline import draw_roofline, measure_bandwidth
from mobilevit_fast.cli.bench import choose_peers

QUICK = Pace(rounds=1, seconds=0, least_calls=1, pause=0)


def test_turns_are_interleaved_and_rotate():
    order = []
    contenders = {name: (lambda name=name: order.append(name)) for name in "abc"}
    medians = interleave(contenders, Pace(rounds=2, seconds=0, least_calls=1, pause=0))
    assert order == [*"aa", *"bb", *"cc", *"bb", *"cc", *"aa"]
    assert medians.keys() == contenders.keys()


def test_a_slower_contender_takes_longer():
    contenders = {"short": lambda: time.sleep(0.002), "long": lambda: time.sleep(0.02)}
    medians = interleave(contenders, Pace(rounds=3, seconds=0.02, least_calls=3, pause=0))
    assert 0.002 <= medians["short"] < medians["long"]


def test_a_call_longer_than_a_turn_is_timed_once():
    calls = []
    contenders = {"slow": lambda: (calls.append("slow"), time.sleep(0.03))}
    interleave(contenders, Pace(rounds=2, seconds=0.02, least_calls=3, pause=0))
    assert len(calls) == 2 * 2


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_answers_as_the_engine_does(peer, tmp_path):
    if peer.missing() or not peer.by_default:
        pytest.skip(f"{peer.name} is not installed or not run by default")
    checkpoint = random_checkpoint("mobilevit_xxs")
    images = random_images(2, 64, 96)
    logits = peer.build(Assets(checkpoint, tmp_path), images.shape, 1, "fp32")(images)
    expected = Session(checkpoint).run(images)
    assert np.abs(logits - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    "peer", [peer for peer in PEERS if "int8" in peer.precisions], ids=lambda peer: peer.name
)
def test_a_peer_quantises_the_same_model(peer, tmp_path):
    if peer.missing("int8"):
        pytest.skip(f"{', '.join(peer.missing('int8'))} not installed")
    checkpoint = random_checkpoint("mobilevit_xxs")
    images = random_images(4, 64, 64)
    logits = peer.build(Assets(checkpoint, tmp_path), images.shape, 1, "int8")(images)
    expected = Session(checkpoint).run(images)
    assert not np.array_equal(logits, expected)
    assert np.corrcoef(logits.ravel(), expected.ravel())[0, 1] > 0.9


def test_a_comparison_has_a_result_for_each_workload(isa):
    workloads = [Workload("mobilevit_xxs", batch, 1, size=(32, 48)) for batch in (1, 2)]
    results = list(compare(workloads, [], isa=isa, pace=QUICK))
    assert [result.workload for result in results] == workloads
    for result in results:
        assert result.isa == isa
        assert result.ms[OURS] > 0
        assert result.ratios == {}


def test_a_ratio_is_the_peers_time_over_ours():
    peer = next(peer for peer in PEERS if peer.name == "transformers")
    if peer.missing():
        pytest.skip("transformers is not installed")
    [result] = compare([Workload("mobilevit_xxs", 2, 1, size=(64, 64))], [peer], pace=QUICK)
    assert result.ratios == {"transformers": pytest.approx(result.ms["transformers"] / result.ms[OURS])}
    assert result.differences["transformers"] < 1e-4


def test_a_variant_may_be_quantised():
    peer = next(peer for peer in PEERS if peer.name == "transformers")
    if peer.missing():
        pytest.skip("transformers is not installed")
    workloads = [Workload("mobilevit_xxs", 1, 1, size=(64, 64))]
    [result] = compare(workloads, [peer], precision="int8", pace=QUICK)
    assert result.precision == "int8"
    assert result.ratios["transformers"] > 0
    assert result.differences == {}


def test_every_table_has_a_peak(isa):
    assert _C.measure_peak(isa) > 1e8


@pytest.mark.parametrize("table", _C.isa_tables("int8"))
def test_every_table_has_a_peak_of_bytes(table):
    assert _C.measure_peak(table, "int8") > 1e8


def test_pinning_keeps_to_the_first_cores():
    allowed = os.sched_getaffinity(0)
    try:
        assert pin(1) == [min(allowed)]
        assert os.sched_getaffinity(0) == {min(allowed)}
        assert _C.default_threads() == 1
        with pytest.raises(ValueError, match="cannot pin 2 threads: this process may use 1"):
            pin(2)
    finally:
        os.sched_setaffinity(0, allowed)


def test_roofline_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    steps = Session(random_checkpoint("mobilevit_xxs"), threads=1).profile(repeats=1, size=(64, 64))
    path = tmp_path / "steps.svg"
    draw_roofline(steps, 1e11, measure_bandwidth(), "a title", path)
    assert "a title" in path.read_text(encoding="utf-8")


def test_the_installed_peers_run_by_default():
    peer = next(peer for peer in PEERS if peer.name == "transformers")
    if peer.missing():
        pytest.skip("transformers is not installed")
    assert peer in choose_peers(None)
    assert peer not in choose_peers(None, "int8")
    with pytest.raises(ValueError, match="'transformers' runs fp32 here, not int8"):
        choose_peers(["transformers"], "int8")

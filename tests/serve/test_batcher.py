"""The batcher: every answer is its own image's, and nothing is lost, held up or left behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import tracemalloc
import weakref
from concurrent.futures import CancelledError, wait

import numpy as np
import pytest
from colour_sessions import POISON, ColourSession, red_png, red_tensor
from PIL import Image

from checkpoints import random_checkpoint
from mobilevit_fast import Batcher, ClosedError, DeadlineError, QueueFullError, Session
from photographs import encoded, photograph

LONG = 30
"""Seconds after which a test that hangs fails."""


@pytest.fixture
def session():
    session = ColourSession()
    yield session
    session.gate.set()


def best(future):
    return future.result(LONG).predictions(1)[0].index


def wait_until(condition):
    limit = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.001)


def blocked(session, batcher):
    """Keeps the engine busy with one image until the gate opens, and returns that image's future."""
    session.gate.clear()
    first = batcher.submit(red_tensor(0))
    wait_until(first.running)
    return first


def test_answers_equal_the_sessions_own():
    session = Session(random_checkpoint(), threads=1)
    images = [encoded(photograph(300, 280, seed), "JPEG") for seed in range(7)]
    with Batcher(session, max_batch=4) as batcher:
        answers = batcher.classify(images, top_k=2)
    expected = session.classify(images, top_k=2)
    for answer, wanted in zip(answers, expected, strict=True):
        assert [prediction.index for prediction in answer] == [prediction.index for prediction in wanted]
        np.testing.assert_allclose(
            [prediction.score for prediction in answer], [prediction.score for prediction in wanted], 1e-4
        )


def test_every_kind_of_image_is_taken(session, tmp_path):
    Image.new("RGB", (8, 8), (5, 0, 0)).save(tmp_path / "a.png")
    array = np.zeros((8, 8, 3), np.uint8)
    array[:, :, 0] = 5
    with Batcher(session) as batcher:
        for image in (tmp_path / "a.png", red_png(5), Image.fromarray(array), array, red_tensor(5)):
            assert best(batcher.submit(image)) == 5


def test_a_batch_of_images_in_one_array(session):
    arrays = np.zeros((3, 8, 8, 3), np.uint8)
    arrays[..., 0] = np.array([5, 6, 7])[:, None, None]
    with Batcher(session) as batcher:
        assert [answer[0].index for answer in batcher.classify(arrays)] == [5, 6, 7]


def test_no_answer_is_swapped_between_many_threads(session):
    wrong = []

    def ask(seed):
        rng = np.random.default_rng(seed)
        for red in rng.integers(20, 256, 40):
            image = red_png(red) if red % 2 else red_tensor(red)
            if best(batcher.submit(image, priority=int(red) % 3, block=True)) != red:
                wrong.append(red)

    with Batcher(session, max_batch=8, queue=16, decoders=3) as batcher:
        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        outcomes = batcher.metrics.outcomes
    assert not wrong
    assert outcomes["answered"] == 12 * 40
    assert batcher.pending == 0


def test_images_that_come_together_run_together(session):
    with Batcher(session, max_batch=4) as batcher:
        session.batches.clear()
        first = blocked(session, batcher)
        others = [batcher.submit(red_tensor(red)) for red in range(20, 30)]
        session.gate.set()
        assert [best(future) for future in others] == list(range(20, 30))
        assert [len(batch) for batch in session.batches] == [1, 4, 4, 2]
        assert first.result().batch_size == 1
        assert others[0].result().batch_size == 4
        snapshot = batcher.metrics
        assert (snapshot.batches, snapshot.images, snapshot.pending) == (4, 11, 0)


def test_higher_priority_runs_first_and_equal_ones_in_order(session):
    with Batcher(session, max_batch=2) as batcher:
        session.batches.clear()
        blocked(session, batcher)
        futures = [batcher.submit(red_tensor(20 + i), priority=p) for i, p in enumerate((0, 0, 5, -1, 5))]
        session.gate.set()
        wait(futures, LONG)
        assert session.batches[1:] == [[22, 24], [20, 21], [23]]


def test_a_full_queue_refuses_at_once_and_recovers(session):
    with Batcher(session, max_batch=2, queue=3) as batcher:
        futures = [blocked(session, batcher)]
        futures += [batcher.submit(red_tensor(20)), batcher.submit(red_png(21))]
        with pytest.raises(QueueFullError, match="3 requests wait already"):
            batcher.submit(red_tensor(22))  # while the engine is held: waiting for room would never end
        assert batcher.metrics.outcomes["rejected"] == 1
        session.gate.set()
        wait(futures, LONG)
        assert best(batcher.submit(red_tensor(22))) == 22


def test_a_deadline_passes_while_the_engine_is_busy_or_starved(session):
    with Batcher(session, max_batch=2) as batcher:
        blocked(session, batcher)
        late = [batcher.submit(image, timeout_ms=20) for image in (red_tensor(20), red_png(21))]
        in_time = batcher.submit(red_tensor(22), timeout_ms=LONG * 1e3)
        time.sleep(0.05)
        session.gate.set()
        for future in late:
            with pytest.raises(DeadlineError):
                future.result(LONG)
        assert best(in_time) == 22
        assert batcher.metrics.outcomes["expired"] == 2


def test_a_cancelled_image_never_runs_and_makes_room(session):
    with Batcher(session, max_batch=2, queue=3) as batcher:
        session.batches.clear()
        first = blocked(session, batcher)
        futures = [batcher.submit(red_tensor(20)), batcher.submit(red_png(21))]
        assert not first.cancel()
        assert all(future.cancel() for future in futures)
        assert wait(futures, LONG).not_done == set()
        wait_until(lambda: batcher.pending == 1)
        more = [batcher.submit(red_tensor(22)), batcher.submit(red_tensor(23))]
        session.gate.set()
        assert [best(future) for future in more] == [22, 23]
        assert [red for batch in session.batches for red in batch] == [0, 22, 23]
        assert batcher.metrics.outcomes["cancelled"] == 2


@pytest.mark.parametrize("image", [b"no image", b"", red_png(20)[:50], "nowhere.png", 7, np.zeros((8, 8))])
def test_a_bad_image_fails_alone(session, image):
    with Batcher(session) as batcher:
        good = batcher.submit(red_png(21))
        with pytest.raises((ValueError, TypeError, FileNotFoundError)):
            batcher.submit(image).result(LONG)
        assert best(good) == 21
        assert batcher.pending == 0
        assert batcher.metrics.outcomes["failed"] == 1


def test_an_image_that_the_engine_refuses_takes_no_other_along(session):
    with Batcher(session, max_batch=4) as batcher:
        blocked(session, batcher)
        futures = [batcher.submit(red_tensor(red)) for red in (20, POISON, 21)]
        session.gate.set()
        assert best(futures[0]) == 20
        assert best(futures[2]) == 21
        with pytest.raises(ValueError, match="refuses"):
            futures[1].result(LONG)


def test_too_many_pixels_are_refused(session):
    with Batcher(session, max_pixels=100) as batcher:
        with pytest.raises(ValueError, match="over the limit of 100"):
            batcher.submit(red_png(20, side=11)).result(LONG)
        assert best(batcher.submit(red_png(20))) == 20


def test_images_of_different_sizes_are_batches_of_their_own():
    session = ColourSession(crop=False)
    with Batcher(session, max_batch=4) as batcher:
        blocked(session, batcher)
        futures = [batcher.submit(red_tensor(20 + i, side=8 + i % 2)) for i in range(6)]
        session.gate.set()
        assert [best(future) for future in futures] == list(range(20, 26))
        assert {future.result().batch_size for future in futures} == {3}


def test_asyncio_tasks_ask_and_cancel(session):
    async def talk():
        answers = await asyncio.gather(*(batcher.ask(red_png(red)) for red in range(20, 60)))
        assert [answer.predictions(1)[0].index for answer in answers] == list(range(20, 60))
        session.gate.clear()
        tasks = [asyncio.create_task(batcher.ask(red_tensor(red))) for red in (20, 21)]
        await asyncio.sleep(0.05)
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        late = asyncio.create_task(batcher.ask(red_tensor(22), timeout_ms=5))
        await asyncio.sleep(0.02)
        session.gate.set()
        with pytest.raises(DeadlineError):
            await late
        assert (await tasks[0]).predictions(1)[0].index == 20

    with Batcher(session, max_batch=1) as batcher:
        asyncio.run(talk())
        wait_until(lambda: batcher.pending == 0)


def test_closing_answers_what_was_accepted(session):
    batcher = Batcher(session, max_batch=2)
    futures = [blocked(session, batcher), *(batcher.submit(red_png(red)) for red in range(20, 30))]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    wait_until(lambda: batcher._queue._closed)
    with pytest.raises(ClosedError):
        batcher.submit(red_png(20))
    session.gate.set()
    closing.join(LONG)
    assert not closing.is_alive()
    assert [best(future) for future in futures] == [0, *range(20, 30)]
    batcher.close()


def test_closing_without_draining_fails_what_does_not_run(session):
    batcher = Batcher(session, max_batch=2)
    first = blocked(session, batcher)
    others = [batcher.submit(red_png(red)) for red in range(20, 30)]
    closing = threading.Thread(target=batcher.close, kwargs={"drain": False})
    closing.start()
    wait_until(others[-1].done)
    session.gate.set()
    closing.join(LONG)
    assert best(first) == 0
    for future in others:
        assert isinstance(future.exception(LONG), ClosedError | type(None))
    assert isinstance(others[-1].exception(), ClosedError)
    assert batcher.pending == 0


def test_a_producer_that_waits_for_room_is_told_of_the_end(session):
    batcher = Batcher(session, queue=1)
    blocked(session, batcher)
    errors = []

    def produce():
        try:
            batcher.submit(red_tensor(20), block=True)
        except ClosedError as error:
            errors.append(error)

    producer = threading.Thread(target=produce)
    producer.start()
    wait_until(lambda: batcher._queue._roomy._waiters)
    closing = threading.Thread(target=batcher.close)
    closing.start()
    producer.join(LONG)
    session.gate.set()
    closing.join(LONG)
    assert len(errors) == 1


def test_memory_does_not_grow(session):
    with Batcher(session, max_batch=4, queue=8) as batcher:
        pictures = [np.zeros((8, 8, 3), np.uint8) for _ in range(20)]
        watched = [weakref.ref(picture) for picture in pictures]
        futures = [batcher.submit(picture, block=True, timeout_ms=1e6) for picture in pictures]
        wait(futures, LONG)
        for _ in range(100):
            batcher.submit(red_tensor(20), block=True, timeout_ms=1e6).result(LONG)
        del pictures, futures
        gc.collect()
        assert not [reference for reference in watched if reference() is not None]
        assert len(batcher._queue._deadlines) <= 2 * 8 + 1


def test_threads_end_with_the_batcher(session):
    before = threading.active_count()
    for _ in range(3):
        with Batcher(session, decoders=3) as batcher:
            batcher.submit(red_png(20)).result(LONG)
    assert threading.active_count() == before


def test_an_error_in_a_list_cancels_the_rest(session):
    with Batcher(session, max_batch=1) as batcher, pytest.raises(ValueError, match="not an image"):
        batcher.classify([b"no image at all", *(red_png(red) for red in range(20, 30))])
    assert batcher.pending == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_batch": 0}, ValueError),
        ({"max_batch": 1.5}, TypeError),
        ({"max_batch": 10**6}, ValueError),
        ({"queue": 0}, ValueError),
        ({"decoders": 0}, ValueError),
        ({"max_delay_ms": -1}, ValueError),
        ({"max_delay_ms": float("nan")}, ValueError),
        ({"target_p99_ms": 0}, ValueError),
        ({"target_p99_ms": "fast"}, TypeError),
        ({"max_pixels": 0}, ValueError),
    ],
)
def test_settings_out_of_range_are_refused(session, arguments, error):
    with pytest.raises(error, match=next(iter(arguments))):
        Batcher(session, **arguments)


def test_measuring_takes_memory_for_the_batches_that_are_measured_alone():
    session = ColourSession(image_ms=50)
    session.input_size = (1024, 1024)
    tracemalloc.start()
    try:
        Batcher(session, max_batch=4096).close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 30
    assert max(len(batch) for batch in session.batches) <= 8


def test_requests_out_of_range_are_refused(session):
    with Batcher(session) as batcher:
        for timeout in (0, -1, float("inf")):
            with pytest.raises(ValueError, match="timeout_ms"):
                batcher.submit(red_tensor(20), timeout_ms=timeout)
        with pytest.raises(ValueError, match=r"float32 \[3, H, W\], got \[8, 8\]"):
            batcher.submit(np.zeros((8, 8), np.float32))
        with pytest.raises(ValueError, match="top_k must be at least 1, got -1"):
            batcher.submit(red_tensor(20)).result().predictions(-1)
        with pytest.raises(TypeError, match="priority must be a whole number, got 'high'"):
            batcher.submit(red_tensor(20), priority="high")


def test_cancelled_error_is_what_a_cancelled_future_raises(session):
    with Batcher(session, max_batch=1) as batcher:
        blocked(session, batcher)
        future = batcher.submit(red_tensor(20))
        future.cancel()
        session.gate.set()
        with pytest.raises(CancelledError):
            future.result(LONG)


def test_a_batcher_takes_a_session():
    with pytest.raises(TypeError, match="a Batcher takes a Session, got str"):
        Batcher("mobilevit_xxs.cifar10")

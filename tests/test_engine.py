"""_C.Engine: the plans it refuses, the images it takes, and what it tells about itself."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from hostile_arrays import hostile, views
from mobilevit_fast import _C
from mobilevit_fast.benchmark.random_weights import random_images, random_tensors
from mobilevit_fast.config import get_config
from mobilevit_fast.lower import OUTPUTS, lower
from plan_interpreter import interpret

REFUSALS = (TypeError, ValueError, MemoryError)
CHILD_SECONDS = 60


@pytest.fixture(scope="module")
def plan() -> dict[str, Any]:
    config = get_config("mobilevit_xxs", num_classes=7)
    return lower(config, random_tensors(config), outputs=OUTPUTS)


@pytest.fixture(scope="module")
def engine(plan) -> _C.Engine:
    return _C.Engine(plan, threads=2)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [(64, 64), (33, 61), (1, 1)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_output_equals_the_interpreter(plan, isa, threads, size):
    images = random_images(threads + 1, *size)
    engine = _C.Engine(plan, isa, threads)
    assert (engine.isa, engine.threads) == (isa, threads)
    results = engine.run(images)
    for name, actual, expected in zip(OUTPUTS, results, interpret(plan, images), strict=True):
        assert actual.shape == expected.shape, name
        assert actual.dtype == np.float32
        assert relative_error(actual, expected) < 1e-4, name


def test_images_may_have_any_strides(engine):
    images = random_images(3, 17, 20)
    expected = engine.run(images)[-1]

    @settings(max_examples=20, deadline=None)
    @given(views(images, unit_last=False))
    def try_one(view):
        np.testing.assert_allclose(engine.run(view)[-1], expected, rtol=1e-5, atol=1e-6)

    try_one()
    one = np.broadcast_to(images[:1], (3, 3, 17, 20))
    np.testing.assert_allclose(engine.run(one)[-1], expected[[0, 0, 0]], rtol=1e-5, atol=1e-6)


def test_no_images_give_empty_outputs(engine):
    shapes = engine.shapes(32, 64)
    results = engine.run(np.zeros((0, 3, 32, 64), np.float32))
    assert [result.shape for result in results] == [(0, *shape) for shape in shapes["outputs"]]


def test_hostile_images_are_refused(engine):
    @settings(max_examples=200, deadline=None)
    @given(hostile())
    def try_one(images):
        if isinstance(images, np.ndarray) and images.dtype == np.float32 and images.shape[1:2] == (3,):
            return  # three channels after all
        with pytest.raises(REFUSALS):
            engine.run(images)

    try_one()


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        ([[1.0]], TypeError, r"x must be a float32 NumPy array of shape \[N, 3, H, W\], got list"),
        (np.zeros((1, 3, 8, 8)), TypeError, r"got float64 of shape \(1, 3, 8, 8\)"),
        (
            np.zeros((1, 8, 8, 3), np.float32),
            ValueError,
            r"\[N, 3, H, W\], got float32 of shape \(1, 8, 8, 3\)",
        ),
        (np.zeros((1, 3, 0, 8), np.float32), ValueError, "H and W of at least 1"),
        (np.broadcast_to(np.float32(0), (1, 3, 2**28, 2**28)), MemoryError, "activations"),
        (np.broadcast_to(np.float32(0), (2**55, 3, 1, 1)), MemoryError, "smaller images or batches"),
    ],
)
def test_messages_say_what_images_are_taken(engine, images, error, words):
    with pytest.raises(error, match=words):
        engine.run(images)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda plan: plan.clear(), ValueError, "plan lacks the key 'tensors'"),
        (lambda plan: plan.update(extra=1), ValueError, "plan has an unknown key 'extra'"),
        (lambda plan: plan.update(steps=[]), ValueError, "the plan has no steps"),
        (lambda plan: plan.update(steps={}), TypeError, r"plan\['steps'\] must be a list, got {}"),
        (
            lambda plan: plan["steps"][1].update(kind="fft"),
            ValueError,
            r"\['kind'\] is 'fft'; expected one of stem",
        ),
        (lambda plan: plan["steps"][1].update(input=99), ValueError, "step 1 .* input is tensor 99"),
        (lambda plan: plan["steps"][1].update(input=True), TypeError, r"\['input'\] must be an int"),
        (lambda plan: plan["steps"].reverse(), ValueError, "the stem"),
        (
            lambda plan: plan["steps"][0]["conv_weights"].update(weight=np.zeros((16, 3, 3, 3))),
            TypeError,
            r"\['weight'\] must be a float32 NumPy array of shape \(16, 3, 3, 3\), got float64",
        ),
        (
            lambda plan: plan["steps"][0]["conv_weights"].update(bias=np.zeros(3, np.float32)),
            ValueError,
            r"\[0\] \(stem 'stem'\)\['conv_weights'\]\['bias'\] must have shape \(16,\), got \(3,\)",
        ),
    ],
)
def test_messages_name_the_step_and_the_key(plan, change, error, words):
    broken = copy.deepcopy(plan)
    change(broken)
    with pytest.raises(error, match=words):
        _C.Engine(broken)


def test_an_engine_keeps_its_own_weights(plan):
    own = copy.deepcopy(plan)
    engine = _C.Engine(own, threads=1)
    images = random_images(1, 32, 32)
    before = engine.run(images)[-1]
    for step in own["steps"]:
        if "linear_weights" in step:
            step["linear_weights"]["weight"][...] = np.nan
    np.testing.assert_array_equal(engine.run(images)[-1], before)


def test_threads_of_python_share_an_engine(engine):
    images = {size: random_images(3, size, size) for size in (32, 40)}
    expected = {size: engine.run(image)[-1] for size, image in images.items()}
    errors = []

    def work(size: int) -> None:
        for _ in range(10):
            errors.append(relative_error(engine.run(images[size])[-1], expected[size]))

    threads = [threading.Thread(target=work, args=(size,)) for size in (32, 40, 32, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 40
    assert max(errors) < 1e-5


def test_other_threads_run_meanwhile(engine):
    stop = threading.Event()
    images = random_images(4, 192, 192)

    def work() -> None:
        while not stop.is_set():
            engine.run(images)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        # Were the interpreter's lock held during a run, each of these would wait for one.
        assert all(engine.shapes(192, 192)["outputs"] for _ in range(200))
    finally:
        stop.set()
        worker.join()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_can_run(engine):
    images = random_images(3, 32, 32)
    expected = engine.run(images)[-1]
    child = os.fork()
    if child == 0:
        threading.Timer(CHILD_SECONDS, os._exit, (2,)).start()
        same = np.array_equal(engine.run(images)[-1], expected)
        same &= np.allclose(_C.ops.softmax(images, threads=2).sum(-1), 1, atol=1e-5)
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


FEWER_THREADS = """
import os
import resource
import numpy as np
from mobilevit_fast import _C, get_config
from mobilevit_fast.benchmark.random_weights import random_images, random_tensors
from mobilevit_fast.lower import lower

config = get_config("mobilevit_xxs", num_classes=7)
plan = lower(config, random_tensors(config))
images = random_images(5, 32, 32)
expected = _C.Engine(plan, threads=1).run(images)[0]
engine = _C.Engine(plan, threads=8)
engine.memory(32, 32)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (5 << 28), -1))
assert np.array_equal(engine.run(images)[0], expected)
assert 1 < len(os.listdir("/proc/self/task")) < 5
"""
"""Stacks of half a gigabyte each, and room for two."""


@pytest.mark.skipif(sys.platform != "linux", reason="stacks are of the limit's size on Linux only")
def test_fewer_threads_than_asked_for_take_larger_shares():
    import resource

    done = subprocess.run(
        [sys.executable, "-c", FEWER_THREADS],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_STACK, (1 << 29, -1)),
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_shapes_and_memory(engine, plan):
    shapes = engine.shapes(256, 192)
    assert shapes["tensors"][0] == (16, 128, 96)
    assert shapes["outputs"][0] == (16, 128, 96)
    assert shapes["outputs"][-1] == (7,)
    assert len(shapes["tensors"]) == len(plan["tensors"])
    memory = engine.memory(256, 256)
    assert memory["weights"] > 4 * 900_000
    assert 0 < memory["arena"] < memory["unshared"]
    with pytest.raises(ValueError, match="height must be from 1"):
        engine.memory(0, 256)
    with pytest.raises(MemoryError, match="smaller images"):
        engine.shapes(2**62, 2**62)


def test_the_arena_of_one_output_is_a_quarter_of_its_tensors():
    config = get_config("mobilevit_s")
    memory = _C.Engine(lower(config, random_tensors(config)), threads=1).memory(256, 256)
    assert 4 * memory["arena"] < memory["unshared"]


def test_profile_counts_the_network(engine, plan):
    steps = engine.profile(random_images(1, 256, 256), repeats=2)
    assert [step["name"] for step in steps] == [step["name"] for step in plan["steps"]]
    assert [step["kind"] for step in steps] == [step["kind"] for step in plan["steps"]]
    assert sum(step["macs"] for step in steps) == pytest.approx(0.407e9, rel=0.05)
    assert all(step["ms"] >= 0 for step in steps)
    assert all(step["bytes"] > 0 for step in steps if step["macs"])
    with pytest.raises(ValueError, match="profile takes one image, got 2"):
        engine.profile(random_images(2, 32, 32))
    with pytest.raises(ValueError, match="repeats must be from 1"):
        engine.profile(random_images(1, 32, 32), repeats=0)

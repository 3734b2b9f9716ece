"""Session: logits, labels, errors; from one thread and from several."""

from __future__ import annotations

import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from checkpoints import LABELS, random_checkpoint
from mobilevit_fast import _C, Prediction, Session
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.decode_ahead import decode_ahead
from mobilevit_fast.image import preprocess
from mobilevit_fast.lower import lower
from mobilevit_fast.predictions import softmax
from mobilevit_fast.weights import save_checkpoint
from plan_interpreter import interpret

HALF_TOLERANCES = {"bf16": 2e-2, "fp16": 1e-2}
TOLERANCE = 1e-4  # relative to the largest logit; the plan in float64 is the oracle


@pytest.fixture(scope="module")
def checkpoint():
    return random_checkpoint()


@pytest.fixture(scope="module")
def session(checkpoint):
    return Session(checkpoint, threads=2)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Nine files whose colours differ, of several sizes."""
    folder = tmp_path_factory.mktemp("photographs")
    paths = []
    for index, image in enumerate(random_images(9, 300, 340)):
        pixels = (255 * image.transpose(1, 2, 0)).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{index}.png")
        Image.fromarray(pixels).resize((300 + 20 * index, 300)).save(paths[-1])
    return paths


def relative_error(actual, expected):
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", ["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"])
@pytest.mark.parametrize("size", [(64, 64), (33, 61), (1, 1)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_run_equals_the_plan_in_float64(name, size, isa):
    checkpoint = random_checkpoint(name)
    images = random_images(3, *size)
    expected = interpret(lower(checkpoint.config, checkpoint.tensors), images)[0]
    logits = Session(checkpoint, isa=isa, threads=2).run(images)
    assert logits.dtype == np.float32
    assert logits.shape == (3, len(LABELS))
    assert relative_error(logits, expected) < TOLERANCE


@pytest.mark.parametrize("name", ["mobilevit_xxs", "mobilevit_xs", "mobilevit_s"])
@pytest.mark.parametrize("size", [(128, 128), (224, 160)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("precision", HALF_TOLERANCES)
def test_sixteen_bits_stay_near_float(name, size, precision):
    if not _C.isa_tables(precision):
        pytest.skip(f"this CPU does not multiply {precision}")
    checkpoint = random_checkpoint(name)
    images = random_images(3, *size)
    expected = interpret(lower(checkpoint.config, checkpoint.tensors), images)[0]
    session = Session(checkpoint, precision=precision)
    logits = session.run(images)
    assert session.precision == precision
    assert logits.dtype == np.float32
    assert 1e-5 < relative_error(logits, expected) < HALF_TOLERANCES[precision]


@pytest.mark.parametrize("precision", HALF_TOLERANCES)
def test_sixteen_bits_are_refused_where_the_cpu_lacks_them(monkeypatch, checkpoint, precision):
    monkeypatch.setenv("MOBILEVIT_FAST_ISA", "scalar")
    with pytest.raises(ValueError, match=f"no kernels for {precision} can run here.*; use precision='fp32'"):
        Session(checkpoint, precision=precision)


def test_every_thread_count_gives_the_same_numbers(checkpoint, isa):
    images = random_images(5, 48, 80)
    alone = Session(checkpoint, isa=isa, threads=1).run(images)
    for threads in (2, 3, 8):
        np.testing.assert_array_equal(Session(checkpoint, isa=isa, threads=threads).run(images), alone)


def test_an_image_is_answered_alike_alone_and_in_a_batch(session):
    images = random_images(5, 64, 64)
    alone = np.concatenate([session.run(images[index : index + 1]) for index in range(5)])
    np.testing.assert_array_equal(session.run(images), alone)


def test_any_strides_are_taken(session):
    images = random_images(2, 64, 64)
    expected = session.run(images)
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(session.run(channels_last), expected)
    np.testing.assert_array_equal(session.run(images[:, ::-1].copy()[:, ::-1]), expected)
    np.testing.assert_array_equal(session.run(images[::-1])[::-1], expected)


def test_an_empty_batch_has_no_logits(session):
    assert session.run(np.empty((0, 3, 64, 64), np.float32)).shape == (0, len(LABELS))


def test_several_threads_may_use_one_session(session):
    batches = [random_images(3, 32 + 16 * index, 64, seed=index) for index in range(6)]
    expected = [session.run(batch) for batch in batches]
    failures = []

    def work(index):
        for turn in range(10):
            which = (index + turn) % len(batches)
            if not np.array_equal(session.run(batches[which]), expected[which]):
                failures.append(which)

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


@pytest.mark.parametrize("given", ["float64", "rank", "channels", "pixels", "list"])
def test_run_refuses_what_is_no_batch(session, given):
    images = random_images(1, 32, 32)
    wrong, error = {
        "float64": (images.astype(np.float64), TypeError),
        "rank": (images[0], ValueError),
        "channels": (images[:, :2], ValueError),
        "pixels": (images[:, :, :0], ValueError),
        "list": (images.tolist(), TypeError),
    }[given]
    with pytest.raises(error, match=r"float32|N, 3, H, W"):
        session.run(wrong)


def test_classify_is_preprocess_run_softmax(session, photographs):
    answers = session.classify(photographs, top_k=2, batch_size=4)
    scores = softmax(session.run(preprocess(photographs, session.preprocessing)))
    assert len(answers) == len(photographs)
    assert len({answer[0].score for answer in answers}) == len(photographs)
    for answer, row in zip(answers, scores, strict=True):
        best, second = np.argsort(-row)[:2]
        assert answer == [
            Prediction(LABELS[best], int(best), pytest.approx(row[best], rel=1e-12)),
            Prediction(LABELS[second], int(second), pytest.approx(row[second], rel=1e-12)),
        ]


@pytest.mark.parametrize("batch_size", [1, 2, 9, 100])
def test_the_batch_size_changes_nothing(session, photographs, batch_size):
    assert session.classify(photographs, batch_size=batch_size) == session.classify(photographs)


def test_one_image_needs_no_list(session, photographs):
    assert session.classify(photographs[0]) == session.classify([photographs[0]])
    assert session.classify(Image.open(photographs[0])) == session.classify([photographs[0]])


def test_top_k_is_at_most_the_number_of_classes(session, photographs):
    answer = session.classify(photographs[0], top_k=1000)[0]
    assert [prediction.index for prediction in answer] != sorted(prediction.index for prediction in answer)
    assert sum(prediction.score for prediction in answer) == pytest.approx(1)
    scores = [prediction.score for prediction in answer]
    assert scores == sorted(scores, reverse=True)
    assert len(answer) == len(LABELS)


def test_no_images_have_no_answers(session):
    assert session.classify([]) == []


def test_a_bad_image_is_named(session, photographs, tmp_path):
    bad = tmp_path / "text.jpg"
    bad.write_text("hello")
    with pytest.raises(ValueError, match=r"text\.jpg"):
        session.classify([photographs[0], bad, photographs[1]])
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        session.classify(["nowhere.jpg"])


def test_classify_each_answers_the_images_around_a_bad_one(session, photographs):
    images = [photographs[0], "nowhere.jpg", photographs[1], 3, photographs[2]]
    answers = list(session.classify_each(images, batch_size=2))
    assert [type(answer) for answer in answers] == [list, FileNotFoundError, list, TypeError, list]
    assert answers[::2] == session.classify(photographs[:3])


def test_logits_that_are_not_finite_have_no_labels(checkpoint, photographs, tmp_path):
    tensors = dict(checkpoint.tensors)
    tensors["classifier.bias"] = np.full_like(tensors["classifier.bias"], np.nan)
    session = Session(replace(checkpoint, tensors=tensors), threads=1)
    answers = list(session.classify_each([*photographs[:2], tmp_path / "nowhere.jpg"]))
    assert [type(answer) for answer in answers] == [FloatingPointError, FloatingPointError, FileNotFoundError]
    with pytest.raises(FloatingPointError, match="logits are not finite"):
        session.classify(photographs[0])


def test_a_session_is_pickled_as_what_it_was_made_of(checkpoint, photographs, tmp_path):
    save_checkpoint(tmp_path / "model.safetensors", checkpoint)
    session = Session(tmp_path / "model.safetensors", threads=1, isa="scalar", channel_order="RGB")
    twin = pickle.loads(pickle.dumps(session))
    assert repr(twin) == repr(session)
    assert twin.preprocessing == session.preprocessing
    assert twin.classify(photographs[0]) == session.classify(photographs[0])
    with pytest.raises(TypeError, match="in memory cannot be pickled; make it from a file"):
        pickle.dumps(Session(checkpoint))


def test_one_lazily_opened_image_many_times(session, photographs):
    expected = preprocess(photographs[:1], session.preprocessing)
    for _ in range(20):
        [batch] = decode_ahead([Image.open(photographs[0])] * 8, session.preprocessing, 8, workers=4)
        assert batch.errors == [None] * 8
        assert (batch.pixels == expected).all()


def test_classify_each_may_be_left_early(session, photographs):
    stream = session.classify_each(photographs * 10, batch_size=2)
    assert next(stream) == session.classify(photographs[0])[0]
    stream.close()
    assert not [thread for thread in threading.enumerate() if "decode" in thread.name]


def test_images_of_any_size_where_the_rule_does_not_crop(checkpoint, photographs):
    rule = replace(checkpoint.preprocessing, shortest_edge=64, crop_size=None)
    session = Session(replace(checkpoint, preprocessing=rule))
    expected = [session.classify(photograph)[0] for photograph in photographs]
    assert session.classify(photographs, batch_size=4) == expected


@pytest.mark.parametrize("argument", ["top_k", "batch_size"])
def test_counts_are_checked_at_once(session, argument):
    with pytest.raises(ValueError, match=f"{argument} must be at least 1, got 0"):
        session.classify_each([], **{argument: 0})
    with pytest.raises(TypeError, match=f"{argument} must be a whole number, got 2.5"):
        session.classify_each([], **{argument: 2.5})


def test_another_channel_order_is_folded_into_the_weights(checkpoint, session, photographs):
    turned = Session(checkpoint, channel_order="RGB", threads=2)
    assert session.preprocessing.channel_order == "BGR"
    assert turned.preprocessing.channel_order == "RGB"
    assert (session.is_channel_order_folded, turned.is_channel_order_folded) == (False, True)
    images = random_images(2, 64, 64)
    assert relative_error(turned.run(images[:, ::-1]), session.run(images)) < 1e-5
    assert relative_error(turned.run(images), session.run(images)) > 1e-3
    for one, other in zip(turned.classify(photographs), session.classify(photographs), strict=True):
        assert [entry.index for entry in one] == [entry.index for entry in other]


def test_mean_and_std_follow_the_channel_order(checkpoint):
    rule = replace(checkpoint.preprocessing, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    turned = Session(replace(checkpoint, preprocessing=rule), channel_order="RGB").preprocessing
    assert (turned.mean, turned.std) == ((0.3, 0.2, 0.1), (0.6, 0.5, 0.4))


def test_a_session_tells_what_it_is(checkpoint, session, isa, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    opened = Session(path, isa=isa, threads=1)
    assert (opened.isa, opened.threads, opened.precision) == (isa, 1, "fp32")
    assert opened.labels == LABELS
    assert opened.input_size == (256, 256)
    assert opened.config == checkpoint.config
    assert repr(opened) == f"Session({str(path)!r}, precision='fp32', threads=1, isa={isa!r})"


def test_memory_grows_with_the_image_and_is_shared(session):
    small, large = session.memory_for(64, 64), session.memory
    assert small.weights == large.weights > 4 * 1_000_000
    assert 0 < small.arena < large.arena < large.unshared / 2
    assert large == session.memory_for(256, 256)


@pytest.mark.parametrize("size", [5, (64,), "64x64"])
def test_the_size_of_a_profile_is_two_numbers(session, size):
    with pytest.raises(TypeError, match=r"size must be \(height, width\), got"):
        session.profile(1, size)


def test_profile_names_every_step(session):
    steps = session.profile(repeats=2, size=(64, 96))
    assert steps[0].name == "stem"
    assert steps[0].output == (32, 48, 16)
    assert steps[0].macs == 32 * 48 * 16 * 27
    assert steps[-1].name == "classifier"
    assert steps[-1].output == (1, 1, len(LABELS))
    assert all(step.ms > 0 and step.bytes > 0 for step in steps)
    # The last map is 2x3; at 64x64 it is 2x2, which the patch divides.
    assert [step.kind for step in steps if "resize" in step.kind] == ["resize_to_patch", "resize_like"]
    assert not [step for step in session.profile(repeats=1, size=(64, 64)) if "resize" in step.kind]


@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        ("precision", "fp8", ValueError, "precision 'fp8' is not available; choose one of: fp32"),
        ("precision", "int8", ValueError, "precision 'int8' is not available for .* is not quantised"),
        ("device", "cuda:99", ValueError, "device 'cuda:99' is not available: .*; use 'cpu'"),
        ("device", "cuda:x", ValueError, "unknown device 'cuda:x'"),
        ("device", "tpu", ValueError, "unknown device 'tpu'; use 'cpu'"),
        ("device", 0, TypeError, "device must be a string, got int"),
        ("isa", "sse9", ValueError, "sse9"),
        ("threads", 0, ValueError, "threads"),
        ("threads", "two", TypeError, "threads"),
        ("channel_order", "GBR", ValueError, "GBR"),
    ],
)
def test_an_impossible_setting_is_refused(checkpoint, argument, value, error, message):
    with pytest.raises(error, match=message):
        Session(checkpoint, **{argument: value})


def test_a_missing_source_is_named():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        Session("nowhere.safetensors")


def test_softmax_survives_large_logits():
    scores = softmax(np.array([[1e4, 1e4, -1e4]], np.float32))
    np.testing.assert_allclose(scores, [[0.5, 0.5, 0]])

"""mobilevit_fast.h by way of ctypes: the answers are Session's, and so is every byte of what is prepared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, __version__

from mobilevit_fast import Session
from mobilevit_fast.c_library import CModel, library_version
from mobilevit_fast.config import get_config
from mobilevit_fast.image import Preprocessing, preprocess
from mobilevit_fast.image.preprocessing import RESAMPLING
from mobilevit_fast.precision import lower_to_plan
from mobilevit_fast.weights import NativeModel, load_checkpoint, load_runnable, read_safetensors, save_native
from pillow_oracle import prepared_by_pillow

EMBEDDED = "mobilevit_xxs.cifar10"
PILLOW = int(__version__.split(".")[0])
CAT = Path(__file__).parent / "data" / "cat.jpg"


@pytest.fixture(scope="module")
def checkpoint():
    return load_checkpoint(EMBEDDED)


@pytest.fixture(scope="module")
def write(checkpoint, tmp_path_factory):
    """Writes the embedded model with another rule; returns the path."""
    plan = lower_to_plan(checkpoint, "fp32")

    def write(rule=checkpoint.preprocessing):
        path = tmp_path_factory.mktemp("native") / "model.safetensors"
        model = NativeModel(checkpoint.config, plan, "fp32", rule, checkpoint.labels, "embedded")
        save_native(path, model, (checkpoint.config.image_size,) * 2)
        return path

    return write


@pytest.fixture(scope="module")
def path(write):
    return write()


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
    """Prepares an image by a rule, in a model that is otherwise next to nothing."""
    path = tmp_path_factory.mktemp("rules") / "model.safetensors"
    ones = {"weight": np.ones((4, 3, 3, 3), np.float32), "bias": None}
    plan = {
        "image_channels": 3,
        "tensors": [{"channels": 4}, {"channels": 4}],
        "steps": [
            {"kind": "stem", "name": "stem", "conv": {"in": 3, "out": 4}, "conv_weights": ones, "output": 0},
            {"kind": "global_pool", "name": "pool", "input": 0, "output": 1},
        ],
        "outputs": [1],
    }

    def prepare(image, rule):
        model = NativeModel(get_config("mobilevit_xxs"), plan, "fp32", rule, tuple("abcd"), "tiny")
        save_native(path, model, (96, 96))
        return CModel(path).prepare_rgb(image)

    return prepare


def photograph(height, width, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    edges = (np.mgrid[:height, :width].sum(axis=0) // 7 % 2 * 255).astype(np.uint8)[..., None]
    return np.where(rng.random((height, width, 1)) < 0.5, noise, edges)


def test_the_library_answers_as_session_does(path):
    model, session = CModel(path), Session(EMBEDDED)
    assert model.labels == session.labels
    assert model.input_size == session.input_size
    assert (model.precision, model.isa) == (session.precision, session.isa)
    assert model.channel_order == session.preprocessing.channel_order
    images = np.random.default_rng(0).random((3, 3, 96, 128), np.float32)
    np.testing.assert_array_equal(model.run(images), session.run(images))
    cat = np.asarray(Image.open(CAT).convert("RGB"))
    expected = session.run(preprocess(CAT, session.preprocessing))[0]
    np.testing.assert_array_equal(model.run_rgb(cat), expected)
    assert model.labels[expected.argmax()] == session.classify(CAT)[0][0].label
    assert library_version().count(".") == 2


def test_session_runs_the_same_file(path):
    native, session = Session(path), Session(EMBEDDED)
    assert native.labels == session.labels
    assert native.preprocessing == session.preprocessing
    assert native.classify(CAT) == session.classify(CAT)
    images = np.random.default_rng(0).random((2, 3, 96, 96), np.float32)
    other = "RGB" if session.preprocessing.channel_order == "BGR" else "BGR"
    reordered = Session(path, channel_order=other)
    np.testing.assert_allclose(reordered.run(images[:, ::-1]), session.run(images), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="was exported for fp32, not for 'bf16'"):
        Session(path, precision="bf16")


def test_what_needs_a_checkpoint_says_so(path):
    assert isinstance(load_runnable(path), NativeModel)
    with pytest.raises(ValueError, match="is an export in format native"):
        load_checkpoint(path)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_and_isa(path, threads):
    model = CModel(path, threads=threads, isa="scalar")
    assert (model.threads, model.isa) == (threads, "scalar")
    images = np.random.default_rng(0).random((1, 3, 96, 96), np.float32)
    expected = Session(EMBEDDED, isa="scalar", threads=threads).run(images)
    np.testing.assert_array_equal(model.run(images), expected)


@pytest.mark.parametrize("resample", RESAMPLING)
@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(1, 160), st.integers(1, 160)),
    target=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    crop=st.tuples(st.integers(1, 100), st.integers(1, 100)),
    rounding=st.sampled_from(["down", "even"]),
)
def test_images_are_resized_and_cropped_as_pillow_does_it(prepare, resample, size, target, crop, rounding):
    rule = Preprocessing(
        shortest_edge=None, exact_size=target, crop_size=crop, crop_rounding=rounding, resample=resample
    )
    image = photograph(*size)
    lost = [given - wanted for given, wanted in zip(size, target, strict=True)]
    assume(PILLOW >= 13 or lost[0] <= max(0, 2 * lost[1]))  # older ones always begin with the width
    np.testing.assert_array_equal(prepare(image, rule), prepared_by_pillow(image, rule))


RULES = [
    Preprocessing(),
    Preprocessing(shortest_edge=284, crop_rounding="even", resample="bicubic", channel_order="RGB"),
    Preprocessing(shortest_edge=40, crop_size=None, resample="bicubic"),
    Preprocessing(shortest_edge=None, crop_size=None, rescale=1.0),
    Preprocessing(
        shortest_edge=72,
        crop_size=(64, 80),
        channel_order="RGB",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=Preprocessing.describe)
@pytest.mark.parametrize("size", [(333, 500), (500, 333), (17, 90), (31, 31)])
def test_every_kind_of_rule_is_applied_to_the_last_bit(prepare, rule, size):
    image = photograph(*size)
    np.testing.assert_array_equal(prepare(image, rule), prepared_by_pillow(image, rule))


def test_rows_may_lie_apart(path):
    model, wide = CModel(path), photograph(60, 100)
    np.testing.assert_array_equal(
        model.prepare_rgb(wide[:, :50]), model.prepare_rgb(np.ascontiguousarray(wide[:, :50]))
    )


def test_an_image_too_long_and_thin_is_refused(prepare):
    with pytest.raises(ValueError, match="too long and thin"):
        prepare(photograph(1, 5000), Preprocessing(shortest_edge=8192))


def test_files_that_are_not_native_are_refused(tmp_path):
    from mobilevit_fast.weights.sources import find_source

    with pytest.raises(ValueError, match="mobilevit-fast export MODEL --format native"):
        CModel(find_source(EMBEDDED).weights[0])
    with pytest.raises(ValueError, match="No such file"):
        CModel(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="folder"):
        CModel(tmp_path)


def test_a_damaged_file_is_refused_by_both(path, tmp_path):
    content = path.read_bytes()
    damaged = tmp_path / "damaged.safetensors"
    for bad in (content[:-1], content[:100], content + b"\0", content[:4] + b"\xff" * 4 + content[8:]):
        damaged.write_bytes(bad)
        for read in (CModel, Session):
            with pytest.raises(ValueError, match="not a valid safetensors file"):
                read(damaged)
        with pytest.raises(ValueError, match="not a valid safetensors file"):
            CModel(bad)


def test_a_name_that_stands_for_nothing_is_refused_by_both(path, tmp_path):
    changed = tmp_path / "changed.safetensors"
    changed.write_bytes(
        path.read_bytes().replace(b'\\"head.linear_weights.weight', b'\\"dead.linear_weights.weight')
    )
    for read in (CModel, Session):
        with pytest.raises(ValueError, match=r"dead\.linear_weights\.weight.*which the file does not have"):
            read(changed)


def test_floats_that_lose_nothing_are_stored_in_16_bits(checkpoint, write, tmp_path):
    plan = lower_to_plan(checkpoint, "fp32")
    head = next(step for step in plan["steps"] if step["name"] == "head")
    weights = head["linear_weights"]
    rounded = weights | {"weight": weights["weight"].astype(np.float16).astype(np.float32)}
    steps = [step | {"linear_weights": rounded} if step is head else step for step in plan["steps"]]
    model = NativeModel(
        checkpoint.config,
        plan | {"steps": steps},
        "fp32",
        checkpoint.preprocessing,
        checkpoint.labels,
        "half",
    )
    save_native(tmp_path / "half.safetensors", model, (96, 96))
    tensors, metadata = read_safetensors(tmp_path / "half.safetensors")
    assert tensors["head.linear_weights.weight"].dtype == np.float16
    assert json.loads(metadata["mobilevit_fast"])["native"]["precision"] == "fp32"
    images = np.random.default_rng(0).random((1, 3, 96, 96), np.float32)
    np.testing.assert_array_equal(
        CModel(tmp_path / "half.safetensors").run(images), Session(model).run(images)
    )
    with pytest.raises(ValueError, match="two steps of the plan"):
        save_native(tmp_path / "a", replace(model, plan=plan | {"steps": [head, head]}), (96, 96))

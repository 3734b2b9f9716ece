"""_C.ImagePreparer: no image and no place to write to may do harm."""

import re

import numpy as np
import pytest
from PIL import Image

from mobilevit_fast import _C
from mobilevit_fast.image import Preprocessing
from pillow_oracle import prepared_by_pillow

RULE = Preprocessing(shortest_edge=40, crop_size=(32, 32))


def pixels(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def arrow(mode, width, height):
    export = getattr(Image.new(mode, (width, height)), "__arrow_c_array__", None)
    return export()[1] if export else pytest.skip("this Pillow does not share its memory")


@pytest.fixture(scope="module")
def preparer():
    return _C.ImagePreparer(RULE.to_dict())


def test_rows_may_lie_apart(preparer):
    wide = pixels(60, 100)[:, :50]
    expected = prepared_by_pillow(np.ascontiguousarray(wide), RULE)
    np.testing.assert_array_equal(preparer.run(wide, 60, 50), expected)


@pytest.mark.parametrize(
    ("image", "height", "width", "message"),
    [
        (None, 3, 3, "uint8 NumPy array of shape [H, W, 3], got NoneType"),
        (pixels(3, 3), 3, 4, "got uint8 of shape (3, 3, 3)"),
        (pixels(4, 3).astype(np.float32), 4, 3, "got float32"),
        (pixels(4, 3)[::-1], 4, 3, "side by side"),
        (pixels(4, 3)[:, ::-1], 4, 3, "side by side"),
        (np.broadcast_to(pixels(1, 1), (4, 4, 3)), 4, 4, "side by side"),
        (pixels(1, 1), 0, 1, "height must be from 1"),
        (pixels(1, 1), 1, 2**24 + 1, "width must be from 1 to 16777216"),
    ],
)
def test_other_images_are_refused(preparer, image, height, width, message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        preparer.run(image, height, width)


@pytest.mark.parametrize(("mode", "width"), [("RGB", 6), ("L", 5), ("F", 5)])
def test_memory_of_another_image_is_refused(preparer, mode, width):
    with pytest.raises(ValueError, match="6 x 5 pixels of four bytes"):
        preparer.run(arrow(mode, width, 6), 6, 5)


def test_another_capsule_is_refused(preparer):
    image = Image.new("RGB", (5, 6))
    if not hasattr(image, "__arrow_c_array__"):
        pytest.skip("this Pillow does not share its memory")
    with pytest.raises(TypeError, match="capsule 'arrow_array'"):
        preparer.run(image.__arrow_c_array__()[0], 6, 5)


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((3, 32, 32)),
        np.zeros((3, 32, 31), np.float32),
        np.zeros((3, 32, 64), np.float32)[:, :, ::2],
        np.zeros((3, 64, 32), np.float32)[:, ::2],
    ],
)
def test_a_place_that_does_not_fit_is_refused(preparer, out):
    with pytest.raises((TypeError, ValueError), match=r"^out must"):
        preparer.run(pixels(8, 8), 8, 8, out)


def test_a_place_over_the_image_is_refused(preparer):
    memory = np.zeros(3 * 32 * 32, np.float32)
    image = memory.view(np.uint8)[: 8 * 8 * 3].reshape(8, 8, 3)
    with pytest.raises(ValueError, match="out shares memory with image"):
        preparer.run(image, 8, 8, memory.reshape(3, 32, 32))


@pytest.mark.parametrize(("rule", "message"), [({}, "rule lacks the key"), (None, "rule must be a dict")])
def test_another_rule_is_refused(rule, message):
    with pytest.raises((TypeError, ValueError), match=message):
        _C.ImagePreparer(rule)

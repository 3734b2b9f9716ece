"""Images of every kind become upright RGB; what is no image, is damaged or is a bomb is refused by name."""

import os
import struct
import subprocess
import sys
import warnings
import zlib
from io import BytesIO, StringIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from mobilevit_fast.image import MAX_PIXELS, load_image
from photographs import encoded, every_kind_of_file, photograph, with_alpha

PHOTO = photograph(60, 40)


def pixels(image):
    return np.asarray(image)


@pytest.mark.parametrize("kind", every_kind_of_file())
@pytest.mark.filterwarnings("ignore:.*more than 8 bits a channel")
def test_every_kind_becomes_the_rgb_that_pillow_makes_of_it(kind, tmp_path):
    content = every_kind_of_file()[kind]
    with warnings.catch_warnings():
        # Pillow's advice about palettes with transparency.
        warnings.simplefilter("ignore")
        expected = ImageOps.exif_transpose(Image.open(BytesIO(content))).convert("RGB")
    (tmp_path / "image").write_bytes(content)
    sources = (content, bytearray(content), memoryview(content), BytesIO(content), tmp_path / "image")
    for source in (*sources, str(tmp_path / "image"), Image.open(BytesIO(content))):
        loaded = load_image(source)
        assert loaded.mode == "RGB"
        np.testing.assert_array_equal(pixels(loaded), pixels(expected))


def test_what_deeper_pixels_lose_is_told():
    content = every_kind_of_file()["16-bit png"]
    with pytest.warns(UserWarning, match="more than 8 bits a channel.*255 becomes white"):
        load_image(content)


def test_an_open_file_is_read(tmp_path):
    (tmp_path / "photo.png").write_bytes(encoded(PHOTO, "PNG"))
    with (tmp_path / "photo.png").open("rb") as stream:
        np.testing.assert_array_equal(pixels(load_image(stream)), pixels(PHOTO))


def test_orientation_turns_the_image():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert load_image(encoded(PHOTO, "JPEG", exif=exif)).size == (40, 60)


def test_what_is_handed_in_is_left_alone():
    turned = Image.open(BytesIO(encoded(PHOTO, "PNG")))
    turned.getexif()[0x0112] = 6
    assert load_image(turned).size == (40, 60)
    assert (turned.size, turned.getexif()[0x0112]) == ((60, 40), 6)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pixels(PHOTO), PHOTO),
        (pixels(PHOTO)[::-1, ::-1], PHOTO.transpose(Image.Transpose.ROTATE_180)),
        (np.asfortranarray(pixels(PHOTO)), PHOTO),
        (pixels(PHOTO.convert("L")), PHOTO.convert("L").convert("RGB")),
        (pixels(PHOTO.convert("L"))[:, :, None], PHOTO.convert("L").convert("RGB")),
        (pixels(with_alpha(PHOTO)), PHOTO),
    ],
    ids=["RGB", "negative strides", "Fortran order", "HxW", "HxWx1", "RGBA"],
)
def test_arrays(array, expected):
    np.testing.assert_array_equal(pixels(load_image(array)), pixels(expected))


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (
            np.zeros((8, 8, 3), np.float32),
            TypeError,
            r"must be uint8 .* got a float32 array of shape \[8, 8, 3\]",
        ),
        (np.zeros((8, 8, 3), object), TypeError, "must be uint8"),
        (np.zeros((3, 8, 8), np.uint8), ValueError, "move the channels last"),
        (np.zeros((8, 8, 2), np.uint8), ValueError, r"got a uint8 array of shape \[8, 8, 2\]$"),
        (np.zeros((2, 8, 8, 3), np.uint8), ValueError, r"shape \[2, 8, 8, 3\]"),
        (np.zeros(8, np.uint8), ValueError, r"shape \[8\]"),
        (np.zeros((), np.uint8), ValueError, r"shape \[\]"),
        (np.zeros((0, 8, 3), np.uint8), ValueError, "at least one pixel"),
    ],
)
def test_arrays_that_are_no_image(array, error, message):
    with pytest.raises(error, match=message):
        load_image(array)


@settings(deadline=None)
@given(
    st.sampled_from([np.uint8, np.int8, np.uint16, np.float32, np.complex64, np.bool_, "S3", object]),
    st.lists(st.integers(0, 5), max_size=5),
    st.lists(st.sampled_from([-1, 1, 2]), min_size=5, max_size=5),
)
def test_any_array_is_an_image_or_refused(dtype, shape, steps):
    array = np.arange(np.prod(shape, dtype=int)).astype(np.uint8).reshape(shape).astype(dtype)
    array = array[(*(slice(None, None, step) for step in steps[: len(shape)]), ...)]
    channels = array.shape[2] if array.ndim == 3 else 1
    if dtype is not np.uint8:
        with pytest.raises(TypeError, match="must be uint8"):
            load_image(array)
    elif array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        with pytest.raises(ValueError, match="an image array"):
            load_image(array)
    else:
        expected = array if array.ndim == 3 else array[:, :, None]
        expected = expected[:, :, :3] if channels > 1 else np.repeat(expected, 3, axis=2)
        np.testing.assert_array_equal(pixels(load_image(array)), expected)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"a text file that somebody renamed", bytes(100)])
def test_what_is_no_image_is_refused_by_name(tmp_path, content):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"holiday\.jpg' is not an image that Pillow can read: it (starts|is empty)"
    ):
        load_image(path)
    with pytest.raises(ValueError, match=f"image of {len(content)} bytes is not an image"):
        load_image(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_truncated_image_is_refused_by_name(tmp_path, kind):
    content = encoded(PHOTO, kind)
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"holiday\.jpg' (is damaged|cannot be read|is not an image)"):
        load_image(path)


FILES = tuple(content for kind, content in every_kind_of_file().items() if "orientation" not in kind)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILES), st.data())
def test_a_corrupted_image_is_decoded_or_refused(content, data):
    content = bytearray(content)
    positions = st.integers(0, min(len(content), 400) - 1)
    for position, value in data.draw(
        st.lists(st.tuples(positions, st.integers(0, 255)), min_size=1, max_size=8)
    ):
        content[position] = value
    with warnings.catch_warnings():
        # Pillow warns of odd metadata that it steps over.
        warnings.simplefilter("ignore")
        try:
            assert load_image(bytes(content)).mode == "RGB"
        except ValueError as error:
            message = str(error)
        else:
            message = "image of"
    assert message.startswith("image of")


def png_that_claims(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10_000, 10_000), (50_000, 50_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, size, action):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_that_claims(*size))
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(ValueError, match=r"bomb\.png' .*(over the limit of|exceeds limit of) \d+"):
            load_image(path)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_real_image_of_a_hundred_megapixels_is_refused_and_can_be_allowed():
    content = encoded(Image.new("1", (10_000, 10_000)), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(
            ValueError, match=f"10000x10000, 100000000 pixels, over the limit of {MAX_PIXELS}"
        ):
            load_image(content)
        assert load_image(content, max_pixels=100_000_000).size == (10_000, 10_000)


def test_the_limit_holds_for_pil_images_too():
    with pytest.raises(
        ValueError, match="PIL image of mode RGB is 60x40, 2400 pixels, over the limit of 2399"
    ):
        load_image(PHOTO, max_pixels=2399)


def test_postscript_is_not_run():
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(ValueError, match="is PostScript"):
        load_image(content)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("nothing/here.jpg", FileNotFoundError, "there is no image 'nothing/here.jpg'"),
        ("", FileNotFoundError, "there is no image ''"),
        ("https://example.org/a.jpg", ValueError, "is an address; download the image"),
        (".", ValueError, "is a folder; give the images in it"),
        (StringIO("text"), TypeError, "must give bytes, got text; open it with 'rb'"),
        (None, TypeError, "cannot read an image from NoneType; give a path"),
        (3, TypeError, "cannot read an image from int"),
        ([PHOTO], TypeError, "cannot read an image from list"),
    ],
)
def test_what_cannot_be_a_source(source, error, message):
    with pytest.raises(error, match=message):
        load_image(source)


def test_a_file_opened_as_text_is_refused(tmp_path):
    path = tmp_path / "a.png"
    PHOTO.save(path)
    with path.open(encoding="utf-8") as file, pytest.raises(TypeError, match="open it with 'rb'"):
        load_image(file)


def test_decoding_needs_neither_torch_nor_transformers():
    code = """
import sys
from mobilevit_fast.image import Preprocessing, preprocess
import numpy as np
preprocess(np.zeros((300, 300, 3), np.uint8), Preprocessing())
assert not any(name.split(".")[0] in ("torch", "transformers", "timm") for name in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr

"""Pixels equal those of transformers' PIL processor and timm's transform; rules and their files."""

import json
import os
import warnings
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from mobilevit_fast.image import Preprocessing, preprocess, preprocess_one, to_planes
from mobilevit_fast.image.configs import from_huggingface, from_timm, to_huggingface
from photographs import encoded, every_kind_of_file, photograph, photographs_in
from pillow_oracle import prepared_by_pillow

PHOTOS = os.environ.get("MOBILEVIT_FAST_PHOTOS")
TOLERANCE = 1e-6

SIZES = (
    (640, 480),
    (480, 640),
    (256, 256),
    (288, 288),
    (289, 431),
    (300, 201),
    (1001, 333),
    (40, 51),
    (1, 1),
)

TRANSFORMERS_RULES = {
    "apple": {"size": {"shortest_edge": 288}, "crop_size": {"height": 256, "width": 256}, "resample": 2},
    "defaults": {},
    "padded": {"size": {"shortest_edge": 201}, "crop_size": {"height": 256, "width": 255}, "resample": 3},
    "rgb": {
        "size": {"shortest_edge": 160},
        "crop_size": {"height": 127, "width": 150},
        "do_flip_channel_order": False,
    },
    "exact": {"size": {"height": 96, "width": 160}, "do_center_crop": False, "resample": 1},
    "no resize": {"do_resize": False, "crop_size": {"height": 64, "width": 64}},
    "other scale": {
        "size": {"shortest_edge": 64},
        "crop_size": {"height": 64, "width": 64},
        "rescale_factor": 1 / 127.5,
    },
}

TIMM_RULES = {
    "mobilevit": {},
    "224": {"input_size": (3, 224, 224)},
    "odd margin": {"input_size": (3, 223, 223), "crop_pct": 0.875},
    "whole": {"input_size": (3, 192, 192), "crop_pct": 1.0},
    "normalised": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "interpolation": "bilinear"},
    "squashed": {"input_size": (3, 160, 200), "crop_mode": "squash"},
}


def inputs():
    """What a peer is given and what we are given, by name."""
    files = dict(every_kind_of_file())
    for width, height in SIZES:
        files[f"{width}x{height}"] = encoded(photograph(width, height, seed=width), "PNG")
    if PHOTOS:
        files |= photographs_in(Path(PHOTOS))
    for name, content in files.items():
        with warnings.catch_warnings():
            # Pillow's advice about palettes with transparency.
            warnings.simplefilter("ignore")
            yield name, ImageOps.exif_transpose(Image.open(BytesIO(content))).convert("RGB"), content


@pytest.mark.parametrize("rule", TRANSFORMERS_RULES)
def test_pixels_equal_those_of_transformers(rule):
    module = pytest.importorskip("transformers.models.mobilevit.image_processing_pil_mobilevit")
    processor = module.MobileViTImageProcessorPil(**TRANSFORMERS_RULES[rule])
    ours = from_huggingface(processor.to_dict())
    for name, image, content in inputs():
        expected = processor(image, return_tensors="np")["pixel_values"]
        given = preprocess(content, ours)
        assert given.dtype == np.float32
        np.testing.assert_allclose(given, expected, rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("rule", TIMM_RULES)
def test_pixels_equal_those_of_timm(rule):
    data = pytest.importorskip("timm.data")
    mobilevit = {"input_size": (3, 256, 256), "crop_pct": 0.9, "interpolation": "bicubic"}
    plain = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    transform = data.create_transform(**{**mobilevit, **plain, **TIMM_RULES[rule]})
    for name, image, content in inputs():
        given = preprocess_one(content, from_timm(TIMM_RULES[rule]))
        np.testing.assert_allclose(given, transform(image).numpy(), rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.mark.skipif(not PHOTOS, reason="MOBILEVIT_FAST_PHOTOS names no folder of photographs")
def test_the_folder_of_photographs_holds_some():
    assert photographs_in(Path(PHOTOS))


def test_channel_order_only_flips_the_channels():
    rgb = preprocess(photograph(300, 280), Preprocessing(channel_order="RGB"))
    bgr = preprocess(photograph(300, 280), Preprocessing(channel_order="BGR"))
    np.testing.assert_array_equal(rgb, bgr[:, ::-1])
    assert not np.array_equal(rgb, bgr)


def test_a_flat_image_gives_its_colour():
    orange = Image.new("RGB", (300, 400), (255, 128, 0))
    pixels = preprocess(orange, Preprocessing())
    assert pixels.shape == (1, 3, 256, 256)
    np.testing.assert_allclose(pixels[0].mean((1, 2)), [0, 128 / 255, 1], atol=1e-6)


def test_a_batch_is_the_single_images():
    images = [
        photograph(300, 300, 1),
        encoded(photograph(200, 400, 2), "JPEG"),
        np.asarray(photograph(290, 288, 3)),
    ]
    batch = preprocess(images, Preprocessing())
    assert batch.shape == (3, 3, 256, 256)
    assert batch.flags.c_contiguous
    for row, image in zip(batch, images, strict=True):
        np.testing.assert_array_equal(row, preprocess_one(image, Preprocessing()))


def test_one_image_is_written_where_it_is_wanted():
    out = np.zeros((3, 256, 256), np.float32)
    assert preprocess_one(photograph(300, 300), Preprocessing(), out=out) is out
    np.testing.assert_array_equal(out, preprocess_one(photograph(300, 300), Preprocessing()))


@pytest.mark.parametrize("out", [np.zeros((3, 256, 255), np.float32), np.zeros((3, 256, 256), np.float64)])
def test_a_place_that_does_not_fit_is_refused(out):
    with pytest.raises(ValueError, match=r"out must be float32 \[3, 256, 256\], got"):
        preprocess_one(photograph(300, 300), Preprocessing(), out=out)


def test_a_place_is_an_array():
    with pytest.raises(TypeError, match=r"out must be a NumPy array, float32 \[3, 256, 256\], got list"):
        preprocess_one(photograph(300, 300), Preprocessing(), out=[1])


@pytest.mark.parametrize("size", [(2200, 2100), (1000, 140), (140, 1000), (2, 3), (1, 90)])
@pytest.mark.parametrize("rule", TIMM_RULES)
def test_memory_in_one_piece_or_several_gives_what_pillow_gives(rule, size):
    image, rule = photograph(*size), from_timm(TIMM_RULES[rule])
    np.testing.assert_array_equal(preprocess_one(image, rule), prepared_by_pillow(image, rule))
    final = image.resize((64, 48))
    planes = prepared_by_pillow(final, replace(rule, shortest_edge=None, exact_size=None, crop_size=None))
    np.testing.assert_array_equal(to_planes(final, rule), planes)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="no images were given"):
        preprocess([], Preprocessing())


def test_without_a_crop_a_batch_needs_one_size():
    uncropped = Preprocessing(shortest_edge=64, crop_size=None)
    assert preprocess([photograph(128, 96)] * 2, uncropped).shape == (2, 3, 64, 85)
    with pytest.raises(ValueError, match="does not crop"):
        preprocess([photograph(128, 96), photograph(96, 128)], uncropped)


def test_an_image_too_long_and_thin_is_refused():
    with pytest.raises(ValueError, match="too long and thin: resized to 11520000x288"):
        preprocess(Image.new("RGB", (80_000, 2)), Preprocessing())


def test_the_range_of_prepared_values():
    assert Preprocessing().value_range == (0, 1)
    rule = Preprocessing(mean=(0.5, 0.25, 0.0), std=(0.5, 0.5, 2.0))
    assert rule.value_range == (-1, 1.5)
    assert Preprocessing(rescale=-1 / 255).value_range == (-1, 0)


@pytest.mark.parametrize(
    ("size", "crop", "down", "even"),
    [
        (288, 256, 16, 16),
        (379, 256, 61, 62),
        (381, 256, 62, 62),
        (255, 256, -1, 0),
        (201, 256, -28, -27),
        (5, 5, 0, 0),
    ],
)
def test_where_the_crop_starts(size, crop, down, even):
    assert Preprocessing(crop_rounding="down").crop_offset(size, crop) == down
    assert Preprocessing(crop_rounding="even").crop_offset(size, crop) == even


RULES = (
    Preprocessing(),
    Preprocessing(shortest_edge=None, exact_size=(96, 128), crop_size=None, resample="lanczos"),
    Preprocessing(shortest_edge=None, crop_size=(64, 96), channel_order="RGB"),
    Preprocessing(
        shortest_edge=72, crop_size=(64, 64), channel_order="RGB", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
    ),
    Preprocessing(rescale=1 / 128, resample="bicubic"),
)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_survives_its_files(rule):
    assert Preprocessing.from_dict(rule.to_dict()) == rule
    assert from_huggingface(to_huggingface(rule)) == rule


@pytest.mark.parametrize("rule", RULES)
def test_transformers_follows_a_rule_that_was_written(rule, tmp_path):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(to_huggingface(rule)))
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    image = photograph(200, 171)
    expected = processor(image, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(preprocess(image, rule), expected, rtol=0, atol=TOLERANCE)


def test_bgr_with_a_mean_cannot_be_written():
    with pytest.raises(ValueError, match="BGR order with mean and std"):
        to_huggingface(replace(RULES[3], channel_order="BGR"))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"size": {"longest_edge": 5}}, "size must hold shortest_edge, or height and width"),
        ({"size": "large"}, "size must hold shortest_edge"),
        ({"size": {"shortest_edge": -1}}, "shortest_edge must be a whole number of pixels"),
        ({"size": {"shortest_edge": 10**9}}, "shortest_edge must be a whole number of pixels"),
        ({"crop_size": {"height": 1.5, "width": 2}}, "crop_size must be a whole number"),
        ({"crop_size": [1, 2, 3]}, r"crop_size must be \(height, width\)"),
        ({"resample": 9}, "resample must be the number of a Pillow filter, 0 to 5, got 9"),
        ({"resample": "bicubic"}, "resample must be the number"),
        ({"rescale_factor": "big"}, "rescale must be a finite number"),
        (
            {"image_processor_type": "ViTImageProcessor", "size": {"height": 9, "width": 9}},
            "image_mean is missing",
        ),
    ],
)
def test_malformed_processor_files_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        from_huggingface(config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"input_size": (1, 64, 64)}, "three channels"),
        ({"input_size": 64}, "input_size must be"),
        ({"crop_pct": 2}, "crop_pct must be"),
        ({"crop_pct": "all"}, "crop_pct must be"),
        ({"crop_mode": "border"}, "crop_mode must be squash"),
        ({"input_size": (3, 64, 96)}, "center at a square size"),
        ({"interpolation": "random"}, "resample must be one of"),
        ({"std": (1, 0, 1)}, "std must not be 0"),
    ],
)
def test_malformed_timm_configs_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        from_timm(config)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channel_order": "GBR"}, "channel_order must be one of RGB, BGR"),
        ({"exact_size": (64, 64)}, "exclude each other"),
        ({"mean": (0, 0, 0)}, "mean and std come together"),
        ({"mean": (0, 0), "std": (1, 1, 1)}, "mean must be three finite numbers"),
        ({"rescale": float("nan")}, "rescale must be a finite number"),
        ({"crop_size": 256}, r"crop_size must be \(height, width\), got 256"),
    ],
)
def test_rules_that_cannot_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**fields)


def test_an_unknown_field_is_refused():
    with pytest.raises(ValueError, match="unknown preprocessing field speed"):
        Preprocessing.from_dict({"speed": 3})


def test_a_rule_describes_itself():
    assert Preprocessing().describe() == (
        "resize the shorter side to 288 (bilinear), centre crop 256x256, scale by 1/255, BGR channels, "
        "no mean or std"
    )
    assert "mean 0.5 0.4 0.3, std 0.2 0.3 0.4" in RULES[3].describe()
    assert RULES[1].describe().startswith("resize to 96x128 (lanczos), scale")

"""What may be quantised and what it may be calibrated with."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from mobilevit_fast import CalibrationWarning, StaticInt8, WeightOnly, load_checkpoint, prepare_qat, quantize
from mobilevit_fast.model import from_checkpoint
from mobilevit_fast.quantization.sources import MOST, to_checkpoint, to_images
from mobilevit_fast.weights import save_checkpoint, to_timm, to_transformers
from mobilevit_fast.weights.configs import config_to_transformers
from photographs import photograph


def torch_state(arrays):
    return {name: torch.tensor(array) for name, array in arrays.items()}


def transformers_model(checkpoint):
    import transformers

    settings = config_to_transformers(checkpoint.config, checkpoint.labels)
    model = transformers.MobileViTForImageClassification(transformers.MobileViTConfig(**settings))
    model.load_state_dict(torch_state(to_transformers(checkpoint.tensors, checkpoint.config)))
    return model.eval()


def timm_model(checkpoint):
    timm = pytest.importorskip("timm")
    model = timm.create_model(checkpoint.config.name, num_classes=checkpoint.config.num_classes)
    model.load_state_dict(torch_state(to_timm(checkpoint.tensors, checkpoint.config)))
    return model.eval()


SOURCES = {
    "ours": lambda checkpoint: from_checkpoint(checkpoint).eval(),
    "transformers": transformers_model,
    "timm": timm_model,
    "checkpoint": lambda checkpoint: checkpoint,
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_weights_from_anywhere_give_the_same_model(checkpoint, source):
    expected = quantize(checkpoint, WeightOnly()).checkpoint()
    actual = quantize(SOURCES[source](checkpoint), WeightOnly()).checkpoint()
    for name, weight in expected.weights.items():
        np.testing.assert_array_equal(actual.weights[name], weight, err_msg=name)
    assert actual.config.num_classes == 10


def test_labels_and_preprocessing_come_along(checkpoint):
    for source in (SOURCES["ours"], SOURCES["checkpoint"]):
        model = quantize(source(checkpoint), WeightOnly())
        assert (model.labels, model.preprocessing) == (checkpoint.labels, checkpoint.preprocessing)
    model = quantize(transformers_model(checkpoint), WeightOnly())
    assert model.labels == checkpoint.labels
    assert model.preprocessing.crop_size == (64, 64)
    assert model.preprocessing.channel_order == "BGR"


def test_a_file_or_an_embedded_model_may_be_named(checkpoint, tmp_path):
    save_checkpoint(tmp_path / "float.safetensors", checkpoint, dtype="float32")
    from_file = to_checkpoint(tmp_path / "float.safetensors")
    assert all((from_file.tensors[name] == array).all() for name, array in checkpoint.tensors.items())
    embedded = to_checkpoint("mobilevit_xxs.cifar10")
    assert embedded.labels == load_checkpoint("mobilevit_xxs.cifar10").labels


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (3, TypeError, "cannot quantise a int"),
        (torch.nn.Linear(3, 3), TypeError, r"cannot optimize torch.*Linear"),
        ("nowhere.safetensors", FileNotFoundError, "nowhere"),
    ],
)
def test_other_things_are_refused(source, error, message):
    with pytest.raises(error, match=message):
        quantize(source, WeightOnly())


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers")
def test_a_module_that_was_altered_is_refused(checkpoint):
    model = from_checkpoint(checkpoint)
    model.stages[0][0].expand.activation = False
    with pytest.raises(TypeError, match="activation"):
        to_checkpoint(model)


def test_hooks_are_left_out_with_a_warning(checkpoint):
    model = from_checkpoint(checkpoint)
    model.classifier.register_forward_hook(lambda *_: None)
    with pytest.warns(UserWarning, match="forward hooks on classifier are left out"):
        to_checkpoint(model)


def test_a_backbone_is_refused(checkpoint):
    with pytest.raises(ValueError, match="MobileViTModel has no classifier"):
        quantize(transformers_model(checkpoint).mobilevit, WeightOnly())


@pytest.fixture(scope="module")
def photographs():
    return [photograph(90, 70, seed) for seed in range(32)]


def test_a_folder_a_list_and_arrays_calibrate_alike(checkpoint, photographs, tmp_path):
    for index, photo in enumerate(photographs):
        photo.save(tmp_path / f"{index:02}.png")
    rule = checkpoint.preprocessing
    expected = to_images(photographs, rule)
    assert expected.shape == (32, 3, 64, 64)
    same = photograph(64, 64)
    for given in (tmp_path, [np.asarray(photo) for photo in photographs], expected.numpy(), expected):
        assert torch.equal(to_images(given, rule), expected)
    stacked = np.stack([np.asarray(same)] * 32)
    assert torch.equal(to_images(stacked, rule), to_images([same] * 32, rule))


def test_more_images_than_are_of_use_are_thinned_out(checkpoint):
    many = np.zeros((MOST * 3, 3, 2, 8), np.float32) + np.linspace(0, 1, 8, dtype=np.float32)
    many[:, 0, 0, 0] = np.arange(len(many)) / len(many)
    chosen = to_images(many, checkpoint.preprocessing)
    assert len(chosen) == MOST
    assert torch.equal(chosen[:, 0, 0, 0], torch.from_numpy(many[::3, 0, 0, 0]))


def test_few_images_warn(checkpoint, photographs):
    with pytest.warns(CalibrationWarning, match="only 5 calibration images; give 32 or more"):
        to_images(photographs[:5], checkpoint.preprocessing)


@pytest.mark.parametrize("kind", ["noise", "bytes"])
def test_random_images_warn(checkpoint, kind):
    rng = np.random.default_rng(0)
    if kind == "noise":
        images = rng.random((32, 3, 64, 64), np.float32)
    else:
        images = list(rng.integers(0, 256, (32, 64, 64, 3), dtype=np.uint8))
    with pytest.warns(CalibrationWarning, match="look like noise"):
        to_images(images, checkpoint.preprocessing)


@pytest.mark.parametrize("change", [lambda x: x * 255, lambda x: x * 2 - 1])
def test_arrays_prepared_in_another_way_warn(checkpoint, photographs, change):
    pixels = to_images(photographs, checkpoint.preprocessing)
    with pytest.warns(CalibrationWarning, match="preprocessing gives 0 to 1: were they"):
        to_images(change(pixels), checkpoint.preprocessing)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_may_be_of_any_float_type(checkpoint, photographs, dtype):
    pixels = to_images(photographs, checkpoint.preprocessing)
    assert torch.equal(to_images(pixels.to(dtype), checkpoint.preprocessing), pixels.to(dtype).float())


def test_images_of_one_colour_warn(checkpoint):
    with pytest.warns(CalibrationWarning, match="look like noise"):
        to_images([Image.new("RGB", (64, 64), "red")] * 32, checkpoint.preprocessing)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([], ValueError, "no calibration images were given"),
        ("nowhere", FileNotFoundError, "there is no folder 'nowhere'"),
        (np.zeros((4, 64, 64), np.float32), ValueError, r"must be \[N, 3, H, W\] .* got \[4, 64, 64\]"),
        (np.zeros((2, 3, 0, 8), np.float32), ValueError, "of at least one pixel"),
        (np.full((4, 3, 8, 8), np.nan, np.float32), ValueError, "values that are not finite"),
        (["nowhere.jpg"], FileNotFoundError, "nowhere.jpg"),
        (3, TypeError, "calibration must be a folder, a sequence of images or an array, got int"),
    ],
)
def test_images_that_cannot_serve_are_refused(checkpoint, images, error, message):
    with pytest.raises(error, match=message):
        quantize(checkpoint, StaticInt8(), calibration=images)


@pytest.mark.parametrize("make", [quantize, prepare_qat])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(checkpoint, make, value):
    weight = checkpoint.tensors["stem.conv.weight"].copy()
    weight[0, 0, 0, 0] = value
    broken = replace(checkpoint, tensors=checkpoint.tensors | {"stem.conv.weight": weight})
    with pytest.raises(ValueError, match=r"stem\.conv\.weight holds numbers that are not finite"):
        make(broken, WeightOnly())

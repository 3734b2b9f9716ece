import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import AutoModelForImageClassification
from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil

from mobilevit_fast.benchmark.random_weights import random_images, random_tensors
from mobilevit_fast.config import get_config
from mobilevit_fast.image import Preprocessing, preprocess
from mobilevit_fast.model import create_model, from_checkpoint, from_pretrained
from mobilevit_fast.weights import Checkpoint


@pytest.fixture
def model():
    labels = ("ant", "bee", "cat")
    preprocessing = Preprocessing(shortest_edge=72, crop_size=(64, 64), channel_order="RGB")
    config = get_config("mobilevit_xxs", num_classes=3)
    checkpoint = Checkpoint(config, random_tensors(config), preprocessing, labels, source="random")
    return from_checkpoint(checkpoint).eval()


@pytest.fixture
def images():
    return torch.tensor(random_images(2, 64, 64))


def logits(model, images):
    with torch.inference_mode():
        return model(images)


def test_a_saved_folder_comes_back_whole(model, images, tmp_path):
    model.save_pretrained(tmp_path / "out")
    again = from_pretrained(tmp_path / "out")
    assert not again.training
    assert (again.config, again.labels) == (model.config, model.labels)
    assert again.preprocessing == model.preprocessing
    assert torch.equal(logits(again, images), logits(model, images))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]


def test_transformers_answers_alike_from_a_saved_folder(model, images, tmp_path):
    model.save_pretrained(tmp_path)
    theirs, info = AutoModelForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.id2label == {0: "ant", 1: "bee", 2: "cat"}
    with torch.inference_mode():
        expected = theirs.eval()(images).logits
    assert expected.std(0).max() > 1e-3
    assert (logits(model, images) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_transformers_prepares_images_alike_from_a_saved_folder(model, tmp_path):
    model.save_pretrained(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    theirs = MobileViTImageProcessorPil.from_pretrained(tmp_path)(image, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(preprocess([image], model.preprocessing), theirs, atol=1e-6)


def test_a_folder_can_be_saved_over(model, tmp_path):
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        model.classifier.bias.add_(1)
    model.save_pretrained(tmp_path)
    assert torch.equal(from_pretrained(tmp_path).classifier.bias, model.classifier.bias)


def test_what_transformers_cannot_express_is_refused_before_anything_is_written(tmp_path):
    model = create_model("mobilevit_xxs", transformer_layers=(1, 1, 1))
    with pytest.raises(ValueError, match=r"transformer_layers \(2, 4, 3\) only"):
        model.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_number_of_classes_starts_a_new_classifier_and_says_so(model, tmp_path, caplog):
    model.save_pretrained(tmp_path)
    changed = from_pretrained(tmp_path, num_classes=5)
    assert "untrained classifier of 5 classes" in caplog.text
    assert changed.classifier.weight.shape[0] == 5
    assert changed.labels == ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4")
    assert torch.equal(changed.head.conv.weight, model.head.conv.weight)
    assert changed.preprocessing == model.preprocessing


def test_the_same_number_of_classes_keeps_the_classifier(model, images, tmp_path):
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(from_pretrained(tmp_path, num_classes=3), images), logits(model, images))


def test_unnamed_classes_get_the_names_that_transformers_gives(tmp_path):
    create_model("mobilevit_xxs", num_classes=2).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}


def test_create_model_takes_overrides():
    model = create_model("mobilevit_xs", num_classes=7, image_size=64)
    assert model.classifier.out_features == 7
    assert (model.preprocessing.shortest_edge, model.preprocessing.crop_size) == (72, (64, 64))


def test_create_model_suggests_near_names():
    with pytest.raises(ValueError, match="did you mean mobilevit_s"):
        create_model("mobilevit")


@pytest.mark.parametrize("head", [nn.Linear(320, 7), nn.Sequential(nn.Linear(320, 5)), nn.Identity()])
def test_a_replaced_classifier_is_not_saved(tmp_path, head):
    model = create_model("mobilevit_xxs", num_classes=5)
    model.classifier = head
    with pytest.raises(ValueError, match="for a model of 5 labels"):
        model.save_pretrained(tmp_path / "a")
    assert not list(tmp_path.iterdir())

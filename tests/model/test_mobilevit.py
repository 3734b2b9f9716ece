import pytest
import torch
from transformers import MobileViTConfig, MobileViTForImageClassification

from mobilevit_fast.benchmark.random_weights import random_images, random_tensors
from mobilevit_fast.config import get_config, list_models
from mobilevit_fast.model import MobileViT
from mobilevit_fast.weights import to_transformers
from mobilevit_fast.weights.configs import config_to_transformers

PARAMETERS = {"mobilevit_xxs": 1_272_024, "mobilevit_xs": 2_317_848, "mobilevit_s": 5_578_632}


def random_model(name, num_classes=10):
    config = get_config(name, num_classes=num_classes)
    model = MobileViT(config)
    model.load_state_dict({name: torch.tensor(array) for name, array in random_tensors(config).items()})
    return model


@pytest.fixture(scope="module", params=list_models())
def pair(request):
    ours = random_model(request.param).eval()
    theirs = MobileViTForImageClassification(
        MobileViTConfig(**config_to_transformers(ours.config, ours.labels))
    ).eval()
    state = to_transformers(ours.checkpoint().tensors, ours.config)
    theirs.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    return ours, theirs


@pytest.mark.parametrize("size", [(256, 256), (224, 224), (192, 320), (97, 161), (33, 40)])
def test_logits_equal_those_of_transformers(pair, size):
    ours, theirs = pair
    images = torch.tensor(random_images(3, *size))
    with torch.inference_mode():
        expected = theirs(images).logits
        logits = ours(images)
    assert expected.std(0).max() > 1e-3 * expected.abs().max(), "the images must differ in their logits"
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_memory_format_does_not_matter(pair):
    ours, _ = pair
    images = torch.tensor(random_images(2, 64, 96))
    with torch.inference_mode():
        expected = ours(images)
        logits = ours(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_are_the_published_ones(name):
    assert sum(p.numel() for p in MobileViT(get_config(name)).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 4, 64, 64), (1, 64, 64, 3)])
def test_a_wrong_shape_is_named(shape):
    model = MobileViT(get_config("mobilevit_xxs"))
    with pytest.raises(ValueError, match=r"must be \[N, 3, H, W\], got \[" + str(shape[0])):
        model(torch.zeros(shape))


def test_labels_must_fit_the_classes():
    with pytest.raises(ValueError, match="3 classes need as many labels, got 2"):
        MobileViT(get_config("mobilevit_xxs", num_classes=3), labels=("a", "b"))


def test_every_parameter_learns():
    model = random_model("mobilevit_xxs")
    model(torch.tensor(random_images(4, 64, 64))).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_a_checkpoint_holds_float32_copies_under_canonical_names():
    model = MobileViT(get_config("mobilevit_xxs", num_classes=4)).to(memory_format=torch.channels_last)
    tensors = model.checkpoint().tensors
    names = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    assert set(tensors) == names
    assert all(array.dtype == "float32" and array.flags.c_contiguous for array in tensors.values())
    tensors["classifier.bias"][:] = 7
    assert not model.classifier.bias.eq(7).any()

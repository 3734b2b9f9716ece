"""Names and shapes: every family's checkpoint is the same model."""

import numpy as np
import pytest

from checkpoints import cvnets_state, random_checkpoint, timm_state, transformers_state
from mobilevit_fast.config import get_config, list_models
from mobilevit_fast.weights import find_config, parameter_shapes, to_canonical, to_timm, to_transformers
from mobilevit_fast.weights.labels import label_lines

STATES = {"transformers": transformers_state, "timm": timm_state, "cvnets": cvnets_state}


@pytest.fixture(scope="module")
def checkpoint():
    return random_checkpoint()


def assert_same(given, expected):
    assert given.keys() == expected.keys()
    for name, array in expected.items():
        assert given[name].dtype == np.float32
        np.testing.assert_array_equal(given[name], array, err_msg=name)


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("family", STATES)
def test_every_family_reads_as_the_same_tensors(family, name):
    checkpoint = random_checkpoint(name)
    state = STATES[family](checkpoint)
    assert_same(to_canonical(state), checkpoint.tensors)
    assert find_config({key: array.shape for key, array in state.items()}) == checkpoint.config


def test_our_own_names_read_as_they_are(checkpoint):
    assert_same(to_canonical(checkpoint.tensors), checkpoint.tensors)


@pytest.mark.parametrize("name", list_models())
def test_transformers_has_just_the_names_and_shapes_that_are_written(name):
    transformers = pytest.importorskip("transformers")
    checkpoint = random_checkpoint(name)
    config = transformers.MobileViTConfig(
        hidden_sizes=checkpoint.config.transformer_dims,
        neck_hidden_sizes=[
            checkpoint.config.stem_channels,
            *checkpoint.config.stage_channels,
            checkpoint.config.head_channels,
        ],
        expand_ratio=checkpoint.config.expand_ratio,
        num_labels=checkpoint.config.num_classes,
    )
    theirs = transformers.MobileViTForImageClassification(config).state_dict()
    ours = to_transformers(checkpoint.tensors, checkpoint.config)
    assert {name: tuple(tensor.shape) for name, tensor in theirs.items()} == {
        name: array.shape for name, array in ours.items()
    }


@pytest.mark.parametrize("name", list_models())
def test_timm_has_just_the_names_that_are_written_and_answers_alike(name):
    timm = pytest.importorskip("timm")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from mobilevit_fast.weights.configs import config_to_transformers

    def loaded(model, state):
        model.load_state_dict({key: torch.from_numpy(array) for key, array in state.items()}, strict=True)
        return model.eval()

    checkpoint = random_checkpoint(name)
    ours = to_timm(checkpoint.tensors, checkpoint.config)
    assert_same(to_canonical(timm_state(checkpoint)), to_canonical(ours))
    theirs = loaded(timm.create_model(name, num_classes=len(checkpoint.labels)), ours)
    config = config_to_transformers(checkpoint.config, checkpoint.labels)
    reference = transformers.MobileViTForImageClassification(transformers.MobileViTConfig(**config))
    reference = loaded(reference, transformers_state(checkpoint))
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, given = reference(images).logits, theirs(images)
    assert expected.std() > 1e-2
    assert (given - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_bare_backbone_has_no_classifier(checkpoint):
    state = {
        key.removeprefix("mobilevit."): array
        for key, array in transformers_state(checkpoint).items()
        if not key.startswith("classifier.")
    }
    expected = {key: array for key, array in checkpoint.tensors.items() if not key.startswith("classifier.")}
    assert_same(to_canonical(state), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types_become_float32(checkpoint, dtype):
    state = {key: array.astype(dtype) for key, array in checkpoint.tensors.items()}
    expected = {key: array.astype(dtype).astype(np.float32) for key, array in checkpoint.tensors.items()}
    assert_same(to_canonical(state), expected)


def test_torch_tensors_are_taken_too(checkpoint):
    torch = pytest.importorskip("torch")
    state = {key: torch.from_numpy(array).bfloat16() for key, array in transformers_state(checkpoint).items()}
    rounded = {key: tensor.float().numpy() for key, tensor in state.items()}
    assert_same(to_canonical(state), to_canonical(rounded))


def test_integer_weights_are_refused(checkpoint):
    state = dict(checkpoint.tensors)
    state["stem.conv.weight"] = state["stem.conv.weight"].astype(np.int8)
    with pytest.raises(ValueError, match=r"stem\.conv\.weight of the state dict is int8, expected floating"):
        to_canonical(state)


@pytest.mark.parametrize("family", STATES)
def test_tensors_that_do_not_fit_are_named_as_the_checkpoint_names_them(checkpoint, family):
    state = STATES[family](checkpoint)
    first, second, third = [key for key in state if not key.endswith("num_batches_tracked")][5:8]
    del state[first]
    state["stowaway"] = np.zeros((2, 3), np.float32)
    shape = list(state[second].shape)
    state[second] = np.zeros((7, *state[second].shape[1:]), np.float32)
    with pytest.raises(ValueError, match="does not fit mobilevit_xxs") as caught:
        to_canonical(state)
    message = str(caught.value)
    assert f"missing: {first} [" in message
    assert "unexpected: stowaway [2, 3]" in message
    assert f"misshapen: {second} is {[7, *shape[1:]]}, expected {shape}" in message
    assert third not in message


def test_only_the_first_few_of_many_are_named(checkpoint):
    state = dict(list(checkpoint.tensors.items())[40:])
    with pytest.raises(ValueError, match=r"missing: stem\.conv\.weight .* and 35 more"):
        to_canonical(state)


@pytest.mark.parametrize("part", ["query", "key", "value"])
def test_half_an_attention_is_named(checkpoint, part):
    state = transformers_state(checkpoint)
    name = f"mobilevit.encoder.layer.3.transformer.layer.2.attention.attention.{part}.weight"
    del state[name]
    with pytest.raises(ValueError, match=rf"missing: {name} \[80, 80\]"):
        to_canonical(state)


def test_half_a_classifier_is_named(checkpoint):
    state = timm_state(checkpoint)
    del state["head.fc.bias"]
    with pytest.raises(ValueError, match=r"missing: head\.fc\.bias \[5\]"):
        to_canonical(state)


def test_a_config_that_the_tensors_contradict_is_refused(checkpoint):
    with pytest.raises(ValueError, match="does not fit mobilevit_s; misshapen: stages"):
        to_canonical(checkpoint.tensors, get_config("mobilevit_s", num_classes=5))


@pytest.mark.parametrize("state", [{}, {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}])
def test_other_models_are_refused(state):
    with pytest.raises(ValueError, match="not a MobileViT v1 checkpoint of any known family"):
        to_canonical(state)


def test_a_segmentation_model_is_refused_as_one(checkpoint):
    state = transformers_state(checkpoint)
    state = {
        key: array for key, array in state.items() if "conv_1x1_exp" not in key and "classifier" not in key
    }
    state["segmentation_head.classifier.convolution.weight"] = np.zeros((21, 256, 1, 1), np.float32)
    with pytest.raises(ValueError, match="segmentation model, and only classifiers"):
        to_canonical(state)


def test_widths_of_no_known_variant_are_read_from_the_shapes():
    config = get_config(
        "mobilevit_s", num_classes=3, head_channels=512, transformer_dims=(48, 64, 80), mlp_ratio=3.0
    )
    shapes = parameter_shapes(config)
    found = find_config(shapes)
    assert found.name == "mobilevit_custom"
    assert parameter_shapes(found) == shapes


@pytest.mark.parametrize("name", list_models())
def test_parameter_counts_are_the_published_ones(name):
    counted = {"mobilevit_xxs": 1_272_024, "mobilevit_xs": 2_317_848, "mobilevit_s": 5_578_632}
    shapes = parameter_shapes(get_config(name))
    trained = sum(int(np.prod(shape)) for key, shape in shapes.items() if "running_" not in key)
    assert trained == counted[name]


def test_a_label_is_one_line():
    assert label_lines(("a\nb", "c\r\nd", "e\u2028f", "g")).split("\n") == ["a b", "c d", "e f", "g", ""]

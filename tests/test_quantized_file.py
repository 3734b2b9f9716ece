"""Quantised models as plain data and as files; integers and their grids."""

import dataclasses
import json

import numpy as np
import pytest

from mobilevit_fast.config import get_config, list_models
from mobilevit_fast.weights import (
    Grid,
    LayerFormat,
    layer_shapes,
    load_checkpoint,
    load_model,
    read_safetensors,
    save_quantized,
    silu_table,
    write_safetensors,
)
from mobilevit_fast.weights.byte_tensors import byte_tensors, integer_groups
from mobilevit_fast.weights.integers import pack_int4, unpack_int4
from mobilevit_fast.weights.quantized import quantized_size
from quantized_checkpoints import assert_same, random_quantized

FORMATS = [
    LayerFormat("int8", "int8"),
    LayerFormat("int4", "int8"),
    LayerFormat("int8", "float"),
    LayerFormat("int4", "float", 32),
    LayerFormat("int8", "dynamic"),
    LayerFormat("fp16", "float"),
    LayerFormat("bf16", "float"),
    LayerFormat("fp32", "float"),
]


@pytest.mark.parametrize("layer_format", FORMATS, ids=lambda f: f"{f.weights}-{f.compute}-{f.group_size}")
def test_a_file_gives_back_what_was_written(tmp_path, layer_format):
    checkpoint = random_quantized(layer_format)
    path = tmp_path / "model.safetensors"
    save_quantized(path, checkpoint)
    assert path.stat().st_size == quantized_size(checkpoint)
    assert_same(load_model(path), checkpoint)


def test_a_quantised_file_is_no_float_checkpoint(tmp_path):
    save_quantized(tmp_path / "model.safetensors", random_quantized(FORMATS[0]))
    with pytest.raises(ValueError, match="is quantised; this needs the float checkpoint"):
        load_checkpoint(tmp_path / "model.safetensors")


def test_real_weights_are_integers_times_the_scale_of_their_group():
    checkpoint = random_quantized(LayerFormat("int4", "float", 32))
    layer = "stages.2.1.layers.0.ffn.up"
    weight, scale = checkpoint.weights[layer], checkpoint.scales[layer]
    real = checkpoint.real_weight(layer)
    assert real[5, 31] == weight[5, 31] * scale[5, 0]
    assert real[5, 32] == weight[5, 32] * scale[5, 1]
    assert real.shape == layer_shapes(checkpoint.config)[layer]


def edit_tensors(path, change):
    tensors, metadata = read_safetensors(path)
    change(tensors)
    write_safetensors(path, tensors, metadata)


def edit_json(path, change):
    tensors, metadata = read_safetensors(path)
    content = json.loads(metadata["mobilevit_fast"])
    change(content["quantization"])
    write_safetensors(path, tensors, {"mobilevit_fast": json.dumps(content)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("head.bias"), "tensor head.bias is missing"),
        (lambda t: t.update(stray=np.zeros(3, np.float32)), "unexpected tensor 'stray'"),
        (lambda t: t.update({"head.bias": np.zeros(3, np.float32)}), r"biases of head must be \[320\], got"),
        (lambda t: t.update({"head.bias": np.zeros(320, np.int8)}), "head.bias must be floating point"),
        (lambda t: t["head.bias"].fill(np.nan), "biases of head are not all finite"),
        (
            lambda t: t.update({"head.weight": t["head.weight"].astype(np.float32)}),
            "weight of head must be int8, got float32",
        ),
    ],
)
def test_a_file_with_other_tensors_is_refused(tmp_path, change, message):
    path = tmp_path / "model.safetensors"
    save_quantized(path, random_quantized(FORMATS[0]))
    edit_tensors(path, change)
    with pytest.raises(ValueError, match=message):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q: q["layers"].pop("head"), "layers: 'head' missing"),
        (lambda q: q["layers"]["head"].update(weights="int3"), "weights must be one of int4, int8"),
        (lambda q: q["layers"]["head"].update(group_size=16), "int8 takes integer weights with one scale"),
        (
            lambda q: q["layers"]["stages.0.0.expand"].update(compute="float"),
            "these layers compute together, all in int8 or none: stages.0.0.expand: float",
        ),
        (lambda q: q["activations"].pop("image"), "activations: 'image' missing"),
        (lambda q: q["activations"]["image"].update(scale=10**400), "metadata of"),
        (lambda q: q["activations"]["image"].update(scale=0), "a scale must be a positive float32 number"),
        (lambda q: q["activations"]["image"].update(zero_point=256), "whole number from 0 to 255, got 256"),
        (lambda q: q["activations"]["image"].update(zero_point=1.0), "whole number from 0 to 255, got 1.0"),
        (lambda q: q.pop("activations"), "activations"),
        (lambda q: q.update(layers=3), "metadata of"),
    ],
)
def test_a_file_with_another_description_is_refused(tmp_path, change, message):
    path = tmp_path / "model.safetensors"
    save_quantized(path, random_quantized(FORMATS[0]))
    edit_json(path, change)
    with pytest.raises(ValueError, match=message):
        load_model(path)


def test_a_config_that_cannot_be_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_quantized(path, random_quantized(FORMATS[0]))
    tensors, metadata = read_safetensors(path)
    content = json.loads(metadata["mobilevit_fast"])
    content["config"]["transformer_layers"] = [10**12, 4, 3]
    write_safetensors(path, tensors, {"mobilevit_fast": json.dumps(content)})
    with pytest.raises(ValueError, match=r"model\.safetensors.*transformer_layers must be at most 1000"):
        load_model(path)


def test_packed_weights_of_another_size_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_quantized(path, random_quantized(FORMATS[1]))
    edit_tensors(path, lambda t: t.update({"stem.weight_int4": np.zeros(5, np.uint8)}))
    with pytest.raises(ValueError, match=r"stem.weight_int4 must be uint8 \[216\], got uint8 \[5\]"):
        load_model(path)


def test_labels_have_to_fit():
    with pytest.raises(ValueError, match="has 2 labels for 3 classes"):
        dataclasses.replace(random_quantized(FORMATS[0]), labels=("ant", "bee"))


@pytest.mark.parametrize("shape", [(3, 5), (1,), (4, 2, 3, 3)])
def test_four_bits_are_packed_two_to_a_byte(shape):
    values = np.random.default_rng(0).integers(-8, 8, shape).astype(np.int8)
    packed = pack_int4(values)
    assert packed.dtype == np.uint8
    assert packed.shape == ((values.size + 1) // 2,)
    assert packed[0] & 15 == values.flat[0] & 15
    np.testing.assert_array_equal(unpack_int4(packed, shape), values)


def test_a_grid_rounds_to_even_and_clips():
    grid = Grid(0.5, 10)
    np.testing.assert_array_equal(grid.quantize([0, 0.25, 0.75, -9, 500]), [10, 10, 12, 0, 255])
    np.testing.assert_array_equal(grid.dequantize(np.array([10, 12, 0], np.uint8)), [0, 1, -5])


def test_a_silu_table_is_silu_between_two_grids():
    before, after = Grid(0.1, 100), Grid(0.05, 6)
    table = silu_table(before, after)
    x = 0.1 * (np.arange(256) - 100)
    np.testing.assert_array_equal(table, np.clip(np.rint(x / (1 + np.exp(-x)) / 0.05) + 6, 0, 255))


@pytest.mark.parametrize("name", list_models())
def test_every_layer_is_in_one_group_and_nothing_is_bytes_without_one(name):
    config = get_config(name)
    layers = [layer for group, _ in integer_groups(config) for layer in group]
    assert sorted(layers) == sorted(layer_shapes(config))
    assert byte_tensors(config, dict.fromkeys(layers, "float")) == ()
    assert byte_tensors(config, dict.fromkeys(layers, "float") | {"head": "int8"}) == (
        "stages.4.1.fuse",
        "head.pre",
        "head",
    )

"""Every operation has a row for every format, and the lowerings compute what the operations compute."""

from __future__ import annotations

import pytest
import torch

from mobilevit_fast import get_config, ops
from mobilevit_fast.export import FORMATS
from mobilevit_fast.export.mapping import (
    LOWERINGS,
    NODES,
    QUANTIZE_DEQUANTIZE,
    SPLITS,
    ColumnPatchSplit,
    LowRankPatchSplit,
    PatchSplit,
    lower,
    split_for,
)


def tensors(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def test_every_operation_has_a_row_for_every_traced_format():
    assert set(LOWERINGS) == set(SPLITS) == {row.name for row in FORMATS.values() if row.is_traced}
    for row in LOWERINGS.values():
        assert set(row) == {*ops.NAMES, *ops.INT8_NAMES}
        assert all(callable(row[name]) for name in ops.NAMES)
        assert {row[name] for name in ops.INT8_NAMES} == {QUANTIZE_DEQUANTIZE}


@pytest.mark.parametrize(
    ("size", "patch_size", "split"),
    [
        ((256, 256), 2, ColumnPatchSplit),
        ((65, 64), 2, ColumnPatchSplit),
        ((64, 64), 2, PatchSplit),
        ((32, 50), 2, PatchSplit),
        ((96, 96), 3, PatchSplit),
        ((128, 128), 1, PatchSplit),
    ],
)
def test_openvinos_maps_of_one_patch_are_split_in_another_way(size, patch_size, split):
    config = get_config("mobilevit_xxs", patch_size=patch_size)
    assert type(split_for("openvino", config, size)) is split
    assert split_for("onnx", config, size) is SPLITS["onnx"]


def test_every_float_operation_has_a_node_where_a_format_has_nodes_of_ours():
    assert set(NODES) <= {row.name for row in FORMATS.values() if row.keeps_custom_ops}
    for row in NODES.values():
        assert set(row) == set(ops.NAMES)


SAMPLES = {
    "dwconv3x3": [
        (*tensors((2, 6, 9, 8), (6, 1, 3, 3), (6,)), stride, silu) for stride, silu in ((1, True), (2, False))
    ],
    "conv3x3": [
        (*tensors((2, 6, 9, 8), (5, 6, 3, 3), (5,)), stride, silu) for stride, silu in ((1, False), (2, True))
    ],
    "inverted_residual": [
        (
            *tensors((2, 6, 8, 8), (12, 6, 1, 1), (12,), (12, 1, 3, 3), (12,), (6, 12, 1, 1), (6,)),
            stride,
            adds,
        )
        for stride, adds in ((1, True), (2, False))
    ],
    "linear": [
        (*tensors((2, 5, 6), (4, 6), (4,), (2, 5, 4)), True),
        (*tensors((2, 6), (4, 6)), None, None, False),
    ],
    "attention": [(*tensors((3, 4, 5, 24)), 2, 1, 1), (*tensors((3, 6, 4, 24)), 2, 1, 4)],
}


@pytest.mark.parametrize("format_name", LOWERINGS)
@pytest.mark.parametrize("name", ops.NAMES)
def test_a_lowering_computes_what_the_operation_computes(format_name, name):
    operation = getattr(torch.ops.mobilevit_fast, name)
    for arguments in SAMPLES[name]:
        expected = operation(*arguments)
        found = LOWERINGS[format_name][name](*arguments)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_patches_are_not_for_the_lowering_of_attention():
    with pytest.raises(ValueError, match="got patch 2x2"):
        LOWERINGS["onnx"]["attention"](torch.zeros(1, 4, 4, 24), 2, 2, 2)


@pytest.mark.parametrize("split", [PatchSplit(), LowRankPatchSplit()], ids=["rank 6", "rank 4"])
def test_splits_sort_pixels_by_their_place_in_the_patch(split):
    rows, columns, patch = 3, 5, 2
    x = torch.arange(2 * rows * patch * columns * patch * 4.0).reshape(2, rows * patch, columns * patch, 4)
    patches = split.to_patches(x, rows, columns, patch)
    assert patches.shape == (2 * patch * patch, rows, columns, 4)
    for position in range(patch * patch):
        down, across = divmod(position, patch)
        assert torch.equal(patches[patch * patch + position], x[1, down::patch, across::patch])
    assert torch.equal(split.to_pixels(patches, 2, rows, columns, patch), x)


def test_patches_become_rows_of_pixels_in_order():
    rows, columns, patch = 3, 5, 2
    x = torch.arange(2 * rows * patch * columns * patch * 4.0).reshape(2, rows * patch, columns * patch, 4)
    split = ColumnPatchSplit()
    patches = split.to_patches(x, rows, columns, patch)
    assert patches.shape == (2, rows * columns, patch * patch, 4)
    assert split.attention_patch(patch) == (1, patch * patch)
    for number in range(rows * columns):
        down, across = (patch * place for place in divmod(number, columns))
        expected = x[1, down : down + patch, across : across + patch].flatten(0, 1)
        assert torch.equal(patches[1, number], expected)
    assert torch.equal(split.to_pixels(patches, 2, rows, columns, patch), x)


def test_no_operation_of_ours_is_left():
    class Model(torch.nn.Module):
        def forward(self, x, weight):
            return ops.linear(x, weight, silu=True)

    given = tuple(tensors((2, 6), (4, 6)))
    graph = torch.export.export(Model(), given).module()
    expected = graph(*given)
    lowered = lower(graph, LOWERINGS["onnx"])
    targets = {node.target for node in lowered.graph.nodes}
    assert LOWERINGS["onnx"]["linear"] in targets
    assert torch.ops.mobilevit_fast.linear.default not in targets
    torch.testing.assert_close(lowered(*given), expected)

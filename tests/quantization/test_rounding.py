"""Weights on their grids, and what makes up for their rounding."""

import copy

import pytest
import torch

from mobilevit_fast.quantization.calibration import calibrate, run
from mobilevit_fast.quantization.equalize import divide, equalize, free_channels
from mobilevit_fast.quantization.error_feedback import round_with_feedback
from mobilevit_fast.quantization.handlers import static_formats
from mobilevit_fast.quantization.layer import RANGES, Layer
from mobilevit_fast.quantization.observer import MeanSquaredError
from mobilevit_fast.quantization.refine import refine
from mobilevit_fast.quantization.rounding import choose_scales
from mobilevit_fast.quantization.scaled import to_half
from mobilevit_fast.quantization.sensitivity import compare
from mobilevit_fast.weights import LayerFormat

FORMATS = [LayerFormat("int8", "int8"), LayerFormat("int4", "int8"), LayerFormat("int4", "float", 16)]


def layer_in(layer_format, shape=(6, 40, 1, 1)):
    layer = Layer(shape)
    layer.format = layer_format
    with torch.no_grad():
        layer.weight.copy_(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        layer.weight[1] *= 100
        layer.weight[2] = 0
    return layer


@pytest.mark.parametrize("layer_format", FORMATS, ids=lambda f: f"{f.weights}-{f.group_size}")
def test_scales_fit_float16_and_their_integers_the_bits(layer_format):
    layer = layer_in(layer_format)
    choose_scales(layer)
    assert layer.weight_scale.shape == layer_format.scale_shape(tuple(layer.weight.shape))
    assert torch.equal(layer.weight_scale.half().float(), layer.weight_scale)
    integers = layer.integer_weight()
    low, high = RANGES[layer_format.weights]
    assert integers.min() >= low
    assert integers.max() <= high
    assert torch.equal(integers, integers.round())
    assert not integers[2].any()


@pytest.mark.parametrize("layer_format", FORMATS, ids=lambda f: f"{f.weights}-{f.group_size}")
def test_scales_are_better_than_those_that_cut_nothing_off(layer_format):
    layer = layer_in(layer_format)
    choose_scales(layer)
    error = (layer.real_weight() - layer.weight).square().flatten(1).sum(1)
    rows = layer.weight.flatten(1)
    size = layer_format.group_size or rows.shape[1]
    groups = torch.nn.functional.pad(rows, (0, -rows.shape[1] % size)).reshape(-1, size)
    low, high = RANGES[layer_format.weights]
    whole = torch.maximum(groups.amax(1) / high, groups.amin(1) / low).clamp(min=1e-9)[:, None]
    naive = ((groups / whole).round().clamp(low, high) * whole - groups).square().sum(1)
    assert (error <= 1.01 * naive.reshape(len(rows), -1).sum(1) + 1e-6).all()
    if layer_format.weights == "int4":
        assert error.sum() < naive.sum()


def test_to_half_keeps_what_float16_has_not():
    values = torch.tensor([1.0, 1.0001, 1e-9, 1e6, -0.3])
    assert to_half(values).tolist() == pytest.approx([1, 1, 1e-9, 1e6, -0.3], rel=1e-3)
    assert to_half(values)[2] == values[2]
    assert to_half(values)[3] == values[3]


@pytest.mark.parametrize("per_row", [False, True], ids=["shared moments", "moments for each row"])
def test_feedback_beats_the_nearest_on_correlated_inputs(per_row):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2000, 12, generator=generator) @ torch.randn(12, 80, generator=generator)
    inputs += 0.3 * torch.randn(2000, 80, generator=generator)
    weight = torch.randn(5, 80, generator=generator)
    scale = torch.full((5,), 0.4)
    moments = inputs.T @ inputs / len(inputs)
    given = moments.expand(5, 80, 80) if per_row else moments
    fed = round_with_feedback(weight, scale, given, -8, 7, damping=0.01)
    nearest = (weight / 0.4).round().clamp(-8, 7) * 0.4
    steps = fed / 0.4
    assert (steps - steps.round()).abs().max() < 1e-5
    assert steps.round().min() >= -8
    assert steps.round().max() <= 7
    errors = [((rounded - weight) @ inputs.T).square().mean() for rounded in (fed, nearest)]
    assert errors[0] < 0.5 * errors[1]


def test_equalisation_leaves_the_float_network_as_it_was(network, images):
    before = run(network, images[:8])
    weights = copy.deepcopy(network.state_dict())
    equalize(network, images)
    after = run(network, images[:8])
    assert any(not torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())
    assert (after - before).abs().max() < 1e-4 * before.abs().max()


def test_any_factors_cancel_out(network, images):
    before = run(network, images[:4])
    generator = torch.Generator().manual_seed(0)
    sets = list(free_channels(network))
    with torch.no_grad():
        for channels in sets:
            divide(channels, torch.rand(len(channels.rows[0]), generator=generator) * 3 + 0.2)
    assert len(sets) == 4 + 9 + 3, "stages 1 to 4 (0 has a shortcut from SiLU), values, norms"
    after = run(network, images[:4])
    assert (after - before).abs().max() < 1e-4 * before.abs().max()


def test_bias_correction_brings_the_answers_nearer(network, images):
    expected = run(network, images)
    calibrate(network, images, MeanSquaredError())
    divergences = []
    for correct in (False, True):
        attempt = copy.deepcopy(network)
        refine(attempt, static_formats(network), images, correct_bias=correct)
        mean_error = (run(attempt, images) - expected).mean(0).square().mean()
        divergences.append(float(mean_error))
    assert divergences[1] < 0.5 * divergences[0]


def test_refinement_is_the_same_every_time(network, images):
    calibrate(network, images, MeanSquaredError())
    formats = dict.fromkeys(network.layers, LayerFormat("int4", "float"))
    attempts = [copy.deepcopy(network) for _ in range(2)]
    for attempt in attempts:
        refine(attempt, formats, images[:8], correct_bias=True)
    first, second = (attempt.state_dict() for attempt in attempts)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_compare_knows_the_same_from_other_answers():
    logits = torch.tensor([[3.0, 1.0], [0.0, 2.0]])
    same = compare(logits, logits, layer="x", bits=8, parameters=1)
    assert (same.sqnr, same.divergence, same.changed, same.loss) == (float("inf"), 0, 0, None)
    other = compare(logits.flip(1), logits, torch.tensor([0, 1]), layer="x", bits=8, parameters=1)
    assert (other.changed, other.loss) == (1, 1)

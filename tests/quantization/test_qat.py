"""Training with roundings in place, and what comes of it."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from mobilevit_fast import DynamicInt8, Mixed, StaticInt8, WeightOnly, convert, prepare_qat, quantize
from mobilevit_fast.quantization import qat
from mobilevit_fast.quantization.point import Point
from mobilevit_fast.quantization.scaled import Scaled, round_through
from mobilevit_fast.quantization.sensitivity import compare
from mobilevit_fast.weights import Grid, load_model
from quantized_checkpoints import assert_same


@pytest.fixture(scope="module")
def labels():
    return torch.arange(32) % 10


def train(student, images, labels, steps=3, rate=1e-3):
    optimizer = torch.optim.AdamW(student.parameters(), lr=rate, weight_decay=0.0)
    losses = []
    for _ in range(steps):
        loss = functional.cross_entropy(student(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="module", params=["learned", "observed"])
def trained(request, checkpoint, images, labels):
    student = prepare_qat(checkpoint, calibration=images, scales=request.param)
    losses = train(student, images, labels, steps=4)
    return student, losses


def test_rounding_passes_gradients_straight_through():
    x = torch.tensor([0.4, 0.6, -1.5], requires_grad=True)
    y = round_through(x)
    (y * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert y.tolist() == [0, 1, -2]
    assert x.grad.tolist() == [1, 2, 3]


def test_gradients_pass_a_grid_inside_it_and_stop_outside():
    point = Point()
    point.grid = Grid(0.5, 128)
    point.train()
    point.learn_scale()
    x = torch.tensor([[0.3, -4.0, 1000.0, -1000.0]], requires_grad=True)
    y = point(Scaled(x), force=True).values
    y.sum().backward()
    assert y.tolist() == [[0.5, -4.0, 63.5, -64.0]]
    assert x.grad.tolist() == [[1, 1, 0, 0]]
    # d/d(log scale): rounding error inside, the end of the grid outside; over sqrt(numbers * 127).
    expected = ((0.5 - 0.3) + 0 + 63.5 - 64.0) / (4 * 127) ** 0.5
    assert point.change.grad.item() == pytest.approx(expected, rel=1e-4)


def test_every_parameter_learns(checkpoint, images, labels):
    student = prepare_qat(checkpoint, calibration=images)
    functional.cross_entropy(student(images), labels).backward()
    assert not [name for name, p in student.named_parameters() if p.grad is None or not p.grad.any()]
    assert all(torch.isfinite(p.grad).all() for p in student.parameters())


@pytest.mark.parametrize(
    "recipe", [WeightOnly(8), StaticInt8(keep=("stages.2.1", "head"))], ids=["weights", "kept in float"]
)
def test_what_nothing_is_rounded_to_waits_for_no_gradient(checkpoint, images, labels, recipe):
    student = prepare_qat(checkpoint, recipe, calibration=images)
    functional.cross_entropy(student(images), labels).backward()
    assert not [name for name, p in student.named_parameters() if p.requires_grad and p.grad is None]


def test_processes_do_not_calibrate_each_on_its_own(checkpoint, images, monkeypatch):
    monkeypatch.setattr(qat, "_is_one_of_several", lambda: True)
    with pytest.raises(ValueError, match="give prepare_qat the images"):
        prepare_qat(checkpoint)(images)
    prepare_qat(checkpoint, calibration=images)(images)


def test_training_goes_down(trained):
    losses = trained[1]
    assert losses[-1] < losses[0]


def test_before_training_it_is_the_quantised_model(checkpoint, images):
    student = prepare_qat(checkpoint, calibration=images)
    assert_same(
        convert(student).checkpoint(), quantize(checkpoint, StaticInt8(), calibration=images).checkpoint()
    )


def test_the_converted_model_answers_as_the_fake_quantised_one(trained, images):
    student, _ = trained
    model = convert(student)
    assert student.training
    with torch.no_grad():
        expected = copy.deepcopy(student).eval()(images)
    step = (expected.max() - expected.min()) / 255
    within = ((model(images) - expected).abs() <= step).double().mean()
    assert within >= 0.999


def test_training_mode_rounds_in_float32_and_stays_near(trained, images):
    student, _ = trained
    with torch.no_grad():
        logits = student(images)
    assert compare(logits, convert(student)(images), layer="all", bits=8, parameters=0).sqnr > 25


def test_trained_scales_and_biases_are_stored_in_half(trained):
    checkpoint = convert(trained[0]).checkpoint()
    for array in (*checkpoint.scales.values(), *checkpoint.biases.values()):
        halves = array.astype("float16").astype("float32") == array
        assert (halves | (abs(array) < np.finfo("float16").tiny)).all()


def test_the_file_holds_the_trained_model(trained, tmp_path):
    model = convert(trained[0])
    model.save(tmp_path / "model.safetensors")
    assert_same(load_model(tmp_path / "model.safetensors"), model.checkpoint())


def test_learned_scales_move_and_zero_points_stay(checkpoint, images, labels):
    student = prepare_qat(checkpoint, calibration=images)
    before = convert(student).checkpoint()
    train(student, images, labels)
    after = convert(student).checkpoint()
    moved = [name for name, grid in before.activations.items() if after.activations[name].scale != grid.scale]
    assert len(moved) > 0.9 * len(before.activations)
    assert all(
        after.activations[name].zero_point == grid.zero_point for name, grid in before.activations.items()
    )
    assert all((after.scales[name] != scale).any() for name, scale in before.scales.items())


def test_observed_scales_follow_what_comes_along(checkpoint, images):
    student = prepare_qat(checkpoint, calibration=images, scales="observed")
    before = {name: float(point.scale) for name, point in student.points.items()}
    assert not [name for name, _ in student.named_parameters() if name.endswith("change")]
    with torch.no_grad():
        for gain in (1.0, *[3.0] * 20):
            student(images[:4] * gain)
    assert student.points["stem.pre"].scale > 1.1 * before["stem.pre"]


def test_it_calibrates_itself_on_the_first_batch(checkpoint, images):
    student = prepare_qat(checkpoint)
    assert not student.is_calibrated
    with pytest.raises(ValueError, match="never calibrated"):
        convert(student)
    student(images)
    assert student.is_calibrated
    assert student.training
    assert_same(
        convert(student).checkpoint(), convert(prepare_qat(checkpoint, calibration=images)).checkpoint()
    )


def test_it_does_not_calibrate_itself_on_what_is_not_finite(checkpoint, images):
    student = prepare_qat(checkpoint)
    with pytest.raises(ValueError, match="numbers that are not finite"):
        student(images * torch.inf)
    assert not student.is_calibrated


@pytest.mark.parametrize(
    "recipe", [WeightOnly(4, group_size=16), Mixed(bits=(4, 8))], ids=["weights", "mixed"]
)
def test_other_recipes_train_too(checkpoint, images, labels, recipe):
    student = prepare_qat(checkpoint, recipe, calibration=images)
    losses = train(student, images, labels, steps=3)
    assert losses[-1] < losses[0]
    formats = convert(student).report.layers
    assert {layer.weights for layer in formats.values()} == {"int4", "int8"}


@pytest.mark.parametrize("recipe", [StaticInt8(), WeightOnly(4, group_size=16)], ids=["static", "groups"])
def test_a_state_dict_goes_on_where_it_was(checkpoint, images, labels, recipe):
    student = prepare_qat(checkpoint, recipe, calibration=images)
    train(student, images, labels, steps=1)
    restored = prepare_qat(checkpoint, recipe)
    restored.load_state_dict(student.state_dict())
    assert_same(convert(restored).checkpoint(), convert(student).checkpoint())


def test_labels_give_a_loss_as_trainers_want_it(checkpoint, images, labels):
    student = prepare_qat(checkpoint, calibration=images)
    answer = student(images[:4], labels=labels[:4])
    assert answer["loss"].item() == pytest.approx(
        functional.cross_entropy(answer["logits"], labels[:4]).item()
    )


def test_the_model_that_was_given_stays(checkpoint, images, labels):
    before = {name: array.copy() for name, array in checkpoint.tensors.items()}
    train(prepare_qat(checkpoint, calibration=images), images, labels, steps=1)
    assert all((checkpoint.tensors[name] == array).all() for name, array in before.items())


def test_mistakes_are_named(checkpoint):
    with pytest.raises(TypeError, match=r"training takes StaticInt8\(\), Mixed\(\) or WeightOnly\(\)"):
        prepare_qat(checkpoint, DynamicInt8())
    with pytest.raises(ValueError, match="scales must be 'learned' or 'observed', got 'fixed'"):
        prepare_qat(checkpoint, scales="fixed")
    with pytest.raises(TypeError, match="convert takes what prepare_qat gave, got a Linear"):
        convert(torch.nn.Linear(2, 2))

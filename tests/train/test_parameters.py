"""Which parameters train, the average of weights, norms over processes."""

import copy

import pytest
import torch
from torch import nn

from mobilevit_fast import create_model
from mobilevit_fast.train.average import WeightAverage
from mobilevit_fast.train.parameters import Trained, block_of, blocks_of, freeze, parameter_groups
from mobilevit_fast.train.synchronised import SynchronisedBatchNorm2d, desynchronise, synchronise


@pytest.fixture(scope="module")
def model():
    return create_model("mobilevit_xxs", num_classes=3)


def trained_blocks(model, **choice):
    freeze(model, Trained(**choice))
    return {block_of(name) for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_choices_of_what_trains(model):
    assert blocks_of(model)[:2] == ["stem", "stages.0.0"]
    assert len(trained_blocks(model)) == len(blocks_of(model)) == 13
    assert trained_blocks(model, head_only=True) == {"classifier"}
    assert trained_blocks(model, last_blocks=2) == {"stages.4.0", "stages.4.1", "head", "classifier"}
    assert trained_blocks(model, transformer_only=True) == {f"stages.{s}.1" for s in (2, 3, 4)} | {
        "classifier"
    }
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert not any(part in name for name in names for part in (".local.", ".fuse.", ".expand."))
    frozen = freeze(model, Trained(head_only=True))
    assert len(frozen) == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert freeze(model, Trained()) == []


def test_rates_fall_towards_the_stem(model):
    freeze(model, Trained())
    groups = parameter_groups(model, 1.0, 0.1, layer_decay=0.5)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    rate = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert rate[id(model.classifier.weight)] == (1.0, 0.1)
    assert rate[id(model.classifier.bias)] == (1.0, 0.0)
    assert rate[id(model.head.conv.weight)] == (0.5, 0.1)
    assert rate[id(model.stem.norm.weight)] == (0.5**12, 0.0)
    assert len(parameter_groups(model, 1.0, 0.1)) == 2


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"head_only": True, "transformer_only": True}, "exclude each other"),
        ({"last_blocks": 0}, "last_blocks must be a whole number from 1, got 0"),
        ({"layer_decay": 0}, "layer_decay must be above 0 and at most 1, got 0"),
        ({"last_blocks": 12}, "last_blocks must be at most 11 for this model, got 12"),
    ],
)
def test_impossible_choices_are_named(model, choice, message):
    with pytest.raises(ValueError, match=message):
        freeze(model, Trained(**choice))


def test_the_average_takes_a_models_place_for_a_while():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = WeightAverage(model, 0.9)
    start = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model[0].weight.add_(1)
    moved = model[0].weight.clone()
    average.update(model, 1000)
    torch.testing.assert_close(average.model[0].weight, start["0.weight"] + 0.1)
    with average.in_place_of(model):
        torch.testing.assert_close(model[0].weight, average.model[0].weight)
    torch.testing.assert_close(model[0].weight, moved)
    with pytest.raises(ValueError, match="decay must be from 0 to below 1, got 1"):
        WeightAverage(model, 1)


def test_norms_over_processes_equal_one_norm_over_all(tmp_path):
    """A single process is a group too, so that the formulas are compared without a second one."""
    from torch import distributed

    torch.manual_seed(0)
    norm = nn.BatchNorm2d(5)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    both = nn.Sequential(copy.deepcopy(norm))
    synchronise(both)
    assert type(both[0]) is SynchronisedBatchNorm2d
    images = (3 + torch.randn(4, 5, 6, 7)).requires_grad_()
    twin = images.detach().clone().requires_grad_()
    weights = torch.randn(4, 5, 6, 7)
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        ours = both(twin)
        (ours * weights).sum().backward()
    finally:
        distributed.destroy_process_group()
    theirs = norm(images)
    (theirs * weights).sum().backward()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(twin.grad, images.grad, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(both[0].weight.grad, norm.weight.grad, rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(both[0].buffers(), norm.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    desynchronise(both)
    assert type(both[0]) is nn.BatchNorm2d

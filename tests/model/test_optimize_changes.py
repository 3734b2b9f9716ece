"""The engine behind an optimised model never answers with weights of yesterday."""

import io

import pytest
import torch
from families import (
    CLASSIFIERS,
    assert_same,
    engine_runs,
    images,
    logits_of,
    our_model,
    runs_natively,
    transformers_model,
)
from torch import nn

from mobilevit_fast import _C
from mobilevit_fast.model import optimize

in_every_family = pytest.mark.parametrize("family", CLASSIFIERS)


def answer(model):
    with torch.inference_mode():
        return logits_of(model(images()))


def assert_fresh(fast, model, before):
    """`fast` answers natively, as `model` does in torch, and no more as before."""
    expected = answer(model.eval())
    assert (expected - before).abs().max() > 1e-3 * before.abs().max(), "the change must change the answer"
    with engine_runs() as runs:
        assert_same(answer(fast), expected, tolerance=1e-4)
    assert runs


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.01),
    "AdamW, foreach": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "AdamW, fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
}


@in_every_family
def test_an_optimizer_step_is_seen(family):
    model = CLASSIFIERS[family]()
    fast = optimize(model)
    for optimizer in (make(fast.parameters()) for make in OPTIMIZERS.values()):
        before = answer(fast)
        fast.train()
        logits_of(fast(images())).square().sum().backward()
        optimizer.step()
        assert_fresh(fast.eval(), model, before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_step_in_eval_mode_is_seen(name):
    model = our_model()
    fast = optimize(model)
    optimizer = OPTIMIZERS[name](model.parameters())
    before = answer(fast)
    fast(images()).square().sum().backward()
    optimizer.step()
    assert_fresh(fast, model, before)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_the_original_is_seen(name):
    model = our_model()
    fast = optimize(model)
    optimizer = OPTIMIZERS[name](model.parameters())
    before = answer(fast)
    model.train()(images()).square().sum().backward()
    optimizer.step()
    assert_fresh(fast, model, before)


def test_batch_statistics_of_a_training_pass_are_seen():
    model = our_model()
    fast = optimize(model)
    before = answer(fast)
    with torch.no_grad():
        fast.train()(images(seed=3))
    assert_fresh(fast.eval(), model, before)


def scale_in_place(model):
    with torch.no_grad():
        model.classifier.weight.mul_(2)


def load_a_state(model):
    model.load_state_dict({name: tensor * 1.5 for name, tensor in model.state_dict().items()})


def assign_a_state(model):
    model.load_state_dict({name: tensor * 1.5 for name, tensor in model.state_dict().items()}, assign=True)


def replace_data(model):
    model.classifier.weight.data = model.classifier.weight.data * 2


def replace_a_parameter(model):
    model.classifier.weight = nn.Parameter(model.classifier.weight.detach() * 2)


def replace_a_buffer(model):
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    norm.running_mean = norm.running_mean + 1


def replace_the_classifier(model):
    model.classifier = nn.Linear(320, 7)


def fill_from_a_vector(model):
    vector = nn.utils.parameters_to_vector(model.parameters())
    nn.utils.vector_to_parameters(vector * 1.1, model.parameters())


def write_through_data_while_training(model):
    model.train()
    model.classifier.weight.data.mul_(2)
    model.eval()


def there_and_back(model):
    model.double().float()
    scale_in_place(model)


CHANGES = [
    *(scale_in_place, load_a_state, assign_a_state, replace_data, replace_a_parameter, replace_a_buffer),
    *(replace_the_classifier, fill_from_a_vector, write_through_data_while_training, there_and_back),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("model_of", [our_model, transformers_model])
def test_a_change_is_seen(model_of, change):
    fast = optimize(model_of())
    before = answer(fast)
    change(fast)
    with torch.inference_mode():
        with engine_runs() as runs:
            actual = logits_of(fast(images()))
        assert runs
        plain = model_of()
        if change is replace_the_classifier:
            plain.classifier = nn.Linear(320, 7)
        plain.load_state_dict(fast.state_dict())
        expected = logits_of(plain(images()))
    assert_same(actual, expected, tolerance=1e-4)
    assert actual.shape != before.shape or (actual - before).abs().max() > 1e-3 * before.abs().max()


def test_a_part_that_is_not_mobilevit_is_noticed():
    model = our_model()
    fast = optimize(model)
    assert runs_natively(fast)
    fast.stages[2][1].norm = nn.Identity()
    model.stages[2][1].norm = nn.Identity()
    with pytest.warns(UserWarning, match="torch computes this model, not the engine: the model"):
        actual = answer(fast)
    assert_same(actual, answer(model), tolerance=1e-4)


def test_tensors_without_versions_are_left_to_torch():
    with torch.inference_mode():
        fast = optimize(our_model())
        with pytest.warns(UserWarning, match="made under torch.inference_mode"), engine_runs() as runs:
            fast(images())
    assert not runs


def test_an_engine_is_built_once_for_many_calls(monkeypatch):
    from mobilevit_fast.model import native_forward

    built = []
    engine = native_forward._C.Engine
    monkeypatch.setattr(
        native_forward._C, "Engine", lambda *args, **kwargs: built.append(1) or engine(*args, **kwargs)
    )
    fast = optimize(our_model())
    for size in (64, 96, 64):
        with torch.inference_mode():
            fast(images(2, size, size))
    assert len(built) == 1


@in_every_family
def test_half_precision_and_back(family):
    fast = optimize(CLASSIFIERS[family]())
    expected = answer(fast)
    fast.to(torch.bfloat16)
    with torch.inference_mode(), engine_runs() as runs:
        half = logits_of(fast(images().to(torch.bfloat16)))
    assert len(runs) == bool(_C.isa_tables("bf16"))
    assert half.dtype == torch.bfloat16
    assert (half.float() - expected).abs().max() <= 0.2 * expected.abs().max()
    fast.float()
    assert runs_natively(fast)
    buffer = io.BytesIO()
    torch.save(fast.state_dict(), buffer)
    assert buffer.tell() > 1_000_000

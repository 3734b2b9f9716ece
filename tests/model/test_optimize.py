"""optimize(): the same answers from the engine, in the same types."""

import copy
import dataclasses
import pickle

import numpy as np
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
    timm_model,
    transformers_backbone,
    transformers_model,
)
from torch import nn

from mobilevit_fast import _C
from mobilevit_fast.model import optimize

in_every_family = pytest.mark.parametrize("family", CLASSIFIERS)

LAYOUTS = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "every second pixel": lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, ::2, ::2],
    "a crop": lambda x: nn.functional.pad(x, (3, 2, 1, 4), value=9.0)[:, :, 1:-4, 3:-2],
    "one image for all": lambda x: x[:1].expand(3, -1, -1, -1),
    "needs a gradient": lambda x: x.clone().requires_grad_(),
}


@in_every_family
@pytest.mark.parametrize("size", [(64, 64), (224, 224), (97, 161), (32, 33)])
def test_the_engine_gives_the_same_logits(family, size):
    model = CLASSIFIERS[family]()
    given = images(3, *size)
    with torch.no_grad():
        expected = model(given)
        with engine_runs() as runs:
            actual = optimize(model)(given)
    assert runs == [("logits",)]
    assert type(actual) is type(expected)
    assert logits_of(expected).std(0).max() > 1e-3 * logits_of(expected).abs().max()
    assert_same(logits_of(actual), logits_of(expected), tolerance=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_strides_will_do(layout):
    model = our_model()
    given = LAYOUTS[layout](images())
    with torch.no_grad(), engine_runs() as runs:
        actual = optimize(model)(given)
        assert_same(actual, model(given), tolerance=1e-4)
    assert runs
    assert not actual.requires_grad


@in_every_family
def test_the_class_and_the_interface_stay(family):
    model = CLASSIFIERS[family]()
    fast = optimize(model)
    assert isinstance(fast, type(model))
    assert type(fast).__name__ == type(model).__name__
    assert repr(fast) == repr(model)
    assert list(fast.state_dict()) == list(model.state_dict())
    assert all(a is b for a, b in zip(fast.parameters(), model.parameters(), strict=True))
    assert not runs_natively(model), "the given module must stay as it was"
    assert runs_natively(fast)
    assert runs_natively(optimize(fast))


def test_transformers_tuples_and_dataclasses():
    model = transformers_model()
    fast = optimize(model)
    given = images()
    with torch.inference_mode(), engine_runs() as runs:
        expected = model(given)
        (logits,) = fast(given, return_dict=False)
        named = fast(pixel_values=given)
        fast.config.return_dict = False
        (configured,) = fast(given)
    assert len(runs) == 3
    assert list(named) == list(expected) == ["logits"]
    for actual in (logits, named.logits, configured):
        assert_same(actual, expected.logits, tolerance=1e-4)


def test_transformers_dataclasses_have_all_their_fields():
    model = transformers_model()
    fast = optimize(model)
    with torch.inference_mode(), engine_runs() as runs:
        output = fast(images())
    assert len(runs) == 1
    again = pickle.loads(pickle.dumps(output))
    for actual in (output, again, copy.copy(output)):
        others = [field.name for field in dataclasses.fields(actual) if field.name != "logits"]
        assert [getattr(actual, name) for name in others] == [None] * len(others)
        assert torch.equal(actual[0], output.logits)
        assert torch.equal(actual["logits"], output.logits)
        assert len(actual.to_tuple()) == 1
        assert "loss=None" in repr(actual)


def test_transformers_computes_the_loss_on_the_engines_features():
    model = transformers_model()
    given, labels = images(3), torch.tensor([1, 0, 4])
    with torch.inference_mode(), engine_runs() as runs:
        expected = model(given, labels=labels)
        actual = optimize(model)(given, labels=labels)
        loss, logits = optimize(model)(given, labels=labels, return_dict=False)
    assert runs == [("features", "pooled")] * 2
    assert_same(actual.loss, expected.loss, tolerance=1e-4)
    assert_same(actual.logits, expected.logits, tolerance=1e-4)
    assert torch.equal(loss, actual.loss)
    assert torch.equal(logits, actual.logits)


@pytest.mark.parametrize("return_dict", [True, False])
def test_transformers_backbone(return_dict):
    model = transformers_backbone()
    given = images(2, 96, 64)
    with torch.inference_mode(), engine_runs() as runs:
        expected = model(given, return_dict=return_dict)
        actual = optimize(model)(given, return_dict=return_dict)
    assert runs == [("features", "pooled")]
    assert type(actual) is type(expected)
    if return_dict:
        assert list(actual) == list(expected)
        actual, expected = actual.to_tuple(), expected.to_tuple()
    for a, b in zip(actual, expected, strict=True):
        assert_same(a, b, tolerance=1e-4)


@pytest.mark.parametrize("model_of", [transformers_model, transformers_backbone])
def test_hidden_states_come_from_torch(model_of):
    model = model_of()
    given = images()
    with torch.inference_mode(), engine_runs() as runs:
        expected = model(given, output_hidden_states=True)
        actual = optimize(model)(given, output_hidden_states=True)
        configured = optimize(model)
        configured.config.output_hidden_states = True
        assert len(configured(given).hidden_states) == 5
    assert not runs
    for a, b in zip(actual.hidden_states, expected.hidden_states, strict=True):
        assert_same(a, b, tolerance=1e-4)


@pytest.mark.parametrize("family", ["ours", "timm"])
def test_features_come_from_the_engine_too(family):
    model = CLASSIFIERS[family]()
    given = images()
    with torch.inference_mode(), engine_runs() as runs:
        actual = optimize(model).forward_features(given)
        assert_same(actual, model.forward_features(given), tolerance=1e-4)
    assert runs == [("features",)]


@pytest.mark.parametrize(
    "settings", [{"global_pool": "max"}, {"drop_rate": 0.3}, {"drop_path_rate": 0.2}], ids=str
)
def test_timm_settings(settings):
    model = timm_model(**settings)
    given = images()
    with torch.inference_mode(), engine_runs() as runs:
        assert_same(optimize(model)(given), model(given), tolerance=1e-4)
    assert runs


def test_timm_without_a_classifier():
    model = timm_model()
    model.reset_classifier(0)
    given = images()
    with torch.inference_mode(), engine_runs() as runs:
        assert_same(optimize(model)(given), model(given), tolerance=1e-4)
    assert runs == [("features",)]


@in_every_family
def test_another_head_runs_on_the_engines_features(family):
    model = CLASSIFIERS[family]()
    head = nn.Sequential(nn.Linear(320, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    if family == "timm":
        model.head.fc = head
    else:
        model.classifier = head
    given = images()
    with torch.inference_mode(), engine_runs() as runs:
        assert_same(logits_of(optimize(model)(given)), logits_of(model(given)), tolerance=1e-4)
    assert len(runs) == 1
    assert "logits" not in runs[0]


@in_every_family
@pytest.mark.parametrize("kind", ["gradients", "training", "float64", "meta"])
def test_what_the_engine_lacks_is_computed_in_torch(family, kind):
    model = CLASSIFIERS[family]()
    given = images()
    if kind == "training":
        model.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    if kind == "float64":
        model, given = model.double(), given.double()
    fast = optimize(model)
    reference = copy.deepcopy(model)
    with torch.set_grad_enabled(kind == "gradients"), engine_runs() as runs:
        if kind == "meta":
            assert logits_of(copy.deepcopy(fast).to("meta")(given.to("meta"))).shape == (2, 10)
            return
        expected, actual = logits_of(reference(given)), logits_of(fast(given))
    assert not runs
    assert actual.requires_grad == expected.requires_grad
    assert_same(actual.detach(), expected.detach(), 1e-3 if kind == "training" else 1e-4)


@in_every_family
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_autocast_over_modules_of_other_types_does_what_torch_does(family, dtype, training):
    model = CLASSIFIERS[family]().to(dtype).train(training)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    fast, given = optimize(model), images().to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        expected, actual = logits_of(copy.deepcopy(model)(given)), logits_of(fast(given))
    assert actual.dtype == expected.dtype == dtype
    assert_same(actual.detach().float(), expected.detach().float(), 1e-4 if dtype == torch.float64 else 0.1)
    actual.sum().backward()
    gradients = [parameter.grad for parameter in fast.parameters()]
    assert all(gradient.dtype == dtype and gradient.isfinite().all() for gradient in gradients)


@in_every_family
@pytest.mark.parametrize(("dtype", "precision"), [(torch.bfloat16, "bf16"), (torch.float16, "fp16")])
@pytest.mark.parametrize("how", ["autocast", "module"])
def test_half_precision_runs_on_the_engine_where_the_cpu_has_kernels_for_it(family, dtype, precision, how):
    model = CLASSIFIERS[family]()
    given = images()
    with torch.no_grad():
        expected = logits_of(model(given))
    if how == "module":
        model, given = copy.deepcopy(model).to(dtype), given.to(dtype)
    fast = optimize(model)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=how == "autocast"), engine_runs() as runs:
        actual, again = (logits_of(fast(given)) for _ in range(2))
    assert runs == (2 * [("logits",)] if _C.isa_tables(precision) else [])
    assert actual.dtype == dtype
    assert torch.equal(actual, again)
    assert_same(actual.float(), expected, tolerance=3e-2)


def test_each_dtype_has_an_engine_of_its_own():
    fast = optimize(our_model())
    with torch.no_grad(), engine_runs() as runs:
        whole = fast(images())
        with torch.autocast("cpu", torch.bfloat16):
            half = fast(images())
        assert torch.equal(fast(images()), whole)
    assert half.dtype == torch.bfloat16
    assert len(runs) == (3 if _C.isa_tables("bf16") else 2)


def test_no_images_give_no_logits():
    with torch.inference_mode():
        assert optimize(our_model())(images()[:0]).shape == (0, 10)


def test_threads_follow_torch_unless_they_are_given(monkeypatch):
    from mobilevit_fast.model import native_forward

    built = []
    engine = native_forward._C.Engine

    def spy(plan, *, threads, precision):
        built.append(threads)
        return engine(plan, threads=threads, precision=precision)

    monkeypatch.setattr(native_forward._C, "Engine", spy)
    before = torch.get_num_threads()
    follows, fixed = optimize(our_model()), optimize(our_model(), threads=1)
    try:
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            assert runs_natively(follows)
            assert runs_natively(fixed)
    finally:
        torch.set_num_threads(before)
    assert built == [1, 1, 2]


@pytest.mark.parametrize(
    ("threads", "error", "message"),
    [
        (0, ValueError, "from 1 to 512, got 0"),
        (513, ValueError, "from 1 to 512, got 513"),
        (True, TypeError, "whole number, got True"),
        (1.5, TypeError, "whole number, got 1.5"),
    ],
)
def test_wrong_numbers_of_threads_are_refused(threads, error, message):
    with pytest.raises(error, match=message):
        optimize(our_model(), threads=threads)


def test_models_without_values_are_refused():
    with pytest.raises(TypeError, match="on the meta device, without values"):
        optimize(our_model().to("meta"))


@pytest.mark.parametrize(
    "given", [None, np.zeros((1, 3, 64, 64), np.float32), torch.zeros(1, 3, 64, 64).byte()]
)
def test_inputs_of_other_kinds_are_refused_in_words(given):
    for model in (our_model(), optimize(our_model())):
        with pytest.raises(TypeError, match="must be a tensor of floating point numbers, got"):
            model(given)

"""An optimised model is still a torch module: copies, pickles, saves, hooks, modes, threads."""

import copy
import gc
import io
import threading
import weakref

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
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mobilevit_fast.model import optimize

in_every_family = pytest.mark.parametrize("family", CLASSIFIERS)


def saved_and_loaded(model):
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@in_every_family
@pytest.mark.parametrize("copied", [copy.deepcopy, saved_and_loaded])
def test_copies_have_weights_and_an_engine_of_their_own(family, copied):
    fast = optimize(CLASSIFIERS[family]())
    with torch.inference_mode():
        expected = logits_of(fast(images())).clone()
    twin = copied(fast)
    assert runs_natively(twin)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(1.1)
    with torch.inference_mode():
        assert torch.equal(logits_of(fast(images())), expected)
        assert not torch.equal(logits_of(twin(images())), expected)


@in_every_family
def test_a_hook_on_the_model_runs_beside_the_engine(family):
    fast = optimize(CLASSIFIERS[family]())
    seen = []
    fast.register_forward_hook(lambda module, given, result: seen.append(logits_of(result)))
    assert runs_natively(fast)
    assert len(seen) == 1


@in_every_family
def test_hooks_inside_see_what_torch_computes(family):
    model = CLASSIFIERS[family]()
    fast = optimize(model)
    assert runs_natively(fast)
    names = [name for name, _ in model.named_modules() if name]
    expected = recorded(model, names)
    actual = recorded(fast, names)
    assert expected.keys() == actual.keys()
    assert len(expected) > 100
    for name, tensor in expected.items():
        assert_same(actual[name], tensor, tolerance=1e-4)
    assert runs_natively(fast), "without its hooks the model runs natively again"


@in_every_family
def test_hooks_on_all_modules_see_what_torch_computes(family):
    fast = optimize(CLASSIFIERS[family]())
    assert runs_natively(fast)
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module)))
    try:
        fast(images())
    finally:
        handle.remove()
    assert nn.Conv2d in seen
    assert runs_natively(fast)


@in_every_family
def test_a_forward_that_was_replaced_before_is_called(family):
    fast = optimize(CLASSIFIERS[family]())
    with torch.no_grad():
        expected = logits_of(fast(images())).clone()
    fast = optimize(CLASSIFIERS[family]())
    norm = next(module for module in fast.modules() if isinstance(module, nn.LayerNorm))
    forward = norm.forward
    norm.forward = lambda x: forward(x) * 3
    with torch.no_grad():
        assert not torch.allclose(logits_of(fast(images())), expected, rtol=1e-3)


@in_every_family
def test_modes_that_see_every_operation_see_torchs(family):
    fast = optimize(CLASSIFIERS[family]())
    assert runs_natively(fast)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        fast(images())
    assert counter.get_total_flops() > 1e6


@in_every_family
def test_images_that_torch_has_put_off_negating(family):
    fast = optimize(CLASSIFIERS[family]())
    given = torch.zeros(images().shape, dtype=torch.complex64)
    given.imag = -images()
    with torch.inference_mode():
        expected, actual = (logits_of(fast(x)).clone() for x in (images(), given.conj().imag))
    assert torch.equal(actual, expected)


@in_every_family
def test_one_hook_in_the_middle(family):
    model = CLASSIFIERS[family]()
    fast = optimize(model)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    for name in names[:: len(names) // 5]:
        (expected,), (actual,) = (recorded(m, [name]).values() for m in (model, fast))
        if expected.shape == actual.shape:
            assert_same(actual, expected, tolerance=1e-4)


def recorded(model, names):
    """What the named submodules return, by name, as tensors."""
    seen = {}

    def record(name):
        return lambda module, given, result: seen.__setitem__(name, result)

    handles = [model.get_submodule(name).register_forward_hook(record(name)) for name in names]
    with torch.inference_mode():
        model(images())
    for handle in handles:
        handle.remove()
    return {name: result.clone() for name, result in seen.items() if isinstance(result, torch.Tensor)}


@in_every_family
def test_a_part_in_training_mode_is_left_to_torch(family):
    fast = optimize(CLASSIFIERS[family]())
    assert runs_natively(fast)
    norm = next(module for module in fast.modules() if isinstance(module, nn.BatchNorm2d))
    norm.train()
    assert not runs_natively(fast)
    norm.eval()
    assert runs_natively(fast)


def test_transformers_saves_and_loads_it(tmp_path):
    import transformers

    model = transformers_model()
    fast = optimize(model)
    assert runs_natively(fast)
    fast.save_pretrained(tmp_path)
    assert fast.config.architectures == ["MobileViTForImageClassification"]
    plain = transformers.AutoModelForImageClassification.from_pretrained(tmp_path)
    assert type(plain) is type(model)
    again = type(fast).from_pretrained(tmp_path)
    assert runs_natively(again)
    with torch.inference_mode():
        expected = model(images()).logits
        assert_same(plain(images()).logits, expected, tolerance=1e-4)
        assert_same(again(images()).logits, expected, tolerance=1e-4)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing:FutureWarning")
def test_gradient_checkpointing_of_transformers_gives_the_same_gradients():
    fast = optimize(transformers_model(hidden_dropout_prob=0.0, classifier_dropout_prob=0.0)).train()
    gradients = []
    for enable in (fast.gradient_checkpointing_disable, fast.gradient_checkpointing_enable):
        enable()
        fast.zero_grad()
        fast(images(4)).logits.square().sum().backward()
        gradients.append([p.grad.clone() for p in fast.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain, rtol=1e-3, atol=1e-3 * float(plain.abs().max()))


def test_many_threads_may_call_one_model():
    fast = optimize(our_model())
    given = [images(2, 64, 64, seed) for seed in range(6)]
    with torch.inference_mode():
        expected = [fast(x).clone() for x in given]
    fast = optimize(our_model())
    wrong = []

    def call(index):
        with torch.inference_mode():
            for _ in range(5):
                if not torch.allclose(fast(given[index]), expected[index], rtol=1e-4, atol=1e-4):
                    wrong.append(index)

    workers = [threading.Thread(target=call, args=(index,)) for index in range(len(given))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def refused():
    transformers = pytest.importorskip("transformers")
    small = {"hidden_sizes": (16, 16, 16), "neck_hidden_sizes": (8, 8, 8, 8, 8, 8, 16)}

    def classifier(**settings):
        return transformers.MobileViTForImageClassification(transformers.MobileViTConfig(**small, **settings))

    class Child(transformers.MobileViTForImageClassification):
        pass

    return {
        "a layer": (
            nn.Linear(2, 2),
            "cannot optimize torch.nn.modules.linear.Linear; expected mobilevit_fast",
        ),
        "another transformers model": (
            transformers.MobileViTForSemanticSegmentation(transformers.MobileViTConfig(**small)),
            "cannot optimize .*MobileViTForSemanticSegmentation",
        ),
        "a subclass": (Child(transformers.MobileViTConfig(**small)), "cannot optimize .*Child"),
        "no expansion": (
            transformers.MobileViTModel(transformers.MobileViTConfig(**small), expand_output=False),
            "expand_output=False",
        ),
        "dilation": (classifier(output_stride=16), r"downsampling_layer.conv_3x3.convolution is Conv2d"),
        "another activation": (classifier(hidden_act="relu"), "activation is of type ReLU"),
        "large kernels": (classifier(conv_kernel_size=5), "does not fit"),
        "no bias": (classifier(qkv_bias=False), "missing"),
    }


@pytest.mark.parametrize("name", refused())
def test_other_modules_are_refused(name):
    module, message = refused()[name]
    with pytest.raises(TypeError, match=message) as error:
        optimize(module)
    assert "timm's mobilevit_xxs" in str(error.value)


def altered():
    """Family, module, attribute, value, and what of the message: each changes the answers."""
    block = "mobilevit.encoder.layer.2"
    heads = f"{block}.transformer.layer.1.attention.attention"
    return [
        ("transformers", "mobilevit.conv_stem", "activation", None, "activation None, not SiLU"),
        ("transformers", "mobilevit.conv_stem", "activation", nn.Identity(), "not SiLU"),
        ("transformers", "mobilevit.encoder.layer.1.layer.1", "use_residual", False, "use_residual False"),
        ("transformers", block, "patch_width", 4, r"patches of \(2, 4\), not \(2, 2\)"),
        ("transformers", heads, "num_attention_heads", 2, "heads 2, not 4"),
        ("ours", "stem", "activation", False, "activation False, not True"),
        ("ours", "stages.1.1", "has_shortcut", False, "has_shortcut False, not True"),
        ("ours", "stages.1.1.project", "activation", True, "projection with activation True"),
        ("ours", "stages.2.1.project", "activation", False, "projection with activation False"),
        ("ours", "stages.2.1.layers.1.attention", "num_heads", 2, "heads 2, not 4"),
        ("timm", "stem.bn", "act", nn.Identity(), r"activation Identity\(\), not SiLU"),
        ("timm", "stages.1.1", "shortcut", None, "a shortcut False, not True"),
        ("timm", "stages.2.1.transformer.1.attn", "num_heads", 2, "heads 2, not 4"),
        ("timm", "stages.2.1.transformer.0.mlp", "act", nn.Identity(), "not SiLU"),
    ]


@pytest.mark.parametrize(("family", "path", "attribute", "value", "message"), altered())
def test_modules_that_were_altered_are_refused(family, path, attribute, value, message):
    model = CLASSIFIERS[family]()
    module = model.get_submodule(path)
    assert hasattr(module, attribute)
    setattr(module, attribute, value)
    with pytest.raises(TypeError, match=message):
        optimize(model)


@in_every_family
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("keeps_graph", [False, True])
def test_forward_mode_and_transforms_give_what_the_model_gives(family, keeps_graph):
    model, given = CLASSIFIERS[family](), images()
    fast, direction = optimize(model), torch.rand_like(given)

    def derivatives(module):
        def logits(x):
            return logits_of(torch.func.functional_call(module, dict(module.state_dict()), (x,)))

        plain = sdpa_kernel(SDPBackend.MATH)  # timm's own attention has no forward mode otherwise
        with torch.set_grad_enabled(keeps_graph), engine_runs() as runs, plain:
            forward = torch.func.jvp(logits, (given,), (direction,))
            with forward_ad.dual_level():
                dual = forward_ad.unpack_dual(logits_of(module(forward_ad.make_dual(given, direction))))
            reverse = torch.func.grad(lambda x: logits(x).sin().sum())(given)
        assert not runs
        return [*forward, dual.tangent, reverse]

    for actual, expected in zip(derivatives(fast), derivatives(copy.deepcopy(model)), strict=True):
        assert_same(actual.detach(), expected.detach())


@in_every_family
def test_what_is_dropped_is_freed_at_once(family):
    fast = optimize(CLASSIFIERS[family]())
    with torch.inference_mode(), engine_runs() as runs:
        fast(images())
    assert runs
    gc.collect()
    dropped = weakref.ref(fast)
    gc.disable()
    try:
        del fast
        assert dropped() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("name", ["mobilevitv2_050", "resnet18"])
def test_other_timm_models_are_refused(name):
    timm = pytest.importorskip("timm")
    with pytest.raises(TypeError, match="cannot optimize"):
        optimize(timm.create_model(name))


def test_counting_an_engines_runs_tells_them_from_torchs():
    with engine_runs() as runs, torch.inference_mode():
        our_model()(images())
    assert not runs

"""The models on the custom operations: traced, exported, trained."""

import copy

import pytest
import torch
from families import CLASSIFIERS, assert_same, images, logits_of, our_model, transformers_model
from torch import nn
from torch.nn import functional

from mobilevit_fast.model import blocks, optimize

in_every_family = pytest.mark.parametrize("family", CLASSIFIERS)
OPS = ("attention", "conv3x3", "inverted_residual", "linear")


def assert_same_gradients(model, reference):
    assert_close_gradients(*(({n: p.grad for n, p in m.named_parameters()}) for m in (model, reference)))


def assert_close_gradients(actual, expected):
    """Within float32's accuracy: a bias before a BatchNorm over its batch has none but noise."""
    assert actual.keys() == expected.keys()
    noise = 1e-5 * torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    for name, gradient in expected.items():
        error = (actual[name] - gradient).norm()
        assert error <= 2e-3 * gradient.norm() + noise, f"{name} differs by {error / gradient.norm():.1e}"


def plain_model(model):
    """The same network in torch's own operators: what transformers computes."""
    from mobilevit_fast.weights import to_transformers

    theirs = transformers_model(**NO_DROPOUT)
    state = to_transformers(model.checkpoint().tensors, model.config)
    theirs.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    return theirs


NO_DROPOUT = {"hidden_dropout_prob": 0.0, "classifier_dropout_prob": 0.0}


def used_ops(graph):
    return {node.target.name().split("::")[1] for node in graph.nodes if "mobilevit_fast::" in str_name(node)}


def str_name(node):
    return node.target.name() if hasattr(node.target, "name") else ""


@pytest.mark.parametrize("wrap", [lambda model: model, optimize], ids=["module", "optimized"])
def test_export_answers_alike_at_any_batch_and_size(wrap):
    model = wrap(our_model())
    batch = torch.export.Dim("batch", min=1, max=64)
    height, width = (32 * torch.export.Dim(name, min=2, max=32) for name in ("rows", "columns"))
    with torch.no_grad():
        program = torch.export.export(model, (images(),), dynamic_shapes=({0: batch, 2: height, 3: width},))
        assert used_ops(program.graph) == set(OPS)
        for given in (images(), images(3, 160, 64, seed=1)):
            assert_same(program.module()(given), our_model()(given), tolerance=1e-5)


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
def test_exported_operations_decompose_into_torchs_own():
    from mobilevit_fast.ops import reference

    model = our_model()
    with torch.no_grad():
        program = torch.export.export(model, (images(),))
        table = {
            getattr(torch.ops.mobilevit_fast, name).default: with_defaults(name, getattr(reference, name))
            for name in OPS
        }
        plain = program.run_decompositions(table)
        assert not used_ops(plain.graph)
        assert_same(plain.module()(images()), model(images()), tolerance=1e-4)


def with_defaults(name, formula):
    arguments = getattr(torch.ops.mobilevit_fast, name).default._schema.arguments
    defaults = [argument.default_value for argument in arguments]
    return lambda *given: formula(*given, *defaults[len(given) :])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_compile_without_graph_breaks_answers_alike(mode):
    model = our_model().train(mode == "train")
    reference = copy.deepcopy(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.set_grad_enabled(mode == "train"):
        expected, actual = reference(images()), compiled(images())
        assert_same(actual.detach(), expected.detach(), tolerance=1e-4)
        if mode == "train":
            expected.square().sum().backward()
            actual.square().sum().backward()
            assert_same_gradients(model, reference)


@in_every_family
def test_compile_of_an_optimised_model(family):
    model = CLASSIFIERS[family]()
    compiled = torch.compile(optimize(model), backend="aot_eager")
    with torch.no_grad():
        assert_same(logits_of(compiled(images())), logits_of(model(images())), tolerance=1e-4)


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("size", [(64, 96), (56, 40)])
def test_gradients_equal_those_of_plain_torch(mode, size):
    ours = our_model()
    theirs = plain_model(ours).train(mode == "train")
    ours.train(mode == "train")
    given, target = images(4, *size), torch.tensor([1, 5, 0, 9])
    losses = []
    for model in (ours, theirs):
        loss = functional.cross_entropy(logits_of(model(given)), target)
        loss.backward()
        losses.append(loss.detach())
    assert_same(*losses, tolerance=1e-4)
    assert_close_gradients(gradients_of(ours), gradients_of(theirs))


def gradients_of(model):
    """Gradients by our names; those of one layer come in one order in either family."""
    from mobilevit_fast.weights import to_canonical

    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    zeros = {name: torch.zeros_like(buffer) for name, buffer in model.named_buffers() if buffer.ndim}
    arrays = to_canonical({**gradients, **zeros})
    return {name: torch.from_numpy(array) for name, array in arrays.items() if "running" not in name}


@in_every_family
def test_an_optimised_model_trains_as_its_original(family):
    model = CLASSIFIERS[family](**(NO_DROPOUT if family == "transformers" else {}))
    twin = optimize(copy.deepcopy(model)).train()
    model.train()
    for each in (model, twin):
        functional.cross_entropy(logits_of(each(images(4))), torch.tensor([1, 5, 0, 9])).backward()
    assert_same_gradients(twin, model)


def test_dropout_of_transformers_stays():
    fast = optimize(transformers_model(hidden_dropout_prob=0.5)).train()
    torch.manual_seed(0)
    first, second = fast(images()).logits, fast(images()).logits
    assert (first - second).abs().max() > 1e-2 * first.abs().max()


@pytest.mark.parametrize("wrap", [lambda model: model, optimize], ids=["module", "optimized"])
def test_twenty_steps_fit_eight_images(wrap):
    torch.manual_seed(0)
    model = wrap(our_model()).train()
    given, target = images(8, 32, 32, seed=5), torch.arange(8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(20):
        loss = functional.cross_entropy(model(given), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_frozen_batch_norm_is_folded_and_learns():
    """BatchNorm in eval mode, everything else in training: gradients reach its scale through the folding."""
    model = our_model().train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    model(images()).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_layers_that_are_not_plain_are_called():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    torch.manual_seed(0)
    tokens = torch.randn(1, 2, 2, 6)
    parts = {name: nn.Linear(6, size) for name, size in (("up", 12), ("qkv", 18))}
    down, projection = nn.Linear(12, 6), nn.Linear(6, 6)
    for name, layer in parts.items():
        doubled = Doubled(*layer.weight.shape[::-1])
        doubled.load_state_dict({"weight": layer.weight / 2, "bias": layer.bias / 2})
        results = []
        for each in (layer, doubled):
            if name == "up":
                results.append(blocks.feed_forward(tokens, tokens, each, down))
            else:
                results.append(blocks.attend(tokens, tokens, (each,), projection, 2, (2, 2)))
        assert_same(*results)

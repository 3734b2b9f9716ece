"""The same random weights in a model of each library that optimize() takes, and a spy on the engine."""

from contextlib import contextmanager

import pytest
import torch

from mobilevit_fast.benchmark.random_weights import random_images, random_tensors
from mobilevit_fast.config import get_config
from mobilevit_fast.model import MobileViT, native_forward
from mobilevit_fast.weights import to_timm, to_transformers
from mobilevit_fast.weights.configs import config_to_transformers

CLASSES = 10


def torch_state(arrays):
    return {name: torch.tensor(array) for name, array in arrays.items()}


def our_model(name="mobilevit_xxs"):
    config = get_config(name, num_classes=CLASSES)
    model = MobileViT(config)
    model.load_state_dict(torch_state(random_tensors(config)))
    return model.eval()


def transformers_model(name="mobilevit_xxs", **settings):
    transformers = pytest.importorskip("transformers")
    config = get_config(name, num_classes=CLASSES)
    settings = config_to_transformers(config, ()) | {"num_labels": CLASSES} | settings
    model = transformers.MobileViTForImageClassification(transformers.MobileViTConfig(**settings))
    model.load_state_dict(torch_state(to_transformers(random_tensors(config), config)))
    return model.eval()


def transformers_backbone(name="mobilevit_xxs", **settings):
    return transformers_model(name, **settings).mobilevit


def timm_model(name="mobilevit_xxs", **settings):
    timm = pytest.importorskip("timm")
    config = get_config(name, num_classes=CLASSES)
    model = timm.create_model(name, num_classes=CLASSES, **settings)
    model.load_state_dict(torch_state(to_timm(random_tensors(config), config)))
    return model.eval()


CLASSIFIERS = {"ours": our_model, "transformers": transformers_model, "timm": timm_model}


def images(count=2, height=64, width=96, seed=0):
    return torch.from_numpy(random_images(count, height, width, seed))


def logits_of(answer):
    return answer if isinstance(answer, torch.Tensor) else answer.logits


def assert_same(actual, expected, tolerance=1e-5):
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    error = (actual - expected).abs().max()
    assert error <= tolerance * expected.abs().max(), f"differs by {error / expected.abs().max():.1e}"


@contextmanager
def engine_runs():
    """Counts the calls that an engine answered: yields a list with an entry, the outputs' names, for each."""
    runs = []
    run = native_forward.NativeForward.run

    def spy(self, module, outputs, given):
        results = run(self, module, outputs, given)
        if results is not None:
            runs.append(outputs)
        return results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_forward.NativeForward, "run", spy)
        yield runs


def runs_natively(model, given=None):
    """Whether an engine answers `model` in inference mode."""
    with engine_runs() as runs, torch.inference_mode():
        model(images() if given is None else given)
    return bool(runs)

"""The engine's logits are transformers' own, on randomised weights and BatchNorm statistics."""

from __future__ import annotations

import numpy as np
import pytest

from checkpoints import write_transformers
from mobilevit_fast import Session
from mobilevit_fast.benchmark.random_weights import random_checkpoint, random_images
from mobilevit_fast.config import list_models

TOLERANCE = 1e-4  # relative to the largest logit
SIZES = [(256, 256), (224, 224), (192, 320)]
BATCHES = (1, 3, 8)


@pytest.fixture(scope="module", params=list_models())
def checkpoint(request):
    return random_checkpoint(request.param)


@pytest.fixture(scope="module")
def peer(checkpoint, tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    folder = write_transformers(tmp_path_factory.mktemp("transformers"), checkpoint)
    return transformers.AutoModelForImageClassification.from_pretrained(folder).eval()


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def sample(request, peer):
    """Images and the peer's logits."""
    torch = pytest.importorskip("torch")
    images = random_images(max(BATCHES), *request.param)
    with torch.inference_mode():
        logits = peer(torch.from_numpy(images)).logits.numpy()
    assert np.abs(logits[0] - logits[1]).max() > 1e-3 * np.abs(logits).max(), "the images make no difference"
    return images, logits


def test_logits_equal_transformers(checkpoint, sample, isa):
    images, expected = sample
    session = Session(checkpoint, isa=isa, threads=2)
    for batch in BATCHES:
        logits = session.run(images[:batch])
        error = np.abs(logits - expected[:batch]).max() / np.abs(expected[:batch]).max()
        assert error < TOLERANCE, f"batch {batch}: {error:.1e}"

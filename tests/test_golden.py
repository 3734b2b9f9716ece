"""The published checkpoints give the logits that transformers' own integration tests expect of them.

Nothing is downloaded. MOBILEVIT_FAST_CHECKPOINT names a folder with one of the checkpoints (otherwise the
hub's local cache is searched), and MOBILEVIT_FAST_PHOTO the photograph: COCO val2017 000000039769, two cats
on a sofa.
"""

import os

import numpy as np
import pytest

from mobilevit_fast.weights import HUB_IDS, load_checkpoint

PHOTO = os.environ.get("MOBILEVIT_FAST_PHOTO")
FOLDER = os.environ.get("MOBILEVIT_FAST_CHECKPOINT")

FIRST_LOGITS = {
    "apple/mobilevit-small": (-0.9866, 0.2392, -1.1241),
    "apple/mobilevit-x-small": (-2.4761, -0.9399, -1.9587),
    "apple/mobilevit-xx-small": (-1.9364, -1.2327, -0.4653),
}


def find_checkpoint(hub_id):
    """The checkpoint if it is on this machine, else None."""
    if FOLDER:
        checkpoint = load_checkpoint(FOLDER)
        return checkpoint if checkpoint.config.name == HUB_IDS[hub_id] else None
    huggingface_hub = pytest.importorskip("huggingface_hub")
    for file in ("model.safetensors", "pytorch_model.bin"):
        cached = huggingface_hub.try_to_load_from_cache(hub_id, file)
        if isinstance(cached, str):
            return load_checkpoint(os.path.dirname(cached))
    return None


@pytest.mark.skipif(not PHOTO, reason="MOBILEVIT_FAST_PHOTO does not name the photograph of the two cats")
@pytest.mark.parametrize("hub_id", FIRST_LOGITS)
def test_published_checkpoints_give_their_published_logits(hub_id):
    from mobilevit_fast.image import preprocess
    from mobilevit_fast.session import Session

    checkpoint = find_checkpoint(hub_id)
    if checkpoint is None:
        pytest.skip(f"{hub_id} is neither in MOBILEVIT_FAST_CHECKPOINT nor in the hub's local cache")
    logits = Session(checkpoint).run(preprocess(PHOTO, checkpoint.preprocessing))
    assert logits.shape == (1, 1000)
    np.testing.assert_allclose(logits[0, :3], FIRST_LOGITS[hub_id], rtol=0, atol=1e-4)

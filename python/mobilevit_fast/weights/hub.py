"""Downloads from the Hugging Face hub, through its own client and cache."""

from __future__ import annotations

from pathlib import Path

HUB_IDS = {
    "apple/mobilevit-xx-small": "mobilevit_xxs",
    "apple/mobilevit-x-small": "mobilevit_xs",
    "apple/mobilevit-small": "mobilevit_s",
    "timm/mobilevit_xxs.cvnets_in1k": "mobilevit_xxs",
    "timm/mobilevit_xs.cvnets_in1k": "mobilevit_xs",
    "timm/mobilevit_s.cvnets_in1k": "mobilevit_s",
}
"""The ImageNet-1k checkpoints on the hub -> the variant of each."""

_CONFIGS = ("config.json", "preprocessor_config.json")
_SAFE = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
_PICKLED = ("pytorch_model.bin",)


def download(source: str) -> Path:
    """Fetch the config and weights files of "org/name" or "org/name@revision" into the hub's cache.

    Files in the cache are not fetched again, and serve where the hub cannot be reached. Of the weights,
    safetensors are taken where there are any. The client shows its progress bars.

    Returns:
        the folder with the files.

    Raises:
        FileNotFoundError: the hub has no such checkpoint, or cannot be reached and the cache does not hold
            it.
    """
    from huggingface_hub import snapshot_download

    repository, _, revision = source.partition("@")
    failure: Exception | None = None
    for weights in (_SAFE, _PICKLED):
        try:
            patterns = [*_CONFIGS, *weights]
            folder = Path(snapshot_download(repository, revision=revision or None, allow_patterns=patterns))
        except Exception as error:
            # The client lets the errors of its HTTP library through, and that library has changed over time.
            failure = failure or error
            continue
        if any(found for pattern in (*_SAFE, *_PICKLED) for found in folder.glob(pattern)):
            return folder
    if failure is None:
        raise FileNotFoundError(
            f"{source!r} on the hub holds no weights: expected {_SAFE[0]} or {_PICKLED[0]}"
        )
    reason = next(iter(str(failure).strip().splitlines()), type(failure).__name__)
    raise FileNotFoundError(
        f"{source!r} is no folder here and could not be fetched from the hub; "
        f"check the name and the connection, or give a folder with the files ({reason})"
    ) from failure

"""To and from the Hugging Face hub, through its own client and cache."""

from __future__ import annotations

from collections.abc import Sequence
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


def check_repository(repository: str) -> None:
    """Raises ValueError for what cannot be a repository's name, before there is anything to push."""
    from huggingface_hub.utils import validate_repo_id

    validate_repo_id(repository)  # HFValidationError is a ValueError


def upload(folder: Path, repository: str, *, private: bool = False, leave_out: Sequence[str] = ()) -> str:
    """Push a folder to the model repository "org/name" of the hub, which is made if need be.

    The client finds the user's token by itself.

    Args:
        leave_out: patterns of files that stay here.

    Returns:
        the address of the repository.

    Raises:
        OSError: the hub refuses it or cannot be reached; the folder stays as it is.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=address.repo_id,
            folder_path=folder,
            ignore_patterns=list(leave_out),
            commit_message="Upload model",
        )
    except Exception as error:
        # The client lets the errors of its HTTP library through, and that library has changed over time.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise OSError(
            f"{str(folder)!r} could not be pushed to {repository!r}; check the name, the connection and the "
            f"token, and push the folder again ({reason})"
        ) from error
    return str(address)

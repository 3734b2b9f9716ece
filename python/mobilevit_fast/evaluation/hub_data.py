"""Data sets of the Hugging Face hub, as parquet files, through its own client and cache."""

from __future__ import annotations

import re
from pathlib import Path

CONVERTED = "refs/convert/parquet"
"""Where the hub keeps its own conversion of data sets that are in other formats."""

TRAINING = ("train", "training")
VALIDATION = ("validation", "valid", "val", "dev", "test", "testing")
"""Names of splits; of several to measure on, the first of these that exists is taken."""

SPLITS = (*TRAINING, *VALIDATION)

_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def is_hub_id(text: str) -> bool:
    """Whether `text` may name a data set of the hub: "org/name" or "org/name@revision"."""
    return _ID.fullmatch(text) is not None and not text.startswith(".")


def download_data(source: str) -> Path:
    """Fetch the parquet files of "org/name" or "org/name@revision" into the hub's cache.

    Returns:
        the folder with the files.

    Raises:
        FileNotFoundError: the hub has no such data set, or cannot be reached and the cache does not hold it.
        ValueError: it has several configurations.
    """
    from huggingface_hub import snapshot_download

    repository, _, revision = source.partition("@")
    failure: Exception | None = None
    for where in (revision,) if revision else (None, CONVERTED):
        try:
            folder = Path(
                snapshot_download(
                    repository, repo_type="dataset", revision=where, allow_patterns=["*.parquet"]
                )
            )
        except Exception as error:
            # The client lets the errors of its HTTP library through, and that library has changed over time.
            failure = failure or error
            continue
        files = list(folder.rglob("*.parquet"))
        if files:
            return one_configuration(folder, files, source)
    reason = next(iter(str(failure or "it holds no parquet files").strip().splitlines()), "")
    raise FileNotFoundError(
        f"{source!r} is no file or folder here, and no data set of parquet files could be fetched from the "
        f"hub; check the name and the connection ({reason})"
    ) from failure


def one_configuration(folder: Path, files: list[Path], source: str) -> Path:
    """The folder, if its files belong together: each configuration of a data set has a folder of its own.

    Raises ValueError where there are several.
    """
    tops = {path.parts[0] for file in files if len((path := file.relative_to(folder)).parts) > 1}
    names = sorted(top for top in tops if top.lower() not in SPLITS)
    if len(names) > 1:
        raise ValueError(
            f"{source!r} has several configurations: {', '.join(names)}; "
            "download it and name the folder of one"
        )
    return folder

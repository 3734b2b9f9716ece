"""From the user's name of a checkpoint (embedded, folder, file, hub id) to files on this machine."""

from __future__ import annotations

import difflib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilevit_fast.config import MODELS
from mobilevit_fast.weights.hub import HUB_IDS, download

PICKLED_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pth.tar")
SUFFIXES = (".safetensors", *PICKLED_SUFFIXES)

_DATA = Path(__file__).resolve().parent.parent / "data"
_STANDARD_NAMES = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


@dataclass(frozen=True)
class SourceFiles:
    """What a source is made of.

    Attributes:
        name: what the user asked for, for messages.
        weights: one file, or the shards of one checkpoint.
        config: content of config.json, {} where there is none.
        preprocessor: content of preprocessor_config.json, {} where there is none.
    """

    name: str
    weights: tuple[Path, ...]
    config: dict[str, Any] = field(default_factory=dict)
    preprocessor: dict[str, Any] = field(default_factory=dict)


def embedded_names() -> list[str]:
    """Names of the checkpoints that the package carries, such as "mobilevit_xxs.cifar10"."""
    return sorted(path.stem for path in _DATA.glob("*.safetensors"))


def files_of(source: object) -> tuple[Path, ...]:
    """The files of weights of a source; none of what is no source, or of a hub id."""
    if not isinstance(source, str | os.PathLike) or not os.path.exists(os.path.expanduser(source)):
        return ()
    try:
        return find_source(source).weights
    except (OSError, ValueError):  # whoever reads it says what is wrong
        return ()


def find_source(source: str | os.PathLike) -> SourceFiles:
    """Find, and for a hub id download, the files of a source.

    Args:
        source: a name of `embedded_names`, a folder, a weights file, or a hub id "org/name" or
            "org/name@revision". Beside a file of a standard name (model.safetensors, pytorch_model.bin) its
            config files are read too.

    Raises:
        FileNotFoundError: no such file or folder, or the hub has no such checkpoint or cannot be reached.
        ValueError: a name that means nothing here (near ones are suggested), or a folder without one clear
            choice.
        TypeError: `source` is not a string or path.
    """
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"a source is a name or a path, got {type(source).__name__}")
    name = os.fsdecode(source)
    if name in embedded_names():
        return SourceFiles(name, (_DATA / f"{name}.safetensors",))
    # os.path, unlike Path, takes "" and names that no file can have for absent.
    path = os.path.expanduser(name)
    if os.path.isdir(path):
        return _from_folder(Path(path), name)
    if os.path.isfile(path):
        return _from_file(Path(path), name)
    if path.endswith(SUFFIXES) or name.startswith((".", "~", os.sep)) or name.endswith(os.sep):
        raise FileNotFoundError(f"there is no file or folder {name!r}")
    if _HUB_ID.fullmatch(name):
        return _from_folder(download(name), name)
    raise ValueError(_unknown(name))


def _from_file(path: Path, name: str) -> SourceFiles:
    if path.name in _STANDARD_NAMES:
        return _with_configs(path, name)
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"{name!r} is not a weights file; known endings: {', '.join(SUFFIXES)}")
    return SourceFiles(name, (path,))


def _from_folder(folder: Path, name: str) -> SourceFiles:
    for standard in _STANDARD_NAMES:
        if (folder / standard).is_file():
            return _with_configs(folder / standard, name)
    for suffix in SUFFIXES:
        found = sorted(folder.glob(f"*{suffix}"))
        if len(found) > 1:
            some = ", ".join(path.name for path in found[:5])
            raise ValueError(f"{name!r} holds several weights files ({some}); name one of them")
        if found:
            return _with_configs(found[0], name)
    raise FileNotFoundError(f"{name!r} holds no weights: expected {', '.join(_STANDARD_NAMES)}")


def _with_configs(weights: Path, name: str) -> SourceFiles:
    folder = weights.parent
    files = _shards(weights) if weights.suffix == ".json" else (weights,)
    return SourceFiles(
        name,
        files,
        _optional_json(folder / "config.json"),
        _optional_json(folder / "preprocessor_config.json"),
    )


def _shards(index: Path) -> tuple[Path, ...]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise ValueError(f"{str(index)!r} has no weight_map from tensors to files")
    shards = tuple(index.parent / file for file in sorted(set(weight_map.values())))
    for shard in shards:
        if shard.parent != index.parent:
            raise ValueError(f"{str(index)!r} names {str(shard)!r}, which is outside its folder")
        if not shard.is_file():
            raise FileNotFoundError(f"{str(index)!r} names {shard.name!r}, which is not beside it")
    return shards


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def read_json(path: Path) -> dict[str, Any]:
    """The map in a JSON file. Raises ValueError, naming the file, on anything else."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} holds {type(content).__name__}, expected a map")
    return content


def _unknown(name: str) -> str:
    known = [*embedded_names(), *HUB_IDS]
    if name in MODELS:
        trained = [source for source in known if HUB_IDS.get(source) == name or source.startswith(f"{name}.")]
        return (
            f"{name!r} is a model without weights; trained ones are {' or '.join(trained)}, "
            f"and create_model({name!r}) builds it untrained"
        )
    by_last_part = {source.rsplit("/", 1)[-1]: source for source in known}
    near = [last for last in by_last_part if name and last.startswith(name.lower())]
    near = near or difflib.get_close_matches(name.lower(), by_last_part, n=3, cutoff=0.7)
    suggested = f"did you mean {' or '.join(by_last_part[match] for match in near)}?"
    return (
        f"no checkpoint is called {name!r}; {suggested if near else 'known are ' + ', '.join(known) + '.'} "
        "A source is also a folder, a weights file, or any hub id org/name"
    )

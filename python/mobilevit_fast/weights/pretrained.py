"""Folders that the Auto classes of transformers load."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mobilevit_fast.files import replacing
from mobilevit_fast.image.configs import to_huggingface
from mobilevit_fast.weights.checkpoint import Checkpoint
from mobilevit_fast.weights.configs import config_to_transformers
from mobilevit_fast.weights.convert import to_transformers
from mobilevit_fast.weights.safetensors_file import write_safetensors


def save_pretrained(folder: str | os.PathLike, checkpoint: Checkpoint) -> None:
    """Write config.json, model.safetensors (float32) and preprocessor_config.json into `folder`.

    transformers' AutoModelForImageClassification and AutoImageProcessor load the folder and answer alike,
    except that a checkpoint of timm is cropped one pixel off where an odd number of pixels is cut. The
    folder is made if need be; files of these names in it are replaced, each when its successor is whole.

    Raises:
        ValueError: a config or preprocessing that transformers cannot express; nothing is written then.
        FileExistsError: `folder` is a file.
    """
    folder = Path(folder)
    config = config_to_transformers(checkpoint.config, checkpoint.labels)
    preprocessor = to_huggingface(checkpoint.preprocessing)
    folder.mkdir(parents=True, exist_ok=True)
    state = to_transformers(checkpoint.tensors, checkpoint.config)
    write_safetensors(folder / "model.safetensors", state, {"format": "pt"})
    _write_json(folder / "preprocessor_config.json", preprocessor)
    _write_json(folder / "config.json", config)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

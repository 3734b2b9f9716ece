"""Writes randomised checkpoints of every family, for tests to read.

The names of timm and ml-cvnets are derived here from those of transformers by rules of their own, not by
the table that the package reads them with, so that a mistake in that table shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from mobilevit_fast.benchmark.random_weights import random_tensors
from mobilevit_fast.config import get_config
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.weights import Checkpoint, save_pretrained, to_transformers

LABELS = ("ant", "bee", "cat", "dog", "eel")

_TO_TIMM = (
    (r"^mobilevit\.", ""),
    (r"^conv_stem\.", "stem."),
    (r"^conv_1x1_exp\.", "final_conv."),
    (r"^classifier\.", "head.fc."),
    (r"^encoder\.layer\.([01])\.layer\.(\d)\.", r"stages.\1.\2."),
    (r"^encoder\.layer\.(\d)\.downsampling_layer\.", r"stages.\1.0."),
    (r"^encoder\.layer\.(\d)\.", r"stages.\1.1."),
    (r"\.expand_1x1\.", ".conv1_1x1."),
    (r"\.conv_3x3\.", ".conv2_kxk."),
    (r"\.reduce_1x1\.", ".conv3_1x1."),
    (r"\.conv_1x1\.convolution\.", ".conv_1x1."),
    (r"\.conv_projection\.", ".conv_proj."),
    (r"\.fusion\.", ".conv_fusion."),
    (r"\.convolution\.", ".conv."),
    (r"\.normalization\.", ".bn."),
    (r"\.transformer\.layer\.", ".transformer."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.layernorm\.", ".norm."),
    (r"\.attention\.attention\.qkv\.", ".attn.qkv."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)

_TO_CVNETS = (
    (r"^mobilevit\.", ""),
    (r"^conv_stem\.", "conv_1."),
    (r"^classifier\.", "classifier.fc."),
    (r"^encoder\.layer\.([01])\.layer\.(\d)\.", r"layer_\1.\2.block."),
    (r"^encoder\.layer\.(\d)\.downsampling_layer\.", r"layer_\1.0.block."),
    (r"^encoder\.layer\.(\d)\.", r"layer_\1.1."),
    (r"\.expand_1x1\.", ".exp_1x1."),
    (r"\.reduce_1x1\.", ".red_1x1."),
    (r"\.conv_kxk\.", ".local_rep.conv_3x3."),
    (r"\.conv_1x1\.", ".local_rep.conv_1x1."),
    (r"\.conv_projection\.", ".conv_proj."),
    (r"\.convolution\.", ".block.conv."),
    (r"\.normalization\.", ".block.norm."),
    (r"^layer_2\.1\.layernorm\.", "layer_2.1.global_rep.2."),
    (r"^layer_3\.1\.layernorm\.", "layer_3.1.global_rep.4."),
    (r"^layer_4\.1\.layernorm\.", "layer_4.1.global_rep.3."),
    (r"\.transformer\.layer\.", ".global_rep."),
    (r"\.layernorm_before\.", ".pre_norm_mha.0."),
    (r"\.layernorm_after\.", ".pre_norm_ffn.0."),
    (r"\.attention\.attention\.qkv\.", ".pre_norm_mha.1.qkv_proj."),
    (r"\.attention\.output\.dense\.", ".pre_norm_mha.1.out_proj."),
    (r"\.intermediate\.dense\.", ".pre_norm_ffn.1."),
    (r"\.output\.dense\.", ".pre_norm_ffn.4."),
    (r"^layer_(\d)", lambda match: f"layer_{int(match[1]) + 1}"),
)


def random_checkpoint(
    name: str = "mobilevit_xxs", labels: tuple[str, ...] = LABELS, seed: int = 0
) -> Checkpoint:
    """A checkpoint whose every tensor matters to the logits."""
    config = get_config(name, num_classes=len(labels))
    return Checkpoint(config, random_tensors(config, seed), Preprocessing(), labels, source=name)


def transformers_state(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Under the names of MobileViTForImageClassification."""
    return to_transformers(checkpoint.tensors, checkpoint.config)


def timm_state(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Under the names of timm's mobilevit_*."""
    return _renamed(_fused(transformers_state(checkpoint)), _TO_TIMM)


def cvnets_state(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Under the names of ml-cvnets."""
    return _renamed(_fused(transformers_state(checkpoint)), _TO_CVNETS)


def write_transformers(folder: Path, checkpoint: Checkpoint) -> Path:
    """A folder of config.json, preprocessor_config.json and model.safetensors."""
    save_pretrained(folder, checkpoint)
    return folder


def write_timm(folder: Path, checkpoint: Checkpoint, **pretrained_cfg: Any) -> Path:
    """A folder of config.json and model.safetensors, as timm's hub repositories have them."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architecture": checkpoint.config.name,
        "num_classes": checkpoint.config.num_classes,
        "label_names": list(checkpoint.labels),
        "pretrained_cfg": {
            "input_size": [3, 256, 256],
            "interpolation": "bicubic",
            "crop_pct": 0.9,
            "crop_mode": "center",
            "mean": [0.0, 0.0, 0.0],
            "std": [1.0, 1.0, 1.0],
            **pretrained_cfg,
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(timm_state(checkpoint), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_cvnets(path: Path, checkpoint: Checkpoint) -> Path:
    """A .pt file of torch.save, as ml-cvnets publishes them; needs torch."""
    import torch

    torch.save({name: torch.from_numpy(array) for name, array in cvnets_state(checkpoint).items()}, path)
    return path


def _fused(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Query, key and value as one tensor, which is how timm and ml-cvnets keep them."""
    fused = {}
    for name, array in state.items():
        if ".query." in name:
            parts = [state[name.replace(".query.", f".{part}.")] for part in ("query", "key", "value")]
            fused[name.replace(".query.", ".qkv.")] = np.concatenate(parts)
        elif ".key." not in name and ".value." not in name:
            fused[name] = array
    return fused


def _renamed(state: dict[str, np.ndarray], rules: tuple[tuple[str, Any], ...]) -> dict[str, np.ndarray]:
    renamed = {}
    for name, array in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = array
    return renamed


def assert_same_tensors(given: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert given.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(given[name], array, err_msg=name)


def save_torch(state: Mapping[str, np.ndarray], path: Path, **arguments: Any) -> Path:
    """As `torch.save` writes it; skips the test where there is no torch."""
    torch = pytest.importorskip("torch")
    torch.save({name: torch.from_numpy(array) for name, array in state.items()}, path, **arguments)
    return path

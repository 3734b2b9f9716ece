"""Checkpoints of a training that may be killed at any moment: which are whole, and what they belong to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobilevit_fast.json_text import to_json
from mobilevit_fast.weights import replacing

_MARKER = "complete.json"
_EXTRA = "extra.pt"
_PREFIX = "checkpoint-"


def finish_checkpoint(folder: Path, settings: Mapping[str, Any], extra: Mapping[str, nn.Module]) -> None:
    """Add to what the Trainer wrote, and mark it as whole, which is the last thing that is written.

    Args:
        settings: what decides the result, as JSON can hold it.
        extra: modules besides the model that training changes.
    """
    torch.save({name: module.state_dict() for name, module in extra.items()}, folder / _EXTRA)
    with replacing(folder / _MARKER) as temporary:
        temporary.write_text(to_json(settings) + "\n", encoding="utf-8")


def find_checkpoint(parent: Path, settings: Mapping[str, Any]) -> Path | None:
    """The newest whole checkpoint in a folder; None where there is none. What is not whole is removed.

    Raises:
        ValueError: it belongs to a training with other settings; the first that differ are named.
    """
    for folder in parent.glob(f"{_PREFIX}*"):
        if not (folder / _MARKER).is_file():
            # Another process of the same training may be removing it as well.
            shutil.rmtree(folder, ignore_errors=True)
    newest = _newest(parent)
    if newest is None:
        return None
    found = json.loads((newest / _MARKER).read_text(encoding="utf-8"))
    wanted = json.loads(to_json(settings))
    different = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if different:
        changes = ", ".join(f"{key} {found.get(key)!r}, now {wanted.get(key)!r}" for key in different[:3])
        raise ValueError(
            f"{str(newest)!r} belongs to a training with other settings ({changes}); "
            "go on with those, or start anew in another folder"
        )
    return newest


def is_last(folder: Path) -> bool:
    """Whether a whole checkpoint is that of its training's last step."""
    state = _trainer_state(folder)
    return state["global_step"] >= state["max_steps"]


def load_extra(folder: Path, extra: Mapping[str, nn.Module]) -> None:
    """Take up the state of the modules that `finish_checkpoint` saved."""
    states = torch.load(folder / _EXTRA, weights_only=True)
    for name, module in extra.items():
        module.load_state_dict(states[name])


def read_log(parent: Path) -> list[dict[str, Any]]:
    """What the Trainer logged until the newest whole checkpoint in a folder; empty where there is none."""
    newest = _newest(parent)
    if newest is None:
        return []
    return _trainer_state(newest)["log_history"]


def _trainer_state(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))


def _newest(parent: Path) -> Path | None:
    whole = [folder for folder in parent.glob(f"{_PREFIX}*") if (folder / _MARKER).is_file()]
    return max(whole, key=lambda folder: int(folder.name.removeprefix(_PREFIX)), default=None)

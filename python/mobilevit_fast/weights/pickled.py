"""Reading of .bin, .pt and .pth files, which need torch."""

from __future__ import annotations

import argparse
import os
import pickle
import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
"""Where training scripts put the weights in a checkpoint, best first: timm too takes averaged ones."""

_WRAPPERS = ("module.", "_orig_mod.", "model.")

_REFUSED = re.compile(r"GLOBAL ([\w.]+)")
"""The class in torch's message that it does not load."""


def read_pickled(path: str | os.PathLike) -> dict[str, Any]:
    """The state dict in a file of `torch.save`: name -> torch tensor on the CPU.

    Only tensors, plain containers and the options of training scripts (an argparse.Namespace) are unpickled
    (`weights_only=True`): no code of the file runs. The state dict is found inside the checkpoints that
    training scripts write, and prefixes of wrappers are dropped.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: torch is not installed.
        ValueError: not a file of `torch.save`, damaged, holding other objects, or without a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no weights file {str(path)!r}")
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"reading {str(path)!r} needs torch: pip install mobilevit_fast[torch], "
            "or convert the file to safetensors where torch is installed"
        ) from error
    try:
        with _allowing_options(torch.serialization):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        held = _REFUSED.search(str(error))
        raise ValueError(
            f"{str(path)!r} is refused: it is damaged, or holds objects other than tensors, "
            f"which could run code when they are loaded ({held[1] if held else _first_line(error)})"
        ) from error
    except Exception as error:
        # torch raises almost any type on a damaged archive; the caller needs to know which file it was.
        raise ValueError(
            f"{str(path)!r} is not a readable file of torch.save: {_first_line(error)}"
        ) from error
    return _state_dict(content, str(path))


def _state_dict(content: Any, name: str) -> dict[str, Any]:
    for key in _NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise ValueError(f"{name!r} holds {type(content).__name__}, expected a state dict: names and tensors")
    state = {}
    for key, tensor in content.items():
        if not isinstance(key, str) or not hasattr(tensor, "detach"):
            raise ValueError(f"{name!r} holds {key!r}: {type(tensor).__name__}, expected a name and a tensor")
        for wrapper in _WRAPPERS:
            key = key.removeprefix(wrapper)
        state[key] = tensor
    return state


def _allowing_options(serialization: Any) -> Any:
    """Context in which options of command lines are loaded, where torch can be told (from 2.5 on)."""
    safe_globals = getattr(serialization, "safe_globals", None)
    return nullcontext() if safe_globals is None else safe_globals([argparse.Namespace])


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)

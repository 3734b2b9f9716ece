"""Fields of transformers' TrainingArguments: those that a recipe decides, and those that a caller sets beside
it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import torch
from transformers import TrainingArguments
from transformers.integrations.integration_utils import get_available_reporting_integrations

from mobilevit_fast.train.ranges import check_not_negative, check_positive, check_seed, check_whole
from mobilevit_fast.train.recipe import Recipe

_RESERVED = {
    *("output_dir", "num_train_epochs", "max_steps", "per_device_train_batch_size", "remove_unused_columns"),
    *("push_to_hub", "load_best_model_at_end", "save_strategy", "eval_strategy", "label_smoothing_factor"),
    "save_steps",
}
"""Arguments of the Trainer that the recipe, or a parameter of `finetune`, decides."""

_RANGES: dict[str, Callable[[str, Any], object]] = {
    "learning_rate": check_positive,
    "weight_decay": check_not_negative,
    "warmup_steps": check_not_negative,
    "seed": check_seed,
    "gradient_accumulation_steps": partial(check_whole, least=1),
    "per_device_eval_batch_size": partial(check_whole, least=1),
    "dataloader_num_workers": partial(check_whole, least=0),
}
"""What transformers finds out late or not at all."""

_PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def check_arguments(given: Mapping[str, Any]) -> None:
    """Look at fields that a caller sets.

    Raises:
        ValueError: a field that does not exist or that the recipe decides, a value of another type or outside
            its range.
    """
    hints = get_type_hints(TrainingArguments)
    known = {row.name for row in dataclasses.fields(TrainingArguments)}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"TrainingArguments has no field {name!r}")
        if name in _RESERVED:
            raise ValueError(f"{name} is decided by the recipe; it cannot be set beside it")
        _check_type(name, value, hints[name])
        if name in _RANGES:
            _RANGES[name](name, value)
    _check_reporters(given.get("report_to"))


def make_arguments(
    recipe: Recipe, folder: Path, save_steps: int | None, given: Mapping[str, Any]
) -> TrainingArguments:
    """The Trainer's arguments for a recipe, with checkpoints in `folder`.

    Args:
        save_steps: steps from one checkpoint to the next; None for one an epoch.
        given: further fields, which `check_arguments` has seen.

    Raises:
        ValueError: what transformers refuses.
    """
    saving = {"save_strategy": "epoch"} if save_steps is None else {"save_strategy": "steps"}
    if save_steps is not None:
        saving["save_steps"] = save_steps
    settings = {
        "per_device_eval_batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.gradient_norm,
        "lr_scheduler_type": "cosine",
        "save_total_limit": 2,
        "seed": recipe.seed,
        "report_to": [],
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        **given,
    }
    known = {row.name for row in dataclasses.fields(TrainingArguments)}
    if "activation_checkpointing" in known and "gradient_checkpointing" in settings:
        # Newer versions of transformers warn of the old name.
        settings["activation_checkpointing"] = settings.pop("gradient_checkpointing")
    try:
        return TrainingArguments(
            output_dir=os.fspath(folder),
            num_train_epochs=recipe.epochs,
            per_device_train_batch_size=recipe.batch_size,
            eval_strategy="epoch",
            remove_unused_columns=False,
            **saving,
            **settings,
        )
    except TypeError as error:
        raise ValueError(f"TrainingArguments refuses {dict(given)!r}: {error}") from error


def _check_reporters(wanted: Any) -> None:
    """Raises ValueError for a service whose package is not installed; the Trainer would find out late."""
    here = get_available_reporting_integrations()
    for name in [wanted] if isinstance(wanted, str) else wanted or ():
        if name not in ("all", "none", *here):
            raise ValueError(
                f"report_to must be none, all or what is installed ({', '.join(here) or 'nothing'}), "
                f"got {name!r}"
            )


def _is_map(value: str) -> bool:
    """Whether transformers finds a map in this text: it is one in JSON, or the name of a file of one."""
    try:
        return os.path.isfile(value) or isinstance(json.loads(value), dict)
    except ValueError:
        return False


def _check_type(name: str, value: Any, hint: Any) -> None:
    """Raises ValueError where another plain value is expected; None is left to transformers."""
    allowed = get_args(hint) or (hint,)
    if isinstance(value, str) and any(get_origin(kind) is dict or kind is dict for kind in allowed):
        if not _is_map(value):
            raise ValueError(f'{name} must be a map in JSON, such as {{"key": 1}}, got {value!r}')
        return
    names = [name for kind, name in _PLAIN.items() if kind in allowed]
    has_choices = any(isinstance(kind, type) and issubclass(kind, Enum) for kind in allowed)
    if value is None or has_choices or not all(kind in (*_PLAIN, NoneType) for kind in allowed):
        return
    if isinstance(value, bool):
        # A whole number to Python, but not to whoever wrote it.
        fits = bool in allowed
    elif float in allowed and isinstance(value, int | float):
        fits = value == value
    else:
        fits = isinstance(value, allowed)
    if not fits:
        raise ValueError(f"{name} must be {' or '.join(names)}, got {value!r}")

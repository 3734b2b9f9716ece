"""What fine-tuning hands back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mobilevit_fast.evaluation import Evaluation


@dataclass(frozen=True, eq=False)
class Finetuned:
    """What fine-tuning made.

    Attributes:
        folder: the model, as `Session`, `from_pretrained` and transformers' Auto classes load it.
        evaluation: of the float model, on the validation images.
        notes: what was done besides, one sentence each.
        integers: the file of the quantised model, and its evaluation; None without a recipe for one.
    """

    folder: Path
    evaluation: Evaluation
    notes: tuple[str, ...]
    integers: tuple[Path, Evaluation] | None = None

"""How often a model is right: labelled images in, top-1, top-5 and confusion matrix out; without torch."""

from mobilevit_fast.evaluation.accuracy import ROUNDING, Evaluation, evaluate
from mobilevit_fast.evaluation.dataset import Columns, Dataset, load_dataset
from mobilevit_fast.evaluation.splits import Splits, hold_out, load_splits

__all__ = [
    "ROUNDING",
    "Columns",
    "Dataset",
    "Evaluation",
    "Splits",
    "evaluate",
    "hold_out",
    "load_dataset",
    "load_splits",
]

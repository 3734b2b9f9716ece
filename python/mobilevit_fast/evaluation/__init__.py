"""How often a model is right: labelled images in, top-1, top-5 and confusion matrix out; without torch."""

from mobilevit_fast.evaluation.accuracy import Evaluation, evaluate
from mobilevit_fast.evaluation.dataset import Dataset, load_dataset

__all__ = ["Dataset", "Evaluation", "evaluate", "load_dataset"]

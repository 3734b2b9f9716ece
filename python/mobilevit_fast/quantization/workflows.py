"""From a float model to a quantised one."""

from __future__ import annotations

import os

from mobilevit_fast.evaluation import Dataset, load_dataset
from mobilevit_fast.progress import Progress
from mobilevit_fast.quantization.config import Recipe
from mobilevit_fast.quantization.network import fold_network
from mobilevit_fast.quantization.quantized_model import QuantizedModel
from mobilevit_fast.quantization.registry import apply_recipe, check_recipe
from mobilevit_fast.quantization.sources import Images, ModelSource, to_finite_checkpoint, to_images


def quantize(
    model: ModelSource,
    recipe: Recipe,
    *,
    calibration: Images | None = None,
    validation: str | os.PathLike | Dataset | None = None,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantise a trained classifier without training it further.

        small = quantize("apple/mobilevit-small", StaticInt8(), calibration="photographs/")
        print(small.report)
        small.save("small.safetensors")

    Args:
        model: a module of this project, transformers or timm (it stays as it is), or what `Session` takes.
        recipe: `StaticInt8()`, `DynamicInt8()`, `WeightOnly()`, `HalfPrecision()` or `Mixed()`.
        calibration: images like those that the model will see, 32 or more: a folder, a sequence of what
            `load_image` takes, or a float array or tensor [N, 3, H, W], already preprocessed. Needed by
            StaticInt8 and Mixed, of use to WeightOnly.
        validation: labelled images, as `load_dataset` reads them, on which Mixed(max_loss=...) measures the
            fall of top-1. Without them it counts the calibration images that are answered otherwise.
        progress: wraps the steps of what runs the images again and again, given their number and a title, to
            show how far it has come.

    Raises:
        TypeError, ValueError, FileNotFoundError: a model, recipe or calibration that does not serve; named.

    Warns:
        CalibrationWarning: images that are too few, look like noise, or were prepared for another model.
    """
    check_recipe(recipe)
    checkpoint = to_finite_checkpoint(model)
    images = None if calibration is None else to_images(calibration, checkpoint.preprocessing)
    network = fold_network(checkpoint)
    data = None if validation is None else load_dataset(validation)
    notes = apply_recipe(recipe, network, images, data, progress)
    return QuantizedModel(network, recipe, notes)

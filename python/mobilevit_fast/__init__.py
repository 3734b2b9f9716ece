"""The fastest and easiest way to run, compress, export and fine-tune MobileViT image classifiers.

    import mobilevit_fast as mvf

    session = mvf.Session("mobilevit_xxs.cifar10")
    session.classify("cat.jpg")

Names load when they are first used: nothing here imports torch but the names of the torch half.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "config": ("ModelConfig", "get_config", "list_models"),
    "evaluation": ("Dataset", "Evaluation", "evaluate", "load_dataset"),
    "export": ("export",),
    "image": ("Preprocessing", "load_image", "preprocess"),
    "model": ("create_model", "from_pretrained", "optimize"),
    "native_libraries": ("onnxruntime_library",),
    "quantization": (
        "CalibrationWarning",
        "DynamicInt8",
        "HalfPrecision",
        "Mixed",
        "QuantizedModel",
        "StaticInt8",
        "WeightOnly",
        "convert",
        "prepare_qat",
        "quantize",
        "sensitivity",
    ),
    "serve": ("Answer", "Batcher", "ClosedError", "DeadlineError", "QueueFullError"),
    "train.finetune": ("finetune",),
    "train.recipe": ("Recipe",),
    "train.augment": ("Augmentation",),
    "train.parameters": ("Trained",),
    "session": ("Prediction", "Session"),
    "weights": ("Checkpoint", "load_checkpoint", "save_checkpoint"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("mobilevit_fast")
        except PackageNotFoundError:
            # It runs from its sources and was never installed.
            return "0+source"
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        home = importlib.import_module(f"{__name__}.{_HOME_OF[name]}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(f"{name} needs torch: pip install 'mobilevit_fast[torch]'") from error
    value = getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF, "__version__"])

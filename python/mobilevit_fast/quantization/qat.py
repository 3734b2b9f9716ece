"""Quantisation-aware training: the network trains with its roundings in place."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, distributed, nn

from mobilevit_fast.quantization.config import Mixed, StaticInt8, WeightOnly
from mobilevit_fast.quantization.layer import FULL
from mobilevit_fast.quantization.network import QuantizedMobileViT, fold_network
from mobilevit_fast.quantization.quantized_model import QuantizedModel
from mobilevit_fast.quantization.registry import apply_recipe
from mobilevit_fast.quantization.sources import Images, ModelSource, to_finite_checkpoint, to_images
from mobilevit_fast.weights import LayerFormat
from mobilevit_fast.weights.quantized import COMPUTES, WEIGHTS

_MOMENTUM = 0.01
"""Weight of a batch in the range that an observed grid follows."""

TrainedRecipe = StaticInt8 | Mixed | WeightOnly


class TrainableMobileViT(QuantizedMobileViT):
    """What `prepare_qat` gives: trains like any torch module, on images [N, 3, H, W].

    Until it is calibrated, which at the latest its first batch in training mode does, it computes in float.
    Its state dict holds the formats of its layers, so that a checkpoint of the training goes on where it was.

    Attributes:
        recipe: what it becomes.
    """

    recipe: TrainedRecipe
    format_codes: Tensor

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.register_buffer("format_codes", torch.zeros(len(self.layers), 3, dtype=torch.int64))
        self.set_formats({})
        self.register_load_state_dict_post_hook(_restore_formats)

    @property
    def is_calibrated(self) -> bool:
        """Whether its roundings are in place."""
        return any(layer.format != FULL for layer in self.layers.values())

    def forward_stages(self, pixel_values: Tensor) -> tuple[Tensor, list[Tensor]]:
        if self.training and not self.is_calibrated:
            if _is_one_of_several():
                raise ValueError(
                    "every process would calibrate on images of its own and train another model: give "
                    "prepare_qat the images, calibration=..."
                )
            self.calibrate(pixel_values.detach())
        return super().forward_stages(pixel_values)

    def calibrate(self, images: Tensor | None) -> None:
        """Quantise the present weights on images [N, 3, H, W] as `quantize` does, to train on from there.

        Raises ValueError for images that are not finite.
        """
        if images is not None and not bool(images.isfinite().all()):
            raise ValueError("the images to calibrate on hold numbers that are not finite")
        training = self.training
        apply_recipe(self.recipe, self.eval(), images)
        self.train(training)

    def learn_scales(self) -> None:
        """Make scales parameters; those of grids that nothing is rounded to have no gradients."""
        integer = [layer for layer in self.layers.values() if layer.is_integer]
        forced = {id(point) for layer in integer for point in (layer.pre, layer.output)}
        used = {id(layer): layer.format.is_integer for layer in self.layers.values()}
        used |= {id(point): point.is_bytes or id(point) in forced for point in self.points.values()}
        for module in (*self.layers.values(), *self.points.values()):
            module.learn_scale()
            # DistributedDataParallel waits for the gradient of each that may have one.
            module.change.requires_grad_(used[id(module)] or not self.is_calibrated)

    def set_formats(self, formats: dict[str, LayerFormat]) -> None:
        super().set_formats(formats)
        for row, layer in zip(self.format_codes, self.layers.values(), strict=True):
            codes = WEIGHTS.index(layer.format.weights), COMPUTES.index(layer.format.compute)
            row.copy_(torch.tensor((*codes, layer.format.group_size)))


def _is_one_of_several() -> bool:
    """Whether other processes train the same model."""
    is_ready = distributed.is_available() and distributed.is_initialized()
    return is_ready and distributed.get_world_size() > 1


def _restore_formats(network: TrainableMobileViT, keys: Any) -> None:
    formats = {}
    for name, (weights, compute, size) in zip(network.layers, network.format_codes.tolist(), strict=True):
        formats[name] = LayerFormat(WEIGHTS[weights], COMPUTES[compute], size)
    network.set_formats(formats)


def prepare_qat(
    model: ModelSource,
    recipe: TrainedRecipe | None = None,
    *,
    calibration: Images | None = None,
    scales: str = "learned",
) -> TrainableMobileViT:
    """A module to train further so that quantisation costs less, in training mode.

        student = prepare_qat(model, calibration=images)
        ...  # any loop: loss = criterion(student(pixel_values), labels); loss.backward(); optimizer.step()
        convert(student).save("small.safetensors")

    It takes images and gives logits; with `labels=` it gives `{"loss": ..., "logits": ...}`, as transformers'
    Trainer wants it. In eval mode it answers exactly as the converted model does; in training mode it rounds
    in float32, which is faster. Norms are folded, so there are no statistics to freeze; a learning rate of
    about a hundredth of the first training's serves.

    Args:
        model: as `quantize` takes it; it stays as it is.
        recipe: `StaticInt8()` if None, `Mixed()` or `WeightOnly()`.
        calibration: as `quantize` takes it; the first training batch if None.
        scales: "learned": trained with the weights; "observed": the grids of activations follow the ranges
            that come along, the scales of weights stay.

    Raises:
        TypeError, ValueError, FileNotFoundError: as `quantize` does; another recipe or name of `scales`.
    """
    recipe = StaticInt8() if recipe is None else recipe
    if not isinstance(recipe, TrainedRecipe):
        raise TypeError(f"training takes StaticInt8(), Mixed() or WeightOnly(), got {recipe!r}")
    if scales not in ("learned", "observed"):
        raise ValueError(f"scales must be 'learned' or 'observed', got {scales!r}")
    checkpoint = to_finite_checkpoint(model)
    network = fold_network(checkpoint, TrainableMobileViT)
    network.recipe = recipe
    if calibration is not None:
        network.calibrate(to_images(calibration, checkpoint.preprocessing))
    elif isinstance(recipe, WeightOnly):
        network.calibrate(None)
    if scales == "learned":
        network.learn_scales()
    if scales == "observed":
        for point in network.points.values():
            point.momentum = _MOMENTUM
    return network.train()


def convert(network: nn.Module) -> QuantizedModel:
    """The quantised model that a network of `prepare_qat` has become; the network stays as it is.

    Raises:
        TypeError: another module.
        ValueError: it was never calibrated, that is neither given images nor trained.
    """
    if not isinstance(network, TrainableMobileViT):
        raise TypeError(f"convert takes what prepare_qat gave, got a {type(network).__name__}")
    if not network.is_calibrated:
        raise ValueError("the network was never calibrated: give prepare_qat images, or train for a step")
    return QuantizedModel(copy.deepcopy(network).cpu(), network.recipe, ("trained with its roundings",))

"""Everything that decides what fine-tuning makes of a model and a data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from mobilevit_fast.image import MAX_EDGE
from mobilevit_fast.train.augment import Augmentation
from mobilevit_fast.train.parameters import Trained
from mobilevit_fast.train.ranges import (
    check_bound,
    check_not_negative,
    check_positive,
    check_seed,
    check_share,
    check_whole,
)

BAD_IMAGES = ("skip", "refuse")


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune. With the same data, model, seed and number of threads the result is the same.

    Attributes:
        epochs: passes over the images.
        batch_size: images of one step of one process.
        learning_rate: of AdamW, after a linear rise over `warmup_epochs`; then it falls along a cosine.
        weight_decay: of weights; norms and biases have none.
        gradient_norm: to which longer gradients are cut.
        label_smoothing: share of a label that all classes divide evenly.
        average: decay of the weights' moving average, which is measured and kept; 0 for none.
        size: edge of the images in pixels; None for the checkpoint's own.
        multi_scale: a random size for each batch, around `size`, as the paper trains.
        augmentation: random changes to images.
        unmixed_epochs: so many epochs at the end do without its mixup and cutmix.
        trained: what of the model trains.
        from_scratch: begin with random weights instead of the checkpoint's.
        hold_out: share of each class that is set aside to measure on, where the data has no such split.
        bad_images: "skip" leaves images that cannot be read out and says so, "refuse" stops.
        temperature, soft, feature_weight: of learning from a teacher, as `DistillationLoss` has them;
            feature_weight is the factor of the loss between the stages' maps, 0 for none.
        rounding_epochs: further passes with the roundings of a quantisation recipe in place, at
            `rounding_rate` times the learning rate.
        seed: of everything random.

    Raises:
        ValueError: a value outside its range.
    """

    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup_epochs: float = 1.0
    weight_decay: float = 0.05
    gradient_norm: float = 2.0
    label_smoothing: float = 0.1
    average: float = 0.999
    size: int | None = None
    multi_scale: bool = False
    augmentation: Augmentation = field(default_factory=Augmentation)
    unmixed_epochs: int = 0
    trained: Trained = field(default_factory=Trained)
    from_scratch: bool = False
    hold_out: float = 0.1
    bad_images: str = "skip"
    temperature: float = 2.0
    soft: float = 0.9
    feature_weight: float = 1.0
    rounding_epochs: int = 2
    rounding_rate: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "rounding_epochs"):
            object.__setattr__(self, name, check_whole(name, getattr(self, name), least=1))
        object.__setattr__(
            self, "unmixed_epochs", check_whole("unmixed_epochs", self.unmixed_epochs, least=0)
        )
        object.__setattr__(self, "seed", check_seed("seed", self.seed))
        for name in ("learning_rate", "rounding_rate", "temperature"):
            check_positive(name, getattr(self, name))
        check_bound("gradient_norm", self.gradient_norm)
        for name in ("warmup_epochs", "weight_decay", "feature_weight"):
            check_not_negative(name, getattr(self, name))
        for name in ("label_smoothing", "average", "hold_out"):
            check_share(name, getattr(self, name))
        check_share("soft", self.soft, whole=True)
        if self.bad_images not in BAD_IMAGES:
            raise ValueError(f"bad_images must be {' or '.join(BAD_IMAGES)}, got {self.bad_images!r}")
        if self.size is not None:
            object.__setattr__(self, "size", check_whole("size", self.size, least=32, most=MAX_EDGE))

    def to_data(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        return asdict(self)

"""How large a variant is, from its config alone."""

from __future__ import annotations

import math

from mobilevit_fast.config import ModelConfig
from mobilevit_fast.weights import parameter_shapes


def count_parameters(config: ModelConfig) -> int:
    """Trainable parameters; BatchNorm's running statistics are none."""
    return sum(
        math.prod(shape)
        for name, shape in parameter_shapes(config).items()
        if not name.endswith(("running_mean", "running_var"))
    )

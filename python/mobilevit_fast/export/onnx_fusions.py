"""Nodes of `onnx_nodes` joined with their neighbours into those that our kernels compute in one go."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir
from onnxscript.rewriter import RewriteRuleClassBase, rewrite
from onnxscript.rewriter.rules.common import no_op_transpose_rule, transpose_transpose_rule

from mobilevit_fast.export.onnx_nodes import DOMAIN, VERSION


class JoinedConvolution(RewriteRuleClassBase):
    """Two maps side by side, then a 3x3 convolution: the concatenation is never made."""

    def pattern(self, op: Any, x: Any, second: Any, weight: Any, bias: Any) -> Any:
        joined = op.Concat(x, second, _outputs=["joined"])
        return op.Conv3x3Silu(joined, weight, bias, _domain=DOMAIN, _outputs=["answer"])

    def check(self, context: Any, x: Any, second: Any, joined: Any, **_: Any) -> bool:
        axis = joined.producer().attributes["axis"].as_int()
        return axis in (-1, 3) and x.shape[3] == second.shape[3]

    def rewrite(self, op: Any, x: Any, second: Any, weight: Any, bias: Any, answer: Any, **_: Any) -> Any:
        strides = answer.producer().attributes["strides"]
        return op.JoinedConv3x3Silu(
            x, second, weight, bias, strides=strides, _domain=DOMAIN, _version=VERSION
        )


class NormalizedLinear(RewriteRuleClassBase):
    """A layer norm without scale and shift, then a linear."""

    def pattern(self, op: Any, x: Any, scale: Any, weight: Any, bias: Any) -> Any:
        rows = op.LayerNormalization(x, scale, _outputs=["rows"])
        return op.Linear(rows, weight, bias, _domain=DOMAIN)

    def check(self, context: Any, scale: Any, rows: Any, **_: Any) -> bool:
        return _only_normalizes(scale, rows)

    def rewrite(self, op: Any, x: Any, weight: Any, bias: Any, rows: Any, **_: Any) -> Any:
        epsilon = rows.producer().attributes["epsilon"]
        return op.NormalizedLinear(x, weight, bias, epsilon=epsilon, _domain=DOMAIN, _version=VERSION)


class Ffn(RewriteRuleClassBase):
    """A transformer layer's second half: x + down(silu(up(layer norm(x))))."""

    def pattern(self, op: Any, x: Any, scale: Any, up: Any, up_bias: Any, down: Any, down_bias: Any) -> Any:
        rows = op.LayerNormalization(x, scale, _outputs=["rows"])
        hidden = op.LinearSilu(rows, up, up_bias, _domain=DOMAIN)
        return op.LinearAdd(hidden, down, down_bias, x, _domain=DOMAIN)

    def check(self, context: Any, scale: Any, rows: Any, **_: Any) -> bool:
        return _only_normalizes(scale, rows)

    def rewrite(
        self, op: Any, x: Any, up: Any, up_bias: Any, down: Any, down_bias: Any, rows: Any, **_: Any
    ) -> Any:
        epsilon = rows.producer().attributes["epsilon"]
        return op.Ffn(x, up, up_bias, down, down_bias, epsilon=epsilon, _domain=DOMAIN, _version=VERSION)


_RULES = [
    # Around nodes of ours maps are permuted and permuted back.
    transpose_transpose_rule,
    no_op_transpose_rule,
    JoinedConvolution.rule(),
    Ffn.rule(),
    NormalizedLinear.rule(),
]


def fuse(model: onnx_ir.Model) -> None:
    """In place."""
    rewrite(model, _RULES)


def _only_normalizes(scale: Any, rows: Any) -> bool:
    return scale.const_value is not None and bool(np.all(scale.const_value.numpy() == 1))

"""A model that computes on bytes as ONNX nodes of our domain, one for each step of the plan of a session.

So both compute the same on our kernels. Resizes, and what comes before and after the network, are put
together from standard operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mobilevit_fast.export.job import Job
from mobilevit_fast.export.onnx_nodes import DOMAIN, VERSION
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.lower import NONE
from mobilevit_fast.lower_quantized import lower_quantized

IR_VERSION = 10

LAYER = ("weight", "bias", "multiplier", "offset")
LAYER_WITH_TABLE = (*LAYER, "table")


def int8_model(job: Job, opset: int) -> onnx.ModelProto:
    """The model of a quantised source whose layers all compute on bytes, without the nodes' functions."""
    options, config = job.options, job.source.config
    plan = lower_quantized(job.source)
    graph = _PlanGraph(plan["tensors"], options.size, options.dynamic_size)
    images = options.input_name
    if options.raw_pixels:
        images = graph.prepare(images, job.source.preprocessing)
    for step in plan["steps"]:
        graph.add_step(step, images)
    answer = graph.values[plan["outputs"][0]]
    if options.softmax:
        graph.node("Softmax", [answer], options.output_name, axis=-1)
    else:
        graph.node("Identity", [answer], options.output_name)
    batch = options.batches[0] if len(options.batches) == 1 else "batch"
    size = ("height", "width") if options.dynamic_size else options.size
    kind = TensorProto.UINT8 if options.raw_pixels else TensorProto.FLOAT
    proto = helper.make_graph(
        graph.nodes,
        config.name,
        [helper.make_tensor_value_info(options.input_name, kind, [batch, 3, *size])],
        [helper.make_tensor_value_info(options.output_name, TensorProto.FLOAT, [batch, config.num_classes])],
        list(graph.initializers.values()),
    )
    domains = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, VERSION)]
    return helper.make_model(proto, opset_imports=domains, ir_version=IR_VERSION)


class _PlanGraph:
    """Nodes so far. `values` names the value of each of the plan's tensors, as the last step left it."""

    def __init__(
        self, tensors: Sequence[Mapping[str, Any]], image_size: tuple[int, int], is_size_open: bool
    ) -> None:
        self.tensors, self.image_size, self.is_size_open = tensors, image_size, is_size_open
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.values: dict[int, str] = {}
        self.sizes: dict[int, tuple[int, int]] = {}
        self.grids: dict[int, tuple[str, str]] = {}

    # ---- nodes and constants

    def node(self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def own(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        return self.node(kind, inputs, output, domain=DOMAIN, **attributes)

    def constant(self, name: str, values: Any, dtype: Any = None) -> str:
        # A plain array() keeps a number without dimensions one.
        self.initializers[name] = numpy_helper.from_array(np.array(values, dtype, order="C"), name)
        return name

    def layer(
        self, name: str, weights: Mapping[str, np.ndarray], parts: Sequence[str], weight: np.ndarray
    ) -> list[str]:
        """Constants of a layer; `weight` in the shape that ONNX has it in."""
        return [
            self.constant(f"{name}.{part}", weight if part == "weight" else weights[part]) for part in parts
        ]

    def prepare(self, images: str, rule: Preprocessing) -> str:
        """Raw pixels as the rule makes them."""
        pixels = self.node("Cast", [images], "pixels", to=TensorProto.FLOAT)
        if rule.channel_order == "BGR":
            order = self.constant("channel_order", [2, 1, 0], np.int64)
            pixels = self.node("Gather", [pixels, order], "reversed_pixels", axis=1)
        deviation = np.array(rule.std or (1, 1, 1), np.float32).reshape(3, 1, 1)
        mean = np.array(rule.mean or (0, 0, 0), np.float32).reshape(3, 1, 1)
        scale = self.constant("pixel_scale", np.float32(rule.rescale) / deviation)
        offset = self.constant("pixel_offset", -mean / deviation)
        return self.node(
            "Add", [self.node("Mul", [pixels, scale], "scaled_pixels"), offset], "prepared_pixels"
        )

    # ---- steps

    def add_step(self, step: Mapping[str, Any], images: str) -> None:
        """Raises ValueError for a step that is not on bytes."""
        add = getattr(self, f"add_{step['kind']}", None)
        if add is None:
            raise ValueError(f"{step['name']} is no layer on bytes; leave out keep_custom_ops")
        given = images if step["kind"] == "int8_stem" else self.values[step["input"]]
        self.values[step["output"]] = add(step, given, self._name(step))

    def _name(self, step: Mapping[str, Any]) -> str:
        return f"{step['name']}.output"

    def _convolved(self, step: Mapping[str, Any], size: tuple[int, int], stride: int) -> None:
        self.sizes[step["output"]] = tuple((pixels - 1) // stride + 1 for pixels in size)

    def add_int8_stem(self, step: Mapping[str, Any], images: str, output: str) -> str:
        shape = step["conv"]
        self._convolved(step, self.image_size, shape["stride"])
        return self.own(
            "Int8PlanarConv3x3",
            [images, *self._convolution(step)],
            output,
            strides=[shape["stride"]] * 2,
            input_scale=shape["input_scale"],
            input_zero=shape["input_zero"],
        )

    def add_int8_conv3x3(self, step: Mapping[str, Any], x: str, output: str) -> str:
        shape, second = step["conv"], step["second_input"]
        attributes = {"strides": [shape["stride"]] * 2, "input_zero": shape["input_zero"]}
        self._convolved(step, self.sizes[step["input"]], shape["stride"])
        layer = self._convolution(step)
        if second == NONE:
            return self.own("Int8Conv3x3", [x, *layer], output, **attributes)
        inputs = [x, self.values[second], *layer]
        return self.own("Int8JoinedConv3x3", inputs, output, second_zero=shape["second_zero"], **attributes)

    def _convolution(self, step: Mapping[str, Any]) -> list[str]:
        weights = step["conv_weights"]
        weight = weights["weight"].transpose(0, 3, 1, 2)
        return self.layer(step["name"], weights, LAYER_WITH_TABLE, weight)

    def add_int8_inverted_residual(self, step: Mapping[str, Any], x: str, output: str) -> str:
        shape, weights = step["inverted_residual"], step["inverted_residual_weights"]
        self._convolved(step, self.sizes[step["input"]], shape["stride"])
        attributes = {name: shape[name] for name in ("input_zero", "expanded_zero", "depthwise_zero")}
        if shape["residual"]:
            attributes["residual_multiplier"] = shape["residual_multiplier"]
        placed = {
            "expand": weights["expand"]["weight"][:, :, None, None],
            "depthwise": weights["depthwise"]["weight"].transpose(2, 0, 1)[:, None],
            "project": weights["project"]["weight"][:, :, None, None],
        }
        inputs = [x]
        for part, weight in placed.items():
            parts = LAYER if part == "project" else LAYER_WITH_TABLE
            inputs += self.layer(f"{step['name']}.{part}", weights[part], parts, weight)
        return self.own(
            "Int8InvertedResidualAdd" if shape["residual"] else "Int8InvertedResidual",
            inputs,
            output,
            strides=[shape["stride"]] * 2,
            group=shape["expanded"],
            **attributes,
        )

    def add_int8_linear(self, step: Mapping[str, Any], x: str, output: str) -> str:
        shape, weights, residual = step["linear"], step["linear_weights"], step["residual"]
        if shape["input"] == "dynamic":
            raise ValueError(f"{step['name']} computes dynamically; leave out keep_custom_ops")
        if step["input"] in self.sizes:
            self.sizes[step["output"]] = self.sizes[step["input"]]
        has_table = weights.get("table") is not None
        layer = self.layer(step["name"], weights, LAYER_WITH_TABLE if has_table else LAYER, weights["weight"])
        attributes = {"input_zero": shape["input_zero"]}
        if shape["input"] == "static":
            attributes["input_scale"] = shape["input_scale"]
            if not shape["normalize"]:
                return self.own("Int8QuantizedLinear", [x, *layer], output, **attributes)
            attributes["epsilon"] = shape["epsilon"]
            return self.own("Int8NormalizedLinear", [x, *layer], output, **attributes)
        if not shape.get("float_output", False):
            return self.own("Int8Linear", [x, *layer], output, **attributes)
        if residual == NONE:
            return self.own("Int8LinearFloat", [x, *layer], output, **attributes)
        return self.own("Int8LinearFloatAdd", [x, *layer, self.values[residual]], output, **attributes)

    def add_int8_ffn(self, step: Mapping[str, Any], x: str, output: str) -> str:
        shape, weights = step["ffn"], step["ffn_weights"]
        up = self.layer(f"{step['name']}.up", weights["up"], LAYER_WITH_TABLE, weights["up"]["weight"])
        down = self.layer(f"{step['name']}.down", weights["down"], LAYER[:3], weights["down"]["weight"])
        attributes = {name: shape[name] for name in ("input_scale", "input_zero", "hidden_zero", "epsilon")}
        return self.own("Int8Ffn", [x, *up, *down], output, **attributes)

    def add_int8_attention(self, step: Mapping[str, Any], qkv: str, output: str) -> str:
        self.sizes[step["output"]] = self.sizes[step["input"]]
        return self.own(
            "Int8Attention",
            [qkv],
            output,
            heads=step["heads"],
            patch=[step["patch_height"], step["patch_width"]],
            score_scale=step["score_scale"],
            output_multiplier=step["output_multiplier"],
            output_zero=step["zero"],
        )

    def add_int8_layer_norm(self, step: Mapping[str, Any], x: str, output: str) -> str:
        name = step["name"]
        self.grids[step["output"]] = self._grid(name, step["scale"], step["zero"])
        self.sizes[step["output"]] = self.sizes[step["input"]]
        gamma, beta = (self.constant(f"{name}.{part}", step[part]) for part in ("gamma", "beta"))
        attributes = {part: step[part] for part in ("scale", "zero", "epsilon")}
        return self.own("Int8LayerNorm", [x, gamma, beta], output, **attributes)

    def add_int8_global_pool(self, step: Mapping[str, Any], x: str, output: str) -> str:
        return self.own("Int8GlobalPool", [x], output, scale=step["scale"], zero=step["zero"])

    def _grid(self, name: str, scale: float, zero: int) -> tuple[str, str]:
        """Scale and zero point."""
        return (
            self.constant(f"{name}.scale", scale, np.float32),
            self.constant(f"{name}.zero", zero, np.uint8),
        )

    # ---- resizes

    def add_resize_to_patch(self, step: Mapping[str, Any], x: str, output: str) -> str:
        patch = (step["patch_height"], step["patch_width"])
        size = self.sizes[step["input"]]
        wanted = tuple(-(-pixels // by) * by for pixels, by in zip(size, patch, strict=True))
        self.sizes[step["output"]] = wanted
        if not self.is_size_open:
            return x if wanted == size else self._resize(step, x, output, self._size(output, wanted))
        by = self.constant(f"{output}.patch", patch, np.int64)
        above = self.constant(f"{output}.patch_less_one", [pixels - 1 for pixels in patch], np.int64)
        given = self.node("Shape", [x], f"{output}.given", start=1, end=3)
        raised = self.node("Add", [given, above], f"{output}.raised")
        patches = self.node("Div", [raised, by], f"{output}.patches")
        return self._resize(step, x, output, self.node("Mul", [patches, by], f"{output}.size"))

    def add_resize_like(self, step: Mapping[str, Any], x: str, output: str) -> str:
        wanted = self.sizes[step["output"]] = self.sizes[step["like"]]
        if not self.is_size_open:
            if wanted == self.sizes[step["input"]]:
                return x
            return self._resize(step, x, output, self._size(output, wanted))
        like = self.node("Shape", [self.values[step["like"]]], f"{output}.size", start=1, end=3)
        return self._resize(step, x, output, like)

    def _size(self, output: str, size: tuple[int, int]) -> str:
        return self.constant(f"{output}.size", size, np.int64)

    def _resize(self, step: Mapping[str, Any], x: str, output: str, size: str) -> str:
        """`x` channels last, bilinearly to `size`; bytes as the numbers that they stand for."""
        grid = self.grids.get(step["input"])
        if grid:
            x = self.node("DequantizeLinear", [x, *grid], f"{output}.reals")
        planes = self.node("Transpose", [x], f"{output}.planes", perm=[0, 3, 1, 2])
        kept = self.node("Shape", [planes], f"{output}.kept", start=0, end=2)
        sizes = self.node("Concat", [kept, size], f"{output}.sizes", axis=0)
        resized = self.node("Resize", [planes, "", "", sizes], f"{output}.resized", mode="linear")
        if not grid:
            return self.node("Transpose", [resized], output, perm=[0, 2, 3, 1])
        last = self.node("Transpose", [resized], f"{output}.resized_last", perm=[0, 2, 3, 1])
        return self.node("QuantizeLinear", [last, *grid], output)

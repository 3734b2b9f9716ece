"""A program of torch.export as a module of TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import torch
from torch.export.graph_signature import InputKind

from mobilevit_fast.export.tensorflow_ops import OPERATIONS


class TensorflowProgram(tf.Module):
    """Computes what the program computes, node by node; its parameters are variables.

    Raises NotImplementedError for an operator that `OPERATIONS` lacks.
    """

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.parameters: dict[str, tf.Variable] = {}
        tensors = {**program.state_dict, **program.constants}
        for spec in program.graph_signature.input_specs:
            if spec.kind != InputKind.USER_INPUT:
                name = spec.target.replace(".", "_")
                values = tensors[spec.target].detach().numpy()
                self.parameters[spec.arg.name] = tf.Variable(values, trainable=False, name=name)
        # In a tuple, where TensorFlow does not look for what it should save.
        self.graph = (program.graph,)
        _check(program.graph)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        values: dict[torch.fx.Node, Any] = {}
        for node in self.graph[0].nodes:
            if node.op == "placeholder":
                values[node] = self.parameters.get(node.name, images)
            elif node.op == "call_function" and node.users:
                arguments = torch.fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
                values[node] = OPERATIONS[node.target](*arguments[0], **arguments[1])
            elif node.op == "output":
                return values[node.args[0][0]]
        raise ValueError("the program has no output")


def _check(graph: torch.fx.Graph) -> None:
    # What nobody reads are assertions about shapes and types.
    used = {node.target for node in graph.nodes if node.op == "call_function" and node.users}
    unknown = sorted(str(target) for target in used - OPERATIONS.keys())
    if unknown:
        raise NotImplementedError(f"no TensorFlow for {', '.join(unknown)}")

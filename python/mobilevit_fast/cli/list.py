"""`mobilevit-fast list`: the variants, and the checkpoints that hold trained ones."""

from __future__ import annotations

import argparse

from mobilevit_fast.cli.exits import OK
from mobilevit_fast.cli.model_size import count_parameters
from mobilevit_fast.cli.options import add_json
from mobilevit_fast.cli.text import table
from mobilevit_fast.config import MODELS
from mobilevit_fast.json_text import to_json
from mobilevit_fast.weights import HUB_IDS, embedded_names

EPILOG = """example:
  mobilevit-fast list
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    models = [
        {
            "name": config.name,
            "parameters": count_parameters(config),
            "embedded": [name for name in embedded_names() if name.split(".")[0] == config.name],
            "hub": [source for source, variant in HUB_IDS.items() if variant == config.name],
        }
        for config in MODELS.values()
    ]
    if arguments.json:
        print(to_json(models))
        return OK
    rows = [
        (model["name"], f"{model['parameters'] / 1e6:.2f} M", ", ".join(model["embedded"] + model["hub"]))
        for model in models
    ]
    print(table(("model", "parameters", "checkpoints"), rows, left=3))
    return OK

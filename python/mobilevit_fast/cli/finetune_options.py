"""The options of `mobilevit-fast finetune`, and what they mean to the trainer."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mobilevit_fast.cli.options import add_json, positive
from mobilevit_fast.cli.quantize import share

ROUNDINGS = ("static", "weight-only", "mixed")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="labelled images, as below")
    parser.add_argument(
        "--model", required=True, metavar="MODEL", help="embedded model, hub id, folder or file; float"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder to write")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument("--force", action="store_true", help="overwrite what an earlier run left in OUT")
    add_json(parser)
    _add_data(parser.add_argument_group("data"))
    _add_training(parser.add_argument_group("training"))
    _add_augmentation(parser.add_argument_group("changes to training images"))
    _add_choice(parser.add_argument_group("what trains (default: everything)"))
    _add_teaching(parser.add_argument_group("teacher and integers"))
    _add_machine(parser.add_argument_group("machine"))
    group = parser.add_argument_group("hub")
    group.add_argument("--push-to-hub", metavar="ORG/NAME", help="push OUT to this model repository")
    group.add_argument("--private", action="store_true", help="make it a private one")


def _add_data(group: Any) -> None:
    group.add_argument("--validation", metavar="DATA", help="labelled images to measure on")
    group.add_argument(
        "--hold-out",
        type=share,
        default=0.1,
        metavar="SHARE",
        help="of each class, to measure on where there is nothing else; default: 0.1",
    )
    group.add_argument("--image-column", metavar="NAME", help="of a table; default: found by its kind")
    group.add_argument("--label-column", metavar="NAME", help="of a table; default: found by its kind")
    group.add_argument(
        "--bad-images",
        choices=("skip", "refuse"),
        default="skip",
        help="images that cannot be read are named, and left out or the end; default: skip",
    )


def _add_training(group: Any) -> None:
    group.add_argument("--epochs", type=positive, default=10, metavar="N", help="default: 10")
    group.add_argument("--batch", type=positive, default=32, metavar="N", help="default: 32")
    group.add_argument("--learning-rate", type=float, default=1e-3, metavar="R", help="default: 0.001")
    group.add_argument("--weight-decay", type=float, default=0.05, metavar="R", help="default: 0.05")
    group.add_argument(
        "--warmup-epochs", type=float, default=1.0, metavar="N", help="of a rising rate; default: 1"
    )
    group.add_argument("--label-smoothing", type=share, default=0.1, metavar="SHARE", help="default: 0.1")
    group.add_argument(
        "--average",
        type=share,
        default=0.999,
        metavar="DECAY",
        help="of the weights' moving average, which is the result; 0 for none; default: 0.999",
    )
    group.add_argument("--size", type=positive, metavar="PIXELS", help="default: the checkpoint's own")
    group.add_argument("--multi-scale", action="store_true", help="another size for each batch, around it")
    group.add_argument("--from-scratch", action="store_true", help="random weights; MODEL may be a variant")
    group.add_argument("--save-steps", type=positive, metavar="N", help="default: a checkpoint an epoch")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")


def _add_augmentation(group: Any) -> None:
    group.add_argument(
        "--smallest-crop", type=share, default=0.25, metavar="SHARE", help="of the area; default: 0.25"
    )
    group.add_argument("--no-flip", action="store_true", help="no mirror images")
    group.add_argument(
        "--rand-augment", type=int, default=0, metavar="N", help="random operations an image; default: 0"
    )
    group.add_argument("--magnitude", type=float, default=7.0, metavar="M", help="of those; default: 7 of 10")
    group.add_argument("--mixup", type=float, default=0.0, metavar="A", help="blend images; such as 0.2")
    group.add_argument("--cutmix", type=float, default=0.0, metavar="A", help="paste images; such as 1.0")
    group.add_argument(
        "--unmixed-epochs", type=int, default=0, metavar="N", help="at the end, without those two; default: 0"
    )


def _add_choice(group: Any) -> None:
    choice = group.add_mutually_exclusive_group()
    choice.add_argument("--head-only", action="store_true", help="the classifier")
    choice.add_argument("--last-blocks", type=positive, metavar="K", help="the head and K blocks before it")
    choice.add_argument("--transformer-only", action="store_true", help="the classifier and the transformers")
    group.add_argument(
        "--layer-decay", type=float, default=1.0, metavar="F", help="of the rate, block by block; such as 0.8"
    )


def _add_teaching(group: Any) -> None:
    group.add_argument("--teacher", metavar="MODEL", help="a checkpoint of the same classes to learn from")
    group.add_argument("--temperature", type=float, default=2.0, metavar="T", help="default: 2")
    group.add_argument(
        "--soft", type=share, default=0.9, metavar="SHARE", help="of the teacher's answers; default: 0.9"
    )
    group.add_argument(
        "--feature-weight", type=float, default=1.0, metavar="W", help="of the teacher's maps; default: 1"
    )
    group.add_argument(
        "--qat",
        choices=ROUNDINGS,
        metavar="RECIPE",
        help=f"{', '.join(ROUNDINGS)}: train on with its roundings and write int8.safetensors as well",
    )
    group.add_argument("--qat-epochs", type=positive, default=2, metavar="N", help="default: 2")


def _add_machine(group: Any) -> None:
    group.add_argument("--gradient-checkpointing", action="store_true", help="less memory, more time")
    group.add_argument("--bf16", action="store_true", help="mixed precision")
    group.add_argument("--fp16", action="store_true", help="mixed precision, on a GPU")
    group.add_argument("--compile", action="store_true", help="torch.compile")
    group.add_argument("--accumulate", type=positive, metavar="N", help="batches to one step")
    group.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes that decode; default: 0"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="any other field of transformers' TrainingArguments",
    )


def _setting(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def make_recipe(options: argparse.Namespace) -> Any:
    """The `Recipe` that the options describe. Raises ValueError for a value outside its range."""
    from mobilevit_fast.train.augment import Augmentation
    from mobilevit_fast.train.parameters import Trained
    from mobilevit_fast.train.recipe import Recipe

    return Recipe(
        epochs=options.epochs,
        batch_size=options.batch,
        learning_rate=options.learning_rate,
        warmup_epochs=options.warmup_epochs,
        weight_decay=options.weight_decay,
        label_smoothing=options.label_smoothing,
        average=options.average,
        size=options.size,
        multi_scale=options.multi_scale,
        augmentation=Augmentation(
            smallest_crop=options.smallest_crop,
            flip=0.0 if options.no_flip else 0.5,
            rand_augment=options.rand_augment,
            magnitude=options.magnitude,
            mixup=options.mixup,
            cutmix=options.cutmix,
        ),
        unmixed_epochs=options.unmixed_epochs,
        trained=Trained(
            options.head_only, options.last_blocks, options.transformer_only, options.layer_decay
        ),
        from_scratch=options.from_scratch,
        hold_out=options.hold_out,
        bad_images=options.bad_images,
        temperature=options.temperature,
        soft=options.soft,
        feature_weight=options.feature_weight,
        rounding_epochs=options.qat_epochs,
        seed=options.seed,
    )


def make_rounding(options: argparse.Namespace) -> Any:
    """The quantisation recipe of --qat; None without it."""
    if options.qat is None:
        return None
    from mobilevit_fast.quantization import Mixed, StaticInt8, WeightOnly

    return {"static": StaticInt8, "weight-only": WeightOnly, "mixed": Mixed}[options.qat]()


def make_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of TrainingArguments that the options name."""
    chosen: dict[str, Any] = {
        "gradient_checkpointing": options.gradient_checkpointing,
        "bf16": options.bf16,
        "fp16": options.fp16,
        "torch_compile": options.compile,
        "gradient_accumulation_steps": options.accumulate,
        "dataloader_num_workers": options.workers,
    }
    return {name: value for name, value in chosen.items() if value} | dict(options.set)

"""What a fine-tuned model's folder says of it: report.json, pictures and a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobilevit_fast.evaluation import Evaluation
from mobilevit_fast.json_text import to_json
from mobilevit_fast.pictures import figure_class
from mobilevit_fast.train.preparation import Images
from mobilevit_fast.train.recipe import Recipe
from mobilevit_fast.train.result import Finetuned
from mobilevit_fast.weights import replacing

REPORT = "report.json"
CURVES = "curves.png"
CONFUSION = "confusion.png"
CARD = "README.md"

_MOST_ROWS = 50


def write_report(
    made: Finetuned,
    *,
    source: str | None,
    recipe: Recipe,
    images: Images,
    history: list[dict[str, Any]],
    seconds: float,
) -> None:
    """Write all of it beside the model; pictures only where matplotlib is installed."""
    folder, result = made.folder, made.evaluation
    content = {
        "model": source,
        "labels": list(result.labels),
        "training_images": len(images.training.images),
        "validation_images": result.count,
        "top1": result.top1,
        "top5": result.top5,
        "classes": [row._asdict() for row in result.per_class()],
        "confusion": result.confusion.tolist(),
        "integers": None
        if made.integers is None
        else {"file": made.integers[0].name, "top1": made.integers[1].top1},
        "notes": list(made.notes),
        "recipe": recipe.to_data(),
        "seconds": round(seconds, 1),
        "history": history,
    }
    pictures = _draw(folder, result, history)
    _write(folder / CARD, model_card(made, source, recipe, images, pictures))
    _write(folder / REPORT, to_json(content) + "\n")


def model_card(
    made: Finetuned, source: str | None, recipe: Recipe, images: Images, pictures: list[str]
) -> str:
    """Markdown with the header that the hub reads."""
    result = made.evaluation
    rows = result.per_class()
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: image-classification",
        "tags: [mobilevit, mobilevit_fast, image-classification]",
        "metrics: [accuracy]",
        "---",
        "",
        "# MobileViT image classifier",
        "",
        f"{'Trained from' if recipe.from_scratch else 'Fine-tuned from'} `{source}` on "
        f"{len(images.training.images)} images of {len(result.labels)} classes: "
        f"top-1 {result.top1:.2%} of {result.count} validation images.",
        "",
        "```python",
        "import mobilevit_fast as mvf",
        "",
        'mvf.Session("this folder or its hub id").classify("photo.jpg")',
        "```",
        "",
        "transformers' `AutoModelForImageClassification` and `AutoImageProcessor` load it as well.",
        "",
        "| class | images | precision | recall | F1 |",
        "|---|---|---|---|---|",
        *(
            f"| {row.label} | {row.images} | {row.precision:.3f} | {row.recall:.3f} | {row.f1:.3f} |"
            for row in rows[:_MOST_ROWS]
        ),
        *([f"| and {len(rows) - _MOST_ROWS} more | | | | |"] if len(rows) > _MOST_ROWS else []),
        "",
        *(f"![{name.removesuffix('.png')}]({name})\n" for name in pictures),
        "## Training",
        "",
        *(f"- {note}" for note in made.notes),
        *(f"- {name}: {value}" for name, value in recipe.to_data().items()),
        "",
    ]
    if made.integers is not None:
        path, integers = made.integers
        lines += [f"`{path.name}` is the same model in integers: top-1 {integers.top1:.2%}.", ""]
    return "\n".join(lines)


def _draw(folder: Path, result: Evaluation, history: list[dict[str, Any]]) -> list[str]:
    """Writes the pictures; their names."""
    try:
        new_figure = figure_class()
    except ImportError:
        return []
    figure = new_figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, key in (("training", "loss"), ("validation", "eval_loss")):
        points = [(entry["epoch"], entry[key]) for entry in history if key in entry]
        if points:
            left.plot(*zip(*points, strict=True), label=name)
    points = [(entry["epoch"], entry["eval_accuracy"]) for entry in history if "eval_accuracy" in entry]
    if points:
        right.plot(*zip(*points, strict=True), label="validation", marker=".")
    left.set(xlabel="epoch", ylabel="loss")
    if left.lines:
        left.legend()
    right.set(xlabel="epoch", ylabel="top-1", ylim=(0, 1))
    with replacing(folder / CURVES) as temporary:
        figure.savefig(temporary, format="png")
    with replacing(folder / CONFUSION) as temporary:
        result.plot().savefig(temporary, format="png")
    return [CURVES, CONFUSION]


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

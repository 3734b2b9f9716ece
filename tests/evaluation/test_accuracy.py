"""Top-1, top-5 and the confusion matrix."""

import numpy as np
import pytest
from PIL import Image

from mobilevit_fast import Dataset, Preprocessing, evaluate

LABELS = tuple(f"class {index}" for index in range(12))
RULE = Preprocessing(shortest_edge=4, crop_size=(4, 4), channel_order="RGB")


class Reader:
    """Answers what the red and green of an image say: the best class, and how far down the classes go."""

    preprocessing, labels = RULE, LABELS

    def run(self, pixels):
        best = np.rint(pixels[:, 0, 0, 0] * 255).astype(int)
        return -np.abs((np.arange(12) - best[:, None]) % 12).astype(np.float32)


def picture(value):
    return Image.new("RGB", (4, 4), (value, 0, 0))


@pytest.fixture
def data():
    """Answers 0 to 5 for labels 0, 0, 0, 3, 4, 11."""
    return Dataset([picture(value) for value in range(6)], np.array([0, 0, 0, 3, 4, 11]), None, "pictures")


@pytest.mark.parametrize("batch_size", [1, 4, 16])
def test_shares_and_confusions(data, batch_size):
    result = evaluate(Reader(), data, batch_size=batch_size)
    # Label 0 comes first for answer 0, last for 1 and last but one for 2; 11 comes seventh for 5.
    assert (result.top1, result.top5, result.count) == (3 / 6, 3 / 6, 6)
    assert result.confusion.sum() == 6
    assert result.confusion[0].tolist() == [1, 1, 1] + [0] * 9
    assert result.confusion[11, 5] == 1
    assert result.worst_confusions(2) == [("class 0", "class 1", 1), ("class 0", "class 2", 1)]


def test_top5_counts_the_first_five(data):
    five = Dataset(data.images, np.array([4, 5, 6, 3, 4, 5]), None, "pictures")
    assert evaluate(Reader(), five).top5 == 1


def test_a_limit_takes_images_from_the_whole(data):
    result = evaluate(Reader(), data, limit=3)
    assert result.count == 3
    assert result.confusion[4, 4] == 1


def test_a_torch_module_serves(data):
    torch = pytest.importorskip("torch")

    class Module(torch.nn.Module):
        preprocessing, labels = RULE, LABELS

        def forward(self, x):
            return torch.from_numpy(Reader().run(x.numpy()))

    assert evaluate(Module(), data).top1 == 0.5


@pytest.mark.parametrize("is_optimized", [False, True])
@pytest.mark.parametrize("name", ["bfloat16", "float64"])
def test_a_torch_module_gets_images_of_its_own_type(data, name, is_optimized):
    torch = pytest.importorskip("torch")
    from mobilevit_fast import create_model, optimize

    rule = Preprocessing(shortest_edge=32, crop_size=(32, 32), channel_order="RGB")
    model = create_model("mobilevit_xxs", num_classes=12).eval()
    # One answer stands far above the others, so that no rounding changes it.
    torch.nn.init.zeros_(model.classifier.weight)
    torch.nn.init.constant_(model.classifier.bias[3:4], 1)
    if is_optimized:
        model = optimize(model)
    result = evaluate(model.to(getattr(torch, name)), data, preprocessing=rule, labels=LABELS)
    assert result.confusion[:, 3].sum() == 6


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_no_answers(data, value, monkeypatch, capsys):
    class Broken(Reader):
        source, precision, isa = "broken", "fp32", "none"

        def run(self, pixels):
            logits = super().run(pixels)
            logits[pixels[:, 0, 0, 0] * 255 > 2.5, 7] = value
            return logits

    expected = "the logits of 1 of the first 4 images are not finite, the first of image 3: .*try fp32"
    with pytest.raises(FloatingPointError, match=expected):
        evaluate(Broken(), data, batch_size=4)
    assert evaluate(Broken(), data.subset(np.arange(3))).top1 == 1 / 3

    from mobilevit_fast import cli
    from mobilevit_fast.cli import evaluate as command

    monkeypatch.setattr(command, "open_session", lambda source, arguments: Broken())
    monkeypatch.setattr(command, "evaluate", lambda session, source, **options: evaluate(session, data))
    assert cli.main(["evaluate", "broken", "data"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(
        "mobilevit-fast: error: the logits of 3 of the first 6 images are not finite"
    )


def test_progress_sees_every_batch(data):
    seen = []

    def progress(batches, total, title):
        seen.append((total, title))
        yield from batches

    assert evaluate(Reader(), data, batch_size=4, progress=progress).count == 6
    assert seen == [(2, "evaluate")]


def test_mistakes_are_named(data):
    with pytest.raises(ValueError, match="a Bare does not say how to prepare images"):
        evaluate(type("Bare", (), {"run": None})(), data)
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        evaluate(Reader(), data, limit=0)
    for batch_size in (0, -1):
        with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {batch_size}"):
            evaluate(Reader(), data, batch_size=batch_size)
    with pytest.raises(TypeError, match="a model must be a Session or a torch module, got int"):
        evaluate(3, data, preprocessing=RULE, labels=LABELS)
    broken = Dataset([b"no image"], np.array([0]), None, "pictures")
    with pytest.raises(ValueError, match="image"):
        evaluate(Reader(), broken)


def test_the_picture_shows_the_classes_that_occur(data, tmp_path):
    pytest.importorskip("matplotlib")
    figure = evaluate(Reader(), data).plot(tmp_path / "confusion.png")
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == [LABELS[index] for index in (0, 1, 2, 3, 4, 5, 11)]
    with Image.open(tmp_path / "confusion.png") as image:
        assert image.width > 300

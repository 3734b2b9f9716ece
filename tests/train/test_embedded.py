import dataclasses
import re

import numpy as np
import pytest
import torch

from mobilevit_fast.image import Preprocessing
from mobilevit_fast.model import from_pretrained
from mobilevit_fast.train.cifar import ImageSet
from mobilevit_fast.train.convnet_teacher import ConvnetTeacher
from mobilevit_fast.train.embedded import DemonstrationRecipe, Trainer, accuracy, main
from mobilevit_fast.weights import load_checkpoint

pytest.importorskip("pyarrow")
NAMES = ("dark", "light")
RECIPE = DemonstrationRecipe(
    image_size=32, epochs=4, small_image_size=16, small_epochs=1, batch_size=16, warmup_epochs=1.0
)


@pytest.fixture
def data():
    """Two classes that brightness tells apart."""
    labels = np.arange(64) % 2
    levels = np.random.default_rng(0).integers(0, 100, (64, 16, 16, 3)) + 155 * labels[:, None, None, None]
    return ImageSet(levels.astype(np.uint8), labels, NAMES)


def run(trainer, data, epochs):
    for _ in range(epochs):
        loss = trainer.run_epoch(torch.from_numpy(data.images), torch.from_numpy(data.labels))
    return loss


def test_the_learning_rate_rises_then_falls_to_zero():
    recipe = DemonstrationRecipe(epochs=10, warmup_epochs=2.0, learning_rate=1.0)
    rates = [recipe.learning_rate_at(epoch) for epoch in (0, 1, 2, 6, 10)]
    assert rates == pytest.approx([0, 0.5, 1.0, 0.5, 0])


def test_the_first_epochs_are_small():
    assert [RECIPE.size_at(epoch) for epoch in range(3)] == [16, 32, 32]


def test_training_lowers_the_loss(data):
    trainer = Trainer(RECIPE, NAMES)
    first = run(trainer, data, 1)
    assert run(trainer, data, 3) < first


def test_the_average_follows_the_model(data):
    trainer = Trainer(RECIPE, NAMES)
    start = trainer.average.model.stem.conv.weight.clone()
    run(trainer, data, 1)
    average, model = trainer.average.model.stem.conv.weight, trainer.model.stem.conv.weight
    assert not torch.equal(average, start)
    assert (average - model).abs().max() < (start - model).abs().max()


def test_a_resumed_run_ends_where_an_unbroken_one_does(data, tmp_path):
    unbroken = Trainer(RECIPE, NAMES)
    run(unbroken, data, 2)
    first = Trainer(RECIPE, NAMES)
    run(first, data, 1)
    first.save(tmp_path / "state.pt")
    second = Trainer(RECIPE, NAMES)
    second.load(tmp_path / "state.pt")
    run(second, data, 1)
    assert second.epoch == unbroken.epoch
    for name, tensor in unbroken.average.model.state_dict().items():
        torch.testing.assert_close(second.average.model.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    Trainer(RECIPE, NAMES).save(tmp_path / "state.pt")
    other = Trainer(dataclasses.replace(RECIPE, epochs=5), NAMES)
    with pytest.raises(ValueError, match="another recipe"):
        other.load(tmp_path / "state.pt")


def test_accuracy_counts_right_answers():
    class Brightness(torch.nn.Module):
        def forward(self, pixels):
            bright = pixels.mean((1, 2, 3)) > 0.5
            return torch.stack([~bright, bright], 1).float()

    images = np.stack([np.full((4, 4, 3), level, np.uint8) for level in (0, 255, 0, 255)])
    assert accuracy(Brightness(), images, np.array([0, 1, 1, 1]), batch_size=3) == 0.75


def test_the_script_writes_a_checkpoint_that_loads_and_resumes(data, tmp_path, write_parquet, capsys):
    for name in ("train", "test"):
        write_parquet(tmp_path / f"{name}.parquet", data.images, data.labels, NAMES)
    output = tmp_path / "out" / "demo.safetensors"
    options = [
        "--data",
        str(tmp_path),
        "--output",
        str(output),
        "--image-size",
        "32",
        "--small-image-size",
        "16",
    ]
    options += ["--epochs", "2", "--small-epochs", "1", "--warmup-epochs", "1", "--batch-size", "16"]
    options += ["--threads", str(torch.get_num_threads())]
    main(options)
    written = load_checkpoint(output)
    assert written.labels == NAMES
    assert written.config.image_size == 32
    assert written.preprocessing == Preprocessing(shortest_edge=32, crop_size=(32, 32), channel_order="RGB")
    assert from_pretrained(output)(torch.rand(1, 3, 32, 32)).shape == (1, 2)
    assert len(re.findall(r"epoch \d/2 (?:16|32)px .* top-1", output.with_suffix(".log").read_text())) == 2

    capsys.readouterr()
    main([*options, "--resume"])
    assert "epoch" not in capsys.readouterr().out, "nothing was left to train"


def test_the_script_learns_from_several_teachers(data, tmp_path, write_parquet):
    for name in ("train", "test"):
        write_parquet(tmp_path / f"{name}.parquet", data.images, data.labels, NAMES)
    teachers = [tmp_path / "first.pt", tmp_path / "second.pt"]
    for path in teachers:
        torch.save(ConvnetTeacher(len(NAMES)).state_dict(), path)
    output = tmp_path / "student.safetensors"
    options = ["--data", str(tmp_path), "--output", str(output), "--teacher", *map(str, teachers)]
    options += ["--image-size", "32", "--epochs", "1", "--small-epochs", "0", "--warmup-epochs", "0.5"]
    main([*options, "--batch-size", "16", "--threads", str(torch.get_num_threads())])
    assert load_checkpoint(output).labels == NAMES

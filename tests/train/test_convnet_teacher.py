import numpy as np
import pytest
import torch

from mobilevit_fast.train.cifar import ImageSet, blend, to_input
from mobilevit_fast.train.convnet_teacher import (
    ConvnetTeacher,
    Ensemble,
    load_teacher,
    main,
    mirrored_logits,
    train,
)
from mobilevit_fast.train.embedded import DemonstrationRecipe, Trainer

pytest.importorskip("pyarrow")
NAMES = ("dark", "light")


@pytest.fixture(scope="module")
def data():
    """Two classes that brightness tells apart."""
    labels = np.arange(256) % 2
    levels = np.random.default_rng(0).integers(0, 100, (256, 32, 32, 3)) + 155 * labels[:, None, None, None]
    return ImageSet(levels.astype(np.uint8), labels, NAMES)


@pytest.fixture(scope="module")
def teacher(data):
    return train(data, epochs=6, batch_size=64)


def test_it_learns(teacher, data):
    predicted = mirrored_logits(teacher, torch.from_numpy(data.images[:64])).argmax(1)
    assert (predicted.numpy() == data.labels[:64]).mean() > 0.9


def test_a_picture_and_its_mirror_image_are_judged_alike(teacher, data):
    images = torch.from_numpy(data.images[:4])
    torch.testing.assert_close(mirrored_logits(teacher, images), mirrored_logits(teacher, images.flip(2)))


def test_the_stem_gives_maps_of_variance_one(data):
    model = ConvnetTeacher(2)
    pixels = to_input(torch.from_numpy(data.images[:64]), 32)
    model.whiten(pixels, smallest_variance=0.0)
    maps = model.stem(pixels - 0.5).permute(1, 0, 2, 3).flatten(1)
    powers = maps.double().square().mean(1)
    torch.testing.assert_close(powers, torch.ones_like(powers), rtol=1e-2, atol=0)
    torch.testing.assert_close(maps[:12], -maps[12:])


def test_a_blend_lies_between_two_images():
    images = torch.tensor([0, 100], dtype=torch.uint8)[:, None, None, None].expand(2, 4, 4, 3)
    for seed in range(5):
        mixed = blend(images, torch.Generator().manual_seed(seed))
        assert mixed.dtype == torch.uint8
        assert all(len(image.unique()) == 1 for image in mixed), "one share for a whole image"


def test_the_script_writes_what_teaches(data, tmp_path, write_parquet, capsys):
    for name, count in (("train", 128), ("test", 10)):
        write_parquet(tmp_path / f"{name}.parquet", data.images[:count], data.labels[:count], NAMES)
    output = tmp_path / "out" / "teacher.pt"
    options = ["--epochs", "1", "--batch-size", "64", "--cutout", "4"]
    main(["--data", str(tmp_path), "--output", str(output), *options])
    assert "top-1" in capsys.readouterr().out
    model = load_teacher(output)
    assert not model.training
    assert mirrored_logits(model, torch.from_numpy(data.images[:3])).shape == (3, 2)


def test_an_ensemble_answers_with_the_mean_of_its_members(teacher, data):
    images = torch.from_numpy(data.images[:4])
    other = ConvnetTeacher(2).eval()
    mean = (mirrored_logits(teacher, images) + mirrored_logits(other, images)) / 2
    torch.testing.assert_close(mirrored_logits(Ensemble([teacher, other]), images), mean)


def test_a_student_comes_nearer_to_its_teacher_and_sees_no_labels(teacher, data):
    recipe = DemonstrationRecipe(image_size=32, small_epochs=0, epochs=4, batch_size=16, warmup_epochs=0.5)
    images, wrong = torch.from_numpy(data.images), torch.from_numpy(1 - data.labels)
    trainer = Trainer(recipe, NAMES, teacher=teacher)
    losses = [trainer.run_epoch(images, wrong) for _ in range(4)]
    assert losses[-1] < 0.5 * losses[0]
    with torch.no_grad():  # by the batch's own statistics: running ones are still young
        predicted = trainer.model.train()(to_input(images, 32)).argmax(1)
    assert (predicted == wrong).float().mean() < 0.2

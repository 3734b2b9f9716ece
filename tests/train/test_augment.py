"""Random changes to training images, and which images make a batch."""

import numpy as np
import pytest

from mobilevit_fast.evaluation import Dataset
from mobilevit_fast.image import Preprocessing, preprocess_one
from mobilevit_fast.train.augment import OPERATIONS, Augmentation, augment, choose_crop, mix
from mobilevit_fast.train.batches import Batches, Draw, multi_scale_sizes
from mobilevit_fast.train.images import TrainingImages, ValidationImages, collate
from photographs import photograph


def random(seed=0):
    return np.random.default_rng(seed)


def test_crops_stay_inside_and_keep_their_share():
    generator = random()
    for _ in range(200):
        left, top, right, bottom = choose_crop(60, 40, 0.3, generator)
        assert 0 <= left < right <= 60 + 1e-9
        assert 0 <= top < bottom <= 40 + 1e-9
        assert (right - left) * (bottom - top) >= 0.3 * 60 * 40 - 1e-6


def test_a_long_and_thin_image_is_cropped_in_its_middle():
    assert choose_crop(900, 30, 1.0, random()) == pytest.approx((430, 0, 470, 30))


def test_a_change_repeats_with_its_generator():
    image = photograph(50, 40)
    changes = Augmentation(rand_augment=2)
    first, again, other = (np.asarray(augment(image, 32, "bilinear", changes, random(s))) for s in (1, 1, 2))
    assert first.shape == (32, 32, 3)
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("index", range(len(OPERATIONS)))
def test_every_operation_keeps_size_and_mode(index):
    image = photograph(24, 20)
    for strength in (-1.0, -0.7, 0.7, 1.0):
        changed = OPERATIONS[index](image, strength)
        assert (changed.size, changed.mode) == (image.size, "RGB")


def test_mixed_images_are_shares_of_both():
    ones, zeros = np.ones((3, 16, 16), np.float32), np.zeros((3, 16, 16), np.float32)
    for changes in (Augmentation(mixup=1.0), Augmentation(cutmix=1.0), Augmentation(mixup=0.4, cutmix=1.0)):
        shares = []
        for seed in range(20):
            pixels = ones.copy()
            share = mix(pixels, zeros, changes, random(seed))
            assert pixels.mean() == pytest.approx(share, abs=1e-5)
            shares.append(share)
        assert min(shares) < 0.4 < 0.6 < max(shares)


@pytest.mark.parametrize(
    ("field", "value"),
    [("smallest_crop", 0), ("flip", 2), ("rand_augment", -1), ("magnitude", 11), ("mixup", -1)],
)
def test_values_outside_their_range_are_named(field, value):
    with pytest.raises(ValueError, match=f"{field} must be from"):
        Augmentation(**{field: value})


def make_images(**options):
    data = Dataset(
        [np.asarray(photograph(30, 24, seed)) for seed in range(5)], np.arange(5) % 3, None, "data"
    )
    rule = Preprocessing(shortest_edge=18, crop_size=(16, 16), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    changes = options.pop("augmentation", Augmentation(smallest_crop=1.0, flip=0.0))
    return TrainingImages(data, 3, rule, changes, **options), data, rule


def test_an_image_depends_on_seed_epoch_and_number_alone():
    images, _, _ = make_images(augmentation=Augmentation(mixup=0.5), seed=4)
    twin, _, _ = make_images(augmentation=Augmentation(mixup=0.5), seed=4)
    assert (images[Draw(2, 1, 32)]["pixel_values"] == twin[Draw(2, 1, 32)]["pixel_values"]).all()
    assert (images[Draw(2, 1, 32)]["pixel_values"] != images[Draw(2, 2, 32)]["pixel_values"]).any()


def test_the_rule_of_the_checkpoint_applies():
    images, data, rule = make_images()
    pixels = images[Draw(1, 0, 64)]["pixel_values"]
    grey = np.asarray(data.images[1], np.float32).mean((0, 1))[::-1] / 255
    expected = (grey - np.array(rule.mean)) / np.array(rule.std)
    np.testing.assert_allclose(pixels.mean((1, 2)), expected, atol=0.05)
    measured = ValidationImages(data, rule)[1]
    np.testing.assert_array_equal(measured["pixel_values"], preprocess_one(data.images[1], rule))
    assert measured["labels"] == 1


def test_labels_are_numbers_or_shares():
    images, _, _ = make_images()
    assert images[Draw(1, 0, 32)]["labels"] == 1
    smooth, _, _ = make_images(label_smoothing=0.3)
    np.testing.assert_allclose(smooth[Draw(1, 0, 32)]["labels"], [0.1, 0.8, 0.1], rtol=1e-6)
    mixed, _, _ = make_images(augmentation=Augmentation(cutmix=1.0))
    shares = [mixed[Draw(1, epoch, 32)]["labels"] for epoch in range(8)]
    assert all(share.sum() == pytest.approx(1) for share in shares)
    assert any(0 < share[1] < 1 for share in shares)
    until, _, _ = make_images(
        augmentation=Augmentation(smallest_crop=1.0, flip=0.0, cutmix=1.0), mixed_epochs=3
    )
    assert any(until[Draw(1, epoch, 32)]["labels"].tolist() != [0, 1, 0] for epoch in range(3))
    for epoch in range(3, 8):
        example, plain = until[Draw(1, epoch, 32)], images[Draw(1, epoch, 32)]
        assert example["labels"].tolist() == [0, 1, 0]
        np.testing.assert_array_equal(example["pixel_values"], plain["pixel_values"])


def test_a_batch_is_channels_last():
    images, _, _ = make_images()
    batch = collate([images[Draw(index, 0, 32)] for index in range(3)])
    assert batch["pixel_values"].shape == (3, 3, 32, 32)
    assert batch["pixel_values"].stride()[1] == 1
    assert batch["labels"].tolist() == [0, 1, 2]


def test_processes_share_the_batches_of_one():
    def batches(size, **options):
        made = Batches(22, size, (32, 64), seed=3, **options)
        made.epoch = 2
        return list(made)

    whole = batches(8)
    halves = [batches(4, rank=rank, processes=2) for rank in range(2)]
    assert len(whole) == 2
    assert [first + second for first, second in zip(*halves, strict=True)] == whole
    assert all(len({draw.size for draw in batch}) == 1 for batch in whole)
    assert {draw.epoch for batch in whole for draw in batch} == {2}


def test_every_epoch_has_an_order_of_its_own():
    batches = Batches(10, 10, (32,), seed=0)
    first = [draw.index for draw in next(iter(batches))]
    batches.epoch = 1
    second = [draw.index for draw in next(iter(batches))]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_few_images_make_one_small_batch():
    assert [len(batch) for batch in Batches(3, 8, (32,), seed=0)] == [3]
    with pytest.raises(ValueError, match="2 processes need as many images, got 1"):
        Batches(1, 8, (32,), seed=0, processes=2)


def test_sizes_of_the_paper():
    assert multi_scale_sizes(256) == (160, 192, 256, 288, 320)
    assert multi_scale_sizes(32) == (32,)

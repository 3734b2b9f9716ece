import numpy as np
import pytest
import torch

from mobilevit_fast.train.cifar import augment, read_parquet, resize, to_input

pytest.importorskip("pyarrow")


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def test_parquet_is_read_with_its_class_names(tmp_path, images, write_parquet):
    write_parquet(tmp_path / "a.parquet", images, [0, 1, 2, 0, 1, 2], ["cat", "dog", "frog"])
    data = read_parquet(tmp_path / "a.parquet")
    np.testing.assert_array_equal(data.images, images)
    assert data.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.names == ("cat", "dog", "frog")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train\.parquet"):
        read_parquet(tmp_path / "train.parquet")


def test_a_parquet_without_class_names_is_refused(tmp_path, images, write_parquet):
    write_parquet(tmp_path / "a.parquet", images, [0] * 6, None)
    with pytest.raises(ValueError, match="no class names"):
        read_parquet(tmp_path / "a.parquet")


def test_training_enlarges_as_pillow_does(images):
    ours = to_input(torch.from_numpy(images), 16) * 255
    pillow = torch.from_numpy(resize(images, 16)).permute(0, 3, 1, 2)
    # Pillow rounds to whole grey levels after each of its two passes.
    assert (ours - pillow).abs().max() <= 1.01


def test_augmentation_repeats_with_its_seed_and_differs_between_seeds(images):
    batch = torch.from_numpy(images)
    runs = [
        augment(batch, padding=2, cutout=3, generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_without_shift_and_hole_an_image_is_kept_or_mirrored(images):
    batch = torch.from_numpy(np.repeat(images, 8, axis=0))
    out = augment(batch, padding=0, cutout=0, generator=torch.Generator().manual_seed(0))
    kept = (out == batch).flatten(1).all(1)
    mirrored = (out == batch.flip(2)).flatten(1).all(1)
    assert bool((kept | mirrored).all())
    assert 0 < int(mirrored.sum()) < len(batch)


def test_cutout_greys_a_square_of_its_size():
    batch = torch.zeros(64, 9, 9, 3, dtype=torch.uint8)
    out = augment(batch, padding=0, cutout=3, generator=torch.Generator().manual_seed(0))
    areas = (out[..., 0] == 128).sum((1, 2))
    assert int(areas.max()) == 9
    assert int(areas.min()) >= 4

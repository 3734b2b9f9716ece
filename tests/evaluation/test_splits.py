"""Data sets with splits, from folders, tables and the hub's files."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from mobilevit_fast.evaluation import Columns, Dataset, hold_out, load_splits
from mobilevit_fast.evaluation.bad_images import describe, find_bad_images, without
from mobilevit_fast.evaluation.hub_data import is_hub_id


def png(level=0):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(root, classes=("ant", "bee"), count=2):
    for name in classes:
        (root / name).mkdir(parents=True)
        for index in range(count):
            (root / name / f"{index}.png").write_bytes(png(index))
    return root


def make_table(labels, image="image", label="label", names=("ant", "bee")):
    pyarrow = pytest.importorskip("pyarrow")
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    images = pyarrow.array([{"bytes": png(index), "path": None} for index in range(len(labels))], kind)
    table = pyarrow.table({image: images, label: labels})
    if names is None:
        return table
    features = {image: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write_parquet(path, *arguments, **options):
    table = make_table(*arguments, **options)
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)
    return path


def test_a_folder_of_classes_has_no_validation(tmp_path):
    splits = load_splits(write_folder(tmp_path / "data"))
    assert splits.training.names == ("ant", "bee")
    assert splits.validation is None


def test_folders_of_splits(tmp_path):
    write_folder(tmp_path / "Train", count=3)
    write_folder(tmp_path / "val", ("bee",))
    write_folder(tmp_path / "test", ("ant",))
    splits = load_splits(tmp_path)
    assert len(splits.training.images) == 6
    assert splits.validation.labels.tolist() == [1, 1], "numbered as in training"
    assert splits.validation.names == ("ant", "bee")


@pytest.mark.parametrize(
    "names",
    [
        ("train.parquet", "test.parquet"),
        ("data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"),
        ("default/train/0000.parquet", "default/test/0000.parquet"),
    ],
)
def test_parquet_files_named_by_their_split(tmp_path, names):
    write_parquet(tmp_path / names[0], [0, 1, 0])
    write_parquet(tmp_path / names[1], [1])
    splits = load_splits(tmp_path)
    assert splits.training.labels.tolist() == [0, 1, 0]
    assert splits.validation.labels.tolist() == [1]


def test_shards_are_joined(tmp_path):
    for index, labels in enumerate(([0, 1], [1])):
        write_parquet(tmp_path / f"train-{index:05d}-of-00002.parquet", labels)
    assert load_splits(tmp_path).training.labels.tolist() == [0, 1, 1]


def test_columns_are_found_by_their_kind_or_named(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", [0, 1], image="img", label="fine_label")
    assert load_splits(path).training.names == ("ant", "bee")
    path = write_parquet(tmp_path / "b.parquet", [0, 1], image="picture", label="kind", names=None)
    with pytest.raises(ValueError, match="has no column 'image'; it has picture, kind"):
        load_splits(path)
    assert load_splits(path, Columns("picture", "kind")).training.labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match="has no column 'photo'"):
        load_splits(path, Columns("photo"))


def test_labels_may_be_names_and_must_be_there(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", ["bee", "ant", "bee"], names=None)
    data = load_splits(path).training
    assert data.names == ("ant", "bee")
    assert data.labels.tolist() == [1, 0, 1]
    path = write_parquet(tmp_path / "b.parquet", [0, None], names=None)
    with pytest.raises(ValueError, match=r"row 1 of .* has the label None"):
        load_splits(path)


def test_folders_of_the_datasets_library(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])}
    )
    rows = {"image": [{"bytes": png(i), "path": None} for i in range(4)], "label": [0, 1, 1, 0]}
    whole = datasets.Dataset.from_dict(rows, features=features)
    both = datasets.DatasetDict({"train": whole, "test": whole.select([2])})
    whole.save_to_disk(tmp_path / "one")
    both.save_to_disk(tmp_path / "two")
    assert load_splits(tmp_path / "one").training.labels.tolist() == [0, 1, 1, 0]
    for source in (tmp_path / "two", both):
        splits = load_splits(source)
        assert splits.training.names == ("ant", "bee")
        assert splits.validation.labels.tolist() == [1]
        assert splits.validation.images == [png(2)]
    assert load_splits(whole.shuffle(seed=1).select([0, 1])).training.labels.shape == (2,)


def test_a_source_without_training_images_is_refused(tmp_path):
    write_parquet(tmp_path / "test.parquet", [1])
    with pytest.raises(ValueError, match="has no split to train on, such as 'train'; it has test"):
        load_splits(tmp_path)


def test_an_empty_class_folder_is_named(tmp_path):
    write_folder(tmp_path / "data")
    (tmp_path / "data" / "cow").mkdir()
    with pytest.raises(ValueError, match="cow' holds no photographs"):
        load_splits(tmp_path / "data")


def dataset(labels, names=("ant", "bee")):
    return Dataset([png(index) for index in range(len(labels))], np.array(labels), names, "the data")


def test_some_of_each_class_are_held_out():
    data = dataset([0] * 10 + [1] * 3)
    splits = hold_out(data, 0.2, seed=1)
    assert np.bincount(splits.validation.labels).tolist() == [2, 1]
    assert np.bincount(splits.training.labels).tolist() == [8, 2]
    assert sorted([*splits.training.images, *splits.validation.images]) == sorted(data.images)
    again = hold_out(data, 0.2, seed=1)
    assert again.validation.images == splits.validation.images
    with pytest.raises(ValueError, match="class 'bee' of the data has a single image"):
        hold_out(dataset([0, 0, 1]), 0.2, seed=0)
    with pytest.raises(ValueError, match="must be between 0 and 1, got 1"):
        hold_out(data, 1, seed=0)


def test_images_that_cannot_be_read_are_found_and_named(tmp_path):
    (tmp_path / "half.png").write_bytes(png()[:40])
    images = [png(), tmp_path / "half.png", png(), b"text", tmp_path / "nowhere.png"]
    data = Dataset(images, np.array([0, 1, 0, 1, 1]), None, "the data")
    bad = find_bad_images(data)
    assert [image.index for image in bad] == [1, 3, 4]
    said = describe(bad, data)
    assert said.startswith("3 of the 5 images of the data cannot be read: number 1: image")
    assert "half.png" in said
    assert without(data, bad).labels.tolist() == [0, 0]


def test_ids_of_the_hub():
    assert is_hub_id("uoft-cs/cifar10")
    assert is_hub_id("org/name@refs/convert/parquet")
    assert not is_hub_id("./data")
    assert not is_hub_id("photographs")

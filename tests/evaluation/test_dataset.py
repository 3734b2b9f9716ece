"""Labelled images from folders and parquet files."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from mobilevit_fast import Dataset, load_dataset
from mobilevit_fast.evaluation.dataset import Columns, spread
from mobilevit_fast.evaluation.splits import load_splits
from mobilevit_fast.image import find_images
from mobilevit_fast.offline.sources import open_images


def png(colour="red"):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    for name in ("zebra", "ant"):
        (tmp_path / name / "deeper").mkdir(parents=True)
        (tmp_path / name / "b.PNG").write_bytes(png())
        (tmp_path / name / "deeper" / "a.jpg").write_bytes(png())
        (tmp_path / name / "notes.txt").write_text("no image")
    return tmp_path


def write_parquet(path, names=("cat", "dog"), columns=("image", "label"), images=None):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    images = images or [{"bytes": png(colour), "path": None} for colour in ("red", "green", "blue")]
    table = pyarrow.table(dict(zip(columns, (images, [1, 0, 1]), strict=True)))
    features = {"label": {"names": list(names or []), "_type": "ClassLabel"}}
    if names:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, path)
    return path


def test_folders_are_classes_in_the_order_of_their_names(folder):
    data = load_dataset(folder)
    assert data.names == ("ant", "zebra")
    assert data.labels.tolist() == [0, 0, 1, 1]
    assert [path.name for path in data.images] == ["b.PNG", "a.jpg"] * 2
    assert load_dataset(data) is data


def test_a_parquet_file_holds_bytes_labels_and_names(tmp_path):
    data = load_dataset(write_parquet(tmp_path / "a.parquet"))
    assert data.names == ("cat", "dog")
    assert data.labels.tolist() == [1, 0, 1]
    assert data.images[1] == png("green")
    assert load_dataset(write_parquet(tmp_path / "b.parquet", names=None)).names is None


def test_columns_of_a_parquet_file_can_be_named(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", columns=("picture", "label"))
    assert load_dataset(path, Columns(image="picture")).images[0] == png("red")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda path: path / "nowhere.parquet",
            FileNotFoundError,
            "there is no data set '.*nowhere.parquet'",
        ),
        (lambda path: path, ValueError, "must hold one folder of images for each class; it holds no folders"),
        (
            lambda path: write_parquet(path / "a.parquet", columns=("picture", "label")),
            ValueError,
            "has no column 'image'; it has picture, label",
        ),
        (
            lambda path: write_parquet(path / "a.parquet", images=[1, 2, 3]),
            ValueError,
            "'image' of .* must hold encoded images or their paths, got int",
        ),
    ],
)
def test_other_sources_are_refused(tmp_path, make, error, message):
    with pytest.raises(error, match=message):
        load_dataset(make(tmp_path))


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match="is not a parquet file"):
        load_dataset(tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("a,b")
    with pytest.raises(ValueError, match="neither a folder of class folders nor a parquet file"):
        load_dataset(tmp_path / "a.csv")


def dataset(labels, names):
    return Dataset([b""] * len(labels), np.array(labels), names, "the data")


def test_labels_are_matched_by_name_in_any_writing():
    data = dataset([0, 1, 1], ("Tabby_Cat", "hot-dog"))
    assert data.labels_for(("bird", "hot dog", "tabby cat")).tolist() == [2, 1, 1]


def test_labels_without_known_names_are_matched_by_number():
    assert dataset([0, 1], ("n01", "n02")).labels_for(("cat", "dog")).tolist() == [0, 1]
    assert dataset([0, 2], None).labels_for(("cat", "dog", "eel")).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dataset([0, 1], ("cat", "frog")), "the data has the class 'frog', which is none of the model's 2"),
        (dataset([0, 2], None), "has labels 0 to 2; the model has 2 classes"),
        (dataset([0, 1, 2], ("x", "y", "z")), "has the class 'x'"),
    ],
)
def test_classes_that_the_model_lacks_are_named(data, message):
    with pytest.raises(ValueError, match=message):
        data.labels_for(("cat", "dog"))


def test_a_data_set_has_images_and_a_label_for_each():
    with pytest.raises(ValueError, match="the data has no images"):
        dataset([], None)
    with pytest.raises(ValueError, match=r"has 2 images and labels \[3\]"):
        Dataset([b"", b""], np.zeros(3, np.int64), None, "the data")


def test_a_part_is_spread_over_the_whole():
    data = dataset(list(range(10)), None)
    assert data.head(5).labels.tolist() == [0, 2, 4, 6, 8]
    assert data.head(10) is data
    assert spread(3, 7).tolist() == [0, 1, 2]


def test_images_of_a_folder_are_found_in_order(folder):
    assert [str(path.relative_to(folder)) for path in find_images(folder)] == [
        "ant/b.PNG",
        "ant/deeper/a.jpg",
        "zebra/b.PNG",
        "zebra/deeper/a.jpg",
    ]
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        find_images(folder / "nowhere")
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no photographs"):
        find_images(folder / "empty")


def test_names_are_matched_exactly_before_their_case_is_forgotten():
    names = ("Cardigan", "cardigan", "my cat")
    data = Dataset([b""] * 3, np.arange(3), names, "here")
    assert data.labels_for(names).tolist() == [0, 1, 2]
    assert data.labels_for(("cardigan", "Cardigan", "My-Cat")).tolist() == [1, 0, 2]


def test_a_name_that_could_be_several_classes_is_refused():
    data = Dataset([b""], np.zeros(1, int), ("CARDIGAN",), "here")
    with pytest.raises(ValueError, match=r"could be each of the model's classes 0 \('Cardigan'\), 1"):
        data.labels_for(("Cardigan", "cardigan"))


def test_paths_in_a_table_are_relative_to_its_folder(tmp_path):
    folder = tmp_path / 'it\'s "here"'
    folder.mkdir()
    path = write_parquet(folder / "train.parquet", images=[{"path": "cat.jpg"}] * 3)
    for data in (load_dataset(path), load_splits(folder).training):
        assert data.images[0] == folder / "cat.jpg"
    _, images = next(open_images([path]).parts(3))
    assert images == [folder / "cat.jpg"] * 3

"""Many images into one file: every answer in its row, bad ones named, interruptions taken up."""

from __future__ import annotations

import itertools
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from checkpoints import random_checkpoint
from mobilevit_fast import Session, cli
from mobilevit_fast.offline import classify_to_file, job, open_images
from mobilevit_fast.weights import save_checkpoint, save_pretrained
from photographs import encoded, photograph

parquet = pytest.importorskip("pyarrow.parquet")
pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven good photographs, and a bad one among them."""
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(7):
        photograph(64, 48, seed).save(folder / f"{seed}.jpg")
    (folder / "3b.jpg").write_text("not a photograph")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_checkpoint(path, random_checkpoint())
    return str(path)


@pytest.fixture(scope="module")
def session(model):
    return Session(model, threads=1)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(job, "_PART", 3)


def rows(path):
    return parquet.read_table(path).to_pylist()


def check(path, names, images, session):
    """Every row against the session's own answer."""
    answers = list(session.classify_each(images, top_k=2))
    found = rows(path)
    assert [row["image"] for row in found] == names
    for row, answer in zip(found, answers, strict=True):
        if isinstance(answer, Exception):
            assert row["label"] is None
            assert row["labels"] == []
            assert "not an image" in row["error"]
        else:
            assert row["error"] is None
            assert (row["label"], row["index"]) == (answer[0].label, answer[0].index)
            assert row["labels"] == [entry.label for entry in answer]
            assert row["indices"] == [entry.index for entry in answer]
            np.testing.assert_allclose(row["scores"], [entry.score for entry in answer], rtol=1e-3)
            assert row["score"] == row["scores"][0]


@pytest.mark.usefixtures("small_parts")
def test_a_folder(tmp_path, folder, session):
    out = tmp_path / "out.parquet"
    summary = classify_to_file(session, open_images([folder]), out, top_k=2, batch_size=2)
    names = sorted(str(path) for path in folder.iterdir())
    check(out, names, names, session)
    assert (summary.images, summary.resumed) == (8, 0)
    assert [name for name, _ in summary.errors] == [str(folder / "3b.jpg")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet"]


@pytest.mark.usefixtures("small_parts")
def test_a_list_keeps_its_order_and_names_what_is_missing(tmp_path, folder, session):
    names = [str(folder / "5.jpg"), str(folder / "nowhere.jpg"), str(folder / "1.jpg"), str(folder / "5.jpg")]
    (tmp_path / "list.txt").write_text("\n".join(names) + "\n\n")
    summary = classify_to_file(session, open_images([tmp_path / "list.txt"]), tmp_path / "out.parquet")
    found = rows(tmp_path / "out.parquet")
    assert [row["image"] for row in found] == names
    assert "there is no image" in found[1]["error"]
    assert found[0]["scores"] == found[3]["scores"]
    assert len(summary.errors) == 1


@pytest.mark.parametrize("as_struct", [True, False])
@pytest.mark.usefixtures("small_parts")
def test_a_parquet_file_of_images(tmp_path, session, as_struct):
    images = [encoded(photograph(64, 48, seed), "PNG") for seed in range(7)]
    images[4] = b"not an image"
    cells = [{"bytes": image, "path": None} for image in images] if as_struct else images
    source = tmp_path / "images.parquet"
    parquet.write_table(pyarrow.table({"label": list(range(7)), "image": cells}), source, row_group_size=2)
    classify_to_file(session, open_images([source]), tmp_path / "out.parquet", top_k=2)
    check(tmp_path / "out.parquet", [f"images.parquet:{row}" for row in range(7)], images, session)


@pytest.mark.usefixtures("small_parts")
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, folder, session):
    out = tmp_path / "out.parquet"
    seen = []

    def interrupt(images, total, title):
        for image in images:
            seen.append(image)
            if len(seen) == 5:
                raise KeyboardInterrupt
            yield image

    with pytest.raises(KeyboardInterrupt):
        classify_to_file(session, open_images([folder]), out, top_k=2, progress=interrupt)
    assert not out.exists()
    with pytest.raises(ValueError, match="holds the parts of another run"):
        classify_to_file(session, open_images([folder]), out, top_k=1)
    counted = []
    counting = lambda images, total, title: (counted.append(image) or image for image in images)  # noqa: E731
    summary = classify_to_file(session, open_images([folder]), out, top_k=2, progress=counting)
    assert (summary.images, summary.resumed, len(counted)) == (8, 3, 8)
    names = sorted(str(path) for path in folder.iterdir())
    check(out, names, names, session)


@pytest.mark.usefixtures("small_parts")
def test_another_model_under_an_old_name_does_not_go_on(tmp_path, folder):
    def interrupt(images, total, title):
        yield from itertools.islice(images, 4)
        raise KeyboardInterrupt

    save_pretrained(tmp_path / "model", random_checkpoint("mobilevit_xxs", seed=0))
    out = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        classify_to_file(Session(tmp_path / "model"), open_images([folder]), out, progress=interrupt)
    save_pretrained(tmp_path / "model", random_checkpoint("mobilevit_xxs", seed=1))
    with pytest.raises(ValueError, match="holds the parts of another run"):
        classify_to_file(Session(tmp_path / "model"), open_images([folder]), out)


def test_another_image_under_an_old_name_is_another_list(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "copy")
    before = open_images([tmp_path / "copy"]).fingerprint()
    assert open_images([tmp_path / "copy"]).fingerprint() == before
    first, second = sorted((tmp_path / "copy").iterdir())[:2]
    first.write_bytes(second.read_bytes() + b" ")
    assert open_images([tmp_path / "copy"]).fingerprint() != before


@pytest.mark.usefixtures("small_parts")
def test_force_begins_anew(tmp_path, folder, session):
    out = tmp_path / "out.parquet"
    classify_to_file(session, open_images([folder]), out)
    with pytest.raises(FileExistsError, match="--force"):
        classify_to_file(session, open_images([folder]), out)
    (tmp_path / "out.parquet.parts").mkdir()
    (tmp_path / "out.parquet.parts" / "job.json").write_text("{}")
    summary = classify_to_file(session, open_images([folder]), out, force=True)
    assert summary.resumed == 0


def test_what_serves_not_is_refused(tmp_path, folder, session):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_images([tmp_path / "nowhere"])
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="no images were given"):
        open_images([tmp_path / "empty.txt"])
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match="one path a line"):
        open_images([tmp_path / "bad.txt"])
    (tmp_path / "bad.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match="is not a parquet file"):
        open_images([tmp_path / "bad.parquet"])
    with pytest.raises(ValueError, match="alone"):
        open_images([tmp_path / "bad.parquet", folder])
    parquet.write_table(pyarrow.table({"label": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"has no column image, .*; it has label"):
        open_images([tmp_path / "a.parquet"])
    parquet.write_table(pyarrow.table({"image": pyarrow.array([], pyarrow.binary())}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="has no rows"):
        open_images([tmp_path / "b.parquet"])
    with pytest.raises(ValueError, match=r"must end in \.parquet"):
        classify_to_file(session, open_images([folder]), tmp_path / "out.csv")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .* to write 'out\.parquet' into"):
        classify_to_file(session, open_images([folder]), tmp_path / "nowhere" / "out.parquet")
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(IsADirectoryError):
        classify_to_file(session, open_images([folder]), tmp_path / "folder.parquet", force=True)
    assert not list(tmp_path.glob("*.parts"))


def test_a_name_that_is_no_text_is_written_as_its_bytes(tmp_path, session):
    (tmp_path / os.fsdecode(b"bad\xff.png")).write_bytes(encoded(photograph(40, 40), "PNG"))
    summary = classify_to_file(session, open_images([tmp_path]), tmp_path / "out.parquet")
    assert summary.errors == []
    assert rows(tmp_path / "out.parquet")[0]["image"].endswith("bad\\xff.png")


def test_odd_cells_are_bad_images_and_no_failure(tmp_path, session):
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    paths = [str(tmp_path / "a.png"), None, "nowhere.png"]
    parquet.write_table(pyarrow.table({"path": paths}), tmp_path / "paths.parquet")
    summary = classify_to_file(session, open_images([tmp_path / "paths.parquet"]), tmp_path / "out.parquet")
    assert [name for name, _ in summary.errors] == ["paths.parquet:1", "paths.parquet:2"]
    parquet.write_table(pyarrow.table({"image": [1, 2]}), tmp_path / "numbers.parquet")
    open_images([tmp_path / "numbers.parquet"])
    summary = classify_to_file(
        session, open_images([tmp_path / "numbers.parquet"]), tmp_path / "out.parquet", force=True
    )
    assert len(summary.errors) == 2


def test_the_command_writes_a_file_and_lists_the_bad(tmp_path, capsys, folder, model):
    out = str(tmp_path / "out.parquet")
    assert cli.main(["classify", str(folder), "--model", model, "--out", out]) == 0
    output = capsys.readouterr()
    assert "8 images, 1 bad" in output.out
    assert "3b.jpg" in output.err
    assert len(rows(out)) == 8
    assert cli.main(["classify", str(folder), "--model", model, "--out", out]) == 2
    assert "--force" in capsys.readouterr().err
    assert cli.main(["classify", str(folder), "--model", model, "--out", out, "--force", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["images"], len(summary["errors"])) == (8, 1)

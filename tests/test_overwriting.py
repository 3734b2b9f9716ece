"""Outputs over what is read, and over other things: nothing of the users is lost, whatever is forced."""

import shutil

import pytest

import mobilevit_fast as mvf
from mobilevit_fast.benchmark.random_weights import random_checkpoint
from mobilevit_fast.cli import main
from mobilevit_fast.export import export
from mobilevit_fast.weights import save_checkpoint, save_pretrained
from photographs import photograph

MODEL = "mobilevit_xxs.cifar10"


@pytest.fixture
def model_file(tmp_path):
    save_checkpoint(tmp_path / "model.safetensors", random_checkpoint("mobilevit_xxs"))
    return tmp_path / "model.safetensors"


def refused(capsys, *arguments):
    assert main(list(map(str, arguments))) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("source", ["file", "folder"])
@pytest.mark.parametrize("command", [("quantize", "--recipe", "half"), ("export", "--format", "native")])
def test_a_model_is_not_written_over_itself(capsys, tmp_path, model_file, command, source):
    before = model_file.read_bytes()
    if source == "folder":
        save_pretrained(tmp_path / "folder", random_checkpoint("mobilevit_xxs"))
        model_file = tmp_path / "folder" / "model.safetensors"
        before = model_file.read_bytes()
    given = model_file if source == "file" else model_file.parent
    (tmp_path / "link.safetensors").symlink_to(model_file)
    for output in (model_file, tmp_path / "link.safetensors"):
        message = refused(capsys, command[0], given, *command[1:], "-o", output, "--force")
        assert "is read from, and cannot be written to" in message
    assert model_file.read_bytes() == before


def test_answers_are_not_written_over_the_images(capsys, tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    photograph(40, 30).save(tmp_path / "photo.png")
    table = pyarrow.table({"image": [(tmp_path / "photo.png").read_bytes()]})
    parquet.write_table(table, tmp_path / "data.parquet")
    before = (tmp_path / "data.parquet").read_bytes()
    path = tmp_path / "data.parquet"
    assert "is read from" in refused(capsys, "classify", path, "--out", path, "--force")
    assert path.read_bytes() == before


def test_an_export_replaces_no_folder_of_other_things(tmp_path):
    (tmp_path / "photographs").mkdir()
    photograph(40, 30).save(tmp_path / "photographs" / "cat.png")
    with pytest.raises(FileExistsError, match="no export has written"):
        export(MODEL, "web", tmp_path / "photographs", force=True)
    assert (tmp_path / "photographs" / "cat.png").exists()


def test_a_finetuned_model_does_not_replace_what_it_begins_with(tmp_path):
    pytest.importorskip("transformers")
    from mobilevit_fast import finetune

    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            photograph(40, 30, number).save(tmp_path / "data" / name / f"{number}.png")
    save_pretrained(tmp_path / "model", random_checkpoint("mobilevit_xxs"))
    other = shutil.copytree(tmp_path / "model", tmp_path / "other")
    for model, teacher in ((tmp_path / "model", None), (other, tmp_path / "model")):
        with pytest.raises(ValueError, match="where the new model is written"):
            finetune(tmp_path / "data", model, tmp_path / "model", teacher=teacher, force=True)
    assert mvf.Session(tmp_path / "model").config.name == "mobilevit_xxs"

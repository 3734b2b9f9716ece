"""Checkpoints whose tensors are spread over several files."""

import json

import pytest
from safetensors.numpy import save_file

from checkpoints import (
    assert_same_tensors,
    random_checkpoint,
    save_torch,
    transformers_state,
    write_transformers,
)
from mobilevit_fast.weights import load_checkpoint


@pytest.fixture(scope="module")
def checkpoint():
    return random_checkpoint()


def write_shards(folder, checkpoint):
    write_transformers(folder, checkpoint)
    (folder / "model.safetensors").unlink()
    names = list(transformers_state(checkpoint))
    weight_map = {}
    for number, part in enumerate((names[:100], names[100:]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: transformers_state(checkpoint)[name] for name in part}, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def test_a_sharded_folder(tmp_path, checkpoint):
    assert_same_tensors(load_checkpoint(write_shards(tmp_path, checkpoint)).tensors, checkpoint.tensors)


def test_a_sharded_bin_folder(tmp_path, checkpoint):
    folder = write_transformers(tmp_path, checkpoint)
    (folder / "model.safetensors").unlink()
    save_torch(transformers_state(checkpoint), folder / "pytorch_model-00001-of-00001.bin")
    index = {"weight_map": dict.fromkeys(transformers_state(checkpoint), "pytorch_model-00001-of-00001.bin")}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert_same_tensors(load_checkpoint(folder).tensors, checkpoint.tensors)


def test_a_missing_shard_is_named(tmp_path, checkpoint):
    (write_shards(tmp_path, checkpoint) / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model-00002-of-00002\.safetensors"):
        load_checkpoint(tmp_path)


def test_a_shard_outside_the_folder_is_refused(tmp_path, checkpoint):
    folder = write_transformers(tmp_path / "inside", checkpoint)
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"weight_map": {"x": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="outside its folder"):
        load_checkpoint(folder)


def test_a_tensor_in_two_shards_is_refused(tmp_path, checkpoint):
    folder = write_shards(tmp_path, checkpoint)
    save_file(transformers_state(checkpoint), folder / "model-00002-of-00002.safetensors")
    with pytest.raises(ValueError, match="repeats tensor"):
        load_checkpoint(folder)

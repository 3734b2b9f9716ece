"""Checkpoints in files of torch.save: what training scripts write, and what is refused."""

import argparse
import pickle

import pytest

from checkpoints import assert_same_tensors, random_checkpoint, save_torch, timm_state
from mobilevit_fast.weights import load_checkpoint


@pytest.fixture(scope="module")
def checkpoint():
    return random_checkpoint()


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_training_checkpoint_is_unwrapped(tmp_path, checkpoint, key):
    torch = pytest.importorskip("torch")
    state = {f"module.{name}": torch.from_numpy(array) for name, array in timm_state(checkpoint).items()}
    torch.save({"epoch": 3, key: state, "optimizer": {"lr": 0.1}}, tmp_path / "last.pth")
    assert_same_tensors(load_checkpoint(tmp_path / "last.pth").tensors, checkpoint.tensors)


def test_checkpoints_of_training_scripts_hold_options_and_have_two_endings(tmp_path, checkpoint):
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(array) for name, array in timm_state(checkpoint).items()}
    content = {"state_dict": state, "args": argparse.Namespace(lr=0.1), "epoch": 3}
    torch.save(content, tmp_path / "model_best.pth.tar")
    assert_same_tensors(load_checkpoint(tmp_path / "model_best.pth.tar").tensors, checkpoint.tensors)
    lightning = {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}}
    torch.save(lightning, tmp_path / "last.ckpt")
    assert_same_tensors(load_checkpoint(tmp_path / "last.ckpt").tensors, checkpoint.tensors)


def test_a_state_dict_of_our_module_is_taken_for_a_new_models(tmp_path, checkpoint):
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(array) for name, array in checkpoint.tensors.items()}
    torch.save(state, tmp_path / "mine.pth")
    with pytest.warns(UserWarning, match=r"mine\.pth' says nothing of its model's preprocessing"):
        loaded = load_checkpoint(tmp_path / "mine.pth")
    assert_same_tensors(loaded.tensors, checkpoint.tensors)
    assert loaded.preprocessing.channel_order == "RGB"


class Explosive:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code of the file ran')",))


def test_a_hostile_pickle_is_refused_and_does_not_run(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"stem.conv.weight": Explosive()}, tmp_path / "evil.pt")
    (tmp_path / "raw.bin").write_bytes(pickle.dumps(Explosive(), protocol=2))
    for name in ("evil.pt", "raw.bin"):
        with pytest.raises(ValueError, match=rf"{name}' is refused: .* run code"):
            load_checkpoint(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"a text", b"PK\x03\x04 not really a zip"])
def test_a_damaged_pickle_is_refused_by_name(tmp_path, content):
    pytest.importorskip("torch")
    (tmp_path / "broken.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.pt' is (refused|not a readable file)"):
        load_checkpoint(tmp_path / "broken.pt")


def test_a_truncated_pickle_is_refused_by_name(tmp_path, checkpoint):
    whole = save_torch(checkpoint.tensors, tmp_path / "whole.pt").read_bytes()
    for length in (1, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "broken.pt").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"broken\.pt' is (refused|not a readable file)"):
            load_checkpoint(tmp_path / "broken.pt")


@pytest.mark.parametrize("content", [{}, [1, 2], {"a": 1}, {1: 2}, 3.5])
def test_a_pickle_without_state_dict_is_refused(tmp_path, content):
    torch = pytest.importorskip("torch")
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt' holds"):
        load_checkpoint(tmp_path / "other.pt")

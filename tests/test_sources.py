"""What the user may name as a source, and downloads from a hub that runs inside the test."""

import os
import subprocess
import sys

import pytest

from checkpoints import random_checkpoint, transformers_state, write_timm, write_transformers
from mobilevit_fast.weights import load_checkpoint
from stub_hub import address


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilevit", r"did you mean .*apple/mobilevit-xx-small or .* or timm/mobilevit_s\.cvnets_in1k\?"),
        (
            "mobilevit_s",
            r"without weights; trained ones are apple/mobilevit-small or timm/mobilevit_s\.cvnets_in1k",
        ),
        ("mobilevit_s.cvnets_in1k", r"did you mean timm/mobilevit_s\.cvnets_in1k\?"),
        ("mobilevit_smal", "did you mean apple/mobilevit-small"),
        ("resnet50", "no checkpoint is called 'resnet50'; known are mobilevit_xxs"),
        ("", "no checkpoint is called ''; known are mobilevit_xxs"),
        ("", "no checkpoint is called ''"),
        ("a/b/c", "no checkpoint is called 'a/b/c'"),
        ("x" * 5000, "no checkpoint is called"),
        ("nul\0byte", "no checkpoint is called"),
    ],
)
def test_names_that_mean_nothing_get_suggestions(name, message):
    with pytest.raises(ValueError, match=message):
        load_checkpoint(name)


@pytest.mark.parametrize(
    "name", ["nothing.safetensors", "nothing.pt", "./nothing", "/nothing", "~/nothing", "nothing/"]
)
def test_paths_that_do_not_exist_are_named(name):
    with pytest.raises(FileNotFoundError, match=f"there is no file or folder '{name}'"):
        load_checkpoint(name)


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no weights: expected model\.safetensors"):
        load_checkpoint(tmp_path)


def test_a_folder_of_several_checkpoints_needs_a_choice(tmp_path):
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"several weights files \(a\.safetensors, b\.safetensors\); name one"
    ):
        load_checkpoint(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"model\.onnx' is not a weights file; known endings: \.safetensors"):
        load_checkpoint(tmp_path / "model.onnx")


def load_elsewhere(source, cache, endpoint, **environment):
    """Loads in a process of its own, because the client reads its settings when it is imported."""
    code = """
import sys
from mobilevit_fast.weights import load_checkpoint
try:
    checkpoint = load_checkpoint(sys.argv[1])
except FileNotFoundError as error:
    print("refused:", error)
else:
    print(checkpoint.family, checkpoint.labels[0], checkpoint.preprocessing.resample, checkpoint.source)
"""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "NO_PROXY": "127.0.0.1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", code, source], capture_output=True, text=True, env={**os.environ, **settings}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_only_what_is_needed_is_downloaded_and_only_once(hub, tmp_path):
    folder = write_transformers(tmp_path / "remote", random_checkpoint())
    for extra in ("README.md", "tf_model.h5", "pytorch_model.bin"):
        (folder / extra).write_text("not needed")
    hub.repositories["apple/mobilevit-xx-small"] = folder
    for _ in range(2):
        said, progress = load_elsewhere("apple/mobilevit-xx-small", tmp_path / "cache", address(hub))
        assert said == "transformers ant bilinear apple/mobilevit-xx-small"
    assert sorted(hub.fetched) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert "100%" in progress


def test_pickled_weights_are_downloaded_where_there_are_no_others(hub, tmp_path):
    torch = pytest.importorskip("torch")
    checkpoint = random_checkpoint()
    folder = write_transformers(tmp_path / "remote", checkpoint)
    (folder / "model.safetensors").unlink()
    state = {name: torch.from_numpy(array) for name, array in transformers_state(checkpoint).items()}
    torch.save(state, folder / "pytorch_model.bin")
    hub.repositories["apple/mobilevit-xx-small"] = folder
    said, _ = load_elsewhere("apple/mobilevit-xx-small", tmp_path / "cache", address(hub))
    assert said.startswith("transformers ant")
    assert sorted(hub.fetched) == ["config.json", "preprocessor_config.json", "pytorch_model.bin"]


def test_a_timm_repository_and_a_revision(hub, tmp_path):
    folder = write_timm(tmp_path / "remote", random_checkpoint())
    hub.repositories["timm/mobilevit_xxs.cvnets_in1k"] = folder
    said, _ = load_elsewhere("timm/mobilevit_xxs.cvnets_in1k@main", tmp_path / "cache", address(hub))
    assert said == "timm ant bicubic timm/mobilevit_xxs.cvnets_in1k@main"


def test_the_cache_serves_when_the_hub_is_away(hub, tmp_path):
    hub.repositories["org/name"] = write_transformers(tmp_path / "remote", random_checkpoint())
    cache = tmp_path / "cache"
    online, _ = load_elsewhere("org/name", cache, address(hub))
    fetched = list(hub.fetched)
    switched_off, _ = load_elsewhere("org/name", cache, address(hub), HF_HUB_OFFLINE="1")
    unreachable, _ = load_elsewhere("org/name", cache, "http://127.0.0.1:9")
    assert online == switched_off == unreachable
    assert hub.fetched == fetched


def test_what_the_hub_does_not_have_is_refused_in_one_sentence(hub, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("no weights")
    hub.repositories["org/empty"] = tmp_path / "empty"
    cache = tmp_path / "cache"
    absent, _ = load_elsewhere("org/absent", cache, address(hub))
    assert absent.startswith("refused: 'org/absent' is no folder here and could not be fetched from the hub")
    empty, _ = load_elsewhere("org/empty", cache, address(hub))
    assert (
        empty
        == "refused: 'org/empty' on the hub holds no weights: expected model.safetensors or pytorch_model.bin"
    )
    offline, _ = load_elsewhere("org/absent", cache, address(hub), HF_HUB_OFFLINE="1")
    assert offline.startswith("refused: 'org/absent' is no folder here and could not be fetched from the hub")

"""Checkpoints of every family and form, read whole: config, tensors, preprocessing and labels."""

import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from checkpoints import (
    LABELS,
    assert_same_tensors,
    cvnets_state,
    random_checkpoint,
    save_torch,
    timm_state,
    transformers_state,
    write_cvnets,
    write_timm,
    write_transformers,
)
from mobilevit_fast.image import Preprocessing
from mobilevit_fast.image.configs import from_timm
from mobilevit_fast.lower import lower
from mobilevit_fast.weights import (
    Checkpoint,
    NativeModel,
    load_checkpoint,
    load_runnable,
    read_safetensors,
    save_checkpoint,
    save_native,
    sources,
    write_safetensors,
)


@pytest.fixture(scope="module")
def checkpoint():
    return random_checkpoint()


def edit_json(path, **changes):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))


def test_a_transformers_folder(tmp_path, checkpoint):
    loaded = load_checkpoint(write_transformers(tmp_path / "hf", checkpoint))
    assert_same_tensors(loaded.tensors, checkpoint.tensors)
    assert (loaded.config, loaded.labels) == (checkpoint.config, LABELS)
    assert loaded.preprocessing == Preprocessing()
    assert loaded.family == "transformers"
    assert loaded.source == str(tmp_path / "hf")


def test_a_file_of_a_standard_name_brings_its_neighbours(tmp_path, checkpoint):
    loaded = load_checkpoint(write_transformers(tmp_path, checkpoint) / "model.safetensors")
    assert loaded.labels == LABELS


def test_a_folder_without_preprocessor_is_prepared_as_the_family_is(tmp_path, checkpoint):
    folder = write_transformers(
        tmp_path, replace(checkpoint, config=replace(checkpoint.config, image_size=64))
    )
    (folder / "preprocessor_config.json").unlink()
    assert load_checkpoint(folder).preprocessing == Preprocessing(shortest_edge=72, crop_size=(64, 64))


def test_a_folder_without_configs_is_read_from_its_tensors(tmp_path, checkpoint):
    folder = write_transformers(tmp_path, checkpoint)
    (folder / "preprocessor_config.json").unlink()
    (folder / "config.json").unlink()
    loaded = load_checkpoint(folder)
    assert (loaded.config, loaded.preprocessing) == (checkpoint.config, Preprocessing())
    assert loaded.labels == ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4")


def test_the_checkpoints_own_preprocessor_wins(tmp_path, checkpoint):
    folder = write_transformers(tmp_path, checkpoint)
    old_style = {
        "feature_extractor_type": "MobileViTFeatureExtractor",
        "size": 200,
        "crop_size": 180,
        "resample": 2,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(old_style))
    assert load_checkpoint(folder).preprocessing == Preprocessing(shortest_edge=200, crop_size=(180, 180))


def test_a_timm_folder(tmp_path, checkpoint):
    loaded = load_checkpoint(write_timm(tmp_path, checkpoint, crop_pct=0.95))
    assert_same_tensors(loaded.tensors, checkpoint.tensors)
    assert (loaded.config, loaded.labels, loaded.family) == (checkpoint.config, LABELS, "timm")
    assert loaded.preprocessing == Preprocessing(
        shortest_edge=269, crop_size=(256, 256), crop_rounding="even", resample="bicubic", channel_order="RGB"
    )


def test_a_timm_file_alone_is_prepared_as_timm_does(tmp_path, checkpoint):
    save_file(timm_state(checkpoint), tmp_path / "mine.safetensors")
    loaded = load_checkpoint(tmp_path / "mine.safetensors")
    assert loaded.preprocessing == from_timm({})
    assert loaded.preprocessing.shortest_edge == 284


@pytest.mark.parametrize("state", [timm_state, cvnets_state])
def test_a_thousand_unnamed_classes_are_those_of_imagenet(tmp_path, state):
    save_file(state(random_checkpoint(labels=("?",) * 1000)), tmp_path / "mine.safetensors")
    labels = load_checkpoint(tmp_path / "mine.safetensors").labels
    assert (len(labels), labels[0], labels[281], labels[999]) == (1000, "tench", "tabby", "toilet tissue")


def test_a_cvnets_file(tmp_path, checkpoint):
    pytest.importorskip("torch")
    loaded = load_checkpoint(write_cvnets(tmp_path / "mobilevit_xxs.pt", checkpoint))
    assert_same_tensors(loaded.tensors, checkpoint.tensors)
    assert (loaded.family, loaded.preprocessing) == ("cvnets", Preprocessing())


@pytest.mark.parametrize("zipped", [True, False])
def test_a_bin_folder(tmp_path, checkpoint, zipped):
    folder = write_transformers(tmp_path, checkpoint)
    (folder / "model.safetensors").unlink()
    state = transformers_state(checkpoint)
    save_torch(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    loaded = load_checkpoint(folder)
    assert_same_tensors(loaded.tensors, checkpoint.tensors)
    assert loaded.labels == LABELS


def test_safetensors_are_preferred(tmp_path, checkpoint):
    folder = write_transformers(tmp_path, checkpoint)
    (folder / "pytorch_model.bin").write_text("not read")
    assert_same_tensors(load_checkpoint(folder).tensors, checkpoint.tensors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "vit"}, "model_type must be 'mobilevit', got 'vit'"),
        ({"hidden_act": "relu"}, "hidden_act must be 'silu', got 'relu'"),
        ({"output_stride": 16}, "output_stride must be 32, got 16"),
        ({"hidden_sizes": [64, 80]}, "transformer_dims needs 3 entries"),
        ({"hidden_sizes": "wide"}, "not the sizes of a MobileViT"),
        ({"hidden_sizes": [64, 80, 100]}, "misshapen: mobilevit.encoder.layer.4"),
        ({"image_size": [256, 128]}, "only square sizes"),
        ({"id2label": {"0": "ant"}}, r"misshapen: classifier.weight is \[5, 320\], expected \[1, 320\]"),
        ({"id2label": {"1": "ant", "2": "bee"}}, "id2label must map 0, 1, ... to names"),
        ({"id2label": ["ant"]}, "id2label must map 0, 1, ... to names"),
    ],
)
def test_a_config_that_cannot_be_is_refused(tmp_path, checkpoint, changes, message):
    folder = write_transformers(tmp_path, checkpoint)
    edit_json(folder / "config.json", **changes)
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(folder)
    assert str(folder) in str(caught.value)


def test_a_missing_tensor_is_named_with_the_file(tmp_path, checkpoint):
    state = transformers_state(checkpoint)
    del state["mobilevit.conv_stem.convolution.weight"]
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"missing: mobilevit\.conv_stem\.convolution\.weight") as caught:
        load_checkpoint(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00\xff", "[" * 100_000])
def test_damaged_json_is_refused_by_name(tmp_path, checkpoint, file, content):
    (write_transformers(tmp_path, checkpoint) / file).write_text(content)
    with pytest.raises(ValueError, match=f"{file}' (is not valid JSON|holds list)"):
        load_checkpoint(tmp_path)


def test_a_backbone_needs_a_number_of_classes(tmp_path, checkpoint, caplog):
    state = {
        name.removeprefix("mobilevit."): array
        for name, array in transformers_state(checkpoint).items()
        if not name.startswith("classifier.")
    }
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="without classifier; pass num_classes"):
        load_checkpoint(tmp_path)
    loaded = load_checkpoint(tmp_path, num_classes=7)
    assert loaded.tensors["classifier.weight"].shape == (7, 320)
    assert len(loaded.labels) == 7
    assert "untrained classifier of 7 classes" in caplog.text


def test_another_number_of_classes_gives_a_new_classifier(tmp_path, checkpoint):
    folder = write_transformers(tmp_path, checkpoint)
    loaded = load_checkpoint(folder, num_classes=2)
    assert loaded.config.num_classes == 2
    assert loaded.tensors["classifier.weight"].std() > 0.01
    np.testing.assert_array_equal(loaded.tensors["head.conv.weight"], checkpoint.tensors["head.conv.weight"])
    assert load_checkpoint(folder, num_classes=5).labels == LABELS


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (0, ValueError, "at least 1, got 0"),
        (-1, ValueError, "at least 1, got -1"),
        (1.5, TypeError, "a whole number, got 1.5"),
        ("ten", TypeError, "a whole number, got 'ten'"),
        (True, TypeError, "a whole number, got True"),
    ],
)
def test_a_number_of_classes_that_cannot_be(number, error, message):
    with pytest.raises(error, match=f"num_classes must be {message}"):
        load_checkpoint("anything", num_classes=number)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_one_file_holds_everything(tmp_path, checkpoint, dtype):
    preprocessing = Preprocessing(
        shortest_edge=64, crop_size=(64, 64), channel_order="RGB", mean=(1, 2, 3), std=(4, 5, 6)
    )
    save_checkpoint(
        tmp_path / "one.safetensors", replace(checkpoint, preprocessing=preprocessing), dtype=dtype
    )
    loaded = load_checkpoint(tmp_path / "one.safetensors")
    assert (loaded.config, loaded.labels, loaded.preprocessing) == (checkpoint.config, LABELS, preprocessing)
    rounded = {name: array.astype(dtype).astype(np.float32) for name, array in checkpoint.tensors.items()}
    assert_same_tensors(loaded.tensors, rounded)


def test_values_beyond_half_precision_are_kept(tmp_path, checkpoint):
    variance = np.full_like(checkpoint.tensors["stem.norm.running_var"], 1e6)
    large = replace(checkpoint, tensors=checkpoint.tensors | {"stem.norm.running_var": variance})
    save_checkpoint(tmp_path / "one.safetensors", large)
    loaded = load_checkpoint(tmp_path / "one.safetensors")
    np.testing.assert_array_equal(loaded.tensors["stem.norm.running_var"], variance)


def test_only_two_types_are_written(tmp_path, checkpoint):
    with pytest.raises(ValueError, match="dtype must be float16 or float32, got 'int8'"):
        save_checkpoint(tmp_path / "one.safetensors", checkpoint, dtype="int8")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"config": {}, "preprocessing": {}, "labels": []}',
        '{"config": 1, "preprocessing": 2, "labels": 3}',
    ],
)
def test_malformed_metadata_is_refused_by_name(tmp_path, checkpoint, text):
    save_file(checkpoint.tensors, tmp_path / "one.safetensors", metadata={"mobilevit_fast": text})
    with pytest.raises(ValueError, match=r"mobilevit_fast metadata of .*one\.safetensors"):
        load_checkpoint(tmp_path / "one.safetensors")


def edit_metadata(path, change):
    """Rewrites a file of this project with another description."""
    tensors, metadata = read_safetensors(path)
    content = json.loads(metadata["mobilevit_fast"])
    change(content)
    write_safetensors(path, tensors, {"mobilevit_fast": json.dumps(content)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["config"].update(transformer_layers=[10**12, 4, 3]),
            "transformer_layers must be at most",
        ),
        (
            lambda c: c["config"].update(stage_channels=[float("inf")] * 5),
            "stage_channels must be a whole number",
        ),
        (lambda c: c["config"].update(mlp_ratio=float("inf")), "mlp_ratio must be at most 64.0, got inf"),
        (
            lambda c: c["config"].update(expand_ratio=float("nan")),
            "expand_ratio must be at most 64.0, got nan",
        ),
        (lambda c: c["config"].update(patch_size=1.5), "patch_size must be a whole number, got 1.5"),
        (lambda c: c["config"].update(num_heads=True), "num_heads must be a whole number, got True"),
        (lambda c: c["config"].pop("expand_ratio"), "expand_ratio"),
        (lambda c: c.update(labels="abcde"), "labels must be a list, got 'abcde'"),
    ],
)
def test_a_description_that_cannot_be_is_refused_by_name(tmp_path, checkpoint, change, message):
    path = tmp_path / "one.safetensors"
    save_checkpoint(path, checkpoint)
    edit_metadata(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


def test_widths_that_no_model_has_are_refused_by_name(tmp_path, checkpoint):
    wide = {"classifier.weight": np.zeros((1 << 21, 0), np.float32)}
    save_file(checkpoint.tensors | wide, tmp_path / "one.safetensors")
    with pytest.raises(
        ValueError, match=r"one\.safetensors.*num_classes must be at most 1048576, got 2097152"
    ):
        load_checkpoint(tmp_path / "one.safetensors")


def native_file(path, checkpoint):
    """An export in format native."""
    plan = lower(checkpoint.config, checkpoint.tensors)
    model = NativeModel(
        checkpoint.config, plan, "fp32", checkpoint.preprocessing, checkpoint.labels, checkpoint.source
    )
    save_native(path, model, (256, 256))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(labels=["a", "b"]), "2 labels for 5 classes"),
        (lambda c: c.update(labels=list("abcdef")), "6 labels for 5 classes"),
        (lambda c: c["config"].update(num_classes=4), "5 labels for 4 classes"),
        (lambda c: c["native"]["plan"].update(outputs=[]), "one tensor with channels as its output"),
        (lambda c: c["native"]["plan"].update(outputs=[10**12]), "one tensor with channels as its output"),
        (lambda c: c["native"]["plan"].update(tensors=None), "one tensor with channels as its output"),
        (lambda c: c["native"]["plan"].update(steps=[1]), "metadata of"),
        (lambda c: c["native"].pop("plan"), "'plan' is missing"),
        (
            lambda c: c["config"].update(transformer_layers=[10**12, 4, 3]),
            "transformer_layers must be at most",
        ),
    ],
)
def test_a_native_file_that_contradicts_itself_is_refused_by_name(tmp_path, checkpoint, change, message):
    path = native_file(tmp_path / "native.safetensors", checkpoint)
    edit_metadata(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        load_runnable(path)
    assert str(path) in str(caught.value)


def test_a_plan_without_a_stem_cannot_take_channels_in_another_order(tmp_path, checkpoint):
    path = native_file(tmp_path / "native.safetensors", checkpoint)
    model = load_runnable(path)
    bare = replace(model, plan=model.plan | {"steps": [{"kind": "global_pool", "name": "pool"}]})
    with pytest.raises(ValueError, match=r"native\.safetensors: the plan does not begin with a convolution"):
        bare.reversed_plan()


def test_labels_and_classes_must_agree(checkpoint):
    with pytest.raises(ValueError, match="2 labels for 5 classes"):
        replace(checkpoint, labels=("a", "b"))


def test_an_embedded_checkpoint_is_found_by_its_name(tmp_path, checkpoint, monkeypatch):
    save_checkpoint(tmp_path / "mobilevit_xxs.mine.safetensors", checkpoint)
    monkeypatch.setattr(sources, "_DATA", tmp_path)
    assert sources.embedded_names() == ["mobilevit_xxs.mine"]
    loaded = load_checkpoint("mobilevit_xxs.mine")
    assert isinstance(loaded, Checkpoint)
    assert (loaded.labels, loaded.source, loaded.family) == (LABELS, "mobilevit_xxs.mine", "mobilevit_fast")


def run_python(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment or None,
    )


def test_safetensors_need_no_torch_and_pickles_say_so(tmp_path, checkpoint):
    write_transformers(tmp_path / "hf", checkpoint)
    (tmp_path / "x.pt").write_bytes(b"")
    code = """
import sys
sys.modules["torch"] = None
from mobilevit_fast.weights import load_checkpoint
folder = sys.argv[1]
assert load_checkpoint(folder + "/hf").labels[0] == "ant"
assert not any(name.split(".")[0] in ("transformers", "huggingface_hub") for name in sys.modules)
try:
    load_checkpoint(folder + "/x.pt")
except ImportError as error:
    print(error)
"""
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pip install mobilevit_fast[torch]" in done.stdout


def test_a_bytes_stream_is_no_source():
    with pytest.raises(TypeError, match="a source is a name or a path, got BytesIO"):
        load_checkpoint(io.BytesIO())

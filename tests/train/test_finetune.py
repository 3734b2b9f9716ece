"""Fine-tuning from data to a folder that everything loads."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mobilevit_fast import Session, create_model, finetune, from_pretrained, load_checkpoint, preprocess
from mobilevit_fast.benchmark.random_weights import random_tensors
from mobilevit_fast.evaluation import Dataset, Splits
from mobilevit_fast.image import Preprocessing, load_image
from mobilevit_fast.quantization import WeightOnly
from mobilevit_fast.train.augment import Augmentation
from mobilevit_fast.train.finetune import CHECKPOINTS
from mobilevit_fast.train.parameters import Trained
from mobilevit_fast.train.preparation import prepare_images, prepare_model
from mobilevit_fast.train.recipe import Recipe
from mobilevit_fast.weights import Checkpoint, save_checkpoint

pytest.importorskip("accelerate")

NAMES = ("dark", "light", "red")
SMALL = Recipe(epochs=2, batch_size=8, size=32, learning_rate=3e-3, average=0.5, seed=1)


def changed(**fields):
    return dataclasses.replace(SMALL, **fields)


def picture(label, seed):
    """Noise over a ramp; the colour tells the class."""
    pixels = np.random.default_rng((label, seed)).normal((60, 180, 90)[label], 20, (36, 40, 3))
    pixels += np.linspace(-40, 40, 40)[None, :, None]
    if label == 2:
        pixels[..., 0] = 230
    return np.clip(pixels, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two splits of class folders."""
    root = tmp_path_factory.mktemp("data")
    for split, count in (("train", 8), ("val", 4)):
        for label, name in enumerate(NAMES):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                image = picture(label, index + 100 * (split == "val"))
                Image.fromarray(image).save(root / split / name / f"{index}.png")
    return root


def splits(count=8):
    labels = np.arange(3 * count) % 3
    training = Dataset(
        [picture(label, index) for index, label in enumerate(labels)], labels, NAMES, "the data"
    )
    return Splits(training, training.head(9))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A checkpoint of five classes in BGR order."""
    model = create_model("mobilevit_xxs", num_classes=5)
    rule = Preprocessing(shortest_edge=72, crop_size=(64, 64))
    tensors = random_tensors(model.config.plain())
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    labels = ("a", "b", "c", "d", "e")
    save_checkpoint(path, Checkpoint(model.config.plain(), tensors, rule, labels, "start"), dtype="float32")
    return path


def test_the_folder_is_what_everything_loads(folder, start, tmp_path):
    transformers = pytest.importorskip("transformers")
    seen = []
    made = finetune(folder, start, tmp_path / "out", SMALL, report=seen.append)
    assert made.evaluation.count == 12
    assert made.notes[0].startswith("the classifier of 5 classes of")
    session = Session(tmp_path / "out")
    assert session.labels == NAMES
    assert session.preprocessing == Preprocessing(shortest_edge=36, crop_size=(32, 32)), "BGR is kept"
    photo = folder / "val" / "red" / "0.png"
    ours = session.run(preprocess(photo, session.preprocessing))
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "out")
    theirs = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "out").eval()
    with torch.inference_mode():
        logits = theirs(**processor(load_image(photo), return_tensors="pt")).logits
    np.testing.assert_allclose(ours, logits, atol=1e-4)
    assert theirs.config.id2label == dict(enumerate(NAMES))

    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["top1"] == made.evaluation.top1
    assert [row["label"] for row in report["classes"]] == list(NAMES)
    assert [entry["epoch"] for entry in report["history"] if "eval_accuracy" in entry] == [1.0, 2.0]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "library_name: transformers" in card
    assert "| red | 4 |" in card
    for name in ("curves.png", "confusion.png"):
        with Image.open(tmp_path / "out" / name) as image:
            assert image.width > 300
    assert seen[-1].step == seen[-1].steps == 6
    assert 0 <= seen[-1].validation <= 1
    assert seen[-1].loss > 0


def test_it_learns(tmp_path):
    recipe = changed(epochs=8, batch_size=12, average=0.9, augmentation=Augmentation(1.0))
    made = finetune(splits(), "mobilevit_xxs.cifar10", tmp_path / "out", recipe)
    assert made.evaluation.top1 > 0.8


KILLED = """
import os, signal, sys, torch
torch.set_num_threads(1)
sys.path[:0] = [{tests!r}]
from train.test_finetune import SMALL, finetune, splits

def kill(progress):
    if progress.step == 5:
        os.kill(os.getpid(), signal.SIGKILL)

finetune(splits(), {start!r}, {output!r}, SMALL, save_steps=2, report=kill)
"""


@pytest.fixture
def one_thread():
    """Rounding depends on the number of threads, which has to be one number here and in the child."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_a_killed_run_goes_on_to_the_numbers_of_an_unbroken_one(start, tmp_path):
    whole = finetune(splits(), start, tmp_path / "whole", SMALL, save_steps=2)
    output = tmp_path / "broken"
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    code = KILLED.format(tests=tests, start=str(start), output=str(output))
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert not (output / "config.json").exists()
    checkpoints = output / CHECKPOINTS / "float"
    assert {path.name for path in checkpoints.iterdir()} == {"checkpoint-2", "checkpoint-4"}
    # As if it had been killed while it wrote.
    (checkpoints / "checkpoint-5").mkdir()
    (checkpoints / "checkpoint-5" / "model.safetensors").write_bytes(b"half")

    with pytest.raises(ValueError, match=r"belongs to a training with other settings \(epochs 2, now 3\)"):
        finetune(splits(), start, output, changed(epochs=3), save_steps=2, resume=True)
    resumed = finetune(splits(), start, output, SMALL, save_steps=2, resume=True)
    assert (resumed.evaluation.confusion == whole.evaluation.confusion).all()
    ours, theirs = (load_checkpoint(made.folder).tensors for made in (resumed, whole))
    for name, tensor in theirs.items():
        np.testing.assert_allclose(ours[name], tensor, rtol=1e-4, atol=1e-5, err_msg=name)
    logs = [json.loads((made.folder / "report.json").read_text())["history"] for made in (resumed, whole)]
    ours, theirs = ([entry["loss"] for entry in log if "loss" in entry] for log in logs)
    assert ours == pytest.approx(theirs, rel=1e-4)
    again = finetune(splits(), start, output, SMALL, resume=True)
    assert (again.evaluation.confusion == whole.evaluation.confusion).all(), "what is done is only measured"

    # A model beside an unfinished training is none of it.
    shutil.rmtree(checkpoints / "checkpoint-6")
    finetune(splits(), start, output, SMALL, save_steps=2, resume=True)
    assert (checkpoints / "checkpoint-6").is_dir()


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.filterwarnings("ignore:only 24 calibration images")
def test_a_finished_training_is_measured_only_with_its_own_settings(folder, start, tmp_path):
    output = tmp_path / "out"
    finetune(folder, start, output, changed(epochs=1), qat=WeightOnly(8))
    before = contents(output)
    for difference, data, recipe in (
        ("epochs 1, now 2", folder, SMALL),
        ("learning_rate 0.003, now 0.5", folder, changed(epochs=1, learning_rate=0.5)),
        ("data '.*', now 'Splits'", splits(), changed(epochs=1)),
    ):
        with pytest.raises(ValueError, match=rf"a training with other settings \(.*{difference}"):
            finetune(data, start, output, recipe, resume=True)
    assert contents(output) == before
    with pytest.raises(ValueError, match=r"roundings \{.*'bits': 8,.*, now \{.*'bits': 4,"):
        finetune(folder, start, output, changed(epochs=1), qat=WeightOnly(4), resume=True)


def test_a_model_that_was_not_trained_here_is_not_gone_on_with(start, tmp_path):
    output = tmp_path / "out"
    from_pretrained(start).save_pretrained(output)
    (output / "README.md").write_text("mine")
    before = contents(output)
    with pytest.raises(ValueError, match="holds a model, but no whole checkpoint of its training"):
        finetune(splits(), start, output, SMALL, resume=True)
    assert contents(output) == before


def test_nothing_is_overwritten_unasked(start, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"is not empty; force=True \(--force\) overwrites it"):
        finetune(splits(), start, tmp_path / "out", SMALL)
    with pytest.raises(ValueError, match="is a file; name a folder"):
        finetune(splits(), start, tmp_path / "out" / "notes.txt", SMALL)


def test_bad_data_and_arguments_leave_what_was_to_be_overwritten(start, tmp_path):
    from_pretrained(start).save_pretrained(tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        finetune(tmp_path / "nowhere", start, tmp_path / "out", SMALL, force=True)
    with pytest.raises(ValueError, match="nope"):
        finetune(splits(), start, tmp_path / "out", SMALL, force=True, arguments={"optim": "nope"})
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("choice", [Trained(head_only=True), Trained(last_blocks=1, layer_decay=0.5)])
def test_what_does_not_train_stays(start, tmp_path, choice):
    recipe = changed(epochs=1, trained=choice)
    made = finetune(splits(), start, tmp_path / "out", recipe)
    before, after = load_checkpoint(start).tensors, load_checkpoint(made.folder).tensors
    same = {
        name for name in before if not name.startswith("classifier.") and (before[name] == after[name]).all()
    }
    moved = before.keys() - same - {"classifier.weight", "classifier.bias"}
    expected = {"stages.4.1", "head"} if choice.last_blocks else set()
    assert {".".join(name.split(".")[: 3 if name.startswith("stages") else 1]) for name in moved} == expected
    assert any("running_mean" in name for name in same)


def test_a_teacher_of_other_pixels_and_order_helps(start, tmp_path):
    teacher = create_model("mobilevit_xs", num_classes=3)
    teacher.labels = ("red", "dark", "light")
    teacher.save_pretrained(tmp_path / "teacher")
    recipe = changed(epochs=1)
    settings = {"teacher": tmp_path / "teacher", "save_steps": 2}
    finetune(splits(), start, tmp_path / "out", recipe, **settings)
    whole = load_checkpoint(tmp_path / "out").tensors
    # The convolutions that compare the maps are taken up again, too.
    for name in (f"{CHECKPOINTS}/float/checkpoint-3", "config.json"):
        (tmp_path / "out" / name).rename(tmp_path / f"gone-{os.path.basename(name)}")
    finetune(
        splits(), start, tmp_path / "out", recipe, teacher=tmp_path / "teacher", save_steps=2, resume=True
    )
    for name, tensor in load_checkpoint(tmp_path / "out").tensors.items():
        np.testing.assert_allclose(tensor, whole[name], rtol=1e-4, atol=1e-5, err_msg=name)
    with pytest.raises(ValueError, match="cannot teach: the data has the class 'dark'"):
        finetune(splits(), start, tmp_path / "other", recipe, teacher=start)


def test_integers_come_out_as_well(start, tmp_path):
    recipe = changed(epochs=1, rounding_epochs=1)
    made = finetune(splits(12), start, tmp_path / "out", recipe, qat=WeightOnly(8))
    path, result = made.integers
    session = Session(path)
    assert session.labels == NAMES
    assert result.count == 9
    assert from_pretrained(tmp_path / "out").labels == NAMES
    assert json.loads((tmp_path / "out" / "report.json").read_text())["integers"]["file"] == path.name


def test_arguments_of_the_trainer_pass_through(start, tmp_path):
    changes = Augmentation(rand_augment=1, mixup=0.2)
    recipe = changed(epochs=1, multi_scale=True, augmentation=changes)
    given = {"gradient_checkpointing": True, "bf16": True, "gradient_accumulation_steps": 2}
    made = finetune(splits(), start, tmp_path / "out", recipe, arguments=given)
    assert made.evaluation.count == 9
    with pytest.raises(ValueError, match="TrainingArguments has no field 'speed'"):
        finetune(splits(), start, tmp_path / "no", recipe, arguments={"speed": 3})
    with pytest.raises(ValueError, match="num_train_epochs is decided by the recipe"):
        finetune(splits(), start, tmp_path / "no", recipe, arguments={"num_train_epochs": 3})


def test_two_processes_learn_what_one_learns(folder, start, tmp_path):
    results = []
    for processes in (1, 2):
        output = tmp_path / str(processes)
        launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", "29561"]
        options = [
            "finetune",
            str(folder),
            "--model",
            str(start),
            "-o",
            str(output),
            "--size",
            "32",
            "--json",
        ]
        options += ["--epochs", "2", "--batch", str(8 // processes), "--cutmix", "1", "--set", "use_cpu=true"]
        command = [sys.executable, *launch, "-m", "mobilevit_fast", *options]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    one, two = ([entry["loss"] for entry in result["history"] if "loss" in entry] for result in results)
    assert len(one) == 6
    assert one == pytest.approx(two, rel=1e-3)
    first, second = (load_checkpoint(tmp_path / str(processes)).tensors for processes in (1, 2))
    for name in ("stem.conv.weight", "stages.3.1.fuse.norm.running_var", "classifier.weight"):
        np.testing.assert_allclose(first[name], second[name], rtol=0.02, atol=1e-3)


# ---- mistakes


def test_one_class_is_not_enough(start, tmp_path):
    data = Dataset([picture(0, 1), picture(0, 2)], np.array([1, 1]), NAMES, "the data")
    with pytest.raises(ValueError, match="the data has images of one class only, 'light'"):
        finetune(data, start, tmp_path / "out", SMALL)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_labels_outside_the_classes_are_named(wrong):
    data = Dataset([picture(0, index) for index in range(3)], np.array([0, wrong, 1]), NAMES, "the data")
    with pytest.raises(
        ValueError, match=f"1 labels of the data are outside 0 to 2, the first {wrong} at image 1"
    ):
        prepare_images(data, SMALL)


def test_images_that_cannot_be_read_are_skipped_or_refused():
    whole = splits().training
    images = [*whole.images[:-1], b"not an image"]
    data = Dataset(images, whole.labels, NAMES, "the data")
    prepared = prepare_images(data, SMALL)
    assert len(prepared.training.images) + len(prepared.validation.images) == len(images) - 1
    assert prepared.notes[0].startswith("skipped: 1 of the 24 images of the data cannot be read: number 23")
    with pytest.raises(ValueError, match=r"1 of the 24 images .* repair or remove them"):
        prepare_images(data, Recipe(bad_images="refuse"))
    data = Dataset([picture(0, 1), picture(0, 2), b"bad"], np.array([0, 0, 1]), NAMES, "the data")
    with pytest.raises(ValueError, match="no image of class 'light' can be read"):
        prepare_images(data, SMALL)


def test_a_full_disk_is_told_as_such(start, tmp_path, monkeypatch):
    from mobilevit_fast.train import disk

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"no space left on the device .* checkpoints need") as caught:
        finetune(splits(), start, tmp_path / "out", SMALL)
    assert caught.value.errno == 28
    free = iter([1e12, 1000, 1000])
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: usage._replace(free=next(free)))

    def fail(*arguments, **options):
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space left on the device"):
        finetune(splits(), start, tmp_path / "other", SMALL)


def test_the_classifier_is_kept_where_the_classes_are_the_same(tmp_path):
    model = create_model("mobilevit_xxs", num_classes=3)
    model.labels = ("Light", "red", "dark")
    model.save_pretrained(tmp_path / "model")
    found, order, notes = prepare_model(tmp_path / "model", NAMES, SMALL)
    assert found.labels == ("Light", "red", "dark")
    assert order == [2, 0, 1]
    assert notes == ("the classifier of 3 classes is kept",)
    torch.testing.assert_close(found.classifier.weight, model.classifier.weight)


def test_random_weights_of_a_variant(tmp_path):
    model, _, notes = prepare_model("mobilevit_xxs", NAMES, Recipe(from_scratch=True, size=64))
    assert (model.config.name, model.config.image_size, notes) == ("mobilevit_xxs", 64, ("random weights",))
    with pytest.raises(ValueError, match="is a model without weights"):
        prepare_model("mobilevit_xxs", NAMES, SMALL)

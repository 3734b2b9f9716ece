"""The module in transformers' Trainer, in accelerate and in a bare loop."""

import copy
import dataclasses
import json

import pytest
import torch
from torch.nn import functional

from mobilevit_fast import create_model, get_config, optimize
from mobilevit_fast.benchmark.random_weights import random_images, random_tensors
from mobilevit_fast.model import blocks
from mobilevit_fast.weights import to_transformers
from mobilevit_fast.weights.configs import config_to_transformers

pytest.importorskip("accelerate")
CLASSES = 5


class Examples(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"pixel_values": self.images[index], "labels": index % CLASSES}


@pytest.fixture(scope="module")
def examples():
    return Examples(torch.from_numpy(random_images(40, 32, 32)))


def make_model(seed=0):
    model = create_model("mobilevit_xxs", num_classes=CLASSES)
    tensors = random_tensors(get_config("mobilevit_xxs", num_classes=CLASSES), seed)
    model.load_state_dict({name: torch.tensor(array) for name, array in tensors.items()}, strict=False)
    return model


def make_trainer(model, examples, folder, **arguments):
    from transformers import Trainer, TrainingArguments

    settings = {"per_device_train_batch_size": 8, "save_strategy": "no", "logging_steps": 1, **arguments}
    arguments = TrainingArguments(folder, use_cpu=True, report_to=[], disable_tqdm=True, **settings)
    return Trainer(model=model, args=arguments, train_dataset=examples, eval_dataset=examples)


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_fifty_steps_lose_what_transformers_own_model_loses(tmp_path):
    # Images and steps of a size at which rounding stays rounding: batch norm over a few values and long
    # steps would make a difference of it.
    examples = Examples(torch.from_numpy(random_images(40, 64, 64)))
    from transformers import MobileViTConfig, MobileViTForImageClassification

    ours = make_model()
    theirs = MobileViTForImageClassification(
        MobileViTConfig(
            **config_to_transformers(ours.config, ours.labels),
            hidden_dropout_prob=0.0,
            classifier_dropout_prob=0.0,
        )
    )
    state = to_transformers(ours.checkpoint().tensors, ours.config)
    theirs.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    curves = []
    for name, model in (("ours", ours), ("theirs", theirs)):
        trainer = make_trainer(
            model,
            examples,
            tmp_path / name,
            max_steps=50,
            learning_rate=3e-4,
            seed=3,
            lr_scheduler_type="cosine",
        )
        trainer.train()
        curves.append(torch.tensor(losses(trainer)))
    assert len(curves[0]) == 50
    assert curves[0][-1] < 0.5 * curves[0][0]
    torch.testing.assert_close(curves[0], curves[1], rtol=1e-3, atol=0)


def test_the_trainer_saves_resumes_and_evaluates(examples, tmp_path):
    settings = {
        "num_train_epochs": 2,
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
        "label_smoothing_factor": 0.1,
    }
    whole = make_trainer(make_model(), examples, tmp_path / "whole", **settings)
    whole.train()
    broken = make_trainer(make_model(1), examples, tmp_path / "broken", **settings)
    broken.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-5"))
    assert losses(broken) == pytest.approx(losses(whole), rel=1e-4)
    assert broken.evaluate()["eval_loss"] == pytest.approx(whole.evaluate()["eval_loss"], rel=1e-3)
    answer = whole.predict(examples)
    assert answer.predictions.shape == (40, CLASSES)
    assert answer.label_ids.tolist() == [index % CLASSES for index in range(40)]
    unlabelled = [{"pixel_values": image} for image in examples.images[:9]]
    assert whole.predict(unlabelled).predictions.shape == (9, CLASSES)


def test_arguments_of_the_trainer_pass_through(examples, tmp_path):
    from transformers import TrainingArguments

    model = make_model()
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    name = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    settings = {name: True, "bf16": True, "gradient_accumulation_steps": 2, "max_steps": 2}
    trainer = make_trainer(model, examples, tmp_path, **settings)
    trainer.train()
    assert model.is_gradient_checkpointing
    assert all(torch.isfinite(torch.tensor(losses(trainer))))


def test_under_autocast_inverted_residuals_stay_in_their_float32_kernels(examples, monkeypatch):
    fused = blocks.ops.trained_inverted_residual
    dtypes = []

    def spy(x, *layers, **settings):
        output, statistics = fused(x, *layers, **settings)
        dtypes.append(output.dtype)
        return output, statistics

    monkeypatch.setattr(blocks.ops, "trained_inverted_residual", spy)
    gradients = []
    for enabled in (True, False):
        model = make_model().train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = model(examples.images[:16], labels=torch.arange(16) % CLASSES)["loss"]
        loss.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert dtypes == 2 * 7 * [torch.float32]
    assert functional.cosine_similarity(*gradients, dim=0) > 0.95


def test_the_optimised_module_trains_too(examples, tmp_path):
    model = optimize(make_model().eval())
    trainer = make_trainer(model, examples, tmp_path, max_steps=2)
    trainer.train()
    expected = make_trainer(make_model(), examples, tmp_path, max_steps=2)
    expected.train()
    assert losses(trainer) == pytest.approx(losses(expected), rel=1e-5)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected.evaluate()["eval_loss"], rel=1e-3)


def test_accelerate_and_a_bare_loop_train_alike(examples):
    from accelerate import Accelerator

    batches = [(examples.images[start : start + 8], torch.arange(8) % CLASSES) for start in (0, 8, 16)]
    results = []
    for accelerator in (None, Accelerator(cpu=True)):
        model = make_model().train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        if accelerator:
            model, optimizer = accelerator.prepare(model, optimizer)
        for images, labels in batches:
            loss = model(images, labels=labels)["loss"]
            optimizer.zero_grad()
            accelerator.backward(loss) if accelerator else loss.backward()
            optimizer.step()
        results.append(loss.item())
    assert results[0] == pytest.approx(results[1], rel=1e-5)


def test_images_given_by_name_are_answered_by_name(examples):
    model = make_model().eval()
    answer = model(pixel_values=examples.images[:1])
    assert list(answer) == ["logits"]
    assert answer["logits"].equal(model(examples.images[:1]))


def test_labels_may_be_shares_of_the_classes(examples):
    model = make_model().eval()
    labels = torch.tensor([0, 3, 1, 4])
    answer = model(examples.images[:4], labels=labels)
    assert answer["logits"].equal(model(examples.images[:4]))
    assert answer["loss"].item() == pytest.approx(functional.cross_entropy(answer["logits"], labels).item())
    shares = functional.one_hot(labels, CLASSES).float()
    assert model(examples.images[:4], labels=shares)["loss"].item() == pytest.approx(answer["loss"].item())


@pytest.mark.parametrize("every", [1, 3])
def test_blocks_computed_again_give_the_same_gradients_and_statistics(examples, every):
    plain = make_model().train()
    saving = copy.deepcopy(plain)
    saving.gradient_checkpointing_enable(every_n_layers=every)
    kept = []
    for model in (plain, saving):
        held = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, held=held: held.append(t) or t, lambda t: t):
            loss = model(examples.images[:8], labels=torch.arange(8) % CLASSES)["loss"]
        kept.append(sum(tensor.numel() for tensor in held))
        loss.backward()
    for (name, ours), theirs in zip(saving.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6, msg=name)
    for (name, ours), theirs in zip(saving.named_buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
    assert kept[1] < kept[0]
    saving.gradient_checkpointing_disable()
    assert not saving.is_gradient_checkpointing


def test_mistakes_of_checkpointing_are_named():
    model = make_model()
    with pytest.raises(ValueError, match="every_n_layers must be a whole number from 1, got 0"):
        model.gradient_checkpointing_enable(every_n_layers=0)
    with pytest.raises(ValueError, match="offload=True is not supported"):
        model.activation_checkpointing_enable(offload=True)


def test_the_config_is_the_variant_and_takes_notes():
    model = make_model()
    plain = get_config("mobilevit_xxs", num_classes=CLASSES)
    assert model.config == plain
    assert plain == model.config
    assert hash(model.config) == hash(plain)
    assert type(model.checkpoint().config) is type(plain)
    model.config.use_cache = False
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.config.num_classes = 3
    described = json.loads(model.config.to_json_string())
    assert described["model_type"] == "mobilevit"
    assert described["id2label"]["4"] == "LABEL_4"
    assert copy.deepcopy(model).config == plain

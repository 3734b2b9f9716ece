"""A student learns from a teacher."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mobilevit_fast import create_model, prepare_qat
from mobilevit_fast.benchmark.random_weights import random_images
from mobilevit_fast.train.distillation import (
    DistillationLoss,
    DistillationMixin,
    FeatureLoss,
    forward_stages,
)

CLASSES = 5


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(random_images(8, 64, 64))


@pytest.fixture(scope="module")
def teacher():
    torch.manual_seed(1)
    return create_model("mobilevit_xs", num_classes=CLASSES).eval()


@pytest.fixture
def student():
    torch.manual_seed(2)
    return create_model("mobilevit_xxs", num_classes=CLASSES)


def test_logits_are_compared_at_a_temperature():
    ours, theirs = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3])
    p, q = (theirs / 3).softmax(1), (ours / 3).softmax(1)
    soft = 9 * (p * (p / q).log()).sum(1).mean()
    hard = functional.cross_entropy(ours, labels)
    assert DistillationLoss(3.0, 0.7)(ours, theirs).item() == pytest.approx(soft.item(), rel=1e-4)
    both = DistillationLoss(3.0, 0.7)(ours, theirs, labels).item()
    assert both == pytest.approx((0.7 * soft + 0.3 * hard).item(), rel=1e-4)
    assert DistillationLoss()(theirs, theirs).item() == pytest.approx(0, abs=1e-6)


def test_no_gradient_reaches_the_teacher():
    ours, theirs = (torch.randn(3, 4, requires_grad=True) for _ in range(2))
    DistillationLoss()(ours, theirs).backward()
    assert ours.grad.abs().sum() > 0
    assert theirs.grad is None


def test_features_of_other_channels_and_sizes_are_compared():
    loss = FeatureLoss([4, 6], [4, 8])
    maps = [torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4)]
    wanted = [maps[0].clone(), torch.randn(2, 8, 6, 6)]
    assert [type(projection) for projection in loss.projections] == [nn.Identity, nn.Conv2d]
    assert loss(maps[:1] + maps[1:], wanted) > 0
    assert FeatureLoss([4], [4])(maps[:1], wanted[:1]) == 0


def test_every_kind_of_model_gives_five_maps(student, teacher, images, request):
    channels = [16, 24, 48, 64, 80]
    logits, maps = forward_stages(student.eval(), images)
    assert [m.shape[1] for m in maps] == channels
    torch.testing.assert_close(logits, student(images))
    quantised = prepare_qat(student, calibration=images.repeat(4, 1, 1, 1)).eval()
    logits, maps = forward_stages(quantised, images)
    assert [m.shape[1] for m in maps] == channels
    assert logits.shape == (8, CLASSES)


def test_models_of_transformers_give_five_maps(images):
    transformers = pytest.importorskip("transformers")
    config = transformers.MobileViTConfig(num_labels=CLASSES)
    logits, maps = forward_stages(transformers.MobileViTForImageClassification(config).eval(), images)
    assert logits.shape == (8, CLASSES)
    assert [m.shape[1] for m in maps] == list(config.neck_hidden_sizes[1:6])


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="temperature must be above 0 and soft 0 to 1, got 0 and"):
        DistillationLoss(0)
    with pytest.raises(ValueError, match="student and teacher must have the same classes"):
        DistillationLoss()(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(TypeError, match="a Linear has no stages to take maps from"):
        forward_stages(nn.Linear(2, 2), torch.zeros(1, 2))


class Examples(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"pixel_values": self.images[index], "labels": index % CLASSES}


def test_the_trainer_trains_a_quantised_student_on_a_float_teacher(student, teacher, images, tmp_path):
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    class DistillingTrainer(DistillationMixin, Trainer):
        pass

    qat = prepare_qat(student, calibration=images.repeat(4, 1, 1, 1))
    before = {name: parameter.detach().clone() for name, parameter in qat.named_parameters()}
    arguments = TrainingArguments(
        tmp_path, max_steps=2, per_device_train_batch_size=4, use_cpu=True, report_to=[], save_strategy="no"
    )
    features = FeatureLoss([16, 24, 48, 64, 80], [32, 48, 64, 80, 96])
    projection = features.projections[0].weight.detach().clone()
    trainer = DistillingTrainer(
        model=qat, args=arguments, train_dataset=Examples(images), teacher=teacher, features=features
    )
    trainer.train()
    moved = [name for name, p in qat.named_parameters() if not torch.equal(p, before[name])]
    assert len(moved) > 0.9 * len(before)
    assert not torch.equal(features.projections[0].weight, projection)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())

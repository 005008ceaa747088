"""The loss by hand, what it learns from, and that a training learns, saves and resumes exactly."""

import pickle
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict
from functools import partial
from math import inf, log, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.optim import SGD, AdamW
from torch.utils.data import DataLoader

from visiontasks.errors import InputError
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.heads import LinearHead, MLPHead
from visiontasks.library_internals import cpu_has_bfloat16
from visiontasks.ops import depthwise
from visiontasks.tasks import ClassificationTask, Constant, Cosine, OneCycle, Plateau, Schedule, Step
from visiontasks.tasks.calibration import Calibration
from visiontasks.tasks.classification import MOST_CLASSES

Batch = dict[str, Tensor]
MakeBatch = Callable[..., Batch]
Fit = Callable[..., Trainer]
Saves = Callable[..., Callback]

pytestmark = [
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before:UserWarning"),
    pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training:UserWarning"),
]


def make_task(num_classes: int, backbone: str = "resnet20_cifar", **options: Any) -> ClassificationTask:
    torch.manual_seed(0)
    return ClassificationTask(backbone, weights="none", num_classes=num_classes, **options)


class Fixed(nn.Module):
    """The same logits for every image, the log of these probabilities."""

    def __init__(self, in_features: int, num_classes: int, probabilities: list[float]) -> None:
        super().__init__()
        assert len(probabilities) == num_classes
        self.logits = nn.Parameter(torch.tensor(probabilities).log())

    def forward(self, feature: Tensor) -> Tensor:
        return self.logits.expand(len(feature), -1)


THREE_TO_ONE = partial(Fixed, probabilities=[0.75, 0.25])


@pytest.mark.parametrize("head", [LinearHead, MLPHead])
@pytest.mark.parametrize("num_classes", [3, 10])
def test_first_loss_is_ln_k(head: Any, num_classes: int, make_batch: MakeBatch) -> None:
    task = make_task(num_classes, head=head)
    batch = make_batch(7, num_classes)
    assert task.training_loss(batch).item() == pytest.approx(log(num_classes), abs=1e-5)
    task.validation_step(batch, 0)
    assert task.compute_metrics("val")["loss"].item() == pytest.approx(log(num_classes), abs=1e-5)


def test_the_head_gets_the_width_of_the_backbone_and_the_number_of_classes() -> None:
    asked: list[tuple[int, int]] = []

    def head(in_features: int, num_classes: int) -> nn.Module:
        asked.append((in_features, num_classes))
        return LinearHead(in_features, num_classes)

    make_task(3, head=head)
    assert asked == [(64, 3)]


@pytest.mark.parametrize(
    ("options", "loss"),
    [
        ({}, (-log(0.75) - log(0.25) - log(0.25)) / 3),
        # targets (0.9, 0.1) and twice (0.1, 0.9)
        ({"label_smoothing": 0.2}, (-1.1 * log(0.75) - 1.9 * log(0.25)) / 3),
        ({"class_weights": [1.0, 4.0]}, (-log(0.75) - 8 * log(0.25)) / 9),
        ({"class_weights": (1, 4)}, (-log(0.75) - 8 * log(0.25)) / 9),
    ],
)
def test_training_loss_by_hand_and_plain_cross_entropy_in_validation(
    options: dict[str, Any], loss: float, make_batch: MakeBatch
) -> None:
    task = make_task(2, head=THREE_TO_ONE, **options)
    batch = make_batch(3, 2) | {"label": torch.tensor([0, 1, 1])}
    assert task.training_loss(batch).item() == pytest.approx(loss, abs=1e-6)
    for split, step in (("val", task.validation_step), ("test", task.test_step)):
        step(batch, 0)
        plain = (-log(0.75) - 2 * log(0.25)) / 3
        assert task.compute_metrics(split)["loss"].item() == pytest.approx(plain, abs=1e-6)


def test_balanced_weights_are_n_over_k_n_k(make_batch: MakeBatch, fit: Fit) -> None:
    task = make_task(2, head=THREE_TO_ONE, class_weights="balanced")
    task.balance([30, 10])
    assert task.class_weights().tolist() == pytest.approx([40 / 60, 40 / 20])
    root = make_task(2, class_weights="sqrt_balanced")
    root.balance([30, 10])
    assert root.class_weights().tolist() == pytest.approx([(40 / 60) ** 0.5, 2**0.5])
    batch = make_batch(2, 2)
    expected = (-2 / 3 * log(0.75) - 2 * log(0.25)) / (2 / 3 + 2)
    assert task.training_loss(batch).item() == pytest.approx(expected, abs=1e-6)
    assert fit(task, [batch], FinetuneSchedule(unfreeze="never")).global_step == 1


def test_balanced_weights_without_counts_are_refused_before_training(make_batch: MakeBatch, fit: Fit) -> None:
    with pytest.raises(InputError, match=r"call task.balance\(data.class_counts\) first"):
        fit(make_task(2, class_weights="balanced"), [make_batch(2, 2)])


@pytest.mark.parametrize("counts", [[30], [30, 0], [30, 10, 5], [30, -1]])
def test_counts_that_cannot_be_balanced_are_refused(counts: list[int]) -> None:
    with pytest.raises(InputError, match="need 2 counts above 0, got"):
        make_task(2, class_weights="balanced").balance(counts)


@pytest.mark.parametrize("options", [{"mixup_alpha": 1.0}, {"cutmix_alpha": 1.0}, {"mixup_alpha": 0.2}], ids=str)
def test_mixing_joins_each_image_and_label_with_the_one_before_in_the_same_share(options: dict[str, float]) -> None:
    probabilities = [0.1, 0.2, 0.3, 0.4]
    task = make_task(4, head=partial(Fixed, probabilities=probabilities), **options)
    inputs: list[Tensor] = []
    task.backbone.register_forward_pre_hook(lambda net, args: inputs.append(args[0]))
    pixels = torch.tensor([10, 50, 100, 200], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 16, 16)
    label = torch.tensor([0, 1, 2, 3])
    loss = task.training_loss({"image": pixels, "label": label, "index": label}).item()
    own, before = task.normalize(pixels), task.normalize(pixels).roll(1, dims=0)
    shares = (inputs[0] - before) / (own - before)
    share = shares.mean().item()
    assert 0 < share < 1
    torch.testing.assert_close(shares.mean(dim=(1, 2, 3)), torch.full((4,), share), rtol=0, atol=1e-4)
    is_cut = shares.isclose(shares.round(), atol=1e-4).all().item()
    assert is_cut == ("cutmix_alpha" in options)
    assert is_cut or shares.isclose(torch.tensor(share), atol=1e-4).all()
    expected = -sum(share * log(probabilities[k]) + (1 - share) * log(probabilities[k - 1]) for k in range(4)) / 4
    assert loss == pytest.approx(expected, abs=1e-4)


def test_with_both_mixings_each_batch_takes_one_of_the_two() -> None:
    task = make_task(2, mixup_alpha=1.0, cutmix_alpha=1.0)
    image = torch.stack([torch.zeros(1, 16, 16), torch.ones(1, 16, 16)])
    kinds = set()
    for _ in range(20):
        mixed, target = task.mix(image, torch.tensor([0, 1]))
        torch.testing.assert_close(target.sum(dim=1), torch.ones(2))
        kinds.add(bool(mixed.isclose(mixed.round()).all()))
    assert kinds == {True, False}


def test_one_image_mixed_with_itself_stays_as_it_is(make_batch: MakeBatch) -> None:
    task = make_task(2, head=THREE_TO_ONE, mixup_alpha=1.0)
    assert task.training_loss(make_batch(1, 2)).item() == pytest.approx(-log(0.75), abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "at least 2 classes, got num_classes=1"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"mixup_alpha": -1}, "mixup_alpha and cutmix_alpha must be >= 0, got -1"),
        ({"cutmix_alpha": nan}, "cutmix_alpha"),
        ({"class_weights": [1.0]}, '"balanced", "sqrt_balanced" or 2 values above 0, one for each class'),
        ({"class_weights": [1.0, 0.0]}, r"class_weights must .*, got \[1.0, 0.0\]"),
        ({"class_weights": [1.0, inf]}, "class_weights"),
        ({"class_weights": "balance"}, "class_weights must .*, got 'balance'"),
        ({"in_chans": 2}, "in_chans must be 1 or 3, got 2"),
        ({"ema_decay": 1}, "ema_decay"),
        ({"backbone": "resnet20_cifr"}, "resnet20_cifar"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_task(**{"num_classes": 2} | options)


@pytest.mark.parametrize("num_stages", [0, 1, 3])
def test_gradients_reach_what_is_trained_and_nothing_else(num_stages: int, make_batch: MakeBatch) -> None:
    task = make_task(3)
    nn.init.normal_(task.head.linear.weight)  # at zero nothing flows back
    frozen = [task.backbone.conv1, task.backbone.bn1, task.backbone.layer1, task.backbone.layer2, task.backbone.layer3]
    for module in frozen[: {0: 5, 1: 4, 3: 0}[num_stages]]:
        module.requires_grad_(False)
    task.training_loss(make_batch(4, 3, side_px=16)).backward()
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None, name
    assert sum(p.requires_grad for p in task.parameters()) > 0


@pytest.mark.parametrize(
    "optimizer",
    [partial(SGD, lr=0.05, momentum=0.9), lambda groups: AdamW(groups, lr=3e-3)],
    ids=["SGD", "AdamW"],
)
def test_eight_images_are_learned_by_heart(optimizer: Any, make_batch: MakeBatch, fit: Fit) -> None:
    task = make_task(8, optimizer=optimizer, schedule=Constant())
    batch = make_batch(8, 8)
    trainer = fit(task, [batch] * 30, val=[batch])
    assert trainer.callback_metrics["val/top1"] == 1
    assert trainer.callback_metrics["val/n"] == 8
    assert trainer.callback_metrics["val/loss"] < 0.1
    assert trainer.test(task, DataLoader([batch], batch_size=None), verbose=False)[0]["test/top1"] == 1


def test_a_grey_network_trains_on_the_mean_of_the_channels(make_batch: MakeBatch, fit: Fit) -> None:
    task = make_task(3, "lenet5", in_chans=1, optimizer=partial(AdamW, lr=3e-3), schedule=Constant())
    batch = make_batch(3, 3, side_px=32)
    assert fit(task, [batch] * 30, val=[batch]).callback_metrics["val/top1"] == 1
    swapped = batch | {"image": batch["image"].flip(1)}
    task.eval()
    assert task(task.normalize(batch["image"])).equal(task(task.normalize(swapped["image"])))


@pytest.mark.parametrize("options", [{"class_weights": [1.0, 2.0, 3.0]}, {"mixup_alpha": 0.2}], ids=str)
def test_bfloat16_throughout_trains(options: dict[str, Any], make_batch: MakeBatch, fit: Fit) -> None:
    task = make_task(3, **options)
    fit(task, [make_batch(4, 3)], precision="bf16-true")
    assert task.head.linear.weight.dtype == torch.bfloat16
    assert task.head.linear.weight.abs().sum() > 0


def test_a_checkpoint_loads_without_unpickling_and_gives_the_same_output(
    make_batch: MakeBatch, fit: Fit, saves: Saves, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"ema_decay": 0.9, "label_smoothing": 0.1, "class_weights": [1.0, 2.0, 3.0]}
    task, batch = make_task(3, **options), make_batch(4, 3)
    fit(task, [batch] * 2, saves(tmp_path, "epoch1"))
    loaded = make_task(3, **options)
    loaded.load_state_dict(torch.load(tmp_path / "epoch1.ckpt", weights_only=True)["state_dict"])
    image = task.normalize(batch["image"])
    assert task.eval()(image).equal(loaded.eval()(image))
    assert not task(image).equal(make_task(3).eval()(image))


@pytest.mark.parametrize(
    "schedule",
    [Cosine(warmup_epochs=0.5), OneCycle(), Step([1, 2]), Plateau(patience_epochs=0)],
    ids=lambda schedule: type(schedule).__name__,
)
def test_a_resume_after_the_unfreeze_is_exact_with_everything_random_in_use(
    schedule: Schedule, make_batch: MakeBatch, fit: Fit, saves: Saves, tmp_path: Path
) -> None:
    def make() -> ClassificationTask:
        return make_task(
            3,
            head=partial(MLPHead, hidden_features=[8], dropout=0.5),
            optimizer=partial(SGD, lr=0.5, momentum=0.9, weight_decay=0.01),
            schedule=schedule,
            mixup_alpha=0.4,
            cutmix_alpha=1.0,
            ema_decay=0.5,
        )

    batches, places = [make_batch(4, 3)] * 2, ("epoch1", "step3", "epoch3")
    whole = make()
    freeze = FinetuneSchedule(1, unfreeze="stages")
    trainer = fit(whole, batches, saves(tmp_path, *places), freeze, epochs=4)
    before = torch.load(tmp_path / "epoch3.ckpt", weights_only=True)["state_dict"]
    changed = {name.split(".")[1] for name, tensor in whole.state_dict().items() if not tensor.equal(before[name])}
    assert changed == {"conv1", "bn1", "layer1", "layer2", "layer3", "hidden", "classifier"}
    for place in places:
        resumed = make()
        resumed_trainer = fit(resumed, batches, freeze, epochs=4, ckpt_path=tmp_path / f"{place}.ckpt")
        assert [n for n, tensor in whole.state_dict().items() if not tensor.equal(resumed.state_dict()[n])] == [], place
        rates = [engine.optimizers[0].param_groups[0]["lr"] for engine in (trainer, resumed_trainer)]
        assert rates[0] == rates[1], place


def test_a_validation_starts_from_nothing_also_after_an_interrupted_one(make_batch: MakeBatch, fit: Fit) -> None:
    task, batch = make_task(3), make_batch(4, 3)
    task.validation_step(batch, 0)
    task.test_step(batch, 0)
    trainer = fit(task, [batch], val=[batch, make_batch(1, 3)])
    assert trainer.callback_metrics["val/n"] == 5
    for _ in range(2):
        assert trainer.test(task, DataLoader([batch], batch_size=None), verbose=False)[0]["test/n"] == 4


def test_splits_are_counted_apart(make_batch: MakeBatch) -> None:
    task = make_task(3)
    for step, size in ((task.validation_step, 4), (task.test_step, 1), (task.validation_step, 2)):
        step(make_batch(size, 3), 0)
    assert [task.compute_metrics(split)["n"] for split in ("val", "test")] == [6, 1]


def test_the_default_task_can_be_copied_and_sent_to_other_processes() -> None:
    task = make_task(3)
    for copy in (deepcopy(task), pickle.loads(pickle.dumps(task))):
        assert asdict(copy.schedule) == asdict(task.schedule) == asdict(Cosine())
        assert copy.state_dict().keys() == task.state_dict().keys()


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:It is recommended to use `self.log:UserWarning")
def test_losses_and_metrics_are_over_the_samples_of_all_processes(make_batch: MakeBatch, fit: Fit) -> None:
    task = make_task(2, head=THREE_TO_ONE, optimizer=partial(SGD, lr=0.0))
    task.on_fit_start = lambda: torch.set_num_threads(1)  # a forked process has none of the parent's threads
    batches = [make_batch(3, 2), make_batch(1, 2)]  # labels 0 1 0, and 0: one batch for each process
    trainer = fit(task, batches, val=batches, devices=2, strategy="ddp_fork")
    assert trainer.world_size == 2
    loss = pytest.approx((-3 * log(0.75) - log(0.25)) / 4, abs=1e-6)
    found = {name: value.item() for name, value in trainer.callback_metrics.items()}
    assert found["train/loss"] == found["val/loss"] == loss
    assert (found["val/n"], found["val/top1"]) == (4, 0.75)


class Given(nn.Module):
    """The first of these logits, one row for each image."""

    def __init__(self, in_features: int, num_classes: int, logits: list[list[float]]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, feature: Tensor) -> Tensor:
        return self.logits[: len(feature)]


def test_the_table_of_samples_has_what_was_predicted(make_batch: MakeBatch) -> None:
    logits = [[log(0.75), log(0.25)], [log(0.6), log(0.4)], [0.0, nan]]
    task = make_task(2, head=partial(Given, logits=logits)).eval()
    task.validation_step(make_batch(3, 2), 0)  # labels 0, 1, 0
    table = task.sample_table("val")
    assert table["predicted"].tolist() == [0, 0, -1]
    assert table["score"].tolist() == pytest.approx([0.75, 0.4, nan], nan_ok=True)
    assert table["probability"].tolist() == pytest.approx([0.75, 0.6, nan], nan_ok=True)
    right = (table["predicted"] == torch.tensor([0, 1, 0])).float().mean()
    assert task.compute_metrics("val")["top1"] == right


def test_the_table_of_one_sample_still_has_a_row(make_batch: MakeBatch) -> None:
    task = make_task(2).eval()
    task.validation_step(make_batch(1, 2), 0)
    found = {name: tuple(values.shape) for name, values in task.sample_table("val").items()}
    assert found == dict.fromkeys(("index", "label", "predicted", "probability", "score"), (1,))


def gradients_in_bfloat16(batch: Batch) -> dict[str, Tensor]:
    task = make_task(3, "test_efficientnet")
    with torch.autocast("cpu", torch.bfloat16):
        task.training_loss(batch).backward()
    return {name: p.grad for name, p in task.named_parameters() if p.grad is not None}


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="without AVX512_BF16 torch rounds sums to bfloat16 on the way")
def test_a_step_in_bfloat16_takes_the_quick_gradients_of_depthwise_convolutions_which_are_the_same(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, taken = make_batch(4, 3, side_px=96), []
    quick = depthwise.image_gradient
    monkeypatch.setattr(depthwise, "image_gradient", lambda *args: taken.append(args[0].shape) or quick(*args))
    ours = gradients_in_bfloat16(batch)
    assert taken
    monkeypatch.setattr("visiontasks.tasks.base.QuickGradients", nullcontext)
    count = len(taken)
    torchs = gradients_in_bfloat16(batch)
    assert len(taken) == count
    assert ours.keys() == torchs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, torchs[name], rtol=2**-6, atol=2**-6 * float(gradient.abs().max()))


def test_a_vision_transformer_refuses_another_size_as_on_the_command_line() -> None:
    with pytest.raises(InputError, match=r"cannot take images of 30 px \(not a multiple of its patches of 16x16 px\)"):
        ClassificationTask("vit_tiny_patch16_224", weights="none", num_classes=2, image_size=30)
    task = ClassificationTask("vit_tiny_patch16_224", weights="none", num_classes=2)
    batch = {"image": torch.zeros(2, 3, 64, 64, dtype=torch.uint8), "label": torch.tensor([0, 1])}
    with pytest.raises(InputError, match=r"cannot take images of 64 px \(it was built for 224x224\): set data.init_ar"):
        task.training_loss(batch)
    with pytest.raises(InputError, match="cannot take images of 64 px"):
        task.predict(batch)


def test_a_step_folds_layers_that_keep_their_statistics_and_an_evaluation_does_not(
    make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, batch = make_task(3, "test_resnet").train(), make_batch(4, 3, side_px=64)
    for module in task.backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    found = []
    layer = torch.batch_norm
    monkeypatch.setattr(torch, "batch_norm", lambda *args: found.append(args[0].shape) or layer(*args))
    loss = task.training_loss(batch)
    loss.backward()
    first = len(found)
    again = task.training_loss(batch)
    assert again.equal(loss)  # also that of the step in which they were looked for
    assert len(found) == first > 0  # that one pass
    torch.testing.assert_close(loss, task.eval().training_loss(batch))
    assert len(found) > first


def test_the_temperature_of_the_validated_weights_is_in_their_checkpoint(
    make_batch: MakeBatch, fit: Fit, saves: Saves, tmp_path: Path
) -> None:
    task, batch = make_task(2, head=THREE_TO_ONE), make_batch(40, 2)
    fit(task, [batch], saves(tmp_path, "epoch1"), val=[batch])
    assert task.calibration is not None
    assert task.calibration.n == 40
    assert task.calibration.temperature > 1  # half of the images are right, not three quarters
    again = ClassificationTask.load_from_checkpoint(tmp_path / "epoch1.ckpt", head=THREE_TO_ONE)
    assert again.calibration is not None
    assert again.calibration.temperature == task.calibration.temperature
    task.eval()
    logits = task.raw_output(batch)
    (first, *_) = task.predict(batch)
    expected = (logits / task.calibration.temperature).softmax(1)[0].detach()
    torch.testing.assert_close(torch.from_numpy(first.class_probability()), expected)


def test_metrics_are_of_the_logits_and_samples_of_the_temperature(make_batch: MakeBatch) -> None:
    """0.75 and 0.25 become 0.9 and 0.1 at T = 1/2; log loss and accuracy stay those of the logits."""
    task, batch = make_task(2, head=THREE_TO_ONE).eval(), make_batch(4, 2)
    task.calibration = Calibration(0.5, torch.linspace(0.1, 0.9, 9))
    task.test_step(batch, 0)
    values = {each.name: each.value for each in task.measured("test")}
    assert values["loss"] == pytest.approx(-(log(0.75) + log(0.25)) / 2)
    assert values["top1"] == 0.5
    table = task.sample_table("test")
    assert table["probability"].tolist() == pytest.approx([0.9] * 4)
    assert set(table) == {"index", "label", "predicted", "probability", "score"}
    found = task.measured_calibration("test")
    assert found is not None
    assert found["after"]["log_loss"] == pytest.approx(-(log(0.9) + log(0.1)) / 2)
    (section,) = task.report_sections("test", ["a", "b"])
    assert section.title == "Temperature and sets of classes"


def test_with_very_many_classes_no_temperature_is_chosen(make_batch: MakeBatch, fit: Fit) -> None:
    task, batch = make_task(MOST_CLASSES + 1, backbone="lenet5", in_chans=3), make_batch(3, 3, side_px=32)
    fit(task, [batch], val=[batch])
    assert task.calibration is None
    assert task.measured_calibration("val") is None

"""Frozen means frozen: what changes although it is frozen, or is not trained although it should be, is an error."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.utils.data import DataLoader

from visiontasks.errors import InputError
from visiontasks.finetuning.freezing import checksum
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.tasks import ClassificationTask
from visiontasks.tasks.base import Batch

STEPS_PER_EPOCH = 2

pytestmark = [
    pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training:UserWarning"),
    pytest.mark.filterwarnings("ignore:It is recommended to use `self.log:UserWarning"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before:UserWarning"),
]


def batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(256, (4, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return {"image": image, "label": torch.tensor([0, 1, 0, 1]), "index": torch.arange(4)}


def make_task(**options: Any) -> ClassificationTask:
    torch.manual_seed(0)
    options = {"optimizer": partial(SGD, lr=0.1, momentum=0.9, weight_decay=0.1), **options}
    return ClassificationTask("resnet20_cifar", weights="none", num_classes=2, **options)


def fit(
    task: LightningModule, schedule: FinetuneSchedule, *callbacks: Callback, epochs: int = 2, **options: Any
) -> Trainer:
    ckpt_path = options.pop("ckpt_path", None)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"enable_checkpointing": False, "accelerator": "cpu", "devices": 1}
    trainer = Trainer(max_epochs=epochs, callbacks=[schedule, *callbacks], **quiet | options)
    batches = [batch(seed) for seed in range(STEPS_PER_EPOCH)]
    loaders = (DataLoader(part, batch_size=None) for part in (batches, batches[:1]))
    trainer.fit(task, *loaders, ckpt_path=ckpt_path)
    return trainer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_checksum_depends_on_every_bit_of_every_type_and_not_on_the_layout(dtype: torch.dtype) -> None:
    tensor = torch.arange(24).view(1, 4, 3, 2).to(dtype)
    assert checksum(tensor) == checksum(tensor.to(memory_format=torch.channels_last))
    assert checksum(tensor[0, 0, 0, 0]) == checksum(tensor[:1, :1, :1, :1])  # a scalar, such as a count of batches
    other = tensor.clone()
    other.view(torch.uint8)[0, 3, 2, -1] ^= 1
    assert checksum(other) != checksum(tensor)


class Edits(Callback):
    """Adds to a tensor after a step, as a hook of somebody else might."""

    def __init__(self, name: str, step: int = 1) -> None:
        self.name = name
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step == self.step:
            owner, _, name = self.name.rpartition(".")
            getattr(pl_module.get_submodule(owner), name).data.add_(1e-3 if name == "weight" else 1)


@pytest.mark.parametrize("name", ["conv1.weight", "bn1.running_mean", "bn1.num_batches_tracked"])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_callback_that_edits_what_is_frozen_is_an_error_with_the_tensors_name(name: str, ema_decay: float) -> None:
    message = f"1 frozen tensors changed by the end of epoch 1: backbone.{name}. "
    with pytest.raises(InputError, match=message):
        fit(make_task(ema_decay=ema_decay), FinetuneSchedule(), Edits(f"backbone.{name}"))


@pytest.mark.parametrize(("options", "step"), [({}, 3), ({"unfreeze": "never"}, 0), ({"last_stages": 1}, 0)])
def test_what_is_trained_or_outside_of_the_backbone_may_be_edited(options: dict[str, Any], step: int) -> None:
    name = "backbone.conv1.weight" if step else "head.linear.weight"
    task = make_task()
    before = task.get_submodule(name.rpartition(".")[0]).weight.clone()
    fit(task, FinetuneSchedule(**options), Edits(name, step or 1))
    assert not task.get_submodule(name.rpartition(".")[0]).weight.equal(before)


class Decaying(SGD):
    """Decays all weights, also those without a gradient."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(0.99)
        return loss


def test_an_optimizer_that_decays_without_a_gradient_is_an_error() -> None:
    with pytest.raises(
        InputError, match=r"frozen tensors changed by the end of epoch 1: backbone.conv1.weight, .* decays"
    ):
        fit(make_task(optimizer=partial(Decaying, lr=0.1)), FinetuneSchedule())


class Counting(nn.BatchNorm2d):
    """Updates its statistics in eval mode too."""

    def forward(self, image: Tensor) -> Tensor:
        self.running_mean.add_(1)
        return super().forward(image)


def test_a_module_that_updates_its_buffer_in_eval_mode_is_an_error() -> None:
    task = make_task()
    task.backbone.layer1[0].bn1.__class__ = Counting
    with pytest.raises(
        InputError, match=r"1 frozen tensors changed by the end of epoch 1: backbone.layer1.0.bn1.running_mean\."
    ):
        fit(task, FinetuneSchedule())


def test_batchnorm_that_is_not_trained_keeps_its_statistics_in_trained_stages_too() -> None:
    fit(make_task(), FinetuneSchedule(0, train_batchnorm=False))
    with pytest.raises(InputError, match=r"changed by the end of epoch 2: backbone.bn1.running_mean\."):
        fit(make_task(), FinetuneSchedule(0, train_batchnorm=False), Edits("backbone.bn1.running_mean", step=3))


@pytest.mark.parametrize(
    "options",
    [
        {"ema_decay": 0.9},
        {"ema_decay": 0.9, "precision": "bf16-true"},
        {"ema_decay": 0.9, "accumulate_grad_batches": 2},
        {"ema_decay": 0.9, "val_check_interval": 1},
    ],
)
@pytest.mark.parametrize("schedule", [{"unfreeze": "stages", "freeze_epochs": 2}, {"unfreeze": "never"}])
def test_averaged_weights_that_are_lent_for_validation_are_no_false_alarm(
    options: dict[str, Any], schedule: dict[str, Any]
) -> None:
    task = make_task(ema_decay=options["ema_decay"])
    trainer = fit(task, FinetuneSchedule(**schedule), epochs=4, **{k: options[k] for k in options if k != "ema_decay"})
    assert trainer.current_epoch == 4


class Saves(Callback):
    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self.step = step

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_change_before_or_after_an_interruption_is_found_after_it(
    step: int, ema_decay: float, tmp_path: Path
) -> None:
    path, edited = tmp_path / "whole.ckpt", tmp_path / "edited.ckpt"
    schedule = partial(FinetuneSchedule, 2)
    make = partial(make_task, ema_decay=ema_decay)
    fit(make(), schedule(), Saves(path, step), epochs=3)
    assert fit(make(), schedule(), epochs=3, ckpt_path=path).current_epoch == 3
    with pytest.raises(InputError, match="changed by the end of epoch 2: backbone.bn1.bias"):
        fit(make(), schedule(), Edits("backbone.bn1.bias", 4), epochs=3, ckpt_path=path)

    content = torch.load(path, weights_only=True)
    for name in {"state_dict", "current_model_state"} & content.keys():
        content[name]["backbone.bn1.bias"] = content[name]["backbone.bn1.bias"] + 1
    torch.save(content, edited)
    with pytest.raises(InputError, match="changed by the end of epoch [12]: backbone.bn1.bias"):
        fit(make(), schedule(), epochs=3, ckpt_path=edited)


def test_a_second_training_compares_with_its_own_start() -> None:
    task, schedule = make_task(), FinetuneSchedule()
    fit(task, schedule)
    assert fit(task, schedule).current_epoch == 2


class WithUnused(ClassificationTask):
    """A part of its backbone has no part in the loss, or a zero one."""

    factor: float | None = None

    def training_loss(self, batch: Batch) -> Tensor:
        loss = super().training_loss(batch)
        return loss if self.factor is None else loss + self.factor * self.backbone.layer3.unused.sum()


def with_unused(factor: float | None) -> WithUnused:
    task = make_task()
    task.__class__ = WithUnused
    task.backbone.layer3.register_parameter("unused", nn.Parameter(torch.ones(2)))
    task.factor = factor
    return task


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}, {"strategy": "ddp_fork", "devices": 2}])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.timeout(60)
def test_a_trainable_parameter_without_gradient_is_an_error(options: dict[str, Any]) -> None:
    # a child process of Lightning's reports the error as a traceback in another
    with pytest.raises(Exception, match="1 trainable parameters got no gradient in epoch 2: backbone.layer3.unused"):
        fit(with_unused(None), FinetuneSchedule(), **options)


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}])
def test_a_gradient_of_zeros_is_a_gradient(options: dict[str, Any]) -> None:
    assert fit(with_unused(0.0), FinetuneSchedule(), **options).current_epoch == 2


class Regroups(Callback):
    """Changes the optimizer's groups in the middle of the training."""

    def __init__(self, change: Callable[[list[dict[str, Any]]], Sequence[Any]]) -> None:
        self.change = change

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 0:
            optimizer: Optimizer = trainer.optimizers[0]
            optimizer.param_groups = list(self.change(optimizer.param_groups))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda groups: groups[1:], "missing: .*'"),
        (lambda groups: [*groups, groups[-1]], "more than once: .*'"),
    ],
)
def test_groups_are_checked_again_when_more_is_trained(change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(make_task(), FinetuneSchedule(), Regroups(change))

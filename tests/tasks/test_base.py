"""Normalization, optimizer, schedule's length, moving average and randomness, in a task whose numbers are simple."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from torchmetrics import Metric

from visiontasks.errors import InputError
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.tasks import Constant, Cosine, Plateau, Schedule, Step, Task
from visiontasks.tasks.metrics.classification import SampleValues

Batch = dict[str, Tensor]
MakeBatch = Callable[..., Batch]
Fit = Callable[..., Trainer]
Saves = Callable[..., Callback]

pytestmark = [
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before:UserWarning"),
    pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training:UserWarning"),
]


class Mean(nn.Module):
    """The mean of each channel, times what starts as 1; a BatchNorm counts batches."""

    def __init__(self, in_chans: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(in_chans))
        self.norm = nn.BatchNorm1d(in_chans)
        self.in_chans = in_chans
        self.pretrained_cfg = {"mean": (0.5, 0.25, 0.0)[:in_chans], "std": (0.5, 0.5, 1.0)[:in_chans]}

    def forward(self, image: Tensor) -> Tensor:
        feature = image.mean(dim=(2, 3))
        self.norm(feature.repeat(2, 1))
        return feature * self.scale


class Last(Metric):
    """The last value it was given, and a vector that must not be logged."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("value", torch.zeros(()))

    def update(self, value: Tensor) -> None:
        self.value = value.clone()

    def compute(self) -> dict[str, Tensor]:
        return {"weight": self.value, "vector": self.value.expand(2)}


class Weight(Task):
    """Its loss is its head's weight times 1 for images of 191.25 = 0.75 * 255; its metric is that weight."""

    monitor = "val/weight"
    monitor_mode = "min"
    score_name = "weight"

    def __init__(self, in_chans: Any = 1, **options: Any) -> None:
        head = nn.Linear(in_chans, 1, bias=False)
        nn.init.ones_(head.weight)
        options = {"optimizer": sgd, "schedule": Constant()} | options
        super().__init__(Mean(in_chans), head, Last(), **options, in_chans=in_chans)

    def training_loss(self, batch: Batch) -> Tensor:
        return self(batch["image"]).mean()

    def update_metrics(self, metrics: Metric, batch: Batch) -> SampleValues:
        metrics.update(self.head.weight.detach().sum())
        return {"score": self.head.weight.detach().sum(1)}

    def predict(self, batch: Batch) -> Batch:
        return {"mean": self(batch["image"])}


def sgd(groups: list[dict[str, Any]]) -> Optimizer:
    return SGD(groups, lr=0.5)


def loader(batches: list[Batch]) -> DataLoader[Batch]:
    return DataLoader(batches, batch_size=None)


ONES: Batch = {"image": torch.ones(1, 1, 2, 2), "index": torch.zeros(1, dtype=torch.int64)}


@pytest.mark.parametrize(
    ("in_chans", "channels"),
    [
        # (51 / 255 - 0.5) / 0.5, (255 / 255 - 0.25) / 0.5, (102 / 255 - 0) / 1
        (3, [-0.6, 1.5, 0.4]),
        # the mean of 51, 255 and 102 is 136
        (1, [(136 / 255 - 0.5) / 0.5]),
    ],
)
def test_pixels_are_normalized_by_the_backbones_own_mean_and_std(in_chans: int, channels: list[float]) -> None:
    image = torch.tensor([51, 255, 102], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 5, 7)
    found = Weight(in_chans).normalize(image)
    assert found.shape == (2, in_chans, 5, 7)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, torch.tensor(channels).view(1, -1, 1, 1).expand_as(found))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_pixels_come_in_the_precision_of_the_task(dtype: torch.dtype) -> None:
    image = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    assert Weight(3).to(dtype).normalize(image).dtype == dtype


@pytest.mark.parametrize("options", [{"in_chans": 2}, {"ema_decay": 1.0}, {"ema_decay": -0.1}, {"ema_decay": 2}])
def test_values_out_of_range_are_refused(options: dict[str, Any]) -> None:
    (key,) = options
    with pytest.raises(InputError, match=f"model.init_args.{key} must be .*, got {options[key]}"):
        Weight(**options)


@pytest.mark.parametrize(
    "optimizer",
    [lambda groups: SGD(groups, lr=0.1, momentum=0.9), lambda groups: AdamW(groups, lr=0.1, weight_decay=0.3)],
    ids=["SGD", "AdamW"],
)
def test_any_optimizer_gets_named_groups_with_their_learning_rates(optimizer: Any, fit: Fit) -> None:
    task = Weight(optimizer=optimizer, backbone_lr_scale=0.25)
    fit(task, [ONES])
    groups = task.optimizers().param_groups
    assert [group["name"] for group in groups] == ["head", "backbone.tail.no_decay"]
    assert [group["initial_lr"] for group in groups] == [0.1, 0.025]
    assert sum(len(group["params"]) for group in groups) == len(list(task.parameters()))
    assert groups[1]["weight_decay"] == 0


class Lengths(Schedule):
    def build(self, optimizer: Optimizer, *, steps_per_epoch: int, num_steps: int) -> dict[str, Any]:
        self.length = (steps_per_epoch, num_steps)
        return {"scheduler": LambdaLR(optimizer, lambda step: 1.0), "interval": "step"}


@pytest.mark.parametrize(
    ("options", "steps_per_epoch", "num_steps"),
    [
        ({"epochs": 3}, 5, 15),
        ({"epochs": 3, "accumulate_grad_batches": 2}, 3, 9),
        ({"epochs": 3, "limit_train_batches": 4}, 4, 12),
        ({"epochs": 3, "max_steps": 7}, 5, 7),
        ({"epochs": 3, "max_steps": 2}, 5, 2),
        ({"epochs": -1, "max_steps": 7}, 5, 7),
        ({"epochs": 3, "fast_dev_run": 1}, 1, 1),
        ({"epochs": 4, "callbacks": [GradientAccumulationScheduler({0: 2, 1: 5, 3: 3})]}, 3, 3 + 1 + 1 + 2),
        ({"epochs": 3, "max_steps": 4, "callbacks": [GradientAccumulationScheduler({1: 2})]}, 5, 4),
        ({"epochs": -1, "max_steps": 9, "callbacks": [GradientAccumulationScheduler({0: 2, 1: 5})]}, 3, 9),
    ],
)
def test_a_schedule_gets_the_steps_of_an_epoch_and_of_the_training(
    options: dict[str, Any], steps_per_epoch: int, num_steps: int, fit: Fit
) -> None:
    schedule = Lengths()
    callbacks = options.get("callbacks", [])
    options = {key: value for key, value in options.items() if key != "callbacks"}
    trainer = fit(Weight(schedule=schedule), [ONES] * 5, *callbacks, **options)
    assert schedule.length == (steps_per_epoch, num_steps)
    assert trainer.global_step == num_steps


@pytest.mark.parametrize("schedule", [Step([1]), Cosine(warmup_epochs=1), Constant(warmup_epochs=0.5)])
def test_a_schedule_in_epochs_is_refused_where_epochs_differ_in_their_steps(schedule: Schedule, fit: Fit) -> None:
    alike = GradientAccumulationScheduler({0: 2, 2: 3})  # 3 batches make 2 steps, then 1 in an epoch that never comes
    fit(Weight(schedule=schedule), [ONES] * 3, alike, epochs=2)
    with pytest.raises(InputError, match=r"epochs of 1 to 2 steps, .*: use trainer\.accumulate_grad_batches"):
        fit(Weight(schedule=schedule), [ONES] * 3, alike, epochs=3)


def test_a_training_without_end_is_refused(fit: Fit) -> None:
    with pytest.raises(InputError, match=r"set trainer.max_epochs or trainer.max_steps"):
        fit(Weight(), [ONES], epochs=-1)


@pytest.mark.parametrize(("epochs", "rate"), [(5, 0.5), (7, 0.05)])
def test_plateau_is_stepped_after_each_validation_of_the_training_only(epochs: int, rate: float, fit: Fit) -> None:
    # Validated after epochs 2, 4 and 6: the first is the best, the second is waited for, the third is too much.
    class Rising(Weight):
        def training_loss(self, batch: Batch) -> Tensor:
            return -super().training_loss(batch)

    schedule = Plateau(factor=0.1, patience_epochs=1, monitor="val/weight")
    task = Rising(schedule=schedule)
    trainer = fit(task, [ONES], epochs=epochs, check_val_every_n_epoch=2, num_sanity_val_steps=1)
    assert task.optimizers().param_groups[0]["lr"] == pytest.approx(rate)
    for _ in range(3):
        trainer.validate(task, loader([ONES]), verbose=False)
    assert task.optimizers().param_groups[0]["lr"] == pytest.approx(rate)


def test_plateau_of_an_unknown_metric_is_refused_before_training(fit: Fit) -> None:
    task = Weight(schedule=Plateau(monitor="val/loss"))
    with pytest.raises(InputError, match="monitor is val/loss, but a validation gives: val/weight"):
        fit(task, [ONES], num_sanity_val_steps=1)
    assert task.head.weight.item() == 1


def load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


class FixedBackbone(Weight):
    """The backbone's scale has no learning rate, so the head's gradient is 1 at every step."""

    def __init__(self, **options: Any) -> None:
        super().__init__(backbone_lr_scale=0.0, **options)


def test_the_moving_average_is_validated_saved_tested_and_kept(fit: Fit, saves: Saves, tmp_path: Path) -> None:
    task = FixedBackbone(ema_decay=0.9)
    trainer = fit(task, [ONES, ONES], saves(tmp_path, "epoch1"))
    # SGD with rate 1/2 from 1: 1/2, 0. The average starts as the first: 1/2, then 0.9 * 1/2 + 0.1 * 0
    assert trainer.callback_metrics["val/weight"] == pytest.approx(0.45)
    saved = load(tmp_path / "epoch1.ckpt")
    assert saved["state_dict"]["head.weight"].item() == pytest.approx(0.45)
    assert saved["state_dict"]["backbone.norm.num_batches_tracked"] == 2
    assert saved["current_model_state"]["head.weight"].item() == 0
    assert task.head.weight.item() == pytest.approx(0.45)
    assert trainer.test(task, loader([ONES]), verbose=False)[0]["test/weight"] == pytest.approx(0.45)


def test_training_goes_on_from_the_weights_and_not_from_their_average(fit: Fit) -> None:
    task = FixedBackbone(ema_decay=0.9)
    trainer = fit(task, [ONES], epochs=3)
    # weights 1/2, 0, -1/2; average 1/2, 0.45, 0.405 - 0.05
    assert trainer.callback_metrics["val/weight"] == pytest.approx(0.355)


@pytest.mark.parametrize("place", ["epoch1", "epoch2", "step3"])
def test_the_moving_average_resumes_to_the_last_bit(place: str, fit: Fit, saves: Saves, tmp_path: Path) -> None:
    whole, resumed = Weight(ema_decay=0.9), Weight(ema_decay=0.9)
    fit(whole, [ONES] * 2, saves(tmp_path, place), epochs=3)
    fit(resumed, [ONES] * 2, epochs=3, ckpt_path=tmp_path / f"{place}.ckpt")
    assert whole.head.weight.item() != 1
    assert [n for n, tensor in whole.state_dict().items() if not tensor.equal(resumed.state_dict()[n])] == []


def test_the_moving_average_leaves_a_frozen_backbone_as_it_is_to_the_last_bit(
    fit: Fit, saves: Saves, tmp_path: Path
) -> None:
    task = Weight(3, ema_decay=0.9)
    for tensor in (*task.backbone.parameters(), task.backbone.norm.running_mean, task.backbone.norm.running_var):
        nn.init.uniform_(tensor)
    before = deepcopy(task.backbone.state_dict())
    fit(
        task,
        [ONES | {"image": torch.ones(1, 3, 2, 2)}] * 20,
        FinetuneSchedule(unfreeze="never"),
        saves(tmp_path, "epoch1"),
    )
    saved = load(tmp_path / "epoch1.ckpt")["state_dict"]
    for name, tensor in before.items():
        assert saved[f"backbone.{name}"].equal(tensor), name
        assert task.backbone.state_dict()[name].equal(tensor), name


def test_without_a_decay_there_is_no_average() -> None:
    assert Weight().configure_callbacks() == []


def draw(task: Task, *, epoch: int, batch: int, rank: int) -> list[float]:
    task._trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    task.on_train_batch_start(ONES, batch)
    return torch.rand(3).tolist()


def test_randomness_is_a_function_of_seed_epoch_batch_and_rank() -> None:
    torch.manual_seed(7)
    task, same = Weight(), Weight()
    torch.manual_seed(8)
    other = Weight()
    places = [{"epoch": e, "batch": b, "rank": r} for e in range(3) for b in range(3) for r in range(3)]
    draws = [draw(task, **place) for place in places]
    assert [draw(same, **place) for place in reversed(places)] == draws[::-1]
    assert all(draw(other, **place) not in draws[::9] for place in places[::9])
    assert len({tuple(values) for values in draws}) == len(places)

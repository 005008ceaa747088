"""The truth of a batch and what is measured with it are float32, whatever `trainer.precision`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from visiontasks.heads import FCOSHead, UNetHead
from visiontasks.tasks import ClassificationTask, DetectionTask, LocalizationTask, SegmentationTask, Task

Batch = dict[str, Any]
Fit = Callable[..., Trainer]

SIDE_PX = 32
BOX = [0.3017, 0.1234, 0.9021, 0.7777]  # in bfloat16 0.3008, 0.1235, 0.9023, 0.7773
PRECISIONS = ["32-true", "bf16-mixed", "bf16-true"]

TASKS: dict[str, Callable[[], Task]] = {
    "label": lambda: ClassificationTask("test_resnet", weights="none", num_classes=3),
    "box": lambda: LocalizationTask("test_resnet", weights="none", num_classes=3),
    "boxes": lambda: LocalizationTask("test_resnet", weights="none", num_classes=3, num_objects=2),
    "box list": lambda: DetectionTask(
        "test_resnet", weights="none", num_classes=3, head=partial(FCOSHead, width=8), most_detections=5
    ),
    "mask": lambda: SegmentationTask("test_resnet", weights="none", num_classes=3, head=UNetHead),
}


def batch_of(target: str, *, training: bool = True) -> Batch:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(256, (2, 3, SIDE_PX, SIDE_PX), dtype=torch.uint8, generator=generator)
    geometry = torch.tensor([[SIDE_PX] * 6 + [0, 0]] * 2)
    batch: Batch = {"image": image, "index": torch.arange(2), "geometry": geometry}
    box = SIDE_PX * torch.tensor([BOX])
    if target == "label":
        batch["label"] = torch.tensor([0, 2])
    elif target == "box":
        batch |= {"boxes": [box, box], "labels": [torch.tensor([0]), torch.tensor([2])]}
    elif target == "boxes":
        batch |= {"boxes": [box.repeat(2, 1), box], "labels": [torch.tensor([0, 1]), torch.tensor([2])]}
    elif target == "box list":
        batch |= {"boxes": [box, torch.zeros(0, 4)], "labels": [torch.tensor([2]), torch.zeros(0, dtype=torch.int64)]}
        batch["crowd"] = [torch.tensor([False]), torch.zeros(0, dtype=torch.bool)]
    elif target == "mask":
        mask = torch.randint(3, (2, SIDE_PX, SIDE_PX), generator=generator)
        batch |= {"mask": mask if training else list(mask.to(torch.uint8))}
    return batch


class Recorded(Callback):
    """The batches as the steps get them."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        self.batches.append(dict(batch))

    def on_validation_batch_start(self, trainer: Trainer, pl_module: Any, batch: Batch, *args: Any) -> None:
        self.batches.append(dict(batch))

    def on_test_batch_start(self, trainer: Trainer, pl_module: Any, batch: Batch, *args: Any) -> None:
        self.batches.append(dict(batch))

    def on_predict_batch_start(self, trainer: Trainer, pl_module: Any, batch: Batch, *args: Any) -> None:
        self.batches.append(dict(batch))


def same(found: Any, given: Any) -> bool:
    if isinstance(given, list):
        return all(map(same, found, given))
    return found.dtype == given.dtype and torch.equal(found.nan_to_num(-1), given.nan_to_num(-1))


@pytest.mark.parametrize("precision", [*PRECISIONS, "16-true"])
@pytest.mark.parametrize("target", TASKS)
def test_every_step_gets_the_targets_as_they_are(target: str, precision: str, fit: Fit) -> None:
    train, evaluation = batch_of(target), batch_of(target, training=False)
    recorded, task = Recorded(), TASKS[target]()
    trainer = fit(task, [train], recorded, val=[evaluation], precision=precision)
    trainer.test(task, DataLoader([evaluation], batch_size=None), verbose=False)
    trainer.predict(task, DataLoader([evaluation], batch_size=None), return_predictions=False)
    assert len(recorded.batches) == 4
    for found, given in zip(recorded.batches, [train, *[evaluation] * 3], strict=True):
        assert all(same(found[name], value) for name, value in given.items())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_features_of_a_batch_are_in_the_precision_of_the_network(precision: str, fit: Fit) -> None:
    task = TASKS["box"]()
    features = tuple(part.detach() for part in task.eval().image_features(batch_of("box")["image"]))
    known = {**batch_of("box"), "features": features}
    del known["image"]
    found = fit(task.train(), [known], val=[known], precision=precision).callback_metrics
    assert found["val/iou"].isfinite()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("target", TASKS)
def test_metrics_are_not_rounded_and_samples_are_in_float32(target: str, precision: str, fit: Fit) -> None:
    train, evaluation = batch_of(target), batch_of(target, training=False)
    task = TASKS[target]()
    found = fit(task, [train], val=[evaluation], precision=precision).callback_metrics
    exact = (torch.float32, torch.float64)  # average precision is of float64
    assert {name: value.dtype for name, value in found.items() if value.dtype not in exact} == {}
    floats = [column for column in task.sample_table("val").values() if column.is_floating_point()]
    assert {column.dtype for column in floats} == {torch.float32}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("target", TASKS)
def test_losses_are_in_float32(target: str, precision: str, fit: Fit) -> None:
    task, losses = TASKS[target](), []
    step = task.training_step
    task.training_step = lambda *args: losses.append(step(*args)) or losses[-1]  # type: ignore[method-assign, func-returns-value]
    fit(task, [batch_of(target)], val=[batch_of(target, training=False)], precision=precision)
    assert [loss.dtype for loss in losses] == [torch.float32]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_box_is_measured_as_it_was_given(precision: str, fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    # Predicted exactly: rounded to bfloat16 on either side, the IoU would be 0.998.
    task = TASKS["box"]()
    exact = torch.tensor([[BOX], [BOX]])
    monkeypatch.setattr(task, "raw_output", lambda batch: (torch.zeros(2, 1, 3), exact))
    options: Any = {"precision": precision, "accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    found = Trainer(**options).test(task, DataLoader([batch_of("box")], batch_size=None), verbose=False)[0]
    assert found["test/iou"] == 1.0

"""The line that an epoch prints."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from visiontasks.progress import EpochLines


def trainer(epoch: int, **metrics: float) -> Any:
    values = {name.replace("_", "/"): torch.tensor(value) for name, value in metrics.items()}
    return SimpleNamespace(current_epoch=epoch, max_epochs=3, callback_metrics=values)


def test_an_epoch_is_one_line_of_losses_and_the_monitored_metric(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([10.0, 12.5, 20.0, 20.25])
    monkeypatch.setattr("visiontasks.progress.time.monotonic", lambda: next(clock))
    lines = EpochLines("val/top1")
    module: Any = None
    measured = {"val_loss": 0.25, "val_top1": 0.875, "val_top5": 1.0}  # which the trainer keeps from the first epoch
    for epoch, metrics in enumerate(({"train_loss": 0.5, **measured}, {"train_loss": 0.125, **measured})):
        lines.on_train_epoch_start(trainer(epoch), module)
        if epoch == 0:
            lines.on_validation_epoch_end(trainer(epoch), module)
        lines.on_train_epoch_end(trainer(epoch, **metrics), module)
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1/3  train/loss 0.5000  val/loss 0.2500  val/top1 0.8750  2.5 s",
        "epoch 2/3  train/loss 0.1250  0.2 s",
    ]
    assert lines.epoch_s == [2.5, 0.25]

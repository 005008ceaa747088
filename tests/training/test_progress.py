"""The line that an epoch prints and the row that it leaves."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from visiontasks.training.progress import History

RATES = [{"name": "head", "lr": 0.5}, {"name": "head.no_decay", "lr": 0.5}]


def trainer(epoch: int, **metrics: float) -> Any:
    values = {name.replace("_", "/"): torch.tensor(value) for name, value in metrics.items()}
    optimizers = [SimpleNamespace(param_groups=RATES)]
    return SimpleNamespace(
        current_epoch=epoch,
        max_epochs=3,
        global_step=10 * (epoch + 1),
        callback_metrics=values,
        optimizers=optimizers,
        sanity_checking=False,
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Times that the history will read, one after the other."""
    times: list[float] = []
    monkeypatch.setattr("visiontasks.training.progress.time.monotonic", lambda: times.pop(0))
    return times


def test_an_epoch_is_a_line_and_a_row(tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    clock += [10.0, 12.5, 20.0, 20.25]
    history = History(tmp_path / "metrics.csv", "val/top1")
    module: Any = None
    measured = {"val_loss": 0.25, "val_top1": 0.875, "val_top5": 1.0}  # which the trainer keeps from the first epoch
    for epoch, metrics in enumerate(({"train_loss": 0.5, **measured}, {"train_loss": 0.125, **measured})):
        history.on_train_epoch_start(trainer(epoch), module)
        if epoch == 0:
            history.on_validation_end(trainer(epoch, **metrics), module)
        history.on_train_epoch_end(trainer(epoch, **metrics), module)
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1/3  train/loss 0.5000  val/loss 0.2500  val/top1 0.8750    2.5 s  best",
        "epoch 2/3  train/loss 0.1250" + " " * 36 + "  0.2 s",  # in the columns of the epoch before
    ]
    assert history.epoch_s == [2.5, 0.25]
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "epoch,step,seconds,lr/head,train/loss,val/loss,val/top1,val/top5",
        "1,10,2.5,0.5,0.5,0.25,0.875,1.0",
        "2,20,0.25,0.5,0.125,,,",
    ]


def test_a_training_without_a_number_of_epochs_shows_none(
    tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    clock += [10.0, 12.5]
    history, module = History(tmp_path / "metrics.csv", "val/top1"), None
    endless = trainer(4, train_loss=0.5)
    endless.max_epochs = -1
    history.on_train_epoch_start(endless, module)  # type: ignore[arg-type]
    history.on_train_epoch_end(endless, module)  # type: ignore[arg-type]
    assert capsys.readouterr().out == "epoch 5  train/loss 0.5000    2.5 s\n"


def test_each_validation_of_an_epoch_has_a_row(tmp_path: Path, clock: list[float]) -> None:
    clock += [0.0, 1.0]
    history = History(tmp_path / "metrics.csv", "val/top1")
    module: Any = None
    history.on_train_epoch_start(trainer(0), module)
    history.on_validation_end(trainer(0, val_top1=0.25), module)
    history.on_validation_end(trainer(0, val_top1=0.5), module)
    history.on_train_epoch_end(trainer(0, train_loss=2.0, val_top1=0.5), module)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["val/top1"], row["train/loss"]) for row in rows] == [("0.25", ""), ("0.5", "2.0")]


def test_a_resumed_training_continues_after_the_rows_of_its_checkpoint(tmp_path: Path, clock: list[float]) -> None:
    clock += [0.0, 2.0, 3.0, 4.0, 100.0, 101.0]
    module: Any = None
    path = tmp_path / "metrics.csv"
    history = History(path, "val/top1")
    history.on_train_epoch_start(trainer(0), module)
    history.on_train_epoch_end(trainer(0, train_loss=2.0), module)
    history.on_train_epoch_start(trainer(1), module)
    state = history.state_dict()  # one second into the second epoch
    path.write_text("what a killed process left\n")
    resumed = History(path, "val/top1")
    resumed.load_state_dict(state)
    assert path.read_text().splitlines() == ["epoch,step,seconds,lr/head,train/loss", "1,10,2.0,0.5,2.0"]
    resumed.on_train_epoch_end(trainer(1, train_loss=1.0), module)
    assert resumed.epoch_s == [2.0, 2.0]  # the second before and the one behind
    assert resumed.rows[1]["lr/head"] == 0.5


def test_of_equal_epochs_the_one_with_the_lower_loss_is_marked(
    tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    history, module = History(tmp_path / "metrics.csv", "val/top1"), None
    for epoch, (value, loss) in enumerate([(1.0, 0.5), (1.0, 0.25), (1.0, 0.25), (0.5, 0.1)]):
        clock += [0.0, 1.0]
        now = trainer(epoch, val_top1=value, val_loss=loss)
        history.on_train_epoch_start(now, module)  # type: ignore[arg-type]
        history.on_validation_end(now, module)  # type: ignore[arg-type]
        history.on_train_epoch_end(now, module)  # type: ignore[arg-type]
    assert [line.endswith("  best") for line in capsys.readouterr().out.splitlines()] == [True, True, False, False]


@pytest.mark.parametrize(("mode", "best"), [("max", [True, False, False, True]), ("min", [True, True, False, False])])
def test_the_best_epoch_so_far_is_marked(
    mode: Any, best: list[bool], tmp_path: Path, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    history, module = History(tmp_path / "metrics.csv", "val/top1", mode), None
    for epoch, value in enumerate((0.5, 0.25, float("nan"), 0.75)):
        clock += [0.0, 1.0]
        now = trainer(epoch, val_top1=value)
        history.on_train_epoch_start(now, module)  # type: ignore[arg-type]
        history.on_validation_end(now, module)  # type: ignore[arg-type]
        history.on_train_epoch_end(now, module)  # type: ignore[arg-type]
    assert [line.endswith("  best") for line in capsys.readouterr().out.splitlines()] == best

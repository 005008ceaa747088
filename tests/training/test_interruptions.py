"""Which epoch's weights are kept as the best."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from visiontasks.runs.folder import BEST, LAST
from visiontasks.training.interruptions import BestCheckpoint, Interruptions, LastCheckpoint

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")  # of what is resumed

Validations = Sequence[tuple[float, float | None]]
"""The metric and the loss of each epoch."""


class Scripted(LightningModule):
    """Logs what it was given."""

    def __init__(self, validations: Validations) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.validations = validations

    def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
        return self.layer(batch).sum()  # type: ignore[no-any-return]

    def validation_step(self, *_: Any) -> None:
        value, loss = self.validations[self.current_epoch]
        self.log("val/top1", value)
        if loss is not None:
            self.log("val/loss", loss)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def kept_epoch(folder: Path, validations: Validations, mode: str = "max", *, resume: Path | None = None) -> int:
    """The epoch, counted from 1, whose weights are in best.ckpt."""
    trainer = Trainer(
        max_epochs=len(validations),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[BestCheckpoint(folder, "val/top1", mode), LastCheckpoint(folder, Interruptions())],
    )
    data = DataLoader(torch.ones(1, 1))  # type: ignore[arg-type]
    trainer.fit(Scripted(validations), data, data, ckpt_path=resume, weights_only=True)
    return int(torch.load(folder / BEST, weights_only=True)["epoch"]) + 1


@pytest.mark.parametrize(
    ("validations", "epoch"),
    [
        ([(1.0, 0.5), (1.0, 0.2), (1.0, 0.3)], 2),
        ([(1.0, 0.5), (1.0, 0.5)], 1),  # equal in all: the first
        ([(0.9, 0.1), (1.0, 0.9), (0.9, 0.05)], 2),  # a better value counts more than any loss
        ([(0.9, 0.5), (1.0, 0.4), (0.9, 0.1), (1.0, 0.3)], 4),
        ([(1.0, None), (1.0, None)], 1),
        ([(1.0, 0.5), (1.0, float("nan")), (1.0, 0.4)], 3),
        ([(float("nan"), 0.5), (float("nan"), 0.1)], 1),
    ],
)
def test_of_equal_epochs_the_one_with_the_lowest_loss_is_kept(
    validations: Validations, epoch: int, tmp_path: Path
) -> None:
    assert kept_epoch(tmp_path, validations) == epoch


def test_of_equal_epochs_of_a_metric_that_is_minimised_the_lowest_loss_is_kept_too(tmp_path: Path) -> None:
    assert kept_epoch(tmp_path, [(2.0, 0.1), (1.0, 0.5), (1.0, 0.4)], "min") == 3


@pytest.mark.parametrize(("loss", "epoch"), [(0.3, 2), (0.5, 1)])
def test_a_resumed_training_knows_the_loss_of_the_best_epoch(loss: float, epoch: int, tmp_path: Path) -> None:
    assert kept_epoch(tmp_path, [(1.0, 0.4)]) == 1
    assert kept_epoch(tmp_path, [(1.0, 0.4), (1.0, loss)], resume=tmp_path / LAST) == epoch


def test_a_training_of_an_older_version_keeps_the_first_of_equals(tmp_path: Path) -> None:
    kept_epoch(tmp_path, [(1.0, 0.4)])
    checkpoint = torch.load(tmp_path / LAST, weights_only=True)
    for state in checkpoint["callbacks"].values():
        state.pop("best_loss", None)
    torch.save(checkpoint, tmp_path / LAST)
    assert kept_epoch(tmp_path, [(1.0, 0.4), (1.0, 0.3), (1.0, 0.2)], resume=tmp_path / LAST) == 1

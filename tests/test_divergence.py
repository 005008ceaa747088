"""A loss or weight that is no number ends the training before it does harm."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from visiontasks.commands import finetune as run
from visiontasks.commands.main import main
from visiontasks.recipe import cli as recipe_cli
from visiontasks.tasks import ClassificationTask
from visiontasks.tasks.metrics.classification import MeanLoss

SHORT = (
    "finetune digits_lenet --trainer.max_epochs 3 --trainer.limit_train_batches 4 --trainer.limit_val_batches 1 "
    "--trainer.limit_test_batches 1 --data.num_workers 0 --data.batch_size 4"
)

pytestmark = pytest.mark.filterwarnings("ignore:.*sync_dist=True")


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "write_measured", lambda *_, **__: None)
    monkeypatch.setattr(run, "log_picture", lambda *_, **__: None)
    monkeypatch.setattr("visiontasks.recipe.user_errors.sample_name", lambda source, index: f"{index}.png")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_before_the_optimizers_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    batches: list[list[int]] = []
    weights: list[Tensor] = []
    whole = ClassificationTask.training_loss

    def loss(self: ClassificationTask, batch: Any) -> Tensor:
        batches.append(batch["index"].tolist())
        weights.append(next(self.backbone.parameters()).detach().clone())
        diverges = len(batches) == 7  # epoch 2, its third batch
        if diverges:
            monkeypatch.setattr(torch.optim.SGD, "step", lambda *_: pytest.fail("the optimizer made a step"))
        return whole(self, batch) * (value if diverges else 1)

    monkeypatch.setattr(ClassificationTask, "training_loss", loss)
    assert main(shlex.split(SHORT)) == 2
    first, second, third = capsys.readouterr().err.strip().splitlines()
    assert first.startswith(
        f"error: the loss is {value} in epoch 2, step 7, before the optimizer's step; learning rates: "
    )
    assert "head 0.0" in first
    assert second == f"samples of the batch: {', '.join(f'{index}.png' for index in batches[6])}"
    assert third.endswith("look at these samples (visiontasks check-data)")
    (last,) = Path("runs").rglob("last.ckpt")
    assert third.startswith(f"{last} is the last good state. Lower --lr, clip gradients")
    saved = torch.load(last, weights_only=True)
    assert saved["global_step"] == 4
    name = next(name for name in saved["state_dict"] if name.startswith("backbone."))
    assert torch.equal(saved["state_dict"][name], weights[4])


def test_weights_that_are_no_numbers_never_replace_a_good_checkpoint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Break(Callback):
        def on_train_batch_end(
            self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            if (trainer.current_epoch, batch_idx) == (1, 3):
                with torch.no_grad():
                    list(pl_module.head.parameters())[-1][2] = float("nan")

    whole = recipe_cli.RecipeCLI.instantiate_trainer

    def instantiate(self: recipe_cli.RecipeCLI, **options: Any) -> Trainer:
        trainer = whole(self, **options)
        trainer.callbacks.insert(0, Break())
        return trainer

    monkeypatch.setattr(recipe_cli.RecipeCLI, "instantiate_trainer", instantiate)
    assert main(shlex.split(SHORT)) == 2
    said = capsys.readouterr().err
    assert "error: 1 weights are infinite or no number after step 8 of epoch 2: head." in said
    for path in Path("runs").rglob("*.ckpt"):
        saved = torch.load(path, weights_only=True)
        assert saved["global_step"] == 4
        assert all(bool(tensor.isfinite().all()) for tensor in saved["state_dict"].values())


def test_the_mean_loss_weighs_samples_and_goes_on_from_a_sum() -> None:
    loss = MeanLoss()
    loss.update(2.0 * 3, 3)
    loss.update(torch.tensor(5.0), 1)
    assert float(loss.compute()) == 2.75
    resumed = MeanLoss()
    resumed.update(float(loss.total), float(loss.count))
    resumed.update(4.0, 4)
    assert float(resumed.compute()) == 1.875

"""Thresholds that are chosen on the validation split, and stored with the weights."""

from typing import Protocol, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn


class ChoosesThreshold(Protocol):
    """A task with a threshold."""

    def choose_threshold(self) -> None:
        """Store the threshold that is best on the validation split."""
        ...


class ChosenThreshold(Callback):
    """Lets a task choose its threshold after each validation of a training, before a checkpoint is written."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call the task's `choose_threshold`."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            cast(ChoosesThreshold, pl_module).choose_threshold()

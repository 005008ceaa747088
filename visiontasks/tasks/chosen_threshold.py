"""Thresholds that are chosen on the validation split, and stored with the weights."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn


class ChosenThreshold(Callback):
    """Lets a task choose its threshold after each validation of a training, before a checkpoint is written."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call the task's `choose_threshold`."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            pl_module.choose_threshold()

"""What a training says while it runs: one line an epoch."""

import time

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only


class EpochLines(Callback):
    """Prints one line at the end of each epoch and remembers how long each took.

    Args:
        monitor: Name of the metric that the best epoch is chosen by.

    Attributes:
        epoch_s: Seconds of each epoch, validation included.
    """

    def __init__(self, monitor: str) -> None:
        self.names = ("train/loss", "val/loss", monitor)
        self.epoch_s: list[float] = []
        self._start = 0.0
        self._validated = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()
        self._validated = False

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the epoch has values of its own."""
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop it and print."""
        self.epoch_s.append(time.monotonic() - self._start)
        self._print(trainer)

    @rank_zero_only
    def _print(self, trainer: Trainer) -> None:
        values = trainer.callback_metrics
        names = self.names if self._validated else self.names[:1]  # else they are an earlier epoch's
        numbers = "  ".join(f"{name} {float(values[name]):.4f}" for name in names if name in values)
        # print and not a console of our own: a running progress bar moves what is printed above itself
        print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {numbers}  {self.epoch_s[-1]:.1f} s", flush=True
        )

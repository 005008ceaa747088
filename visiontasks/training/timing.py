"""Where a training's time goes: measured by the clock, stored in result.json; with advice where much can be saved."""

import time
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_only

from visiontasks.cores import available_cores
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.library_internals import is_last_batch
from visiontasks.terminal import print_wrapped
from visiontasks.training.remaining import duration

Part = Literal["steps", "data", "validation", "checkpoints", "other"]
Seconds = dict[Part, float]

NAMES: dict[Part, str] = {
    "steps": "forward and backward",
    "data": "waiting for data",
    "validation": "validation",
    "checkpoints": "checkpoints",
    "other": "other",
}
MUCH: dict[Part, float] = {"data": 0.2, "validation": 0.4, "checkpoints": 0.2}
"""Share of an epoch above which a part is worth speeding up."""
WORTH_S = 20.0
"""Advice is given where it could save so many seconds of the epochs to come: what the part takes above its share."""


class TimeSpent(Checkpoint):
    """Sums the seconds of each part of a training, and advises after the first epoch of each phase.

    That is the first whole epoch, and the first one with each new number of trained parameters. If much of the time is
    not spent on steps, a line proposes a way out, unless that would save little, see `WORTH_S`. Waiting for data in a
    validation counts as waiting for data. Only the clock is read: a GPU is never synchronized, and time between two
    steps in which it still computes counts as steps.

    It is a Checkpoint, and must be the last one, so that other callbacks' work at the end of an epoch is counted there.

    Args:
        verbose: Print the shares of all parts too.

    Attributes:
        total: Seconds of each part over the training, also before an interruption.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self.total: Seconds = dict.fromkeys(NAMES, 0.0)
        self._epoch: Seconds = dict.fromkeys(NAMES, 0.0)
        self._part: Part | None = None
        """The current part; None before and after the training."""
        self._since = 0.0
        self._is_whole = False
        self._described: set[int] = set()
        self._last_step: torch.cuda.Event | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have every checkpoint timed, whoever saves it."""
        if stage == "fit":
            save = trainer.save_checkpoint

            def timed(*args: Any, **kwargs: Any) -> None:
                before = self._part
                self._begin("checkpoints")
                save(*args, **kwargs)
                self._begin(before)

            trainer.save_checkpoint = timed  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._since = time.monotonic()
        self._part = "data"  # a resumed training continues within an epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the first batch."""
        self._begin("data")
        self._epoch = dict.fromkeys(NAMES, 0.0)
        self._is_whole = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The batch has arrived; if the GPU still computed the last one, the wait was not for data."""
        is_late = self._last_step is None or bool(self._last_step.query())  # type: ignore[no-untyped-call]
        self._begin("steps", counted_as="data" if is_late else "steps")
        self._last_step = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Wait for the next batch, if there is one."""
        is_last = batch_idx + 1 == trainer.num_training_batches
        self._begin("other" if is_last else "data")
        if trainer.strategy.root_device.type == "cuda":
            self._last_step = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._last_step.record()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the first batch of a validation."""
        self._begin("data")

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """The batch has arrived."""
        self._begin("validation")

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Wait for the next batch."""
        self._begin("data")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The wait was not for a batch, but for the metrics."""
        self._begin("validation", counted_as="validation")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Continue with the epoch."""
        self._begin("other" if is_last_batch(trainer) else "data")
        self._last_step = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Advise, once for each number of trained parameters."""
        self._begin("other")
        trained = sum(parameter.requires_grad for parameter in pl_module.parameters())
        if self._is_whole and trained not in self._described:
            self._described.add(trained)
            self._print(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._begin(None)

    def state_dict(self) -> dict[str, Any]:
        """Seconds so far, for a resumed training."""
        self._begin(self._part)
        return {"seconds": dict(self.total)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the seconds."""
        self.total = dict(state_dict["seconds"])

    def _begin(self, part: Part | None, *, counted_as: Part | None = None) -> None:
        """End the current part, counted as `counted_as` if given, and begin another one, within a training."""
        if self._part is None:
            return
        now = time.monotonic()
        for seconds in (self.total, self._epoch):
            seconds[counted_as or self._part] += now - self._since
        self._since, self._part = now, part

    @rank_zero_only
    def _print(self, trainer: Trainer) -> None:
        workers = getattr(trainer.train_dataloader, "num_workers", 0)
        cores = available_cores() // max(1, trainer.world_size // trainer.num_nodes)
        lines = [describe(self._epoch)] if self.verbose else []
        lines += advice(self._epoch, epochs_left=_epochs_alike(trainer), num_workers=workers, cores=cores)
        print_wrapped(lines)


def describe(seconds: Seconds) -> str:
    """An epoch's parts in per cent.

    Args:
        seconds: Seconds of each part.
    """
    total = sum(seconds.values())
    named = [f"{NAMES[part]} {seconds[part] / total:.0%}" for part in NAMES if seconds[part] / total >= 0.005]
    return f"time: {', '.join(named)}"


def advice(seconds: Seconds, *, epochs_left: int, num_workers: int, cores: int) -> list[str]:
    """How epochs like this one become shorter, where that is worth it.

    Args:
        seconds: Seconds of each part of an epoch.
        epochs_left: Epochs like it that are to come.
        num_workers: Loading processes.
        cores: Cores for this training process and its loading processes.

    Returns:
        A line for each part that takes more than its share (`MUCH`), by `WORTH_S` or more over the epochs to come.
    """
    total = sum(seconds.values())
    saved = {part: (seconds[part] - much * total) * epochs_left for part, much in MUCH.items()}
    more_workers = f"raise --data.num_workers (now {num_workers})"
    smaller = "scale the files to about --data.image_size once, or augment less"
    ways = {
        "data": more_workers if num_workers < cores - 1 else smaller,
        "validation": "validate less often (--trainer.check_val_every_n_epoch)",
        "checkpoints": "write runs/ to a faster disk",
    }
    return [
        f"note: {seconds[part] / total:.0%} of an epoch is {NAMES[part]}: {ways[part]} to save up to "
        f"{duration(saved_s)}"
        for part, saved_s in saved.items()
        if saved_s >= WORTH_S
    ]


def _epochs_alike(trainer: Trainer) -> int:
    """Epochs to come that train as many stages as this one; 1 where the training has no last epoch."""
    if trainer.max_epochs in (None, -1):
        return 1
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set outside of its class
    schedule = next((each for each in callbacks if isinstance(each, FinetuneSchedule)), None)
    to_come = range(trainer.current_epoch + 1, trainer.max_epochs or 0)
    if schedule is None:
        return len(to_come)
    now = schedule.num_trainable(trainer.current_epoch, schedule.num_stages)
    return sum(schedule.num_trainable(epoch, schedule.num_stages) == now for epoch in to_come)

"""Where a training's time goes: read from the clock, said after an epoch, kept in result.json."""

import time
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_only

from visiontasks.data.pipeline.files import available_cores
from visiontasks.library_internals import is_last_batch

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
"""Share of an epoch from which on a part is worth changing."""
TOO_SHORT_S = 5.0
"""Length of an epoch in which nothing is worth changing."""


class TimeSpent(Checkpoint):
    """Adds up the seconds of each part of a training, and says of the first epoch of each phase where they went.

    That is the first whole epoch, and each first one in which the number of trained parameters is new. If much of the
    time went elsewhere than into steps, the line says what would help. Waiting for data in a validation is waiting for
    data. Only the clock is read: on a GPU nothing waits for it, and what passes between two steps while the GPU still
    computes counts as step.

    It is a Checkpoint, and has to be the last, so that what others do at the end of an epoch is that epoch's.

    Attributes:
        total: Seconds of each part over the training, also before an interruption.
    """

    def __init__(self) -> None:
        self.total: Seconds = dict.fromkeys(NAMES, 0.0)
        self._epoch: Seconds = dict.fromkeys(NAMES, 0.0)
        self._part: Part | None = None
        """What goes on; None before and behind the training."""
        self._since = 0.0
        self._is_whole = False
        self._described: set[int] = set()
        self._last_step: torch.cuda.Event | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have every checkpoint timed, whoever saves it."""
        if stage == "fit":
            save = trainer.save_checkpoint

            def timed(*args: Any, **kwargs: Any) -> None:
                former = self._part
                self._begin("checkpoints")
                save(*args, **kwargs)
                self._begin(former)

            trainer.save_checkpoint = timed  # type: ignore[method-assign]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._since = time.monotonic()
        self._part = "data"  # where a resumed training goes on in the middle of an epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the first batch."""
        self._begin("data")
        self._epoch = dict.fromkeys(NAMES, 0.0)
        self._is_whole = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The batch has come; if the GPU was not done with the last one until now, none was missed."""
        is_late = self._last_step is None or bool(self._last_step.query())  # type: ignore[no-untyped-call]
        self._begin("steps", former="data" if is_late else "steps")
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

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """The batch has come."""
        self._begin("validation")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Wait for the next batch."""
        self._begin("data")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """There was none; the metrics are computed."""
        self._begin("validation", former="validation")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Back to the epoch."""
        self._begin("other" if is_last_batch(trainer) else "data")
        self._last_step = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where the time went, if it was not said of a like epoch."""
        self._begin("other")
        trained = sum(parameter.requires_grad for parameter in pl_module.parameters())
        if self._is_whole and trained not in self._described:
            self._described.add(trained)
            self._print(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._begin(None)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training goes on with."""
        self._begin(self._part)
        return {"seconds": dict(self.total)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.total = dict(state_dict["seconds"])

    def _begin(self, part: Part | None, *, former: Part | None = None) -> None:
        """End the part that goes on, or what it turned out to have been, and begin one, inside of a training."""
        if self._part is None:
            return
        now = time.monotonic()
        for seconds in (self.total, self._epoch):
            seconds[former or self._part] += now - self._since
        self._since, self._part = now, part

    @rank_zero_only
    def _print(self, trainer: Trainer) -> None:
        workers = getattr(trainer.train_dataloader, "num_workers", 0)
        cores = available_cores() // max(1, trainer.world_size // trainer.num_nodes)
        print(describe(self._epoch, num_workers=workers, cores=cores), flush=True)


def describe(seconds: Seconds, *, num_workers: int, cores: int) -> str:
    """An epoch's parts in per cent, and what would make it shorter.

    Args:
        seconds: Of each part.
        num_workers: Loading processes.
        cores: Cores for this training process and its loading processes.
    """
    total = sum(seconds.values())
    shares = {part: seconds[part] / total for part in NAMES}
    named = [f"{NAMES[part]} {share:.0%}" for part, share in shares.items() if share >= 0.005]
    too_much = [part for part, much in MUCH.items() if shares[part] >= much and total >= TOO_SHORT_S]
    more_workers = f"raise data.init_args.num_workers (now {num_workers})"
    smaller = "bring the files to about data.init_args.image_size once, or augment less"
    advice = {
        "data": more_workers if num_workers < cores - 1 else smaller,
        "validation": "validate less often: trainer.check_val_every_n_epoch",
        "checkpoints": "write runs/ to a faster disk",
    }
    return "; ".join([f"time: {', '.join(named)}", *(advice[part] for part in too_much)])

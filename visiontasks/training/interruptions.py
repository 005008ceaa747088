"""The best and the last checkpoint of a training, and signals that stop it without losing a step."""

import os
import signal
import threading
import time
from math import inf
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint, WeightAveraging

from visiontasks import library_internals
from visiontasks.errors import Stopped
from visiontasks.runs.folder import BEST, LAST
from visiontasks.training import loop_state
from visiontasks.training.status_line import ERASE

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAVE_EVERY_S = 600.0
SAVE, STOP = 1, 2
TIE_BREAKER = "val/loss"
"""Of epochs that are equally good, the one where this is lower is the best: on the same samples it distinguishes what a
count of right answers does not."""


class Interruptions:
    """Answers SIGTERM and SIGINT (Ctrl-C), inside of a `with`.

    While `deferred` is set, the first signal is only stored, and the training raises `Stopped` when everything is
    saved; a second Ctrl-C does not wait. Otherwise the run ends at once.

    Attributes:
        deferred: Whether a training is running that has something to save.
        signum: The stored signal; 0 for none.
    """

    def __init__(self) -> None:
        self.deferred = False
        self.signum = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # other threads must not set handlers
            self._previous = {signum: signal.signal(signum, self._handle) for signum in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if not self.deferred or (signum == self.signum == signal.SIGINT):
            self.deferred = False
            raise Stopped(signum)
        if not self.signum:
            self.signum = signum
            again = "; Ctrl-C again stops without" if signum == signal.SIGINT else ""
            # not print, which the signal may have interrupted
            start = ERASE if os.isatty(1) else "\n"  # of the line where a bar may be
            os.write(1, f"{start}{signal.Signals(signum).name}: saving after this step{again}\n".encode())


class BestCheckpoint(ModelCheckpoint):
    """Saves the weights of the epoch with the best value of a metric; of equal ones, that with the lowest `val/loss`.

    The first of equal values, which Lightning's takes, is often the least trained: a few validation images are soon all
    right. Where the loss is equal too, or is not logged, the first one stays.

    Args:
        run_dir: The run's folder.
        monitor: The metric.
        mode: "min" or "max".
    """

    def __init__(self, run_dir: Path, monitor: str, mode: str) -> None:
        path = run_dir / BEST
        super().__init__(path.parent, path.stem, monitor=monitor, mode=mode, enable_version_counter=False)
        self._best_loss = -inf
        library_internals.set_saved_step_before_saving(self)

    def check_monitor_top_k(self, trainer: Trainer, current: torch.Tensor | None = None) -> bool:
        """Whether the current weights are the best so far, the same in every process."""
        loss = float(trainer.callback_metrics.get(TIE_BREAKER, inf))
        is_tie = current is not None and bool(current == self.best_model_score)
        is_best = super().check_monitor_top_k(trainer, current)
        is_best = is_best or trainer.strategy.reduce_boolean_decision(is_tie and loss < self._best_loss)
        if is_best:
            self._best_loss = loss
        return is_best

    def state_dict(self) -> dict[str, Any]:
        """Lightning's, the loss of the best epoch, and the step of the last save, without which it saves once more."""
        own = {"best_loss": self._best_loss, "last_global_step_saved": library_internals.saved_step(self)}
        return super().state_dict() | own

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best value so far, also where the run's folder was moved."""
        path = str(Path(str(self.dirpath)) / Path(BEST).name)
        here = {"dirpath": self.dirpath, "best_model_path": path, "kth_best_model_path": path}
        best = dict.fromkeys([path] if state_dict["best_k_models"] else [], state_dict["best_model_score"])
        super().load_state_dict(state_dict | here | {"best_k_models": best})
        self.current_score = state_dict["current_score"]  # which Lightning does not restore
        self._best_loss = state_dict.get("best_loss", -inf)  # a training of an older version keeps the first of equals
        library_internals.set_saved_step(self, state_dict.get("last_global_step_saved", 0))


class LastCheckpoint(Checkpoint):
    """Saves the checkpoint that a training is resumed from.

    It is saved after every epoch; between two batches, or before a validation, when the last save was long ago; and
    when a signal stops the training. A step that accumulates gradients over several batches is not interrupted, nor is
    a validation within it.

    Args:
        run_dir: The run's folder.
        interruptions: Receives the signals.
        every_s: Seconds between saves within an epoch.
    """

    def __init__(self, run_dir: Path, interruptions: Interruptions, *, every_s: float = SAVE_EVERY_S) -> None:
        self.path = run_dir / LAST
        self.interruptions = interruptions
        self.every_s = every_s
        self._saved_at = 0.0
        self._moment = ""
        self._loaded: dict[str, Any] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Replace Lightning's handling of signals and its resuming by steps, see `library_internals`."""
        library_internals.disable_signal_handlers(trainer)
        library_internals.resume_by_epoch(trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store what is restored when the training starts."""
        loop_state.load(trainer, checkpoint)
        self._loaded = checkpoint.get(loop_state.STATE)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the state of the loops; from here on there is something to save."""
        if self._loaded is not None:
            loop_state.resume(trainer, pl_module, self._loaded)
            self._loaded = None
        self._saved_at = time.monotonic()
        self.interruptions.deferred = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Save or stop between two steps of the optimizer."""
        if batch_idx % trainer.accumulate_grad_batches:
            return
        request = self._request(trainer)
        if request:
            self._save(trainer, "between batches")
        if request == STOP:
            self._stop()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save a long epoch's training before its validation."""
        if not self.interruptions.deferred or not loop_state.is_resumable_validation(trainer):
            return
        if self._request(trainer) == SAVE:
            self._save(trainer, "before validation")

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Stop within a validation that can be repeated; with several processes only after it."""
        if not self.interruptions.signum or trainer.world_size > 1 or not loop_state.is_resumable_validation(trainer):
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set outside of its class
            if isinstance(
                callback, WeightAveraging
            ):  # swaps the trained weights back in; the validation runs on averaged ones
                callback.on_validation_epoch_end(trainer, pl_module)
        self._save(trainer, "before validation")
        self._stop()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the epoch."""
        self._save(trainer, "after epoch")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop deferring signals: everything is saved."""
        request = self._request(trainer)
        self.interruptions.deferred = False
        if request == STOP:
            self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop deferring signals: nothing more is saved."""
        self.interruptions.deferred = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Correct the loops' state in the checkpoint, see `loop_state`."""
        loop_state.save(trainer, checkpoint, self._moment)

    def _request(self, trainer: Trainer) -> int:
        """STOP if any process got a signal, SAVE if a save is due, the same in every process."""
        is_due = time.monotonic() - self._saved_at > self.every_s
        own = STOP if self.interruptions.signum else SAVE if is_due else 0
        request = torch.tensor(own, device=trainer.strategy.root_device if trainer.world_size > 1 else "cpu")
        return int(trainer.strategy.reduce(request, reduce_op="max"))

    def _save(self, trainer: Trainer, moment: str) -> None:
        self._moment = moment
        try:
            trainer.save_checkpoint(self.path)
        finally:
            self._moment = ""
        self._saved_at = time.monotonic()

    def _stop(self) -> None:
        raise Stopped(self.interruptions.signum or signal.SIGTERM)

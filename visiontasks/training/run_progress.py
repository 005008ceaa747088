"""The progress of a whole run: one bar in a terminal or notebook, a line a minute in a log."""

import time
from collections import deque
from math import isfinite
from typing import Any, Self

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.terminal import print_wrapped
from visiontasks.training.progress import History
from visiontasks.training.remaining import Remaining, duration
from visiontasks.training.run_work import RunWork
from visiontasks.training.status_line import Display, StatusLine, display

REFRESH_S = 0.1
LINE_EVERY_S = 60.0
LEAST_ANNOUNCED_S, LONG_S = 10.0, 600.0
"""A shorter rest of a run is not announced in a line of its own; a long one is before most of its kinds of work have
been measured, since a rough time is better than none, and once more when they have."""
RATE_BATCHES = 20
"""Batches whose mean the images per second are."""


class RunProgress(Callback):
    """Shows how far a run is: epoch, share done, images per second and time left, until the context ends.

    The first process alone shows it. The share is that of the time, so it moves evenly through phases of different
    speed; it never goes back.

    Args:
        is_shown: False shows nothing at all.
    """

    def __init__(self, *, is_shown: bool = True) -> None:
        self.is_shown = is_shown
        self._line: StatusLine | None = None
        self._display: Display = "none"
        self._is_open = False
        self._work: RunWork | None = None
        self._remaining = Remaining()
        self._label = ""
        self._kind = ""
        self._recent: deque[tuple[float, int]] = deque(maxlen=RATE_BATCHES)
        self._share = 0.0
        self._start = self._last = self._shown_at = self._printed_at = 0.0
        self._is_announced = self._is_roughly_announced = False
        self._has_begun = False
        self._is_first = False
        """Whether the next batch is the first of a pass."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Erase the bar; all is printed as usual again."""
        if self._line is not None:
            self._line.close()
        self._line, self._is_open = None, False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plan the training, from where it stands."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set outside of its class
        schedule = next((each for each in callbacks if isinstance(each, FinetuneSchedule)), None)
        self._open(trainer, RunWork(trainer, schedule))
        self._start -= sum(sum(each.epoch_s) for each in callbacks if isinstance(each, History))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Plan the rest by what is known of the cache now."""
        if self._work is not None and self._is_open:
            self._remaining.begin(self._work.from_epoch(trainer.current_epoch))
            of = f"/{self._work.num_epochs}" if self._work.num_epochs else ""
            self._has_begun = False
            self._begin(f"epoch {trainer.current_epoch + 1}{of}", self._work.training_kind(trainer.current_epoch))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Take what a resumed epoch has done already as done."""
        if self._work is not None and self._is_open and not self._has_begun:
            done = batch_idx * self._work.images("train") / max(1, trainer.num_training_batches)
            self._remaining.done(self._kind, done, None)
            self._has_begun = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch."""
        self._count(trainer, batch)
        self._announce()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Name what is done."""
        if trainer.state.fn is TrainerFn.VALIDATING:
            self._measure(trainer)
        elif self._is_open and self._work is not None and not trainer.sanity_checking:
            label = self._label.removesuffix(" validation")
            self._begin(f"{label} validation", self._work.validation_kind(trainer.current_epoch))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any, **__: Any
    ) -> None:
        """Count a batch."""
        if not trainer.sanity_checking:
            self._count(trainer, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the epoch, or with what follows a measurement."""
        if trainer.state.fn is TrainerFn.VALIDATING:
            self._report()
        elif self._is_open and self._work is not None and not trainer.sanity_checking:
            self._begin(self._label.removesuffix(" validation"), self._work.training_kind(trainer.current_epoch))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Announce the time of a training whose epochs are short; the epoch's own line follows."""
        self._announce()
        self._printed_at = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is left is the measurement, also where the training stopped early."""
        if self._work is not None and self._is_open:
            self._remaining.begin(self._work.measurement())
            self._begin("best weights", "")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Name what is done."""
        self._measure(trainer)

    on_test_batch_end = on_validation_batch_end

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The report follows."""
        self._report()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the terminal to the message."""
        self.close()

    def _open(self, trainer: Trainer, work: RunWork) -> None:
        self._work = work
        if not self.is_shown or not trainer.is_global_zero or self._is_open:
            return
        self._is_open = True
        self._start = self._last = self._printed_at = time.monotonic()
        self._display = display()
        if self._display != "none":
            self._line = StatusLine(self._display)

    def _measure(self, trainer: Trainer) -> None:
        """Begin to measure a split."""
        if self._work is None:
            self._is_announced = True
            self._open(trainer, RunWork(trainer, None))
        if self._work is not None and self._is_open:
            self._remaining.begin(self._work.measurement())
            self._begin("test" if trainer.state.fn is TrainerFn.TESTING else "validation", "test")

    def _report(self) -> None:
        if self._is_open:
            self._remaining.drop("test")
            self._begin("pictures and report", "report")

    def _begin(self, label: str, kind: str) -> None:
        self._label, self._kind, self._is_first = label, kind, True
        self._recent.clear()
        self._show(force=True)

    def _count(self, trainer: Trainer, batch: Any) -> None:
        if not self._is_open:
            return
        now = time.monotonic()
        number = len(batch["index"]) * trainer.world_size
        self._remaining.done(self._kind, number, now - self._last, is_first=self._is_first)
        self._is_first = False
        self._recent.append((now, number))
        self._last = now
        self._show()

    def _announce(self) -> None:
        """Print what is left of each phase, once it is known well enough."""
        if not self._is_open or self._is_announced or not self._remaining.is_known:
            return
        left = self._remaining.seconds() or 0.0
        is_measured = self._remaining.is_measured
        if not is_measured and (left < LONG_S or self._is_roughly_announced):
            return
        self._is_announced, self._is_roughly_announced = is_measured, True
        if left < LEAST_ANNOUNCED_S:
            return
        parts = [f"{part} {duration(self._remaining.seconds(part) or 0)}" for part in self._remaining.parts]
        print_wrapped([f"about {duration(left)} to go: {', '.join(parts)}"])
        self._printed_at = time.monotonic()

    def _show(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if self._line is None:
            self._print(now)
            return
        if not force and now - self._shown_at < REFRESH_S:
            return
        self._shown_at = now
        self._line.show(self._done(now), self._label, "  ".join([f"{self._share:.0%}", *self._figures()]))

    def _print(self, now: float) -> None:
        """A line for a log, if the last one is a minute ago."""
        if now - self._printed_at < LINE_EVERY_S or not self._is_open:
            return
        self._printed_at = now
        done = [f"{self._done(now):.0%} done"] if self._remaining.is_known else []
        print(f"{self._label}: {', '.join([*done, *self._figures()])}", flush=True)

    def _done(self, now: float) -> float:
        """Share of the run's time that is over."""
        left, spent = self._remaining.seconds(), now - self._start
        if left is not None and self._remaining.is_known and spent + left > 0:
            self._share = max(self._share, spent / (spent + left))
        return self._share

    def _figures(self) -> list[str]:
        """Images per second, and the time left, as far as they are known."""
        found = []
        if len(self._recent) > 1:
            seconds = self._recent[-1][0] - self._recent[0][0]
            rate = sum(number for _, number in list(self._recent)[1:]) / seconds if seconds > 0 else float("inf")
            found += [f"{rate:,.0f} images/s" if rate >= 10 else f"{rate:.1f} images/s"] if isfinite(rate) else []
        left = self._remaining.seconds()
        if left is not None and self._remaining.is_known:
            found.append(f"{duration(left)} left" if left >= 0.5 else "nearly done")
        return found

"""What a run consists of, for its progress: images to train on, to validate, to measure, and the report."""

from collections.abc import Iterator
from math import ceil

from lightning.pytorch import Trainer

from visiontasks.data import DataModule
from visiontasks.finetuning.schedule import FinetuneSchedule
from visiontasks.training.remaining import CACHED, FORWARD, Work, training_cost

MEASUREMENT = "test and report"
REPORT_IMAGES = 100
"""Images whose cost the pictures and heat maps of a report are taken for, before the report is written."""


class RunWork:
    """The work of a training with the measurement that follows.

    Args:
        trainer: Has its data.
        schedule: Of the training; None for a measurement alone.
    """

    def __init__(self, trainer: Trainer, schedule: FinetuneSchedule | None) -> None:
        self.trainer = trainer
        self.schedule = schedule

    @property
    def num_epochs(self) -> int | None:
        """Epochs of the training; None where it has no last one."""
        trainer = self.trainer
        limits = [trainer.max_epochs] if trainer.max_epochs not in (None, -1) else []
        if trainer.max_steps != -1:
            steps = ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
            limits.append(ceil(trainer.max_steps / max(1, steps)))
        return min((limit for limit in limits if limit is not None), default=None)

    def from_epoch(self, epoch: int) -> Iterator[Work]:
        """What is still to be done at the start of an epoch, counted from 0."""
        if self.schedule is not None and self.num_epochs is not None:
            for phase in self.schedule.phases(self.schedule.num_stages, self.num_epochs):
                for each in range(max(epoch, phase.first_epoch), phase.end_epoch):
                    validations = self._validations(each)
                    cost, passes = self._training_cost(each), max(1, validations)
                    yield Work(phase.epochs, self.training_kind(each), self.images("train"), cost, passes)
                    if validations:
                        images, cost = validations * self.images("val"), self._validation_cost(each)
                        yield Work(phase.epochs, self.validation_kind(each), images, cost, validations)
        yield from self.measurement()

    def measurement(self) -> Iterator[Work]:
        """What follows a training."""
        split = "test" if "test" in self._data.split_sizes else "val"
        yield Work(MEASUREMENT, "test", self.images(split), FORWARD)
        yield Work(MEASUREMENT, "report", REPORT_IMAGES, FORWARD)

    def training_kind(self, epoch: int) -> str:
        """What training images of an epoch take alike long with."""
        side = self._image_side(epoch)
        size = "" if side is None else f" {side} px"
        return f"train {self._trained(epoch):.3f}{size}{' read' if self._is_read('train', epoch) else ''}"

    def validation_kind(self, epoch: int) -> str:
        """The same for validation images."""
        return f"val {self._trained(epoch):.3f} read" if self._is_read("val", epoch) else "val"

    def images(self, split: str) -> int:
        """Images of a split that are gone through at once, by all processes."""
        size = self._data.split_sizes.get(split, 0)
        limit = getattr(self.trainer, f"limit_{split}_batches")
        if split == "train":
            batches = self.trainer.num_training_batches
            return int(min(size, batches * self._data.batch_size * self.trainer.world_size))
        if isinstance(limit, int):
            return min(size, limit * self._data.batch_size * self.trainer.world_size)
        return max(1, round(size * limit)) if size and limit else 0

    @property
    def _data(self) -> DataModule:
        data: DataModule = self.trainer.datamodule  # type: ignore[attr-defined]  # set outside of its class
        return data

    def _validations(self, epoch: int) -> int:
        """How often an epoch is validated."""
        every = self.trainer.check_val_every_n_epoch
        if every is not None and (epoch + 1) % every:
            return 0
        batches, at = self.trainer.num_training_batches, self.trainer.val_check_batch
        return max(1, int(batches // at)) if at and at != float("inf") else 1

    def _trained(self, epoch: int) -> float:
        """Share of the backbone's stages that an epoch trains."""
        if self.schedule is None or not self.schedule.num_stages:
            return 1.0
        return self.schedule.num_trainable(epoch, self.schedule.num_stages) / self.schedule.num_stages

    def _image_side(self, epoch: int) -> int | None:
        return None if self.schedule is None else self.schedule.image_side(epoch)

    def _is_read(self, split: str, epoch: int) -> bool:
        return self.schedule is not None and self.schedule.is_read(split, epoch)

    def _training_cost(self, epoch: int) -> float:
        side = self._image_side(epoch)
        pixels = 1.0 if side is None else (side / min(self._data.image_size)) ** 2
        return pixels * training_cost(self._trained(epoch), is_read=self._is_read("train", epoch))

    def _validation_cost(self, epoch: int) -> float:
        trained = self._trained(epoch)
        return CACHED * (1 - trained) + FORWARD * trained if self._is_read("val", epoch) else FORWARD

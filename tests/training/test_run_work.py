"""What a run consists of, counted by hand."""

from types import SimpleNamespace
from typing import Any

import pytest

from visiontasks.finetuning.plan import Phase
from visiontasks.training.remaining import CACHED, Work
from visiontasks.training.run_work import REPORT_IMAGES, RunWork


class Schedule:
    """Two epochs of the head on cached features, then two of everything; a backbone of four stages."""

    num_stages = 4
    sides: dict[int, int] = {}  # noqa: RUF012 (never changed)

    def phases(self, stages: int, epochs: int) -> list[Phase]:
        return [Phase(0, 2, 0), Phase(2, epochs, stages)]

    def num_trainable(self, epoch: int, stages: int) -> int:
        return 0 if epoch < 2 else stages

    def is_read(self, split: str, epoch: int) -> bool:
        return epoch == 1

    def image_side(self, epoch: int) -> int | None:
        return self.sides.get(epoch)


def trainer(**values: Any) -> Any:
    given = {
        "datamodule": SimpleNamespace(
            split_sizes={"train": 100, "val": 30, "test": 40}, batch_size=8, image_size=(64, 96)
        ),
        "max_epochs": 4,
        "max_steps": -1,
        "num_training_batches": 12,  # the last four images are left over
        "accumulate_grad_batches": 1,
        "check_val_every_n_epoch": 1,
        "val_check_batch": 12,
        "limit_val_batches": 1.0,
        "limit_test_batches": 1.0,
        "limit_train_batches": 1.0,
        "world_size": 1,
    }
    return SimpleNamespace(**given | values)


def work(schedule: Any, **values: Any) -> RunWork:
    return RunWork(trainer(**values), schedule)


MEASUREMENT = [Work("test and report", "test", 40, 1.0), Work("test and report", "report", REPORT_IMAGES, 1.0)]


def test_the_work_of_each_phase_and_the_measurement() -> None:
    whole = [Work("epochs 3-4", "train 1.000", 96, 3.0), Work("epochs 3-4", "val", 30, 1.0)]
    assert list(work(Schedule()).from_epoch(0)) == [
        Work("epochs 1-2", "train 0.000", 96, 1.0),
        Work("epochs 1-2", "val", 30, 1.0),
        Work("epochs 1-2", "train 0.000 read", 96, CACHED),
        Work("epochs 1-2", "val 0.000 read", 30, CACHED),
        *whole,
        *whole,
        *MEASUREMENT,
    ]
    assert list(work(Schedule()).from_epoch(3)) == [*whole, *MEASUREMENT]


def test_smaller_training_images_are_work_of_their_own_by_their_pixels() -> None:
    small = Schedule()
    small.sides = {2: 32}  # of 64: a quarter of the pixels
    assert [each for each in work(small).from_epoch(2) if each.kind.startswith("train")] == [
        Work("epochs 3-4", "train 1.000 32 px", 96, 0.75),
        Work("epochs 3-4", "train 1.000", 96, 3.0),
    ]


def test_a_measurement_alone() -> None:
    alone = work(None)
    assert list(alone.from_epoch(0)) == MEASUREMENT
    assert list(alone.measurement()) == MEASUREMENT


def test_without_a_test_split_the_validation_split_is_measured() -> None:
    sizes = SimpleNamespace(split_sizes={"train": 100, "val": 30}, batch_size=8)
    assert next(iter(work(None, datamodule=sizes).measurement())).images == 30


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ({}, 4),
        ({"max_epochs": -1}, None),
        ({"max_epochs": None, "max_steps": 25}, 3),  # 12 steps an epoch
        ({"max_steps": 25}, 3),
        ({"max_steps": 1000}, 4),
        ({"max_epochs": -1, "max_steps": 25, "accumulate_grad_batches": 2}, 5),  # 6 steps an epoch
    ],
)
def test_the_last_epoch_is_that_of_the_limit_which_comes_first(options: dict[str, Any], epochs: int | None) -> None:
    assert work(Schedule(), **options).num_epochs == epochs


@pytest.mark.parametrize(
    ("options", "validations"),
    [
        ({}, [1, 1, 1, 1]),
        ({"check_val_every_n_epoch": 2}, [0, 1, 0, 1]),
        ({"check_val_every_n_epoch": None, "val_check_batch": 5}, [2, 2, 2, 2]),
        ({"val_check_batch": float("inf")}, [1, 1, 1, 1]),
    ],
)
def test_validations_of_each_epoch(options: dict[str, Any], validations: list[int]) -> None:
    found = work(Schedule(), **options)
    images = [sum(each.images for each in _epoch(found, epoch) if each.kind.startswith("val")) for epoch in range(4)]
    assert images == [30 * number for number in validations]


def _epoch(found: RunWork, epoch: int) -> list[Work]:
    """What an epoch has more than what follows it."""
    rest = list(found.from_epoch(epoch))
    return rest[: len(rest) - len(list(found.from_epoch(epoch + 1)))]


@pytest.mark.parametrize(
    ("options", "train", "val"),
    [
        ({"limit_val_batches": 2, "num_training_batches": 3}, 24, 16),
        ({"limit_val_batches": 0.5, "num_training_batches": 1000}, 100, 15),
        ({"limit_val_batches": 0}, 96, 0),
        ({"world_size": 2, "num_training_batches": 6, "limit_val_batches": 1}, 96, 16),
    ],
)
def test_limits_count(options: dict[str, Any], train: int, val: int) -> None:
    found = work(Schedule(), **options)
    assert (found.images("train"), found.images("val")) == (train, val)


def test_a_split_that_the_data_does_not_have_has_no_images() -> None:
    assert work(None, datamodule=SimpleNamespace(split_sizes={"test": 5}, batch_size=8)).images("val") == 0

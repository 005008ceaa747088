"""The progress of a whole run: what is shown, when, and that it ends with the run."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.trainer.states import TrainerFn

from visiontasks.training import run_progress
from visiontasks.training.remaining import Work
from visiontasks.training.run_progress import RunProgress

MODULE: Any = None
BATCH = {"index": range(10)}


class Clock:
    """Advances only where something takes time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class FakeWork:
    """Two epochs of 100 training and 20 validation images, then 20 test images."""

    num_epochs = 2

    def __init__(self, trainer: Any, schedule: Any) -> None:
        pass

    def from_epoch(self, epoch: int) -> Iterator[Work]:
        for each in range(epoch, 2):
            yield Work(f"epoch {each + 1}", self.training_kind(each), 100, 1.0)
            yield Work(f"epoch {each + 1}", "val", 20, 1.0)
        yield from self.measurement()

    def measurement(self) -> Iterator[Work]:
        yield Work("test and report", "test", 20, 1.0)
        yield Work("test and report", "report", 100, 1.0)

    def training_kind(self, epoch: int) -> str:
        return "train"

    def validation_kind(self, epoch: int) -> str:
        return "val"

    def images(self, split: str) -> int:
        return 100


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(run_progress, "time", clock)
    monkeypatch.setattr(run_progress, "RunWork", FakeWork)
    monkeypatch.setattr(run_progress, "display", lambda: "none")
    return clock


def trainer(**values: Any) -> Any:
    given = {
        "callbacks": [],
        "is_global_zero": True,
        "world_size": 1,
        "current_epoch": 0,
        "num_training_batches": 10,
        "sanity_checking": False,
        "state": SimpleNamespace(fn=TrainerFn.FITTING),
    }
    return SimpleNamespace(**given | values)


class Shown:
    """Takes the place of the status line."""

    def __init__(self, kind: str) -> None:
        self.lines: list[tuple[float, str, str]] = []
        self.is_closed = False

    def show(self, share: float, left: str, right: str) -> None:
        self.lines.append((share, left, right))

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Shown:
    """The status line of the next run."""
    line = Shown("terminal")
    monkeypatch.setattr(run_progress, "display", lambda: "terminal")
    monkeypatch.setattr(run_progress, "StatusLine", lambda kind: line)
    return line


def run_through(progress: RunProgress, clock: Clock, *, seconds: float = 1.0, **values: Any) -> None:
    """Two epochs and the test, `seconds` a batch of 10 images."""
    now = trainer(**values)
    progress.on_train_start(now, MODULE)
    for epoch in range(2):
        now.current_epoch = epoch
        progress.on_train_epoch_start(now, MODULE)
        for batch in range(10):
            progress.on_train_batch_start(now, MODULE, BATCH, batch)
            clock.now += seconds
            progress.on_train_batch_end(now, MODULE, None, BATCH, batch)
        progress.on_validation_start(now, MODULE)
        for batch in range(2):
            clock.now += seconds
            progress.on_validation_batch_end(now, MODULE, None, BATCH, batch)
        progress.on_validation_end(now, MODULE)
        progress.on_train_epoch_end(now, MODULE)
    progress.on_train_end(now, MODULE)
    measured = trainer(**values, state=SimpleNamespace(fn=TrainerFn.TESTING))
    progress.on_test_start(measured, MODULE)
    for batch in range(2):
        clock.now += seconds
        progress.on_test_batch_end(measured, MODULE, None, BATCH, batch)
    progress.on_test_end(measured, MODULE)


def test_the_line_goes_through_all_phases_counted_from_1(clock: Clock, shown: Shown) -> None:
    with RunProgress() as progress:
        run_through(progress, clock)
    labels = list(dict.fromkeys(label for _, label, _ in shown.lines))
    assert labels == [
        "epoch 1/2",
        "epoch 1/2 validation",
        "epoch 2/2",
        "epoch 2/2 validation",
        "best weights",
        "test",
        "pictures and report",
    ]


def test_the_share_is_that_of_the_time_and_never_goes_back(clock: Clock, shown: Shown) -> None:
    with RunProgress() as progress:
        run_through(progress, clock)
    shares = [share for share, _, _ in shown.lines]
    assert shares == sorted(shares)
    assert shares[0] == 0
    # After the test 26 batches of a second are over; the report's 100 images cost as much as others: 10 s.
    assert shares[-1] == pytest.approx(26 / 36)


def test_images_per_second_and_time_left_are_shown_once_they_are_known(clock: Clock, shown: Shown) -> None:
    with RunProgress() as progress:
        run_through(progress, clock)
    first = [right for _, label, right in shown.lines if label == "epoch 1/2"]
    assert first[0] == "0%"
    assert first[2] == "0%  10 images/s"
    # After five batches 5 s are over; 5 batches, 2 of validation, 12 of the next epoch, 2 of test and 10 s remain
    assert first[5] == "14%  10 images/s  31 s left"
    last = [right for _, label, right in shown.lines if label == "test"]
    assert last[-1] == "72%  10 images/s  10 s left"


def test_the_line_is_gone_when_the_run_ends_or_fails(clock: Clock, shown: Shown) -> None:
    with RunProgress() as progress:
        progress.on_train_start(trainer(), MODULE)
        assert not shown.is_closed
    assert shown.is_closed
    shown.is_closed = False
    progress.on_train_start(trainer(), MODULE)
    progress.on_exception(trainer(), MODULE, ValueError())
    assert shown.is_closed


def test_the_line_is_not_rewritten_more_often_than_people_read(clock: Clock, shown: Shown) -> None:
    with RunProgress() as progress:
        run_through(progress, clock, seconds=0.005)
    assert len(shown.lines) == 9  # a line for each of nine beginnings, none for the 26 batches in 0.13 s


def test_a_log_gets_a_line_a_minute(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress() as progress:
        run_through(progress, clock, seconds=21.0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "epoch 1/2: 0.5 images/s"
    # After the fourth batch of 36, when three are measured; it is 21 s for 10 images everywhere
    assert lines[1] == "about 11 min to go: epoch 1 2 min 50 s, epoch 2 4 min 10 s, test and report 4 min 10 s"
    # A minute later 7 of 36 batches are over
    assert lines[2] == "epoch 1/2: 19% done, 0.5 images/s, 10 min left"
    # When validation images are measured too, 24 batches are left
    announced = [line for line in lines if line.startswith("about ")]
    assert announced[1:] == ["about 8 min 20 s to go: epoch 2 4 min 10 s, test and report 4 min 10 s"]
    assert all(line.startswith(("epoch ", "test", "pictures", "about 8 min")) for line in lines[2:])


def test_the_time_is_announced_once_and_only_where_it_is_long(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress() as progress:
        run_through(progress, clock, seconds=1.0)
    (line,) = capsys.readouterr().out.splitlines()
    # When training and validation images are measured: before, most of the rest is compared by its cost
    assert line == "about 24 s to go: epoch 2 12 s, test and report 12 s"
    with RunProgress() as progress:
        run_through(progress, clock, seconds=0.3)
    assert capsys.readouterr().out == ""  # less than 10 s


@pytest.mark.parametrize(("is_shown", "values"), [(False, {}), (True, {"is_global_zero": False})])
def test_other_processes_and_a_bar_that_is_off_show_nothing(
    is_shown: bool, values: dict[str, Any], clock: Clock, shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunProgress(is_shown=is_shown) as progress:
        run_through(progress, clock, seconds=100.0, **values)
    assert shown.lines == []
    assert capsys.readouterr().out == ""


def test_a_resumed_epoch_goes_on_where_it_was(clock: Clock, shown: Shown) -> None:
    progress = RunProgress()
    now = trainer()
    progress.on_train_start(now, MODULE)
    progress.on_train_epoch_start(now, MODULE)
    progress.on_train_batch_start(now, MODULE, BATCH, 8)
    assert progress._remaining.rest[0].images == 20
    progress.on_train_batch_start(now, MODULE, BATCH, 9)  # which is no resumed one
    assert progress._remaining.rest[0].images == 20
    progress.close()


def test_a_measurement_alone_has_a_line_too(clock: Clock, shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    now = trainer(state=SimpleNamespace(fn=TrainerFn.VALIDATING))
    with RunProgress() as progress:
        progress.on_validation_start(now, MODULE)
        for batch in range(8):
            clock.now += 1.0
            progress.on_validation_batch_end(now, MODULE, None, BATCH, batch)
        progress.on_validation_end(now, MODULE)
    assert list(dict.fromkeys(label for _, label, _ in shown.lines)) == ["validation", "pictures and report"]
    assert shown.is_closed
    assert capsys.readouterr().out == ""  # nothing is announced


def test_a_sanity_check_is_not_shown(clock: Clock, shown: Shown) -> None:
    progress = RunProgress()
    now = trainer(sanity_checking=True)
    progress.on_train_start(now, MODULE)
    before = len(shown.lines)
    progress.on_validation_start(now, MODULE)
    progress.on_validation_batch_end(now, MODULE, None, BATCH, 0)
    progress.on_validation_end(now, MODULE)
    assert len(shown.lines) == before
    progress.close()

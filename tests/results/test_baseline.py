"""Whether a training beat its baseline, and what to look at where it did not."""

from typing import Any

import pytest

from visiontasks.results.baseline import baseline_value, beats_baseline, headline_name, likely_causes


def result(value: float, interval: list[float] | None = None, baseline: float | None = 0.5, **more: Any) -> Any:
    entry = {"value": value, "n": 100, **({"interval95": interval} if interval else {}), **more}
    metrics = {} if baseline is None else {"test/top1": baseline}
    return {
        "headline": "top1",
        "samples": {"evaluated": 100, "of": 100},
        "metrics": {"test/loss": {"value": 1.0, "n": 100}, "test/top1": entry},
        "baseline": {"name": "majority class (bees)", "meaning": "answers bees for every image", "metrics": metrics},
    }


@pytest.mark.parametrize(
    ("measured", "beats"),
    [
        (result(0.6, [0.55, 0.65]), True),
        (result(0.6, [0.45, 0.75]), False),  # better by chance, perhaps
        (result(0.6), True),
        (result(0.5), False),
        (result(0.4, [0.3, 0.45]), False),
        (result(0.4, [0.3, 0.45], lower_is_better=True), True),
        (result(0.4, [0.3, 0.55], lower_is_better=True), False),
        (result(0.4, [0.3, 0.45], baseline=None), True),
        ({**result(0.4), "baseline": None}, True),
        ({name: value for name, value in result(0.4).items() if name != "baseline"}, True),  # a run of earlier
    ],
)
def test_the_whole_interval_has_to_be_better(measured: Any, beats: bool) -> None:
    assert beats_baseline(measured) is beats


def test_the_headline_has_its_split() -> None:
    measured = result(0.6)
    assert headline_name(measured) == "test/top1"
    assert baseline_value(measured, "test/top1") == 0.5
    assert baseline_value(measured, "test/loss") is None
    assert baseline_value({**measured, "baseline": None}, "test/top1") is None


def losses(*values: float) -> list[dict[str, float]]:
    return [{"train/loss": value} for value in values]


def test_a_loss_that_did_not_fall_asks_for_a_longer_training() -> None:
    first, last = likely_causes(result(0.5), losses(2.0, 1.9))
    assert first == (
        "little was learned (train/loss 2 in the first epoch, 1.9 in the last): train longer (--trainer.max_epochs) or "
        "change --model.optimizer.lr"
    )
    assert last.startswith("annotations that do not fit the images")


def test_a_loss_that_fell_asks_for_more_images() -> None:
    first, _ = likely_causes(result(0.5), losses(2.0, float("nan"), 0.1))
    assert first.startswith("it learned its training images (train/loss 2 in the first epoch, 0.1 in the last)")
    assert first.endswith("add images")


def test_few_images_come_first() -> None:
    measured = {**result(0.5), "samples": {"evaluated": 49, "of": 49}}
    assert likely_causes(measured, losses(2.0, 0.1))[0] == "only 49 samples were measured, so the interval is wide"


def test_without_a_history_the_annotations_are_left() -> None:
    assert [cause.split(":")[0] for cause in likely_causes(result(0.5), [])] == [
        "annotations that do not fit the images"
    ]

"""One answer for all images, by hand."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from visiontasks.tasks.baselines import constant_box, majority_class, majority_pixel_class


@dataclass
class Given:
    """Annotations by hand."""

    counts: list[int] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)

    def class_counts(self) -> npt.NDArray[np.int64]:
        return np.array(self.counts, dtype=np.int64)

    def unit_boxes(self) -> npt.NDArray[np.float64]:
        return np.array(self.boxes, dtype=np.float64).reshape(-1, 4)


def test_the_majority_class_is_chosen_on_the_training_split() -> None:
    found = majority_class(Given([10, 20]), Given([30, 10]), ["ants", "bees"])
    assert (found.name, found.meaning) == ("majority class (bees)", "answers bees for every image")
    assert found.metrics == {"top1": 0.25, "macro_accuracy": 0.5}


def test_macro_accuracy_is_over_the_classes_that_occur() -> None:
    found = majority_class(Given([5, 1, 1, 1]), Given([2, 2, 0, 0]), list("abcd"))
    assert found.metrics == {"top1": 0.5, "macro_accuracy": 0.5}
    assert majority_class(Given([5, 1]), Given([0, 4]), list("ab")).metrics == {"top1": 0.0, "macro_accuracy": 0.0}


def test_the_first_of_equally_frequent_classes_is_taken() -> None:
    assert majority_class(Given([3, 3]), Given([1, 3]), list("ab")).metrics["top1"] == 0.25


def test_five_guesses_are_the_five_most_frequent_classes() -> None:
    found = majority_class(Given([6, 5, 4, 3, 2, 1]), Given([1, 1, 1, 1, 1, 5]), list("abcdef"))
    assert found.metrics["top5"] == 0.5
    assert "top5" not in majority_class(Given([1] * 5), Given([1] * 5), list("abcde")).metrics


def test_one_class_everywhere_has_its_share_as_iou_and_the_others_0() -> None:
    found = majority_pixel_class(Given([90, 10, 0]), Given([60, 20, 20]), ["sky", "road", "car"])
    assert found.name == "most frequent class (sky)"
    assert found.metrics == pytest.approx({"miou": 0.2, "pixel_accuracy": 0.6})


def test_a_predicted_class_that_does_not_occur_counts_in_the_mean() -> None:
    found = majority_pixel_class(Given([90, 10, 5]), Given([0, 50, 50]), list("abc"))
    assert found.metrics == {"miou": 0.0, "pixel_accuracy": 0.0}  # mean over three classes, of which one has no pixel
    found = majority_pixel_class(Given([9, 1]), Given([10, 0]), list("ab"))
    assert found.metrics == {"miou": 1.0, "pixel_accuracy": 1.0}


def test_the_mean_training_box_or_the_whole_image_whichever_overlaps_more() -> None:
    training = Given(boxes=[[0, 0, 0.5, 0.5], [0, 0, 0.5, 1]])  # mean: 0, 0, 0.5, 0.75
    small = constant_box(training, Given(boxes=[[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.75]]))
    assert small is not None
    assert small.name == "mean training box"
    assert small.metrics == pytest.approx({"iou": (2 / 3 + 1) / 2, "iou50": 1.0, "iou75": 0.5})
    large = constant_box(training, Given(boxes=[[0, 0, 1, 1]]))
    assert large is not None
    assert (large.name, large.meaning) == ("whole image", "answers a box around the whole image")
    assert large.metrics == {"iou": 1.0, "iou50": 1.0, "iou75": 1.0}


@pytest.mark.parametrize(("training", "measured"), [([], [[0, 0, 1, 1]]), ([[0, 0, 1, 1]], [])])
def test_no_boxes_no_baseline(training: list[list[float]], measured: list[list[float]]) -> None:
    assert constant_box(Given(boxes=training), Given(boxes=measured)) is None


def test_metrics_are_named_with_their_split() -> None:
    entry = majority_class(Given([1, 2]), Given([1, 1]), ["ants", "bees"]).to_json("test")
    assert entry == {
        "name": "majority class (bees)",
        "meaning": "answers bees for every image",
        "metrics": {"test/top1": 0.5, "test/macro_accuracy": 0.5},
    }

"""The annotations of a split without its images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from visiontasks.data.audit.annotations import SplitAnnotations
from visiontasks.data.pipeline.sources import Source
from visiontasks.errors import InputError


class Boxes:
    """Images of 40 x 20 pixels with a box each, and a class."""

    def __init__(self, boxes: Sequence[Sequence[float]], classes: Sequence[int]) -> None:
        self.boxes, self.labels = boxes, np.array(classes)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, row: int) -> dict[str, Any]:
        boxes = np.array([self.boxes[row]], dtype=np.float32)
        return {"image": np.zeros((20, 40, 3), dtype=np.uint8), "boxes": boxes, "label": int(self.labels[row])}


class Data:
    """As much of a DataModule as is asked."""

    def __init__(self, source: Any, *, by_decoding: bool = False) -> None:
        self.of_split = source
        self.counts_by_decoding = by_decoding
        self.class_counts = [7, 7]  # as setup() found them

    def source(self, split: str) -> Source:
        found: Source = self.of_split
        return found

    def count_classes(self, source: Any) -> Any:
        return np.bincount([source[row]["label"] for row in range(len(source))], minlength=2)


SOURCE = Boxes([[0, 0, 20, 10], [10, 5, 40, 20], [0, 0, 40, float("nan")]], [0, 1, 1])


def annotations(split: str = "test", **options: Any) -> SplitAnnotations:
    by_decoding = options.pop("by_decoding", False)
    data: Any = Data(SOURCE, by_decoding=by_decoding)
    return SplitAnnotations(data, split, **options)


def test_boxes_are_shares_of_their_image_and_unknown_ones_left_out() -> None:
    assert annotations().unit_boxes().tolist() == [[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1]]


def test_a_split_without_boxes_has_none() -> None:
    assert annotations(rows=[]).unit_boxes().shape == (0, 4)


def test_rows_choose_what_is_counted() -> None:
    assert annotations().class_counts().tolist() == [1, 2]
    assert annotations(rows=[0, 2]).class_counts().tolist() == [1, 1]
    assert annotations(rows=[0, 2]).unit_boxes().tolist() == [[0, 0, 0.5, 0.5]]


def test_the_training_split_is_counted_once() -> None:
    assert annotations("train").class_counts().tolist() == [7, 7]
    assert annotations("train", rows=[0]).class_counts().tolist() == [1, 0]


def test_of_samples_that_must_be_decoded_some_are_counted() -> None:
    some = annotations("train", by_decoding=True, most_decoded=2)  # the first and the last
    assert some.is_sampled
    assert some.class_counts().tolist() == [1, 1]
    all_of_them = annotations("train", by_decoding=True, most_decoded=3)
    assert not all_of_them.is_sampled
    assert all_of_them.class_counts().tolist() == [1, 2]


def test_an_image_that_cannot_be_read_is_an_error(tmp_path: Any) -> None:
    class Files(Boxes):
        paths = (str(tmp_path / "missing.png"),)

    data: Any = Data(Files([[0, 0, 1, 1]], [0]))
    with pytest.raises(InputError, match="missing.png"):
        SplitAnnotations(data, "test").unit_boxes()

"""Boxes: any number of them for each image, cut in training, whole in evaluation."""

from typing import Any

import numpy as np
import pytest
import torch

from visiontasks.data.datasets.boxes import BoxSource
from visiontasks.data.pipeline.sources import ArraySource, Subset
from visiontasks.data.targets import BoxesTarget
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import place

TARGET = BoxesTarget()


def sample(*boxes: list[float]) -> dict[str, Any]:
    return {"boxes": np.array(boxes, np.float32).reshape(-1, 4), "labels": np.arange(len(boxes))}


def test_training_cuts_boxes_and_evaluation_does_not() -> None:
    # 4x8 to 4x4 by crop: two columns cut at each side
    given = sample([0, 0, 4, 4], [0, 0, 2, 4], [1, 0, 7, 2], [0, 0, 2.1, 4])
    gone = [np.nan] * 4
    for training, expected in (
        (False, [[-2, 0, 2, 4], [-2, 0, 0, 4], [-1, 0, 5, 2], [-2, 0, 0.1, 4]]),
        (True, [[0, 0, 2, 4], gone, [0, 0, 4, 2], gone]),  # of the last 0.1 / 2.1 is left, less than a tenth
    ):
        placed = TARGET.place(dict(given), place((4, 8), (4, 4), "crop"), training=training)
        np.testing.assert_allclose(placed["boxes"], expected, atol=1e-6)
        assert placed["labels"].tolist() == [0, 1, 2, 3]  # those of lost boxes too: they are still classes


def test_images_of_two_three_and_no_boxes_are_one_batch() -> None:
    samples = [sample([0, 0, 1, 1], [1, 1, 2, 3]), sample([0, 0, 1, 1], [1, 2, 3, 4], [0, 1, 2, 3]), sample()]
    batch = TARGET.collate(samples, training=True)
    assert [boxes.shape for boxes in batch["boxes"]] == [(2, 4), (3, 4), (0, 4)]
    assert [boxes.dtype for boxes in batch["boxes"]] == [torch.float32] * 3
    assert [labels.tolist() for labels in batch["labels"]] == [[0, 1], [0, 1, 2], []]
    assert [labels.dtype for labels in batch["labels"]] == [torch.int64] * 3


def test_the_store_pads_and_gives_back_what_it_got_lost_boxes_too() -> None:
    batch = TARGET.collate([sample([0, 0, 1, 1], [np.nan] * 4), sample(), sample([1, 2, 3, 4])], training=True)
    packed = TARGET.pack(batch, 3)
    assert {name: tuple(value.shape) for name, value in packed.items()} == {"boxes": (3, 3, 4), "labels": (3, 3)}
    assert packed["labels"].tolist() == [[0, 1, -1], [-1, -1, -1], [0, -1, -1]]
    assert packed["boxes"][2].isnan().all(1).tolist() == [False, True, True]
    found = TARGET.unpack(packed)
    for key in ("boxes", "labels"):
        for a, b in zip(found[key], batch[key], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_objects_are_counted_in_files_arrays_and_parts_of_them() -> None:
    labels = [np.array([1, 1]), np.array([], np.int64), np.array([0])]
    boxes = [np.zeros((len(of_image), 4), np.float32) for of_image in labels]
    source = BoxSource(["a", "b", "c"], labels, boxes)
    assert source.labels.tolist() == [1, -1, 0]
    assert source.annotation(1)["boxes"].shape == (0, 4)
    assert source.annotation(2)["labels"].tolist() == [0]
    assert TARGET.count(source, 3).tolist() == [1, 2, 0]
    assert TARGET.count(Subset(source, np.array([0, 1])), 3).tolist() == [0, 2, 0]
    assert (TARGET.most_objects(source), TARGET.most_objects(Subset(source, np.array([1])))) == (2, 0)
    arrays = ArraySource(np.zeros((2, 2, 2), np.uint8), np.array([2, 0]), boxes=np.zeros((2, 4), np.float32))
    assert TARGET.count(arrays, 3).tolist() == [1, 0, 1]


def test_every_object_has_one_of_the_classes_and_one_class_is_enough() -> None:
    source = BoxSource(["a"], [np.array([0, 2])], [np.zeros((2, 4), np.float32)])
    with pytest.raises(InputError, match="labels from 0 to 2 in the val split, expected 0 to 1"):
        TARGET.check_sources({"val": source}, ["a", "b"])
    TARGET.check_sources({"train": BoxSource(["a"], [np.array([0])], [np.zeros((1, 4), np.float32)])}, ["a"])

"""Masks: at the size of the batch in training, at their own in evaluation."""

import numpy as np
import pytest
import torch

from visiontasks.data.pipeline.sources import ArraySource
from visiontasks.data.targets import MaskTarget
from visiontasks.errors import InputError
from visiontasks.outputs.geometry import place

TARGET = MaskTarget()
MASK = np.arange(32, dtype=np.uint8).reshape(4, 8)


def test_training_resizes_masks_and_evaluation_keeps_them() -> None:
    geometry = place((4, 8), (4, 4), "letterbox")
    trained = TARGET.collate([TARGET.place({"mask": MASK}, geometry, training=True)], training=True)
    assert trained["mask"].dtype == torch.int64
    assert trained["mask"].shape == (1, 4, 4)
    assert trained["mask"][0, 0].tolist() == [255] * 4
    measured = TARGET.collate([TARGET.place({"mask": MASK}, geometry, training=False)], training=False)
    assert [mask.tolist() for mask in measured["mask"]] == [MASK.tolist()]
    assert [mask.dtype for mask in measured["mask"]] == [torch.uint8]


def test_masks_of_evaluation_may_differ_in_size_and_are_not_for_the_store() -> None:
    batch = TARGET.collate([{"mask": MASK}, {"mask": MASK[:2, :3]}], training=False)
    assert [tuple(mask.shape) for mask in batch["mask"]] == [(4, 8), (2, 3)]
    with pytest.raises(TypeError, match="differ in size"):
        TARGET.pack(batch, 0)


def test_pixels_are_counted_without_those_that_are_ignored() -> None:
    masks = np.array([[[0, 2, 255]], [[0, 0, 255]]], np.uint8)
    source = ArraySource(np.zeros((2, 1, 3), np.uint8), np.zeros(2, np.int64), masks=masks)
    assert TARGET.count(source, 3).tolist() == [3, 0, 1]
    assert TARGET.decoded_counts({"mask": masks[1]})[[0, 255]].tolist() == [2, 1]


def test_a_training_mask_takes_eight_bytes_a_pixel_of_shared_memory() -> None:
    assert TARGET.sample_bytes((3, 5), training=True) == 120
    assert TARGET.sample_bytes((3, 5), training=False) == 0


def test_a_crop_would_leave_pixels_without_a_prediction() -> None:
    with pytest.raises(InputError, match="data.init_args.resize: crop, which would leave pixels of a mask"):
        TARGET.check_options(resize="crop")
    TARGET.check_options(resize="letterbox")

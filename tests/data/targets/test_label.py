"""Labels in samples, batches and the feature store."""

import numpy as np
import pytest
import torch

from visiontasks.data.pipeline.sources import ArraySource
from visiontasks.data.targets import BoxesTarget, LabelTarget, MaskTarget, named_target
from visiontasks.errors import InputError


def source(*labels: int) -> ArraySource:
    return ArraySource(np.zeros((len(labels), 2, 2), np.uint8), np.array(labels))


def test_labels_are_one_tensor_that_the_store_takes_as_it_is() -> None:
    batch = LabelTarget().collate([{"label": 2}, {"label": 0}], training=True)
    assert (batch["label"].tolist(), batch["label"].dtype) == ([2, 0], torch.int64)
    assert LabelTarget().unpack(LabelTarget().pack(batch, 0))["label"].tolist() == [2, 0]


def test_images_are_counted() -> None:
    assert LabelTarget().count(source(2, 0, 2), 4).tolist() == [1, 0, 2, 0]
    assert LabelTarget().unit == "images"


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([0, 1], ["a"], r"1 class\(es\) \(a\), expected at least 2"),
        ([0, 2], ["a", "b"], "labels from 0 to 2 in the train split, expected 0 to 1 for the 2 classes"),
        ([0, 0], ["a", "b"], "no training images of b; add some or remove the class"),
        ([0, 1], ["a", "\x1b[2J"], "class names with characters that cannot be printed"),
    ],
)
def test_classes_that_cannot_be_trained_are_refused(labels: list[int], names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LabelTarget().check_sources({"train": source(*labels)}, names)


def test_a_target_is_a_value_that_recipes_name() -> None:
    assert named_target("box") == BoxesTarget() != MaskTarget()
    assert repr(named_target("mask")) == "MaskTarget()"  # in the fingerprint of kept features
    with pytest.raises(InputError, match=r"data.init_args.target: 'masks', expected one of label, box, mask"):
        named_target("masks")  # type: ignore[arg-type]

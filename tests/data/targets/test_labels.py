"""Several labels in samples, batches and the feature store."""

import numpy as np
import pytest
import torch

from visiontasks.data.datasets.table_images import LabelledFiles
from visiontasks.data.targets import LabelsTarget
from visiontasks.errors import InputError

NAN = float("nan")


def source(*hot: list[float]) -> LabelledFiles:
    return LabelledFiles([f"{i}.png" for i in range(len(hot))], np.array(hot, np.float32))


def test_labels_are_one_tensor_that_the_store_takes_as_it_is() -> None:
    samples = [source([1, 0]).annotation(0), source([NAN, 1]).annotation(0)]
    batch = LabelsTarget().collate(samples, training=True)
    assert batch["labels_hot"].dtype == torch.float32
    stored = LabelsTarget().unpack(LabelsTarget().pack(batch, 0))["labels_hot"]
    assert stored.flatten().tolist() == pytest.approx([1, 0, NAN, 1], nan_ok=True)


def test_images_with_each_label_are_counted_and_named() -> None:
    labels = source([1, 0, 1], [0, NAN, 1], [1, 1, 0])
    assert LabelsTarget().count(labels, 3).tolist() == [2, 1, 2]
    assert LabelsTarget().names(labels.annotation(0), ["a", "b", "c"]) == ["a", "c"]
    assert labels.labels.tolist() == [0, 2, 0]  # the first of each


@pytest.mark.parametrize(
    ("hot", "message"),
    [
        ([[1, 0], [0, 0]], "no training image is known to be with b"),
        ([[1, 1], [0, 1]], "no training image is known to be without b"),
        ([[1, 0], [0, 1], [NAN, NAN]], r"1 image\(s\) of the train split without a known label"),
        ([[1, 0], [0, 2]], "not all 0, 1 or unknown"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(hot: list[list[float]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LabelsTarget().check_sources({"train": source(*hot)}, ["a", "b"])


def test_evaluation_may_have_images_of_one_kind() -> None:
    LabelsTarget().check_sources({"train": source([1, 0], [0, 1]), "val": source([1, 0])}, ["a", "b"])

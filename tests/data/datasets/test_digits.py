"""The embedded digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from visiontasks.data import Digits


@pytest.fixture(scope="module")
def digits() -> Digits:
    data = Digits()
    data.setup()
    return data


def test_splits_are_disjoint_and_stratified(digits: Digits) -> None:
    assert digits.split_sizes == {"train": 1078, "val": 360, "test": 359}
    rows = [digits.source(split).rows for split in ("train", "val", "test")]  # type: ignore[attr-defined]
    assert sorted(np.concatenate(rows)) == list(range(1797))
    whole = np.bincount(load_digits().target)
    test = np.bincount(digits.source("test").labels)
    assert (abs(test - whole / 5) < 1).all()


def test_other_training_seeds_share_the_test_set() -> None:
    data = [Digits(seed=seed, split_seed=split_seed) for seed, split_seed in ((0, 0), (1, 0), (0, 1))]
    for one in data:
        one.setup()
    labels = [one.source("test").labels.tolist() for one in data]
    assert labels[0] == labels[1] != labels[2]


def test_values_are_scaled_to_255_and_labels_are_the_digits(digits: Digits) -> None:
    source, given = digits.source("val"), load_digits()
    row = source.rows[7]  # type: ignore[attr-defined]
    sample = source[7]
    assert sample["label"] == given.target[row]
    assert digits.class_names[sample["label"]] == str(given.target[row])
    # 16 becomes 255, 8 becomes 127.5, rounded up.
    expected = {0: 0, 4: 64, 8: 128, 16: 255}
    for value, scaled in expected.items():
        assert (sample["image"][given.images[row] == value] == scaled).all()


def test_batches_have_the_default_size(digits: Digits) -> None:
    batch = next(iter(digits.train_dataloader()))
    assert batch["image"].shape == (32, 3, 32, 32)
    assert len(digits.train_dataloader()) == 33

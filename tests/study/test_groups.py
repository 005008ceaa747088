"""What a random split claims where images belong together."""

import numpy as np
import pytest

from visiontasks.errors import InputError
from visiontasks.study.features import Features
from visiontasks.study.groups import study_groups


def films(number: int, *, frames: int = 5, alike: float = 0.05) -> tuple[Features, np.ndarray]:
    """Of two classes that cannot be told from each other, by frames that differ by `alike`."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(number), frames)
    vectors = rng.normal(size=(number, 30))[groups] + alike * rng.normal(size=(number * frames, 30))
    rows = np.arange(number * frames)
    splits = np.full(len(rows), "train")
    labels = groups % 2
    return Features(vectors.astype(np.float32), labels, splits, rows, [""] * len(rows), rows, ["cat", "dog"]), groups


def test_what_a_random_split_recognizes_is_the_film() -> None:
    """Films of noise: whole groups say a half or so, a random split nearly all."""
    study = study_groups(*films(20), "(film)")
    assert study.random.value > 0.95
    assert study.whole.low < 0.5 < study.whole.high
    assert study.claimed.value == pytest.approx(study.random.value - study.whole.value)
    assert study.claimed.low > 0.2
    assert (study.n, study.number, study.smallest, study.largest) == (100, 20, 5, 5)


def test_groups_of_independent_images_claim_nothing() -> None:
    features, rows = films(100, frames=1)
    study = study_groups(features, rows // 4, "(film)")
    assert study.claimed.low <= 0


def test_a_class_with_too_few_groups_is_named() -> None:
    with pytest.raises(InputError, match=r"needs 5 groups of each class, too few of cat \(2\), dog \(2\)"):
        study_groups(*films(4), "(film)")

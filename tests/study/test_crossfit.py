"""Heads that judge only what they have not seen."""

import numpy as np
import pytest

from visiontasks.errors import InputError
from visiontasks.study.crossfit import crossfit, fit_head, grouped_folds, log_loss

NAMES = ["cat", "dog"]


def two_clouds(n: int, distance: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points of two classes in three dimensions, whose means are apart in the first."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    vectors = draw.normal(size=(n, 3)).astype(np.float32)
    vectors[:, 0] += distance * labels
    return vectors, labels


def test_classes_that_are_far_apart_are_all_right() -> None:
    vectors, labels = two_clouds(60, 20.0)
    probabilities = crossfit(vectors, labels, np.arange(60), NAMES)
    assert np.array_equal(probabilities.argmax(1), labels)
    assert np.allclose(probabilities.sum(1), 1)


def test_noise_is_not_learned_by_heart() -> None:
    draw = np.random.default_rng(0)
    vectors, labels = draw.normal(size=(200, 300)).astype(np.float32), np.arange(200) % 2
    right = (crossfit(vectors, labels, np.arange(200), NAMES).argmax(1) == labels).mean()
    assert 0.35 < right < 0.65  # a head that saw them would have all: there are more features than images


def test_copies_in_one_group_are_judged_by_heads_that_saw_none_of_them() -> None:
    draw = np.random.default_rng(0)
    once, labels = draw.normal(size=(60, 100)).astype(np.float32), np.arange(60) % 2
    vectors, both = np.repeat(once, 2, 0), np.repeat(labels, 2)
    grouped = crossfit(vectors, both, np.repeat(np.arange(60), 2), NAMES)
    alone = crossfit(vectors, both, np.arange(120), NAMES)
    assert (alone.argmax(1) == both).mean() > 0.8  # the copy gives the answer away
    assert (grouped.argmax(1) == both).mean() < 0.65


def test_folds_are_alike_in_classes_and_keep_groups_whole() -> None:
    labels, groups = np.array([0] * 30 + [1] * 20), np.arange(50) // 2
    fold = grouped_folds(labels, groups, NAMES)
    assert [len(set(fold[groups == group])) for group in range(25)] == [1] * 25
    assert all((labels[fold == each] == 1).sum() in (2, 4, 6) for each in range(5))
    assert np.array_equal(fold, grouped_folds(labels, groups, NAMES))
    assert not np.array_equal(fold, grouped_folds(labels, groups, NAMES, seed=1))


def test_a_class_with_too_few_groups_is_refused() -> None:
    labels, groups = np.array([0] * 10 + [1] * 6), np.array([*range(10), 10, 10, 10, 11, 12, 13])
    with pytest.raises(InputError) as raised:
        grouped_folds(labels, groups, NAMES)
    assert "5 folds needs 5 images of each class, near duplicates counted once; too few of dog (4)" in str(raised.value)


def test_fewer_images_than_features_give_the_same_head() -> None:
    """In the images' own space the regression is the same: the penalty does not see the other directions."""
    vectors, labels = two_clouds(40, 1.0)
    wide = np.concatenate([vectors, np.zeros((40, 60), np.float32)], 1)
    groups = np.arange(40)
    narrow, whole = fit_head(vectors, labels, groups, 2), fit_head(wide, labels, groups, 2)
    assert whole.strength == narrow.strength
    assert np.allclose(whole.probabilities(wide), narrow.probabilities(vectors), atol=1e-4)


def test_a_class_that_is_missing_gets_no_probability() -> None:
    vectors, labels = two_clouds(40, 5.0)
    head = fit_head(vectors, labels * 2, np.arange(40), 3)
    probabilities = head.probabilities(vectors)
    assert probabilities[:, 1].max() < 1e-6
    assert np.array_equal(probabilities.argmax(1), labels * 2)


def test_log_loss_by_hand() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])
    assert log_loss(probabilities, np.array([0, 1])) == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2)

"""Classes that are added to a linear head."""

import numpy as np
import pytest

from visiontasks.study.extend import Linear, extend_head, study_extended

OLD = Linear(np.array([[4.0, 0, 0], [0, 4.0, 0]]), np.array([0.5, -0.5]))


def images(n: int, *, seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Classes around the ends of the axes."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return (np.eye(3)[labels] * 3 + draw.normal(scale=0.5, size=(n, 3))).astype(np.float32), labels


def test_old_and_new_classes_are_predicted() -> None:
    head = extend_head(OLD, *images(90, seed=0), *images(60, seed=1), added=1)
    vectors, labels = images(60, seed=2)
    assert (head.predicted(vectors) == labels).all()
    assert head.weight.shape == (3, 3)


def test_without_new_images_held_rows_stay_where_they_were() -> None:
    """Far from any boundary the log loss has no gradient: the start is the solution."""
    far = Linear(OLD.weight * 20, OLD.bias)
    vectors, labels = images(80, seed=0, classes=2)
    head = extend_head(far, vectors, labels, vectors, labels, added=1)
    moved = np.abs(head.weight[:2] - far.weight).max()
    assert moved < 0.5  # of 80
    assert (head.predicted(vectors) == labels).all()


def test_the_scale_of_a_feature_and_a_constant_one_change_nothing() -> None:
    vectors, labels = images(90, seed=0)
    val, val_labels = images(60, seed=1)
    head = extend_head(OLD, vectors, labels, val, val_labels, added=1)
    factor = np.array([100, 1, 0.01, 1], np.float32)

    def wide(each: np.ndarray) -> np.ndarray:
        return np.asarray(np.concatenate([each, np.full((len(each), 1), 7, np.float32)], 1) * factor, dtype=np.float32)

    old = Linear(np.concatenate([OLD.weight, np.zeros((2, 1))], 1) / factor, OLD.bias)
    other = extend_head(old, wide(vectors), labels, wide(val), val_labels, added=1)
    assert np.allclose(other.logits(wide(val)), head.logits(val), atol=0.02)


def test_an_old_class_that_falls_is_named() -> None:
    """Class 0 loses 6 of 10 images and gains none: 1 of 2^6 by chance, times two classes, is 0.031."""
    vectors, labels = images(20, seed=0, classes=2)
    own = np.flatnonzero(labels == 0)
    vectors[:, 2] = 0
    vectors[own[:6], 2] = 10
    new = Linear(np.concatenate([OLD.weight, [[0, 0, 4.0]]]), np.array([0.5, -0.5, 0]))
    study = study_extended(OLD, new, vectors, labels, ["cat", "dog", "owl"])
    cat, dog, owl = study.classes
    assert (cat.n, cat.before, cat.after) == (10, 10, 4)
    assert cat.p == pytest.approx(2 / 64)
    assert dog.p == 1
    assert (owl.is_new, owl.n, owl.p) == (True, 0, 1)
    assert study.fallen == ["cat"]
    assert (study.n, study.right) == (20, 14)
    vectors[own[5], 2] = 0  # five of ten are 2 / 32, which chance may do
    assert study_extended(OLD, new, vectors, labels, ["cat", "dog", "owl"]).fallen == []

"""Which unlabelled images are worth labelling."""

import numpy as np
import pytest

from visiontasks.errors import InputError
from visiontasks.study.features import Features
from visiontasks.study.folder_features import FolderFeatures
from visiontasks.study.next import choose, margin, replay, study_next


def clouds(n: int, *, seed: int = 0, distance: float = 4.0, classes: int = 2) -> Features:
    """Images of classes around the ends of the axes, with looks of their own."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    vectors = draw.normal(size=(n, 6)).astype(np.float32)
    vectors[np.arange(n), labels] += distance
    return Features(
        vectors=vectors,
        labels=labels,
        splits=np.array(["train"] * n),
        rows=np.arange(n),
        files=[f"labelled{i}.png" for i in range(n)],
        groups=np.arange(n),
        class_names=["cat", "dog", "owl"][:classes],
        hashes=draw.integers(1, 2**63, n, dtype=np.uint64),
        thumbnails=draw.integers(0, 256, (n, 16, 16), dtype=np.uint8),
    )


def unlabelled(features: Features, errors: dict[str, str] | None = None) -> FolderFeatures:
    assert features.hashes is not None
    assert features.thumbnails is not None
    return FolderFeatures(
        files=[f"new{i}.png" for i in range(len(features))],
        vectors=features.vectors,
        sizes=np.full((len(features), 2), 40),
        hashes=features.hashes,
        thumbnails=features.thumbnails,
        looks=np.zeros((len(features), 5), np.float32),
        errors=errors or {},
    )


def test_margin_is_between_the_two_most_probable() -> None:
    assert np.allclose(margin(np.array([[0.2, 0.5, 0.3], [1, 0, 0]])), [0.2, 1])


def test_uncertain_images_of_different_kinds_are_chosen() -> None:
    """Two bundles of 20 uncertain images and one of 60 certain ones; of three images at most one is certain."""
    ends = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], [20, 20, 60])]
    vectors = ends + np.random.default_rng(0).normal(scale=0.01, size=ends.shape).astype(np.float32)
    probabilities = np.where(np.arange(100)[:, None] < 40, [[0.52, 0.48]], [[0.99, 0.01]])
    rows = choose(vectors, probabilities, 2)
    assert sorted(rows // 20) == [0, 1]  # not two of one bundle, though all of one are as uncertain


def test_as_many_as_asked_each_once_and_the_least_certain_first() -> None:
    draw = np.random.default_rng(0)
    vectors = np.repeat(draw.normal(size=(3, 4)), 10, axis=0).astype(np.float32)  # fewer places than are asked for
    first = draw.uniform(0.5, 1, 30)
    rows = choose(vectors, np.stack([first, 1 - first], 1), 5)
    assert len(set(rows.tolist())) == 5
    assert np.all(np.diff(first[rows]) >= 0)
    assert choose(vectors[:3], np.stack([first, 1 - first], 1)[:3], 5).tolist() == np.argsort(first[:3]).tolist()


def test_near_duplicates_of_labelled_images_and_of_each_other_are_left_out() -> None:
    features, images = clouds(40), clouds(6, seed=1)
    assert images.hashes is not None
    assert images.thumbnails is not None
    assert features.hashes is not None
    assert features.thumbnails is not None
    for row, hash_, thumbnail in (
        (0, features.hashes[7], features.thumbnails[7]),
        (4, images.hashes[2], images.thumbnails[2]),
    ):
        images.hashes[row], images.thumbnails[row] = hash_, thumbnail
    study = study_next(features, unlabelled(images, {"bad.png": "empty"}), 10, repeats=2)
    assert sorted(each.name for each in study.chosen) == ["new1.png", "new2.png", "new3.png", "new5.png"]
    assert (study.n, study.unlabelled, study.duplicates, study.errors) == (40, 6, 2, {"bad.png": "empty"})


def test_only_duplicates_are_refused() -> None:
    features = clouds(40)
    with pytest.raises(InputError, match="all 40 unlabelled images are near duplicates of labelled ones"):
        study_next(features, unlabelled(features), 3)


def test_too_few_labels_for_a_replay_are_told() -> None:
    """Three classes, two images each at the start, which is a sixth of two thirds: 54 images."""
    study = study_next(clouds(53, classes=3), unlabelled(clouds(9, seed=1, classes=3)), 3)
    assert study.replay is None
    assert study.needed == 54
    assert study_next(clouds(54, classes=3), unlabelled(clouds(9, seed=1, classes=3)), 3, repeats=2).replay is not None


def test_a_replay_counts_labels_and_images() -> None:
    """90 images: 30 judge, 10 are known, 10 are added; in 4 repeats an image is never judging at (2/3)^4 = 0.2."""
    found = replay(clouds(90), repeats=4)
    assert (found.repeats, found.labels) == (4, 20)
    assert 60 <= found.n <= 84
    assert found.low <= found.difference <= found.high
    assert found.difference == pytest.approx(found.chosen - found.random)


def test_where_chance_is_as_good_the_replay_says_so() -> None:
    """Features that have nothing to do with the labels: no image teaches more than another."""
    found = replay(clouds(90, distance=0.0), repeats=4)
    assert found.p >= 0.05
    assert found.verdict == "choosing does not beat chance on your labelled images"


@pytest.mark.slow
def test_where_few_images_are_hard_choosing_beats_chance() -> None:
    """One class is rare and near another: chance hardly meets it, and the boundary is where it is learned."""
    draw = np.random.default_rng(0)
    features = clouds(600, distance=0.0)
    angle = draw.uniform(-1, 1, 600)
    features.vectors[:] = draw.normal(scale=0.02, size=features.vectors.shape)
    features.vectors[:, 0], features.vectors[:, 1] = angle, 1
    features.labels[:] = angle > 0.6
    found = replay(features, repeats=10)
    assert found.difference > 0
    assert found.verdict == "choosing beats chance on your labelled images"

"""Nearest training images."""

import numpy as np
import pytest

from visiontasks.errors import InputError
from visiontasks.study.features import Features
from visiontasks.study.folder_features import FolderFeatures
from visiontasks.study.similar import nearest, study_similar


def features(vectors: list[list[float]], splits: list[str]) -> Features:
    n = len(vectors)
    return Features(
        vectors=np.array(vectors, np.float32),
        labels=np.arange(n) % 2,
        splits=np.array(splits),
        rows=np.arange(n),
        files=[f"{i}.png" for i in range(n)],
        groups=np.arange(n),
        class_names=["cat", "dog"],
    )


def images(vectors: list[list[float]], errors: dict[str, str] | None = None) -> FolderFeatures:
    n = len(vectors)
    return FolderFeatures(
        files=[f"query{i}.png" for i in range(n)],
        vectors=np.array(vectors, np.float32),
        sizes=np.full((n, 2), 32),
        hashes=np.zeros(n, np.uint64),
        thumbnails=np.zeros((n, 16, 16), np.uint8),
        looks=np.zeros((n, 5), np.float32),
        errors=errors or {},
    )


def test_distance_is_one_minus_the_cosine_and_does_not_depend_on_length() -> None:
    """(3, 4) against (6, 8), (1, 0), (-3, -4), (0, 0): cosines 1, 0.6, -1, 0."""
    known = np.array([[1, 0], [6, 8], [-3, -4], [0, 0]], np.float32)
    rows, distances = nearest(np.array([[3, 4]], np.float32), known, 9)
    assert rows.tolist() == [[1, 0, 3, 2]]
    assert np.allclose(distances, [[0, 0.4, 1, 2]], atol=1e-6)


def test_many_queries_are_answered_in_parts() -> None:
    known = np.eye(3, dtype=np.float32)
    rows, distances = nearest(np.tile(known, (400, 1)), known, 1)
    assert rows[:, 0].tolist() == [0, 1, 2] * 400
    assert distances.max() == 0


def test_only_training_images_are_neighbours() -> None:
    known = features([[1, 0], [0, 1], [1, 0.01]], ["train", "train", "val"])
    study = study_similar(known, images([[1, 0.02]]), np.array([[0.25, 0.75]], np.float32), count=2)
    (query,) = study.queries
    assert [(each.name, each.label) for each in query.neighbours] == [("0.png", "cat"), ("1.png", "dog")]
    assert (query.predicted, query.probability, study.n) == ("dog", 0.75, 2)


def test_a_distance_is_compared_with_those_of_validation_images() -> None:
    """Nearest distances of four validation images: 0, 0, 0.2, 1; of the query, (1, 1): 0.293."""
    train = [[1.0, 0.0, 0.0]]
    val = [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]]
    known = features([*train, *val], ["train"] + ["val"] * 4)
    study = study_similar(known, images([[1.0, 1.0, 0.0]]), np.array([[1, 0]], np.float32))
    assert study.compared == 4
    assert study.queries[0].nearer == 3
    share, low, high = study.share_nearer(study.queries[0])
    assert share == 0.75
    assert 0.30 < low < 0.31  # Wilson, 3 of 4
    assert 0.95 < high < 0.96


def test_features_of_another_network_are_refused() -> None:
    with pytest.raises(InputError, match="features of 3 values and of 2 belong to different networks"):
        study_similar(features([[1, 0]], ["train"]), images([[1, 0, 0]]), np.array([[1, 0]], np.float32))


def test_unreadable_images_are_kept_with_their_error() -> None:
    study = study_similar(features([[1, 0]], ["train"]), images([], {"a.png": "empty"}), np.zeros((0, 2), np.float32))
    assert (study.queries, study.errors) == ([], {"a.png": "empty"})

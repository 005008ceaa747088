"""Groups that a dataset may have without naming them."""

from pathlib import Path

import numpy as np
import pytest

from visiontasks.data.audit.groups import candidates, divided_groups, likeness

ROOT = Path("photos")


def found(names: list[str], labels: list[int], near: list[int] | None = None) -> dict[str, list[int]]:
    paths = [f"photos/{name}" for name in names]
    groups = candidates(paths, np.array(labels), ROOT, None if near is None else np.array(near))
    return {each.groups: each.numbers.tolist() for each in groups}


def test_films_are_recognized_by_the_counter_at_the_end_of_a_name() -> None:
    """The first number of a name makes the same groups, which are listed once."""
    names = [f"cat/film{film}_{frame:03d}.jpg" for film in range(3) for frame in range(2)]
    assert found(names, [0] * 6) == {r"(.*\D)\d+": [0, 0, 1, 1, 2, 2]}


def test_patients_are_recognized_by_the_first_number_and_by_folders() -> None:
    names = [f"sick/p{p}/p{p}_eye{eye}_{view}.jpg" for p in range(3) for eye in range(2) for view in range(2)]
    patients, eyes = [0] * 4 + [1] * 4 + [2] * 4, np.repeat(range(6), 2).tolist()
    assert found(names, [0] * 12) == {"folder": patients, r"(.*\D)\d+": eyes}


def test_counters_of_a_class_are_no_groups() -> None:
    """A class of one group could not be divided, and groups of one image each divide as images do."""
    assert (
        found([f"cat/cat_{i}.jpg" for i in range(5)] + [f"dog/dog_{i}.jpg" for i in range(5)], [0] * 5 + [1] * 5) == {}
    )
    assert found([f"cat/{name}_1.jpg" for name in "abcdef"], [0] * 6) == {}


def test_near_duplicates_are_groups_where_they_are_given() -> None:
    names = [f"cat/{name}.jpg" for name in "abcdef"]
    assert found(names, [0] * 6, [0, 0, 1, 1, 2, 3]) == {"near": [0, 0, 1, 1, 2, 3]}
    assert found(names, [0] * 6) == {}


def test_the_most_similar_image_tells_whether_groups_are_alike() -> None:
    """Six pictures twice each: always the other of the pair, by chance 1 of 11; of other groups never."""
    pictures = np.random.default_rng(0).integers(0, 256, (6, 16, 16)).astype(np.uint8)
    thumbnails = np.repeat(pictures, 2, axis=0)
    assert likeness(np.arange(12) // 2, thumbnails) == (1.0, pytest.approx(1 / 11), 12)
    assert likeness(np.arange(12) % 6, thumbnails)[0] == 0.0
    assert likeness(np.arange(12), thumbnails) == (0.0, 0.0, 0)


def test_groups_in_two_splits_are_counted() -> None:
    assert divided_groups(np.array([0, 0, 1, 1, 2]), ["train", "val", "train", "train", "test"]) == 1

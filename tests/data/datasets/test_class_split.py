"""Division of images with several classes: each part has its share of each class."""

from itertools import chain

import numpy as np

from visiontasks.data.datasets.class_split import divide_by_classes

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


def images(**counts: int) -> list[frozenset[str]]:
    """`images(ab=3)`: three images with an object of a and one of b; `none` has no object."""
    return [frozenset("" if names == "none" else names) for names, count in counts.items() for _ in range(count)]


def shares(classes: list[frozenset[str]], seed: int = 0) -> dict[str, dict[str, int]]:
    """Images of each kind in each part."""
    rows = divide_by_classes(classes, SHARES, seed=seed)
    assert sorted(chain(*(of_part.tolist() for of_part in rows.values()))) == list(range(len(classes)))
    kinds = sorted({"".join(sorted(each)) for each in classes})
    return {
        part: {kind: sum("".join(sorted(classes[row])) == kind for row in of_part) for kind in kinds}
        for part, of_part in rows.items()
    }


def test_classes_and_images_without_objects_are_divided_by_their_shares() -> None:
    assert shares(images(a=10, b=20, none=5)) == {
        "train": {"": 3, "a": 6, "b": 12},
        "val": {"": 1, "a": 2, "b": 4},
        "test": {"": 1, "a": 2, "b": 4},
    }


def test_classes_that_share_images_have_their_shares_too() -> None:
    classes = images(a=10, ab=10, abc=5)
    for seed in range(5):
        rows = divide_by_classes(classes, SHARES, seed=seed)
        for name, total in (("a", 25), ("b", 15), ("c", 5)):
            found = {part: sum(name in classes[row] for row in of_part) for part, of_part in rows.items()}
            for part, share in SHARES.items():
                assert abs(found[part] - share * total) <= 1, (seed, name, found)


def test_what_is_too_rare_for_all_stays_in_train() -> None:
    classes = images(a=20, b=1)
    for seed in range(20):
        assert shares(classes, seed)["train"]["b"] == 1


def test_no_part_is_empty_where_images_can_be_spared() -> None:
    assert all(sum(of_part.values()) for of_part in shares(images(a=3)).values())
    assert {part: len(rows) for part, rows in divide_by_classes(images(a=1, b=1), SHARES, seed=0).items()} == {
        "train": 2,
        "val": 0,
        "test": 0,
    }


def test_the_seed_decides_which_images_and_nothing_else() -> None:
    classes = images(a=10, b=10)
    first, again, other = (divide_by_classes(classes, SHARES, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(first[part], again[part]) for part in SHARES)
    assert not all(np.array_equal(first[part], other[part]) for part in SHARES)
    assert all((np.diff(rows) > 0).all() for rows in first.values())

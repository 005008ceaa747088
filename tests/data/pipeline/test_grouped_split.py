"""Splits that divide no group."""

from collections import Counter

import numpy as np
import pytest

from visiontasks.data.pipeline.grouped_split import Fold, divide_groups, fold_rows
from visiontasks.data.pipeline.groups import numbered
from visiontasks.errors import InputError

SHARES = [0.6, 0.2, 0.2]


def layout(seed: int) -> tuple[list[frozenset[str]], np.ndarray]:
    """A random dataset: 2 to 5 classes, 3 to 40 groups of 1 to 30 images, of one class each or of several."""
    rng = np.random.default_rng(seed)
    names = [f"class{k}" for k in range(rng.integers(2, 6))]
    groups = rng.permutation(np.repeat(np.arange(n := rng.integers(3, 41)), rng.integers(1, 31, n)))
    own = rng.integers(0, len(names), n)
    mixed = rng.random(len(groups)) < rng.choice([0.0, 0.3])
    labels = np.where(mixed, rng.integers(0, len(names), len(groups)), own[groups])
    return [frozenset([names[label]]) for label in labels], numbered(groups.tolist())


def divide(seed: int, *, everywhere: bool = True) -> list[np.ndarray]:
    classes, groups = layout(seed)
    return divide_groups(classes, groups, SHARES, seed=seed, everywhere=everywhere, names="train, val, test")


def test_no_group_of_random_layouts_is_in_two_parts() -> None:
    """bench/study.py groups has 10,000 of them."""
    divided = 0
    for seed in range(40):
        classes, groups = layout(seed)
        try:
            parts = divide(seed)
        except InputError:
            continue
        divided += 1
        assert sorted(np.concatenate(parts).tolist()) == list(range(len(groups)))
        assert all(len(part) for part in parts)
        held = [set(groups[part].tolist()) for part in parts]
        assert not held[0] & held[1]
        assert not held[0] & held[2]
        assert not held[1] & held[2]
        known = set().union(*classes)
        assert all(set().union(*(classes[row] for row in part)) == known for part in parts)
    assert divided > 20


def test_parts_get_their_shares_of_each_class() -> None:
    """Of 100 groups of 5 cats and 50 groups of 10 dogs: 60, 20 and 20 %, to within a group."""
    classes = [frozenset(["cat"])] * 500 + [frozenset(["dog"])] * 500
    groups = np.concatenate([np.repeat(np.arange(100), 5), np.repeat(np.arange(100, 150), 10)])
    parts = divide_groups(classes, groups, SHARES, seed=0, everywhere=True, names="")
    counts = [Counter(next(iter(classes[row])) for row in part) for part in parts]
    for count, expected in zip(counts, (300, 100, 100), strict=True):
        assert abs(count["cat"] - expected) <= 5
        assert abs(count["dog"] - expected) <= 10


def test_large_groups_are_in_all_parts() -> None:
    """Of 10 groups of 64 images and 100 single ones, 6, 2 and 2 large ones: not all of them in train."""
    groups = np.concatenate([np.repeat(np.arange(10), 64), np.arange(10, 110)])
    parts = divide_groups([frozenset("a")] * 740, groups, SHARES, seed=0, everywhere=True, names="")
    assert [int((np.bincount(groups[part]) == 64).sum()) for part in parts] == [6, 2, 2]


def test_the_division_is_a_function_of_seed_and_groups() -> None:
    classes, groups = layout(3)
    shuffled = np.random.default_rng(0).permutation(int(groups.max()) + 1)
    renamed = numbered([f"film {shuffled[group]}" for group in groups])
    first, again, other = (
        divide_groups(classes, numbers, SHARES, seed=seed, everywhere=False, names="")
        for numbers, seed in ((groups, 0), (renamed, 0), (groups, 1))
    )
    assert [part.tolist() for part in first] == [part.tolist() for part in again]
    assert [part.tolist() for part in first] != [part.tolist() for part in other]


def test_a_class_with_as_many_groups_as_parts_is_in_each() -> None:
    """Three groups of 20 for shares of 36, 12 and 12: by the shares alone train would get two."""
    groups = np.repeat(np.arange(3), 20)
    parts = divide_groups([frozenset("a")] * 60, groups, SHARES, seed=0, everywhere=True, names="")
    assert [len(part) for part in parts] == [20, 20, 20]


def test_too_few_groups_are_refused_with_their_numbers() -> None:
    classes = [frozenset(["cat"])] * 31 + [frozenset(["dog"])] * 9
    groups = np.concatenate([np.repeat([0, 1], [30, 1]), np.arange(2, 11)])
    with pytest.raises(InputError, match=r"into train, val, test: cat \(31 images in 2 groups\); expected 3 groups"):
        divide_groups(classes, groups, SHARES, seed=0, everywhere=True, names="train, val, test")
    with pytest.raises(InputError, match=r"all classes \(40 images in 1 group\)"):
        divide_groups(classes, np.zeros(40, np.int64), SHARES, seed=0, everywhere=False, names="train, val, test")


def test_a_class_of_one_group_is_trained_on_where_not_all_parts_need_it() -> None:
    classes = [frozenset(["rare"]), *[frozenset(["cat"])] * 30]
    for seed in range(10):
        parts = divide_groups(classes, np.arange(31), SHARES, seed=seed, everywhere=False, names="")
        assert 0 in parts[0]


def test_folds_hold_each_image_once() -> None:
    classes, groups = layout(11)
    folds = [
        fold_rows(classes, groups, Fold(number, 3), val_fraction=0.25, seed=0, everywhere=False) for number in (1, 2, 3)
    ]
    assert sorted(np.concatenate([rows["test"] for rows in folds]).tolist()) == list(range(len(groups)))
    for rows in folds:
        assert sorted(np.concatenate([*rows.values()]).tolist()) == list(range(len(groups)))
        sets = [set(groups[of].tolist()) for of in rows.values()]
        assert sum(map(len, sets)) == len(set().union(*sets))


def test_a_validation_split_of_the_dataset_leaves_no_other() -> None:
    classes, groups = layout(11)
    rows = fold_rows(classes, groups, Fold(1, 3), val_fraction=0.0, seed=0, everywhere=False)
    assert list(rows) == ["train", "test"]


@pytest.mark.parametrize("text", ["0/5", "6/5", "1/1", "two of five", "2"])
def test_a_fold_is_its_number_of_how_many(text: str) -> None:
    with pytest.raises(InputError, match=r"data\.init_args\.fold: .*expected .* 2/5"):
        Fold.parsed(text)
    assert Fold.parsed("2/5") == Fold(2, 5)

"""Which samples a report shows, and how they are found again in data that has changed."""

from math import nan

import numpy as np

from visiontasks.data.pipeline.sources import ArraySource
from visiontasks.results.examples import find_rows, most_confident_mistakes
from visiontasks.results.samples import Samples

NAMES = ["ant", "bee"]


def source(paths: list[str], labels: list[int]) -> ArraySource:
    return ArraySource(np.zeros((len(paths), 2, 2, 3), np.uint8), np.array(labels), paths=paths)


def table(names: list[str], labels: list[str]) -> Samples:
    return Samples(names, [0.5] * len(names), labels, labels, [0.5] * len(names))


def test_samples_are_found_by_name_and_label() -> None:
    samples = table(["1.png", "1.png", "2.png"], ["ant", "bee", "bee"])
    assert find_rows(samples, source(["a/1.png", "b/1.png", "b/2.png"], [0, 1, 1]), NAMES) == {0: 0, 1: 1, 2: 2}
    assert find_rows(samples, source(["b/2.png", "a/1.png"], [1, 0]), NAMES) == {0: 1, 2: 0}


def test_one_of_two_that_share_name_and_label_is_not_guessed() -> None:
    samples = table(["1.png", "1.png", "2.png"], ["ant", "ant", "ant"])
    assert find_rows(samples, source(["x/1.png", "2.png"], [0, 0]), NAMES) == {2: 1}
    assert find_rows(samples, source(["x/1.png", "y/1.png"], [0, 0]), NAMES) == {0: 0, 1: 1}


def test_masks_are_found_by_their_name_alone() -> None:
    samples = Samples(["1.png", "2.png"], [0.5, 0.5])
    assert find_rows(samples, source(["2.png", "1.png"], [0, 0]), NAMES) == {0: 1, 1: 0}


def test_the_most_confident_mistake_comes_first() -> None:
    samples = Samples(
        list("abcde"),
        [0.5] * 5,
        ["ant", "ant", "bee", "bee", "bee"],
        ["bee", "ant", "ant", "ant", ""],
        [0.6, 0.99, 0.9, 0.6, nan],
    )
    assert most_confident_mistakes(samples) == [2, 0, 3]
    assert most_confident_mistakes(samples, most=1) == [2]
    assert most_confident_mistakes(Samples(["a"], [0.5])) == []

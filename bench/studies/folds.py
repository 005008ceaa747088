"""The interval of folds holds the accuracy that it is about, where the naive one does not.

python bench/study.py folds [--draws 200]
"""

import argparse
from collections.abc import Sequence
from statistics import mean

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from visiontasks.data.pipeline.grouped_split import divide_groups
from visiontasks.ops.metrics import wilson_interval
from visiontasks.study.folds import overlapping_interval

CLASSES, SIDE, JUDGED = 3, 10, 4000
"""Classes and features of the made data, and images that tell how good a head really is."""
CASES = ((100, 5, 1), (300, 5, 1), (300, 10, 1), (300, 5, 5))
"""Images, folds, repeats."""


def prove(words: Sequence[str]) -> None:
    """A line for each case: in how many of the draws each interval holds the truth, and how wide it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    given = parser.parse_args(words)
    with threadpool_limits(1):
        for case in CASES:
            _prove(*case, given.draws)


def _prove(n: int, folds: int, repeats: int, draws: int) -> None:
    """The truth is the mean accuracy, over all draws, of heads that are fitted on the other folds."""
    rng = np.random.default_rng(0)
    centres = 1.6 * rng.normal(size=(CLASSES, SIDE)) / np.sqrt(SIDE)
    judged = _drawn(rng, centres, JUDGED)
    estimates: list[list[float]] = []
    rights: list[int] = []
    real: list[float] = []
    for _ in range(draws):
        images = _drawn(rng, centres, n)
        values, right, of_heads = _folds(images, judged, folds, repeats)
        estimates.append(values)
        rights.append(right)
        real.append(mean(of_heads))
    truth = mean(real)
    found = {
        "Nadeau and Bengio": [overlapping_interval(values, 1 / (folds - 1)) for values in estimates],
        "naive t": [overlapping_interval(values, 0.0) for values in estimates],
        "Wilson, all images": [wilson_interval(right, n) for right in rights],
    }
    for name, intervals in found.items():
        held = sum(low <= truth <= high for low, high in intervals)
        width = mean(high - low for low, high in intervals)
        print(
            f"n = {n}, {folds} folds, {repeats:2} repeats: {name:18} holds {truth:.4f} in {held} of {draws} "
            f"({100 * held / draws:.1f} %), width {width:.3f}",
            flush=True,
        )


def _drawn(rng: np.random.Generator, centres: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % CLASSES
    return centres[labels] + rng.normal(size=(n, SIDE)), labels


def _folds(
    images: tuple[np.ndarray, np.ndarray], judged: tuple[np.ndarray, np.ndarray], folds: int, repeats: int
) -> tuple[list[float], int, list[float]]:
    """Accuracy of each fold, images right in the first division, and what each head reaches on new images."""
    vectors, labels = images
    values, right, real = [], 0, []
    classes = [frozenset([str(label)]) for label in labels]
    for repeat in range(repeats):
        parts = divide_groups(
            classes, np.arange(len(labels)), [1 / folds] * folds, seed=repeat, everywhere=True, names="folds"
        )
        for part in parts:
            inside = np.setdiff1d(np.arange(len(labels)), part)
            head = LogisticRegression(C=0.1).fit(vectors[inside], labels[inside])
            is_right = head.predict(vectors[part]) == labels[part]
            values.append(float(is_right.mean()))
            right += int(is_right.sum()) if repeat == 0 else 0
            if repeat == 0:
                real.append(float((head.predict(judged[0]) == judged[1]).mean()))
    return values, right, real

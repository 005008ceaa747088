"""No group is in two splits, and whole groups tell what new groups will bring.

python bench/study.py groups [--layouts 10000] [--draws 50]
"""

import argparse
from collections.abc import Sequence

import numpy as np

from bench.studies.common import spread
from visiontasks.data.pipeline.grouped_split import Fold, divide_groups, fold_rows
from visiontasks.data.pipeline.groups import numbered
from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError
from visiontasks.study.crossfit import fit_head
from visiontasks.study.features import Features
from visiontasks.study.groups import study_groups

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
FILMS, FRAMES, CLASSES, SIDE = 12, 6, 3, 16
"""Films of each class, frames of each, classes, and features of the made data."""


def prove(words: Sequence[str]) -> None:
    """Print how many layouts were divided, and how often claims hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=50)
    given = parser.parse_args(words)
    _divide(given.layouts)
    _claim(given.draws)


def _divide(layouts: int) -> None:
    """Random datasets, divided into splits and into folds."""
    divided, refused, in_two, missing, off = 0, 0, 0, 0, []
    for seed in range(layouts):
        classes, groups = _layout(seed)
        try:
            parts = divide_groups(
                classes, groups, [*SHARES.values()], seed=seed, everywhere=True, names=", ".join(SHARES)
            )
        except InputError:
            refused += 1
            continue
        divided += 1
        rows = fold_rows(classes, groups, Fold(1 + seed % 3, 3), val_fraction=0.2, seed=seed, everywhere=False)
        for split in (parts, [*rows.values()]):
            held = [set(groups[part].tolist()) for part in split]
            in_two += sum(map(len, held)) - len(set().union(*held))
            assert sorted(np.concatenate(split).tolist()) == list(range(len(groups)))
        known = set().union(*classes)
        missing += sum(set().union(*(classes[row] for row in part)) != known for part in parts)
        sizes = np.array([len(part) for part in parts])
        off.append(float(np.abs(sizes / len(groups) - [*SHARES.values()]).max()))
    print(
        f"{layouts:,} layouts: {divided:,} divided, {refused:,} refused for too few groups of a class; groups in two "
        f"splits or folds: {in_two}; splits without a class: {missing}; a split's share is off by {np.median(off):.3f} "
        f"in the median, {np.quantile(off, 0.95):.3f} in 95 of 100",
        flush=True,
    )


def _layout(seed: int) -> tuple[list[frozenset[str]], Int64Array]:
    """2 to 5 classes, 3 to 40 groups of 1 to 12 images each; a third of the datasets have groups of several classes."""
    rng = np.random.default_rng(seed)
    number, n = int(rng.integers(2, 6)), int(rng.integers(3, 41))
    groups = rng.permutation(np.repeat(np.arange(n), rng.integers(1, 13, n)))
    own = rng.integers(0, number, n)
    mixed = rng.random(len(groups)) < (0.4 if seed % 3 == 0 else 0.0)
    labels = np.where(mixed, rng.integers(0, number, len(groups)), own[groups])
    return [frozenset([str(label)]) for label in labels], numbered(groups.tolist())


def _claim(draws: int) -> None:
    """Made films, whose frames differ less than films of a class do; the truth is that of many new films."""
    random, whole, truth, holds, claimed = [], [], [], 0, 0
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        centres = 1.3 * rng.normal(size=(CLASSES, SIDE)) / np.sqrt(SIDE) * 2
        features, groups = _films(rng, centres, FILMS)
        found = study_groups(features, groups, "(film)", seed=seed)
        new, _ = _films(rng, centres, 500)
        head = fit_head(features.vectors, features.labels, groups, CLASSES, seed=seed)
        truth.append(float((head.logits(new.vectors).argmax(1) == new.labels).mean()))
        random.append(found.random.value)
        whole.append(found.whole.value)
        holds += found.whole.low <= truth[-1] <= found.whole.high
        claimed += found.random.low <= truth[-1] <= found.random.high
    print(
        f"{draws} draws of {CLASSES * FILMS} films of {FRAMES} frames: a random split says {spread(random)}, whole "
        f"groups {spread(whole)}, new films bring {spread(truth)}; the 95 % interval holds it in {holds} of {draws} "
        f"for whole groups, in {claimed} for the random split"
    )


def _films(rng: np.random.Generator, centres: np.ndarray, films: int) -> tuple[Features, Int64Array]:
    labels = np.repeat(np.arange(CLASSES), films * FRAMES)
    groups = np.repeat(np.arange(CLASSES * films), FRAMES)
    of_film = rng.normal(size=(CLASSES * films, SIDE))
    vectors = centres[labels] + of_film[groups] + 0.3 * rng.normal(size=(len(labels), SIDE))
    rows = np.arange(len(labels))
    names = [f"class {k}" for k in range(CLASSES)]
    made = Features(
        vectors.astype(np.float32), labels, np.full(len(rows), "train"), rows, [""] * len(rows), rows, names
    )
    return made, groups

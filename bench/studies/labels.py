"""Labels that were flipped here are found, and counted.

python bench/study.py labels --backbone NAME pets3=FOLDER cifar=FOLDER
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

import numpy as np

from bench.studies.common import datasets, spread
from visiontasks.study.features import Features
from visiontasks.study.labels import study_labels

FLIPPED = (0.0, 0.02, 0.05, 0.10)


def prove(words: Sequence[str]) -> None:
    """A line for each dataset and share of flipped labels: means over seeds with their standard deviation."""
    found, given = datasets(words, str(__doc__))
    for name, features in found:
        _prove(name, features, given.seeds)


def flip(features: Features, share: float, seed: int) -> tuple[Features, np.ndarray]:
    """Give a share of the images another class, drawn uniformly; which they are, (n,)."""
    draw = np.random.default_rng(seed)
    flipped = np.zeros(len(features), dtype=bool)
    flipped[draw.choice(len(features), round(share * len(features)), replace=False)] = True
    shift = draw.integers(1, len(features.class_names), len(features))
    labels = np.where(flipped, (features.labels + shift) % len(features.class_names), features.labels)
    return replace(features, labels=labels), flipped


def _prove(name: str, features: Features, seeds: int) -> None:
    """Flip labels, look for them, and print how many of those named were flipped."""
    for share in FLIPPED:
        precision, recall, counts, widths, held = [], [], [], [], 0
        for seed in range(seeds):
            changed, flipped = flip(features, share, seed)
            study = study_labels(changed, seed=seed)
            place = {key: at for at, key in enumerate(zip(features.splits, features.rows, strict=True))}
            found = np.array([flipped[place[each.split, each.row]] for each in study.suspects])
            k = int(flipped.sum())
            counts.append(study.wrong.count)
            widths.append(study.wrong.high - study.wrong.low)
            held += study.wrong.low <= k <= study.wrong.high
            if k:
                precision.append(float(found[:k].mean()))
                recall.append(float(found.sum() / k))
        parts = [f"{name:10} n {len(features):6,} flipped {share:4.0%} = {k:5,}", f"estimate {spread(counts)}"]
        parts.append(f"interval holds it {held} of {seeds}, width {mean(widths):.3g}")
        if precision:
            parts.append(f"precision at k {spread(precision)} recall {spread(recall)}")
        print("  ".join(parts), flush=True)

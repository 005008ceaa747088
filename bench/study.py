"""Whether the studies keep their word, on data whose truth is known.

    python bench/study.py labels --backbone NAME pets3=FOLDER cifar=FOLDER      labels that were flipped here are found
    python bench/study.py how-much-data --backbone NAME pets3=FOLDER            forecasts from a part of the images hold

FOLDER holds class folders, or splits of them. The features are computed once. A line a dataset and setting: means over
the seeds with their standard deviation, and how often an interval holds the truth.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean, stdev

import numpy as np

from visiontasks.backbones import create_vector
from visiontasks.data import ImageFolder
from visiontasks.study.amount import forecast_accuracy, study_amount
from visiontasks.study.crossfit import fit_head
from visiontasks.study.features import Features, image_features
from visiontasks.study.labels import study_labels

FLIPPED = (0.0, 0.02, 0.05, 0.10)
PART = 0.25
"""Of the images that a forecast knows."""


def read_features(folder: str, backbone: str, image_size: int, most: int) -> Features:
    """Features of all images of a folder, of the first `most` in a random order."""
    data = ImageFolder(folder, image_size=image_size)
    data.setup()
    network = create_vector(backbone, weights="hub", image_size=image_size)
    features = image_features(data, network)
    order = np.random.default_rng(0).permutation(len(features))[:most]
    return features.select(np.sort(order))


def flip(features: Features, share: float, seed: int) -> tuple[Features, np.ndarray]:
    """Give a share of the images another class, drawn uniformly; which they are, (n,)."""
    draw = np.random.default_rng(seed)
    flipped = np.zeros(len(features), dtype=bool)
    flipped[draw.choice(len(features), round(share * len(features)), replace=False)] = True
    shift = draw.integers(1, len(features.class_names), len(features))
    labels = np.where(flipped, (features.labels + shift) % len(features.class_names), features.labels)
    return replace(features, labels=labels), flipped


def labels(name: str, features: Features, seeds: int) -> None:
    """Flip labels, look for them, and print how many of those named were flipped."""
    for share in FLIPPED:
        precision, recall, counts, held = [], [], [], 0
        for seed in range(seeds):
            changed, flipped = flip(features, share, seed)
            study = study_labels(changed, seed=seed)
            place = {key: at for at, key in enumerate(zip(features.splits, features.rows, strict=True))}
            found = np.array([flipped[place[each.split, each.row]] for each in study.suspects])
            k = int(flipped.sum())
            assert study.wrong is not None
            counts.append(study.wrong.count)
            held += study.wrong.low <= k <= study.wrong.high
            if k:
                precision.append(float(found[:k].mean()))
                recall.append(float(found.sum() / k))
        parts = [f"{name:10} n {len(features):6,} flipped {share:4.0%} = {k:5,}", f"estimate {spread(counts)}"]
        parts.append(f"interval holds it {held} of {seeds}")
        if precision:
            parts.append(f"precision at k {spread(precision)} recall {spread(recall)}")
        print("  ".join(parts), flush=True)


def amount(name: str, features: Features, seeds: int) -> None:
    """Forecast from a quarter of the images the accuracy with two and four times as many, and measure it."""
    held = {2.0: 0, 4.0: 0}
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(features))
        few = order[: round(PART * len(order))]
        curve = study_amount(features.select(np.sort(few)), seed=seed)
        sizes, right = [each.images for each in curve.points], [sum(each.right) for each in curve.points]
        for factor in held:
            known = order[: round(factor * sizes[-1])]
            judged = order[round(4.0 * sizes[-1]) :]
            head = fit_head(features.vectors[known], features.labels[known], features.groups[known], len(curve.counts))
            truth = float((head.logits(features.vectors[judged]).argmax(1) == features.labels[judged]).mean())
            middle, low, high = forecast_accuracy(sizes, right, curve.n, factor * sizes[-1])
            held[factor] += low <= truth <= high
            print(
                f"{name:10} seed {seed} {sizes[-1]:.0f} images: {curve.points[-1].accuracy:.4f}, {factor:.0f} times: "
                f"forecast {middle:.4f} ({low:.4f} to {high:.4f}), measured {truth:.4f} on {len(judged):,}",
                flush=True,
            )
    for factor, count in held.items():
        print(f"{name:10} {factor:.0f} times as many: {count} of {seeds} forecasts hold", flush=True)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    deviation = stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):.3g} (sd {deviation:.2g})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one question on each dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=("labels", "how-much-data"))
    parser.add_argument("data", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--most", type=int, default=5000, help="images of a dataset")
    given = parser.parse_args(arguments)
    for each in given.data:
        name, _, folder = each.partition("=")
        features = read_features(folder, given.backbone, given.image_size, given.most)
        (labels if given.question == "labels" else amount)(name, features, given.seeds)


if __name__ == "__main__":
    sys.exit(main())

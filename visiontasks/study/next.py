"""Which unlabelled images are worth labelling next: uncertain ones that differ from each other.

Zhdanov, "Diverse mini-batch Active Learning", 2019 (https://arxiv.org/abs/1901.05954): of the images with the least
margin between the two most probable classes, ten times as many as are wanted (and 200 at least), k-means makes as many
clusters as are wanted, each image weighed by 1 - margin, and the image nearest to each centre is taken. Here by a
linear head on features of a frozen backbone at length 1, and near duplicates of each other and of labelled images are
left out.

Whether that beats chance depends on the images, so it is replayed on those that have labels: heads of a few of them
choose among others, and are compared with heads that got as many by chance.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from visiontasks.data.pipeline.duplicates import near_groups
from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError
from visiontasks.outputs.base import Float32Array
from visiontasks.study.crossfit import Float64Array, LinearHead, fit_head, refit_head
from visiontasks.study.features import Features
from visiontasks.study.folder_features import FolderFeatures

CANDIDATES, LEAST_CANDIDATES = 10, 200
"""Among the least certain images, so many times as many as are wanted, is chosen; and among at least 200."""
REPEATS = 20
JUDGED, KNOWN = 1 / 3, 1 / 6
"""Of the labelled images that many judge a replay; of the others that many are known at its start, and added."""
LEAST_OF_CLASS = 2
"""Images of a class at the start of a replay, in the mean."""
MOST_REPLAYED = 3000
DIFFERENT = 0.05


@dataclass(frozen=True)
class Chosen:
    """An image that is worth labelling.

    Args:
        name: Its file.
        predicted: The most probable class.
        probability: Of that class.
        margin: How much less probable the second class is, 0 to 1.
    """

    name: str
    predicted: str
    probability: float
    margin: float


@dataclass(frozen=True)
class Replay:
    """What choosing would have brought on labelled images.

    Args:
        repeats: Each with other images at its start.
        n: Images that judge, each in several repeats.
        labels: Images that a head is fitted on after the choice; at the start half of them.
        start: Accuracy at the start, in the mean.
        chosen: Accuracy with the chosen images.
        random: Accuracy with as many random ones.
        difference: Chosen minus random.
        low: Lower bound of its 95 % interval.
        high: Upper bound.
        p: Of the paired test, two-sided.
    """

    repeats: int
    n: int
    labels: int
    start: float
    chosen: float
    random: float
    difference: float
    low: float
    high: float
    p: float

    @property
    def verdict(self) -> str:
        """Whether choosing beats chance."""
        if self.p >= DIFFERENT:
            return "choosing does not beat chance on your labelled images"
        return f"choosing {'beats chance' if self.difference > 0 else 'is worse than chance'} on your labelled images"


@dataclass(frozen=True)
class NextStudy:
    """Images that are worth labelling.

    Args:
        n: Labelled images.
        unlabelled: Images without labels that could be read.
        duplicates: Of these, near duplicates of each other or of labelled ones, which are left out.
        replay: On the labelled images; None if there are too few.
        needed: Labelled images that a replay takes.
        chosen: The images, the least certain first.
        errors: Why files could not be read.
    """

    n: int
    unlabelled: int
    duplicates: int
    replay: Replay | None
    needed: int
    chosen: Sequence[Chosen]
    errors: Mapping[str, str]

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        verdict = None if self.replay is None else self.replay.verdict
        return {**asdict(self), "verdict": verdict}


def study_next(
    features: Features, images: FolderFeatures, count: int, *, repeats: int = REPEATS, seed: int = 0
) -> NextStudy:
    """Choose images to label, and replay the choice on those that are labelled.

    Args:
        features: Of the labelled images, with what near duplicates are recognized by.
        images: Of those without labels, by the same network.
        count: How many to choose.
        repeats: Of the replay; 2 or more.
        seed: Of the clusters and the replay.

    Raises:
        InputError: If all images that could be read are near duplicates of labelled ones.
    """
    learned = features.select(features.splits != "test")
    fresh = _fresh(features, images)
    if not len(fresh):
        raise InputError(
            f"all {len(images):,} unlabelled images are near duplicates of labelled ones: name other images"
        )
    num_classes = len(features.class_names)
    head = fit_head(learned.vectors, learned.labels, learned.groups, num_classes, seed=seed)
    probabilities = head.probabilities(images.vectors[fresh])
    rows = choose(images.vectors[fresh], probabilities, count, seed=seed)
    margins = margin(probabilities)
    chosen = [
        Chosen(
            name=images.files[fresh[row]],
            predicted=features.class_names[int(probabilities[row].argmax())],
            probability=float(probabilities[row].max()),
            margin=float(margins[row]),
        )
        for row in rows
    ]
    needed = ceil(LEAST_OF_CLASS * num_classes / (KNOWN * (1 - JUDGED)) - 1e-9)
    replayed = replay(learned, repeats=repeats, seed=seed) if len(learned) >= needed else None
    return NextStudy(len(learned), len(images), len(images) - len(fresh), replayed, needed, chosen, images.errors)


def choose(vectors: Float32Array, probabilities: Float64Array, count: int, *, seed: int = 0) -> Int64Array:
    """Choose images that are uncertain and differ from each other, see the module.

    Args:
        vectors: Features, (n, D), without near duplicates.
        probabilities: Of each class, (n, K).
        count: How many; of fewer images all.
        seed: Of the clusters.

    Returns:
        Rows, the least certain image first, (count,).
    """
    from sklearn.cluster import KMeans  # takes a second to import
    from threadpoolctl import threadpool_limits

    margins = margin(probabilities)
    rows = np.argsort(margins, kind="stable")
    if count >= len(rows):
        return rows
    rows = rows[: max(CANDIDATES * count, LEAST_CANDIDATES)]
    directions = vectors[rows] / np.maximum(np.linalg.norm(vectors[rows], axis=1, keepdims=True), 1e-12)
    weights = np.maximum(1 - margins[rows], 1e-6)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Number of distinct clusters")  # of images with the same features
        clusters = KMeans(count, n_init=1, random_state=seed).fit(directions, sample_weight=weights)
        distances = clusters.transform(directions)
    chosen: list[int] = []
    for cluster in range(count):
        order = np.argsort(distances[:, cluster], kind="stable")
        chosen.append(next(int(row) for row in order if int(row) not in chosen))
    return np.asarray(rows[np.sort(chosen)], dtype=np.int64)


def margin(probabilities: Float64Array) -> Float64Array:
    """How much more probable the first class is than the second, of (n, K) with K of 2 or more: (n,)."""
    ordered = np.sort(probabilities, axis=1)
    return np.asarray(ordered[:, -1] - ordered[:, -2], dtype=np.float64)


def replay(features: Features, *, repeats: int = REPEATS, seed: int = 0) -> Replay:
    """Choose among labelled images as if most had no label, and compare with chance.

    Each repeat divides the images anew, near duplicates together: a third judge; a sixth of the others are known, and
    as many are chosen of the rest. The test is Student's on the differences of the repeats, whose variance counts twice
    what comes from the images that judge: their own variance is added, since repeats share them.

    Args:
        features: Labelled images; of more than 3,000 that many are taken.
        repeats: 2 or more.
        seed: Of the divisions.
    """
    from scipy.stats import t

    some = np.random.default_rng(seed).permutation(len(features))[:MOST_REPLAYED]
    features = features.select(np.sort(some))
    gain, judged = np.zeros(len(features)), np.zeros(len(features), dtype=np.int64)
    found = []
    for repeat in range(repeats):
        test, accuracies, differences = _repeat(features, np.random.default_rng([seed, repeat]))
        gain[test] += differences
        judged[test] += 1
        found.append(accuracies)
    start, chosen, random, labels = np.array(found).T
    by_image = gain[judged > 0] / judged[judged > 0]
    difference = float((chosen - random).mean())
    spread = sqrt((chosen - random).var(ddof=1) / repeats + by_image.var(ddof=1) / len(by_image))
    half = spread * float(t.ppf(0.975, repeats - 1))
    p = 2 * float(t.sf(abs(difference) / spread, repeats - 1)) if spread > 0 else 1.0
    return Replay(
        repeats=repeats,
        n=len(by_image),
        labels=round(labels.mean()),
        start=float(start.mean()),
        chosen=float(chosen.mean()),
        random=float(random.mean()),
        difference=difference,
        low=difference - half,
        high=difference + half,
        p=p,
    )


def _repeat(features: Features, draw: np.random.Generator) -> tuple[Int64Array, tuple[float, ...], Float64Array]:
    """Images that judge; accuracies at the start, with chosen and random images, and labels; differences by image."""
    vectors, labels, num_classes = features.vectors, features.labels, len(features.class_names)
    order = draw.permutation(np.unique(features.groups))
    judges = np.isin(features.groups, order[: round(JUDGED * len(order))])
    test, rest = np.flatnonzero(judges), draw.permutation(np.flatnonzero(~judges))
    firsts = [np.flatnonzero(labels[rest] == label)[:1] for label in range(num_classes)]
    first = np.concatenate(firsts)  # a head that has never seen a class would never doubt it
    rest = np.concatenate([rest[first], np.delete(rest, first)])
    known = max(round(KNOWN * len(rest)), len(first))
    start, pool = rest[:known], rest[known:]
    head = fit_head(vectors[start], labels[start], features.groups[start], num_classes)

    def right(more: Int64Array) -> Float64Array:
        rows = np.concatenate([start, more])
        fitted = refit_head(vectors[rows], labels[rows], num_classes, head.strength)
        return np.asarray(_right(fitted, features, test), dtype=np.float64)

    _, once = np.unique(features.groups[pool], return_index=True)
    single = pool[np.sort(once)]
    probabilities = head.probabilities(vectors[single])
    chosen = right(single[choose(vectors[single], probabilities, known, seed=int(draw.integers(2**31)))])
    random = right(draw.choice(single, min(known, len(single)), replace=False))
    accuracies = float(_right(head, features, test).mean()), float(chosen.mean()), float(random.mean()), 2.0 * known
    return test, accuracies, chosen - random


def _right(head: LinearHead, features: Features, rows: Int64Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(head.logits(features.vectors[rows]).argmax(1) == features.labels[rows])


def _fresh(features: Features, images: FolderFeatures) -> Int64Array:
    """Rows of images that are no near duplicate of a labelled one, and one of each group of near duplicates."""
    if features.hashes is None or features.thumbnails is None:
        raise ValueError("expected features with hashes and thumbnails")
    hashes = np.concatenate([features.hashes, images.hashes])
    groups = near_groups(hashes, np.concatenate([features.thumbnails, images.thumbnails]))
    _, first = np.unique(groups, return_index=True)
    labelled = {Path(file).resolve() for file in features.files if file}
    return np.array(
        [
            row
            for row in sorted(first - len(features))
            if row >= 0 and Path(images.files[row]).resolve() not in labelled
        ],
        dtype=np.int64,
    )

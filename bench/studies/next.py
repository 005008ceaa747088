"""Images that `study next` chooses bring more than random ones, and where they do not, it says so.

python bench/study.py next --backbone NAME pets3=FOLDER cifar=FOLDER

Beside its own method others that are known: least margin; k-center greedy (Sener and Savarese, "Active Learning for
Convolutional Neural Networks: A Core-Set Approach", 2018); k-means++ on gradient embeddings (Ash et al., "Deep Batch
Active Learning by Diverse, Uncertain Gradient Lower Bounds", 2020); least margin within clusters of ten times as many
candidates, in turn from the smallest (after Citovsky et al., "Batch Active Learning at Scale", 2021; there the clusters
are hierarchical and of all images).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import t, ttest_1samp
from sklearn.cluster import KMeans

from bench.studies.common import datasets
from visiontasks.study.crossfit import fit_head, refit_head
from visiontasks.study.features import Features
from visiontasks.study.next import CANDIDATES, choose, margin, replay

BUDGETS = (10, 30)
"""Labels of a class at the start, in the mean; as many are added."""


@dataclass(frozen=True)
class Pool:
    """Features of unlabelled images at length 1, their probabilities, and features of the labelled ones."""

    vectors: np.ndarray
    probabilities: np.ndarray
    labelled: np.ndarray


def prove(words: Sequence[str]) -> None:
    """Accuracy on the third of the images that judges, of each method minus random: a line for each."""
    found, given = datasets(words, str(__doc__))
    for name, features in found:
        for of_class in BUDGETS:
            _prove(name, features, of_class * len(features.class_names), given.seeds)
        told = replay(features)
        print(
            f"{name:6} replay: {told.verdict}, p {told.p:.2g}, {100 * told.difference:+.2f} points "
            f"({100 * told.low:+.2f} to {100 * told.high:+.2f}), n {told.n:,}",
            flush=True,
        )


def _prove(name: str, features: Features, known: int, seeds: int) -> None:
    found = {seed: _accuracies(features, known, np.random.default_rng([known, seed])) for seed in range(seeds)}
    random = np.array([each["random"] for each in found.values()])
    about = f"random {random.mean():.2f} (sd {random.std(ddof=1):.2f})"
    print(f"{name:6} n {len(features):5,} labels {known:3} + {known:3}: {about}")
    for method in [*METHODS][1:]:
        gains = np.array([each[method] for each in found.values()]) - random
        middle, half = gains.mean(), t.ppf(0.975, seeds - 1) * gains.std(ddof=1) / sqrt(seeds)
        print(
            f"{name:6}   {method:14} {middle:+.2f} points ({middle - half:+.2f} to {middle + half:+.2f}), better in "
            f"{(gains > 0).sum()} of {seeds}, p {ttest_1samp(gains, 0).pvalue:.2g}",
            flush=True,
        )


def _accuracies(features: Features, known: int, draw: np.random.Generator) -> dict[str, float]:
    """By method, in per cent."""
    vectors, labels, num_classes = features.vectors, features.labels, len(features.class_names)
    order, third = draw.permutation(len(features)), len(features) // 3
    test, start, rest = order[:third], order[third : third + known], order[third + known :]
    head = fit_head(vectors[start], labels[start], features.groups[start], num_classes)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-12)
    pool = Pool(unit[rest], head.probabilities(vectors[rest]), unit[start])
    found = {}
    for name, method in METHODS.items():
        rows = method(pool, known)
        assert len(set(rows.tolist())) == known
        both = np.concatenate([start, rest[rows]])
        fitted = refit_head(vectors[both], labels[both], num_classes, head.strength)
        found[name] = 100 * float((fitted.logits(vectors[test]).argmax(1) == labels[test]).mean())
    return found


def _center(pool: Pool, count: int) -> np.ndarray:
    distance = (2 - 2 * pool.vectors @ pool.labelled.T).min(1)
    rows: list[int] = []
    for _ in range(count):
        rows.append(int(distance.argmax()))
        distance = np.minimum(distance, 2 - 2 * pool.vectors @ pool.vectors[rows[-1]])
        distance[rows] = -1
    return np.array(rows)


def _gradients(pool: Pool, count: int) -> np.ndarray:
    residual = pool.probabilities.copy()
    residual[np.arange(len(residual)), residual.argmax(1)] -= 1
    lengths = 2 * (residual**2).sum(1)  # of the outer product of the residual with the features and 1
    rows, draw = [int(lengths.argmax())], np.random.default_rng(0)
    distance = np.full(len(residual), np.inf)
    while len(rows) < count:
        last = rows[-1]
        products = (residual @ residual[last]) * (pool.vectors @ pool.vectors[last] + 1)
        distance = np.minimum(distance, np.maximum(lengths + lengths[last] - 2 * products, 0))
        distance[rows] = 0
        rows.append(int(draw.choice(len(distance), p=distance / distance.sum())))
    return np.array(rows)


def _in_clusters(pool: Pool, count: int) -> np.ndarray:
    rows = np.argsort(margin(pool.probabilities), kind="stable")[: CANDIDATES * count]
    labels = KMeans(count, n_init=1, random_state=0).fit_predict(pool.vectors[rows])
    clusters = sorted((list(rows[labels == label]) for label in np.unique(labels)), key=len)
    chosen: list[int] = []
    while len(chosen) < count:
        chosen += [cluster.pop(0) for cluster in clusters if cluster]
    return np.array(chosen[:count])


METHODS: dict[str, Callable[[Pool, int], np.ndarray]] = {
    "random": lambda _, count: np.arange(count),  # the pool is in random order
    "study next": lambda pool, count: choose(pool.vectors, pool.probabilities, count),
    "margin": lambda pool, count: np.argsort(margin(pool.probabilities), kind="stable")[:count],
    "k-center": _center,
    "gradients": _gradients,
    "cluster margin": _in_clusters,
}

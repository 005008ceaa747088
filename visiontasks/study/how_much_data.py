"""What more images would bring: the learning curve of a linear head, and where it goes on, with an interval.

The error falls as a power of the number of images towards a floor: Hestness et al., "Deep Learning Scaling is
Predictable, Empirically", 2017. A few noisy points determine such a curve poorly, so all curves are weighed by how
probable they make the points (on a grid that is uniform in exponent, floor and error), and the interval is that of
their continuations.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError
from visiontasks.ops.metrics import wilson_interval
from visiontasks.study.crossfit import FOLDS, Float64Array, fit_head, grouped_folds
from visiontasks.study.features import Features

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Of the images of a fold's training side."""
LEAST_OF_CLASS = 2.0
"""Images of each class in the smallest subset, in the mean."""
FACTORS = (2.0, 4.0)
"""Times as many images, for which accuracy is forecast."""
_EXPONENTS = np.linspace(0.05, 1.0, 39)
_FLOORS = np.linspace(0.0, 0.95, 20)
_ERRORS, _WIDE = 121, 5.0
"""Errors with all images that are weighed: within 5 standard deviations of what was measured."""


@dataclass(frozen=True)
class Point:
    """Heads that were fitted on a part of the images.

    Args:
        images: They were fitted on, in the mean over the folds.
        right: Images that were judged right, of each class.
        accuracy: Share of all images that was judged right.
    """

    images: float
    right: Sequence[int]
    accuracy: float


@dataclass(frozen=True)
class Forecast:
    """Accuracy with more images.

    Args:
        images: How many a head is fitted on.
        accuracy: The median.
        low: Lower bound of the 95 % interval.
        high: Upper bound.
        gains: Of each class, how much its own accuracy rises, in the median.
    """

    images: float
    accuracy: float
    low: float
    high: float
    gains: Sequence[float]


@dataclass(frozen=True)
class AmountStudy:
    """A learning curve and its continuation.

    Args:
        n: Images, each of which is judged once at each point.
        counts: Images of each class.
        class_names: By class index.
        points: From few images to all.
        forecasts: From all images on.
    """

    n: int
    counts: Sequence[int]
    class_names: Sequence[str]
    points: Sequence[Point]
    forecasts: Sequence[Forecast]

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def study_amount(features: Features, *, folds: int = FOLDS, seed: int = 0) -> AmountStudy:
    """Fit heads on growing parts of the images, and forecast what twice and four times as many would reach.

    Args:
        features: Of the images.
        folds: Into how many parts they are divided; each is judged by heads that are fitted on parts of the others.
        seed: Of the division and of the parts, which contain each other.

    Raises:
        InputError: If there are too few images of a class.
    """
    labels, num_classes = features.labels, len(features.class_names)
    fold = grouped_folds(labels, features.groups, features.class_names, folds=folds, seed=seed)
    shares = [share for share in SHARES if share * (1 - 1 / folds) * len(labels) / num_classes >= LEAST_OF_CLASS]
    if len(shares) < 3:
        needed = round(LEAST_OF_CLASS * num_classes / (SHARES[-3] * (1 - 1 / folds)) + 0.5)
        raise InputError(
            f"a learning curve of {num_classes} classes needs {needed} images or more, got {len(labels)}: add images"
        )
    points = [_point(features, fold, share, seed) for share in shares]
    counts = np.bincount(labels, minlength=num_classes)
    most = points[-1].images
    forecasts = [_forecast(points, counts, factor * most) for factor in FACTORS]
    return AmountStudy(len(labels), counts.tolist(), list(features.class_names), points, forecasts)


def forecast_accuracy(images: Sequence[float], right: Sequence[int], n: int, at: float) -> tuple[float, float, float]:
    """Continue a learning curve.

    Args:
        images: Numbers of images that heads were fitted on, ascending, two or more.
        right: How many of n images each head judged right.
        n: Images that were judged.
        at: Number of images to forecast for.

    Returns:
        Median, 2.5 % and 97.5 % quantile of the accuracy.
    """
    wrong = n - np.asarray(right)
    sizes = np.asarray(images) / images[-1]
    least, most = wilson_interval(int(wrong[-1]), n, z=_WIDE)
    errors = np.linspace(max(least, 0.1 / n), min(most, 1 - 0.1 / n), _ERRORS)[:, None, None]
    floors, exponents = _FLOORS[None, :, None], _EXPONENTS[None, None, :]

    def curve(size: float) -> Float64Array:
        return np.minimum(errors * (floors + (1 - floors) * size**-exponents), 1 - 0.01 / n)

    weight = np.zeros(np.broadcast_shapes(errors.shape, floors.shape, exponents.shape))
    for size, count in zip(sizes, wrong, strict=True):
        error = curve(size)
        weight += count * np.log(error) + (n - count) * np.log1p(-error)
    share = np.exp(weight - weight.max()).ravel()
    later = curve(at / images[-1]).ravel()
    order = np.argsort(later)
    cumulated = np.cumsum(share[order]) / share.sum()
    middle, low, high = (later[order][np.searchsorted(cumulated, q)] for q in (0.5, 0.975, 0.025))
    return 1 - float(middle), 1 - float(low), 1 - float(high)


def _point(features: Features, fold: Int64Array, share: float, seed: int) -> Point:
    num_classes = len(features.class_names)
    right, sizes = np.zeros(len(features), dtype=bool), []
    for held_out in range(int(fold.max()) + 1):
        inside = _part(features, np.flatnonzero(fold != held_out), share, seed)
        outside = fold == held_out
        part = features.select(inside)
        head = fit_head(part.vectors, part.labels, part.groups, num_classes, seed=seed)
        right[outside] = head.logits(features.vectors[outside]).argmax(1) == features.labels[outside]
        sizes.append(len(inside))
    counts = np.bincount(features.labels[right], minlength=num_classes)
    return Point(float(np.mean(sizes)), counts.tolist(), float(right.mean()))


def _part(features: Features, rows: Int64Array, share: float, seed: int) -> Int64Array:
    """A share of rows, of each class alike, whole groups; a smaller share of the same rows is a part of a larger."""
    groups, labels = features.groups[rows], features.labels[rows]
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    place = {group: at for at, group in enumerate(order.tolist())}
    rank = np.array([place[group] for group in groups.tolist()])
    chosen = np.zeros(len(rows), dtype=bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        first = own[np.argsort(rank[own], kind="stable")][: max(1, round(share * len(own)))]
        chosen |= np.isin(groups, groups[first]) & (labels == label)
    return rows[chosen]


def _forecast(points: Sequence[Point], counts: Int64Array, at: float) -> Forecast:
    sizes = [point.images for point in points]
    whole = forecast_accuracy(sizes, [sum(point.right) for point in points], int(counts.sum()), at)
    gains = []
    for label, count in enumerate(counts.tolist()):
        own = [point.right[label] for point in points]
        gains.append(forecast_accuracy(sizes, own, count, at)[0] - own[-1] / count)
    return Forecast(at, *whole, gains)

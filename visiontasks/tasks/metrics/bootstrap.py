"""How much average precision depends on the images that were drawn: intervals, and the difference of two networks.

Bradley Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979: the metric is computed again of as many images,
drawn with replacement, and its 95 % interval lies between the 2.5th and the 97.5th percentile. An image that is drawn
w times counts w times; detections stay matched, since matches of an image do not depend on other images.
"""

from dataclasses import dataclass

import numpy as np

from visiontasks.tasks.metrics.matches import IGNORED, IOU_THRESHOLDS, RIGHT, Floats, Ints, Matches, Outcomes
from visiontasks.tasks.metrics.precision_recall import RECALLS, image_counts

NUM_RESAMPLES = 1000
_PERCENTILES = (2.5, 97.5)
_CELLS_AT_ONCE = 250_000  # objects times resamples, 2 MB, which a processor's cache holds

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Tally:
    """What average precision over objects of any size depends on, without the boxes.

    Args:
        num_images: I.
        image: The image of each detection, 0..I-1, (n,); in the order of class, falling score, and image.
        label: Class index of each detection, (n,).
        outcome: WRONG, RIGHT or IGNORED at each of IOU_THRESHOLDS, int8 (T, n).
        object_image: The image of each object that is to be found, (m,).
        object_label: Its class index, (m,).
    """

    num_images: int
    image: Ints
    label: Ints
    outcome: Outcomes
    object_image: Ints
    object_label: Ints


def tally(matches: Matches) -> Tally:
    """The part of the matches that is resampled."""
    truths, counted = matches.truths, matches.truths.counts[0]
    return Tally(
        matches.num_images,
        matches.image,
        matches.label,
        matches.outcome[0],
        truths.image[counted],
        truths.label[counted],
    )


def draw_images(num_images: int, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Floats:
    """How often each image is drawn in each resample, (I, B)."""
    drawn = np.random.default_rng(seed).integers(num_images, size=(num_resamples, num_images))
    drawn += num_images * np.arange(num_resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).T.astype(np.float64)


def resampled_precision(known: Tally, weight: Floats) -> Floats:
    """Average precision of all classes in each resample.

    Args:
        known: Of I images.
        weight: How often each image counts, whole numbers, (I, B).

    Returns:
        At each IoU threshold (T, B); a class without an object in a resample has no part in it, NaN if all have none.
    """
    num_resamples = weight.shape[1]
    total, num_classes = np.zeros((len(IOU_THRESHOLDS), num_resamples)), np.zeros(num_resamples)
    for k in np.unique(known.object_label):
        own = slice(*np.searchsorted(known.label, [k, k + 1]))
        objects = known.object_image[known.object_label == k]
        step = max(16, _CELLS_AT_ONCE // len(objects))
        for begin in range(0, num_resamples, step):
            some = slice(begin, begin + step)
            drawn = np.ascontiguousarray(weight[:, some])
            of_class = _class_precision(known.outcome[:, own], known.image[own], drawn, drawn[objects].sum(0))
            total[:, some] += np.nan_to_num(of_class)
            num_classes[some] += ~np.isnan(of_class[0])
    return total / np.where(num_classes, num_classes, np.nan)


def precision_intervals(matches: Matches, threshold: float) -> dict[str, Interval]:
    """95 % intervals of `map`, `map50`, `map75`, and of `precision`, `recall` and `f1` at a threshold of the score.

    Those that are not defined are left out.
    """
    if not matches.num_images:
        return {}
    weight = draw_images(matches.num_images)
    by_iou = resampled_precision(tally(matches), weight)
    right, wrong, objects = (each @ weight for each in image_counts(matches, threshold))
    with np.errstate(invalid="ignore"):
        found = {
            "map": interval_of(by_iou.mean(0)),
            "map50": interval_of(by_iou[0]),
            "map75": interval_of(by_iou[5]),
            "precision": interval_of(right / (right + wrong)),
            "recall": interval_of(right / objects),
            "f1": interval_of(2 * right / (right + wrong + objects)),
        }
    return {name: interval for name, interval in found.items() if interval is not None}


def precision_difference(first: Tally, second: Tally) -> tuple[float, float, float]:
    """How much higher the second network's `map` is on the same images, with its 95 % interval.

    Both are measured on the same resamples, so that images that are hard for both do not widen the interval.

    Args:
        first: Of one network.
        second: Of another one, with the same images in the same order.

    Returns:
        Difference, lower and upper bound; NaN where it is not defined.

    Raises:
        ValueError: If the numbers of images differ.
    """
    if first.num_images != second.num_images:
        raise ValueError(f"expected the same images, got {first.num_images} and {second.num_images}")
    weight = np.hstack([np.ones((first.num_images, 1)), draw_images(first.num_images)])
    found = [resampled_precision(known, weight).mean(0) for known in (first, second)]
    difference = found[1] - found[0]
    low, high = interval_of(difference[1:]) or (np.nan, np.nan)
    return float(difference[0]), low, high


def interval_of(values: Floats) -> Interval | None:
    """The 95 % interval of a metric from its values in all resamples (B,), NaN apart; None if all are NaN."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, _PERCENTILES)
    return float(low), float(high)


def _class_precision(outcome: Outcomes, image: Ints, weight: Floats, num_objects: Floats) -> Floats:
    """Average precision of a class, (T, B), NaN where it has no object.

    Only right detections matter: between two of them precision falls, and recall stays.
    """
    ever_right = np.flatnonzero((outcome == RIGHT).any(0))
    counted = _sums_up_to(ever_right, np.arange(len(image)), image, weight)
    found = np.empty((len(outcome), weight.shape[1]))
    for row, of_detections in enumerate(outcome):
        right = np.flatnonzero(of_detections == RIGHT)
        ignored = np.flatnonzero(of_detections == IGNORED)
        hits = np.cumsum(weight[image[right]], axis=0)
        number = counted[np.searchsorted(ever_right, right)]
        if len(ignored):
            number -= _sums_up_to(right, ignored, image, weight)
        precision = hits / np.maximum(number, 1)
        highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        reached = _num_reached(hits / np.maximum(num_objects, 1))
        reached[1:] -= reached[:-1].copy()
        found[row] = (highest * reached).sum(0) / len(RECALLS)
    return np.where(num_objects > 0, found, np.nan)


def _sums_up_to(rows: Ints, detections: Ints, image: Ints, weight: Floats) -> Floats:
    """How many of the `detections` come up to each of the `rows`, itself included, in each resample, (rows, B).

    As a product with a sparse matrix, by which the many detections behind the last row cost nothing.
    """
    interval = np.searchsorted(rows, detections)
    within = interval < len(rows)
    places = (interval[within], image[detections[within]])
    from scipy.sparse import csr_array  # takes long to import

    counts = csr_array((np.ones(len(places[0])), places), shape=(len(rows), len(weight)))
    return np.cumsum(counts @ weight, axis=0)


def _num_reached(recall: Floats) -> Ints:
    """How many of RECALLS are not above a recall; searchsorted takes ten times as long."""
    last = (recall * 100 + 1e-9).astype(np.int8)
    return np.asarray(last + (RECALLS.take(last) <= recall), np.int64)

"""Which detection of a split finds which true object, for every IoU threshold and size of objects at once.

Tsung-Yi Lin et al., "Microsoft COCO: Common Objects in Context", 2014, https://arxiv.org/abs/1405.0312. The rules are
those of its evaluation as pycocotools 2.0.11 has them, to the last bit: in each image and class detections choose in
the order of their scores, at most 100 of them; each takes the free object of the largest IoU, of equal ones the last;
objects of another size and crowds come after all others, and a detection that takes one of these is ignored, as is one
of another size that takes none. A crowd can be taken by many, and its IoU is the share of the detection inside it.

Why not pycocotools itself, which has wheels for everything: it takes 24 times as long (1,000 images with 100 detections
each, bench/detection_metrics.py), it needs a dict for each box, and whatever else is measured here (intervals, errors,
confusion, thresholds) needs the matches, not the averages. faster-coco-eval 1.8.0 takes 5.5 times as long, and has no
wheels for Linux on ARM or with musl. torchmetrics' MeanAveragePrecision needs one of the two, takes float32 thresholds,
and gathers image by image, which fails for processes with unequal numbers of images. The tests compare each number with
pycocotools'.
"""

from dataclasses import dataclass

import numpy as np

from visiontasks.tasks.metrics.matches import (
    AREAS,
    IGNORED,
    IOU_THRESHOLDS,
    LEAST_OVERLAP,
    MOST_DETECTIONS,
    NONE,
    RIGHT,
    WRONG,
    Bools,
    Detected,
    Floats,
    Ints,
    Matches,
    Truths,
)

_PAIRS_AT_ONCE = 500_000  # some 50 MB


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Detections and objects of one image that overlap: rows of both, and their IoU, (p,) each."""

    detection: Ints
    truth: Ints
    iou: Floats

    def __getitem__(self, chosen: Bools | Ints | slice) -> "_Pairs":
        return _Pairs(self.detection[chosen], self.truth[chosen], self.iou[chosen])


@dataclass(frozen=True, eq=False)
class _Queue:
    """Detections that choose an object: in a turn one of each image and class, so that no two want the same object.

    Args:
        pairs: In the order of turns, those of a detection side by side, the best one last.
        start: The first pair of each detection, (c,).
        turns: Where each turn begins among the detections, and their end, (number of turns + 1,).
    """

    pairs: _Pairs
    start: Ints
    turns: Ints

    @property
    def detection(self) -> Ints:
        """Rows of the detections, (c,)."""
        return self.pairs.detection[self.start]


def match(detected: Detected, truths: Truths, *, num_images: int, num_classes: int) -> Matches:
    """Match the detections of a split to its true objects.

    Args:
        detected: Detections, those of an image in any order; of equal scores the first one comes first.
        truths: Objects, those of an image in the order in which they are annotated.
        num_images: I.
        num_classes: K.

    Raises:
        ValueError: If a class index is not in 0..K-1.
    """
    for name, labels in (("detection", detected.label), ("object", truths.label)):
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(
                f"expected class indices of 0 to {num_classes - 1}, got {labels.min()} to {labels.max()} of {name}s"
            )
    own, rank = _ranked(detected)
    by_image = np.argsort(truths.image, kind="stable")
    truths = truths[by_image]

    pairs = _overlapping(own, truths, num_images)
    same = own.label[pairs.detection] == truths.label[pairs.truth]
    queue = _queue(pairs[same & (pairs.iou >= IOU_THRESHOLDS[0])], own)
    outcome = np.empty((len(AREAS), len(IOU_THRESHOLDS), len(rank)), np.int8)
    found = np.full(len(rank), NONE)
    area = _sides(own.box)[4]
    for row, ((low, high), counts) in enumerate(zip(AREAS.values(), truths.counts, strict=True)):
        taken = _take(queue, truths.crowd, counts)
        of_none = np.where((area < low) | (area > high), IGNORED, WRONG)
        outcome[row] = of_none
        of_taken = np.where(counts[taken], RIGHT, IGNORED) if len(counts) else taken
        outcome[row, :, queue.detection] = np.where(taken == NONE, of_none[queue.detection, None], of_taken)
        if row == 0:
            found[queue.detection] = taken[:, 0]

    countable = ~truths.crowd[pairs.truth]
    nearest = _largest(pairs[same & countable], len(rank))
    other = _largest(pairs[~same & countable], len(rank))
    return Matches(
        num_images, num_classes, truths, own.image, own.label, own.score, rank, outcome, found, *nearest, *other
    )


def _ranked(detected: Detected) -> tuple[Detected, Ints]:
    """The best detections of each image and class, in the order that `Matches` has, and their ranks."""
    score = np.where(np.isnan(detected.score), -np.inf, detected.score)
    order = np.lexsort((-score, detected.label, detected.image))
    rank = _place_in_run(detected.image[order], detected.label[order])
    order, rank = order[rank < MOST_DETECTIONS], rank[rank < MOST_DETECTIONS]
    by_class = np.lexsort((-score[order], detected.label[order]))  # of equal scores the first image's, in it the first
    order, rank = order[by_class], rank[by_class]
    return Detected(detected.image[order], detected.label[order], score[order], detected.box[order]), rank


def _place_in_run(*keys: Ints) -> Ints:
    """The place of each entry among the neighbours with the same keys, from 0."""
    rows = np.arange(len(keys[0]))
    is_first = np.any([np.diff(key, prepend=NONE) != 0 for key in keys], axis=0)
    return rows - np.maximum.accumulate(np.where(is_first, rows, 0))


def _overlapping(detected: Detected, truths: Truths, num_images: int) -> _Pairs:
    """Pairs in one image with an IoU of LEAST_OVERLAP or more, in the order of detections and objects."""
    per_image = np.bincount(truths.image, minlength=num_images)
    number = per_image[detected.image]
    first = (np.cumsum(per_image) - per_image)[detected.image]
    cuts = np.searchsorted(np.cumsum(number), np.arange(_PAIRS_AT_ONCE, number.sum(), _PAIRS_AT_ONCE))
    sides, true_sides = _sides(detected.box), _sides(truths.box)
    parts = []
    for rows in np.split(np.arange(len(number)), np.unique(cuts)):
        detection = np.repeat(rows, number[rows])
        start = first[rows] - (np.cumsum(number[rows]) - number[rows])
        truth = np.arange(len(detection)) + np.repeat(start, number[rows])
        iou = _iou(sides[:, detection], true_sides[:, truth], truths.crowd[truth])
        parts.append(_Pairs(detection, truth, iou)[iou >= LEAST_OVERLAP])
    return _Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("detection", "truth", "iou")))


def _sides(box: Floats) -> Floats:
    """Left, top, right, bottom and area, (5, n), rounded as pycocotools does, which has widths and heights."""
    low = box[:, :2]
    size = box[:, 2:] - low
    return np.concatenate([low, size + low, size.prod(1, keepdims=True)], 1).T


def _iou(box: Floats, true_box: Floats, crowd: Bools) -> Floats:
    """IoU of pairs of `_sides`, for crowds the share of the detection; 0 where either has no area or a NaN."""
    width = np.minimum(box[2], true_box[2]) - np.maximum(box[0], true_box[0])
    height = np.minimum(box[3], true_box[3]) - np.maximum(box[1], true_box[1])
    overlaps = (width > 0) & (height > 0)
    intersection = np.where(overlaps, width * height, 0)
    whole = np.where(crowd, box[4], box[4] + true_box[4] - intersection)
    return np.asarray(np.divide(intersection, whole, out=np.zeros_like(whole), where=overlaps))


def _queue(pairs: _Pairs, detected: Detected) -> _Queue:
    """Who chooses when: a detection after those of its image and class that come before it and overlap anything."""
    choosers = np.unique(pairs.detection)
    image, label = detected.image[choosers], detected.label[choosers]
    by_group = np.lexsort((label, image))
    turn = np.empty_like(choosers)
    turn[by_group] = _place_in_run(image[by_group], label[by_group])
    of_pair = turn[np.searchsorted(choosers, pairs.detection)]
    order = np.lexsort((pairs.truth, pairs.iou, pairs.detection, of_pair))
    pairs = pairs[order]
    start = np.flatnonzero(np.diff(pairs.detection, prepend=NONE))
    return _Queue(pairs, start, np.append(0, np.cumsum(np.bincount(turn))))


def _take(queue: _Queue, crowd: Bools, counts: Bools) -> Ints:
    """The object that each detection of a queue takes at each IoU threshold, NONE for none, (c, T).

    Args:
        queue: See there.
        crowd: Objects that many can take, (m,).
        counts: Objects that come before all others, (m,).
    """
    pairs, ends = queue.pairs, np.append(queue.start, len(queue.pairs.truth))
    place = _place_in_run(pairs.detection) + 1
    most = place.max(initial=1)
    preference = (place + np.where(counts[pairs.truth], most, 0)).astype(np.int32)[:, None]
    is_free = np.ones((len(counts), len(IOU_THRESHOLDS)), np.bool_)
    taken = np.full((len(queue.start), len(IOU_THRESHOLDS)), NONE)
    for begin, end in zip(queue.turns[:-1], queue.turns[1:], strict=True):
        now = slice(ends[begin], ends[end])
        is_choice = (pairs.iou[now, None] >= IOU_THRESHOLDS) & is_free[pairs.truth[now]]
        start = ends[begin:end, None]
        best = np.maximum.reduceat(is_choice * preference[now], start[:, 0] - ends[begin])
        truth = np.where(best > 0, pairs.truth[start + np.maximum(best - 1, 0) % most], NONE)
        taken[begin:end] = truth
        row, threshold = np.nonzero(best)
        is_free[truth[row, threshold], threshold] = crowd[truth[row, threshold]]
    return taken


def _largest(pairs: _Pairs, num_detections: int) -> tuple[Ints, Floats]:
    """The object of each detection's pair with the largest IoU, of equal ones the first, and that IoU."""
    order = np.lexsort((-pairs.truth, pairs.iou))
    truth, iou = np.full(num_detections, NONE), np.zeros(num_detections)
    truth[pairs.detection[order]] = pairs.truth[order]  # the last one stays
    iou[pairs.detection[order]] = pairs.iou[order]
    return truth, iou

"""Boxes that several networks, or one in several views, found in an image, as one set.

Roman Solovyev, Weimin Wang, Tatiana Gabruseva, "Weighted boxes fusion: Ensembling boxes from different object detection
models", 2019, https://arxiv.org/abs/1910.13302, with its equations 1, 2 and 6.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]
Boxes = tuple[Float32Array, Float32Array, Int64Array]
"""Boxes xyxy (N, 4), scores (N,) and class indices (N,)."""

LEAST_IOU = 0.55
"""From which on a box is of the same object as the mean of those before it; the paper's best."""


def fuse(found: Sequence[Boxes]) -> Boxes:
    """Fuse what T networks found in an image.

    Boxes of one class that overlap become one: their mean weighted by their scores. Its score is the sum of their
    scores by T, so that what a single network of three found has a third of its score; several boxes of one network
    count as much as it has networks at most.

    Args:
        found: Of each network.

    Returns:
        Float32 boxes, scores, the highest first, and labels.
    """
    boxes, scores, labels = (np.concatenate(parts) for parts in zip(*found, strict=True))
    clusters = [_Clusters() for _ in range(int(labels.max(initial=-1)) + 1)]
    for row in np.argsort(-scores, kind="stable").tolist():
        clusters[labels[row]].add(boxes[row].astype(np.float64), float(scores[row]))
    fused = [
        (box, score / count * min(count, len(found)) / len(found), label)
        for label, of_class in enumerate(clusters)
        for box, score, count in of_class.entries()
    ]
    fused.sort(key=lambda entry: -entry[1])
    return (
        np.array([box for box, _, _ in fused], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in fused], np.float32),
        np.array([label for _, _, label in fused], np.int64),
    )


def ious(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """IoU of each of N boxes with each of M, (N, M); 0 where both have no area."""
    a, b = first.astype(np.float64)[:, None], second.astype(np.float64)[None]
    inner = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0).prod(-1)
    whole = (a[..., 2:] - a[..., :2]).clip(0).prod(-1) + (b[..., 2:] - b[..., :2]).clip(0).prod(-1) - inner
    return np.asarray(np.divide(inner, whole, out=np.zeros_like(inner), where=whole > 0))


class _Clusters:
    """Boxes of one class, those of one object together."""

    def __init__(self) -> None:
        self._sums: list[npt.NDArray[np.float64]] = []
        self._scores: list[float] = []
        self._counts: list[int] = []
        self._means = np.zeros((0, 4))

    def add(self, box: npt.NDArray[np.float64], score: float) -> None:
        """Put a box to the object that it overlaps most, or begin one."""
        overlap = ious(box[None], self._means)[0]
        best = int(overlap.argmax()) if len(overlap) else -1
        if best < 0 or not overlap[best] > LEAST_IOU:
            self._sums.append(score * box)
            self._scores.append(score)
            self._counts.append(1)
            self._means = np.concatenate([self._means, box[None]])
            return
        self._sums[best] = self._sums[best] + score * box
        self._scores[best] += score
        self._counts[best] += 1
        self._means[best] = self._sums[best] / self._scores[best]

    def entries(self) -> list[tuple[npt.NDArray[np.float64], float, int]]:
        """Mean box, sum of the scores and number of boxes of each object."""
        return list(zip(self._means, self._scores, self._counts, strict=True))

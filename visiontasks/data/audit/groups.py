"""Groups that a dataset may have without naming them: films, series, places, copies; and whether they look alike.

A random split that divides such groups tests on what it was trained on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visiontasks.data.pipeline.duplicates import THUMBNAIL_PX
from visiontasks.data.pipeline.groups import group_names, numbered
from visiontasks.data.pipeline.reader import UInt8Array
from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError

WAYS = {
    "folder": "the folder's name",
    r"(.*\D)\d+": "the file name before its last number",
    r"(\D*\d+)\D+\d": "the first of several numbers in the file name",
    "time": "the time of the photograph",
    "near": "near duplicates",
}
"""Values for `data.init_args.groups` that are tried, and what they are called."""
LEAST_GROUPS = 3
"""Of each class, as many as there are splits."""
LEAST_GROUPED = 0.1
"""Share of the images that have another one in their group."""
LEAST_GAIN = 0.1
"""How much more often than by chance the most similar image is of the same group."""
MOST_COMPARED = 4000


@dataclass(frozen=True, eq=False)
class Candidate:
    """A way to group images that is possible.

    Args:
        groups: The value for `data.init_args.groups`.
        numbers: The group of each image, (n,).
    """

    groups: str
    numbers: Int64Array

    @property
    def sizes(self) -> Int64Array:
        """Images of each group."""
        return np.bincount(self.numbers)


def candidates(
    paths: Sequence[str],
    labels: Int64Array,
    root: Path,
    near: Int64Array | None = None,
    *,
    least: int = LEAST_GROUPS,
) -> Iterator[Candidate]:
    """Ways to group images whose groups are many enough to be divided, and large enough to matter.

    Args:
        paths: Files, (n,).
        labels: Class of each, (n,).
        root: The dataset's folder.
        near: Equal for near duplicates, (n,); None where these are compared anyway.
        least: Groups of each class.
    """
    seen: list[Int64Array] = []
    for groups in WAYS:
        try:
            numbers = numbered(group_names(groups, paths, root)) if groups != "near" else near
        except InputError:  # some file has no such name or time
            continue
        if numbers is None:
            continue
        if _is_possible(numbers, labels, least) and not any(np.array_equal(numbers, other) for other in seen):
            seen.append(numbers)
            yield Candidate(groups, numbers)


def _is_possible(numbers: Int64Array, labels: Int64Array, least: int) -> bool:
    sizes = np.bincount(numbers)
    fewest = min(len(np.unique(numbers[labels == label])) for label in np.unique(labels))
    return fewest >= least and float((sizes[numbers] > 1).mean()) >= LEAST_GROUPED


def likeness(numbers: Int64Array, thumbnails: UInt8Array) -> tuple[float, float, int]:
    """How often the most similar image, by correlation of the thumbnails, is one of the same group.

    Args:
        numbers: Group of each image, (n,).
        thumbnails: (n, 16, 16).

    Returns:
        That share, the share by chance, and the images that were asked: those with others in their group, of up to
        4,000 images evenly over all.
    """
    rows = np.unique(np.linspace(0, len(numbers) - 1, min(len(numbers), MOST_COMPARED)).astype(np.int64))
    pictures = thumbnails[rows].reshape(len(rows), THUMBNAIL_PX**2).astype(np.float32)
    pictures -= pictures.mean(1, keepdims=True)
    pictures /= np.maximum(np.linalg.norm(pictures, axis=1, keepdims=True), 1e-6)
    alike = pictures @ pictures.T
    np.fill_diagonal(alike, -np.inf)
    own = numbers[rows]
    others = np.bincount(own)[own] - 1
    asked = others > 0
    if not asked.any():
        return 0.0, 0.0, 0
    same = own[alike.argmax(1)] == own
    return float(same[asked].mean()), float(others[asked].mean()) / (len(rows) - 1), int(asked.sum())


def divided_groups(numbers: Int64Array, splits: Sequence[str]) -> int:
    """How many groups have images in several splits, (n,) each."""
    pairs = {*zip(numbers.tolist(), splits, strict=True)}
    return int((np.bincount([group for group, _ in pairs]) > 1).sum())

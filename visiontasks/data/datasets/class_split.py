"""Divides images with objects of several classes so that each part has its share of each class.

Konstantinos Sechidis, Grigorios Tsoumakas, Ioannis Vlahavas, "On the Stratification of Multi-Label Data", 2011,
https://doi.org/10.1007/978-3-642-23808-6_10. The images of the rarest class go first, each to the part that is furthest
from its share of that class. Here images without an object are a class of their own, and in the end every class is in
the first part and no part is empty.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from visiontasks.data.pipeline.sources import Int64Array


def divide_by_classes(
    classes: Sequence[frozenset[str]], shares: Mapping[str, float], *, seed: int
) -> dict[str, Int64Array]:
    """Divide images by the classes of their objects.

    Args:
        classes: Those of each image, (n,); empty for an image without an object.
        shares: That of each part, 1 together; the first part gets what is too rare for all.
        seed: Decides which of two images that are alike goes where.

    Returns:
        Rows of each part, ascending; a part is empty only where another would lose its only image of a class.
    """
    parts = list(shares)
    part_of = _assigned(classes, np.array([shares[part] for part in parts]), np.random.default_rng(seed))
    _give_first_each_class(part_of, classes)
    _fill_empty(part_of, classes, len(parts))
    return {part: np.flatnonzero(part_of == number) for number, part in enumerate(parts)}


def _assigned(
    classes: Sequence[frozenset[str]], shares: npt.NDArray[np.float64], rng: np.random.Generator
) -> Int64Array:
    """The part of each image, (n,)."""
    rows_of: dict[str, list[int]] = {}
    order = rng.permutation(len(classes)).tolist()
    for row in order:
        for name in _labels(classes[row]):
            rows_of.setdefault(name, []).append(row)
    wanted = {name: shares * len(rows) for name, rows in rows_of.items()}
    wanted_images = shares * len(classes)
    left = {name: len(rows) for name, rows in rows_of.items()}
    part_of = np.full(len(classes), -1, dtype=np.int64)
    while left:
        rarest = min(left, key=lambda name: (left[name], name))
        for row in rows_of[rarest]:
            if part_of[row] < 0:
                best = np.flatnonzero(wanted[rarest] >= wanted[rarest].max() - 1e-9)
                part = int(best[wanted_images[best].argmax()])
                part_of[row] = part
                wanted_images[part] -= 1
                for name in _labels(classes[row]):
                    wanted[name][part] -= 1
                    left[name] -= 1
        left = {name: count for name, count in left.items() if count > 0}
    return part_of


def _labels(names: frozenset[str]) -> frozenset[str]:
    return names or frozenset([""])


def _give_first_each_class(part_of: Int64Array, classes: Sequence[frozenset[str]]) -> None:
    """Move an image of each class that the first part does not have there, in place."""
    taught = {name for row in np.flatnonzero(part_of == 0).tolist() for name in classes[row]}
    for row in np.flatnonzero(part_of > 0).tolist():
        if classes[row] - taught:
            part_of[row] = 0
            taught |= classes[row]


def _fill_empty(part_of: Int64Array, classes: Sequence[frozenset[str]], parts: int) -> None:
    """Move an image to each empty part that its own part can do without, in place."""
    for part in (part for part in range(parts) if not (part_of == part).any()):
        counts = np.bincount(part_of, minlength=parts)
        largest = int(counts.argmax())
        rows = np.flatnonzero(part_of == largest).tolist()
        held: dict[str, int] = {}
        for name in (name for row in rows for name in classes[row]):
            held[name] = held.get(name, 0) + 1
        spare = [row for row in rows if all(held[name] > 1 for name in classes[row])]
        if len(rows) > 1 and spare:
            part_of[spare[-1]] = part

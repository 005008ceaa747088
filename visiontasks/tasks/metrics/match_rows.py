"""What is stored of a measured split so that two networks can be compared: a row for each detection and each object.

Boxes are not needed for that: which detection finds an object at which IoU depends on its image alone, so that images
can be drawn again, and paired with those of another network.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from visiontasks.tasks.metrics.bootstrap import Tally, precision_difference, tally
from visiontasks.tasks.metrics.matches import IGNORED, IOU_THRESHOLDS, RIGHT, WRONG, Matches

_SIGNS = {WRONG: "0", RIGHT: "1", IGNORED: "-"}


class MatchRow(TypedDict):
    """A detection, or an object that is to be found.

    `image` is the row of its image in the split, `label` the name of its class. Of a detection `score` is its score,
    and `outcome` has a sign for each of IOU_THRESHOLDS: 1 where it finds an object, 0 where not, - where it is ignored,
    as "1110000000". Of an object they are None and "".
    """

    image: int
    label: str
    score: float | None
    outcome: str


def match_rows(matches: Matches, class_names: Sequence[str]) -> list[MatchRow]:
    """Rows of a measured split: detections in the order of class, falling score, and image, then objects."""
    known = tally(matches)
    signs = ["".join(_SIGNS[each] for each in column) for column in known.outcome.T.tolist()]
    detections = zip(known.image.tolist(), known.label.tolist(), matches.score.tolist(), signs, strict=True)
    objects = zip(known.object_image.tolist(), known.object_label.tolist(), strict=True)
    return [
        *(
            MatchRow(image=image, label=class_names[label], score=score, outcome=outcome)
            for image, label, score, outcome in detections
        ),
        *(MatchRow(image=image, label=class_names[label], score=None, outcome="") for image, label in objects),
    ]


def rows_difference(
    first: Iterable[Mapping[str, Any]], second: Iterable[Mapping[str, Any]], places: Sequence[int]
) -> tuple[float, float, float]:
    """How much higher the `map` of a second run is than that of a first one, with its 95 % interval.

    Args:
        first: Rows of a run, as `match_rows` gives them or as texts; rows of images that are not in `places` are left
            out.
        second: Rows of another run on the same images, which may be in another order there.
        places: Row of each of the first run's I images in the second run's split.

    Returns:
        Difference, lower and upper bound; NaN where it is not defined.

    Raises:
        ValueError: If a row has no outcome of each IoU threshold.
    """
    return precision_difference(_tally(first, range(len(places))), _tally(second, places))


def _tally(rows: Iterable[Mapping[str, Any]], images: Sequence[int]) -> Tally:
    """The rows of some images, which are numbered in that order."""
    number = {image: i for i, image in enumerate(images)}
    own = [(number[int(row["image"])], row) for row in rows if int(row["image"]) in number]
    classes = {name: k for k, name in enumerate(sorted({row["label"] for _, row in own}))}
    detections = [(image, row) for image, row in own if row["outcome"]]
    objects = [(image, row) for image, row in own if not row["outcome"]]
    image, label = _columns(detections, classes)
    order = np.lexsort((image, [-float(row["score"]) for _, row in detections], label))
    object_image, object_label = _columns(objects, classes)
    outcome = _outcomes([row["outcome"] for _, row in detections])
    return Tally(len(images), image[order], label[order], outcome[:, order], object_image, object_label)


def _columns(rows: Sequence[tuple[int, Mapping[str, Any]]], classes: Mapping[str, int]) -> tuple[Any, Any]:
    image, label = [image for image, _ in rows], [classes[row["label"]] for _, row in rows]
    return np.array(image, np.int64), np.array(label, np.int64)


def _outcomes(texts: Sequence[str]) -> Any:
    """int8 (T, n)."""
    wrong = [text for text in texts if len(text) != len(IOU_THRESHOLDS) or set(text) - set(_SIGNS.values())]
    if wrong:
        raise ValueError(f"outcome must have {len(IOU_THRESHOLDS)} signs of 1, 0 and -, got {wrong[0]!r}")
    outcome = {sign: value for value, sign in _SIGNS.items()}
    return np.array([[outcome[sign] for sign in text] for text in texts], np.int8).reshape(-1, len(IOU_THRESHOLDS)).T

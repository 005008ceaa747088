"""How the four numbers of a box are read, and whether a dataset's boxes were all written another way."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import log
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from visiontasks.data.pipeline.reader import is_turned

BoxFormat = Literal["xyxy", "xywh", "cxcywh", "yxyx"]
"""Two corners; a corner and a size; the centre and a size; two corners with y before x."""
BoxUnit = Literal["pixels", "fraction", "percent"]
"""Pixels, or a share of the image's width and height in 0..1 or in 0..100."""
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ROUNDING_PX = 0.5
"""How far a box may reach beyond its image, by rounding."""
ROUNDING_SHARE = 0.001
"""The same as a share of the image's side, for boxes that are not in pixels: three digits behind the point."""
LEAST_PX = 1.0 - 1e-6
"""Width and height of the smallest box, a pixel but for the rounding of a sum."""

_PERCENT = 100.0
_SLOPPY = 0.1  # of the image's side, and at least ...
_SLOPPY_PX = 2.0  # ... this: what boxes that are drawn carelessly, or count pixels from 1, reach beyond it
_FEW = 3  # that many boxes, and ...
_SUSPECT = 0.05  # ... this share of all, are not single mistakes
_MOST = 0.95
_CHANCE = log(1e-6)


@dataclass(frozen=True)
class Reading:
    """How four numbers become a box.

    Args:
        format: Their order and meaning.
        unit: What they count.
    """

    format: BoxFormat = "xyxy"
    unit: BoxUnit = "pixels"

    def __str__(self) -> str:
        return f"{self.format} in {self.unit_name}"

    @property
    def unit_name(self) -> str:
        """The unit in words."""
        return "fractions of the image" if self.unit == "fraction" else self.unit

    def xyxy(self, numbers: Float64Array, sizes: npt.ArrayLike) -> Float64Array:
        """Corners in pixels.

        Args:
            numbers: As written, (N, 4).
            sizes: Height and width of the boxes' images, (2,) or (N, 2).

        Returns:
            xyxy, (N, 4).
        """
        if self.format == "yxyx":
            numbers = numbers[:, [1, 0, 3, 2]]
        first, second = numbers[:, :2], numbers[:, 2:]
        if self.format == "cxcywh":
            first = first - second / 2
        if self.format in ("xywh", "cxcywh"):
            second = first + second
        corners = np.concatenate([first, second], axis=1)
        if self.unit == "pixels":
            return corners
        sides = np.asarray(sizes, dtype=np.float64)[..., [1, 0, 1, 0]]
        return corners * (sides / _PERCENT if self.unit == "percent" else sides)

    def slack_px(self, side: npt.ArrayLike) -> Float64Array:
        """How far a box may reach beyond an image of this side in pixels, by rounding."""
        share = 0.0 if self.unit == "pixels" else ROUNDING_SHARE
        return np.maximum(ROUNDING_PX, share * np.asarray(side, dtype=np.float64))

    def fits(self, numbers: Float64Array, sizes: Int64Array, *, sloppy: bool = False) -> BoolArray:
        """Which boxes lie in their images and have a pixel or more; fractions do not count as pixels.

        Args:
            numbers: As written, (N, 4).
            sizes: Height and width of their images, (N, 2).
            sloppy: Whether they may reach beyond it as carelessly drawn boxes do.
        """
        x1, y1, x2, y2 = self.xyxy(numbers, sizes).T
        height, width = sizes.T
        x_slack, y_slack = (
            np.maximum(self.slack_px(side), np.maximum(_SLOPPY * side, _SLOPPY_PX) if sloppy else 0)
            for side in (width, height)
        )
        is_inside: BoolArray = (np.minimum(x1, x2) >= -x_slack) & (np.minimum(y1, y2) >= -y_slack)
        is_inside &= (np.maximum(x1, x2) <= width + x_slack) & (np.maximum(y1, y2) <= height + y_slack)
        is_sized: BoolArray = (x2 - x1 >= LEAST_PX) & (y2 - y1 >= LEAST_PX)
        found: BoolArray = is_inside & is_sized & ~self.are_fractions(numbers)
        return found

    def are_fractions(self, numbers: Float64Array) -> BoolArray:
        """Which boxes are read in pixels, but within 0..1."""
        is_small = (numbers.max(axis=1) <= 1) & (numbers.min(axis=1) >= 0)
        return is_small if self.unit == "pixels" else np.zeros_like(is_small)


@dataclass(frozen=True)
class WrittenBoxes:
    """All boxes of a dataset as its annotations have them.

    Args:
        numbers: Finite, (N, 4).
        sizes: Height and width of the boxes' images, upright, (N, 2).
        places: Where they are written, for messages, N.
        paths: Their images, N.
    """

    numbers: Float64Array
    sizes: Int64Array
    places: Sequence[str]
    paths: Sequence[str]

    def __len__(self) -> int:
        return len(self.places)

    def example(self, row: int) -> str:
        """A box in words."""
        height, width = self.sizes[row]
        return f"such as {self.places[row]}: {' '.join(f'{x:g}' for x in self.numbers[row])} of {width}x{height} pixels"


def misread(boxes: WrittenBoxes, reading: Reading, *, unit_given: bool, skips: bool) -> str | None:
    """Find out whether a dataset's boxes are in another form or unit than they are read, or of other images.

    A few boxes that do not fit their images are mistakes. If many do not, but fit when they are read another way, or
    lie far outside of their images, then those that happen to fit are wrong too. Where bad boxes would be left out,
    one that fits another way is enough, if all others fit that way too.

    Args:
        boxes: All of the dataset's.
        reading: How they are read.
        unit_given: Whether the user named the unit: then pixels in a corner of all images are not percent.
        skips: Whether bad boxes would be left out, and the rest trained on.

    Returns:
        The fault, and which option reads the boxes as they are written; None without a fault.
    """
    if not len(boxes):
        return None
    numbers, sizes = boxes.numbers, boxes.sizes
    looks_percent = _fill_percent(numbers, sizes) and not (unit_given and reading.unit == "pixels")
    is_percent = looks_percent and reading.unit == "pixels"
    wrong = np.flatnonzero(is_percent | ~reading.fits(numbers, sizes, sloppy=True)).tolist()
    are_many = _are_many(wrong, boxes, _SUSPECT)
    if not are_many and skips:
        wrong = np.flatnonzero(~reading.fits(numbers, sizes)).tolist()
    if not wrong or not (are_many or skips):
        return None
    others = _other_readings(boxes, reading, most_wrong=len(wrong) // 3, looks_percent=looks_percent)
    if not others:
        return _far_off(boxes, reading, wrong, skips=skips) if are_many else None
    what = f"{len(wrong)} of {len(boxes)} boxes do not fit their images as {reading} ({boxes.example(wrong[0])})"
    if is_percent:
        what = f"all {len(boxes)} boxes lie in the first 100 pixels of larger images ({boxes.example(wrong[0])})"
    elif others[0].format == "yxyx" and all(is_turned(boxes.paths[row]) for row in wrong[:_FEW]):
        return (
            f"data.init_args.root: {what}: these images are turned upright by their EXIF orientation, but the boxes "
            "were drawn in them as stored; save the images upright, or draw the boxes in the upright images"
        )
    count = int(others[0].fits(numbers, sizes).sum())
    return f"data.init_args.{_proposal(what, count, reading, others, is_percent=is_percent)}"


def _are_many(rows: Sequence[int], boxes: WrittenBoxes, share: float) -> bool:
    return len(rows) >= max(min(_FEW, len(boxes)), share * len(boxes))


def _other_readings(boxes: WrittenBoxes, reading: Reading, *, most_wrong: int, looks_percent: bool) -> list[Reading]:
    """Readings in one unit as which the most boxes fit, nearly all; one in the given format first."""
    found: dict[Reading, int] = {}
    for form, unit in product(get_args(BoxFormat), get_args(BoxUnit)):
        other = Reading(form, unit)
        if form == "yxyx" and unit != "pixels":  # fits wherever the same unit as xyxy does
            continue
        if unit == "percent" and boxes.numbers.max() <= 1:
            continue
        count = int(other.fits(boxes.numbers, boxes.sizes).sum())
        if other != reading and count >= _MOST * len(boxes) and len(boxes) - count <= most_wrong:
            found[other] = count
    units = ["percent"] if looks_percent else [unit for unit in get_args(BoxUnit) if unit in {r.unit for r in found}]
    found = {other: count for other, count in found.items() if other.unit == units[0]} if units else {}
    best = [other for other, count in found.items() if count == max(found.values())]
    return sorted(best, key=lambda other: other.format != reading.format)


def _proposal(what: str, count: int, reading: Reading, others: Sequence[Reading], *, is_percent: bool) -> str:
    best, *rest = others
    settings = [
        f"data.init_args.box_{key}: {getattr(best, key)}"
        for key in ("format", "unit")
        if getattr(best, key) != getattr(reading, key)
    ]
    also = f" (and as {', '.join(map(str, rest))})" if rest else ""
    otherwise = "correct the boxes"
    if best.unit == "percent":
        otherwise = "scale them, if they are pixels of larger images"
    if is_percent:
        otherwise = "data.init_args.box_unit: pixels if that is what they are"
    key = settings[0].removeprefix("data.init_args.").partition(":")[0]
    return f"{key}: {what}, but {count} fit as {best}{also}; set {' and '.join(settings)}, or {otherwise}"


def _far_off(boxes: WrittenBoxes, reading: Reading, wrong: Sequence[int], *, skips: bool) -> str | None:
    """What is wrong where no reading fits, but many boxes lie far outside of their images or within 0..1."""
    x1, y1, x2, y2 = reading.xyxy(boxes.numbers, boxes.sizes)[wrong].T
    is_ordered = (x2 > x1) & (y2 > y1)
    far = [row for row, ordered in zip(wrong, is_ordered, strict=True) if ordered]
    if not _are_many(far, boxes, 2 * _SUSPECT if skips else 0.5):  # fewer are listed one by one, unless left out
        return None
    what = f"{len(far)} of {len(boxes)} boxes do not fit their images as {reading} ({boxes.example(far[0])})"
    fractions = int(reading.are_fractions(boxes.numbers).sum())
    if fractions * 2 > len(far):
        return f"data.init_args.box_unit: {what}, {fractions} of them within 0..1 as fractions; write all in one unit"
    height, width = boxes.sizes[wrong].T
    return (
        f"data.init_args.root: {what}. They reach to {(x2 / width).max():.3g} times the width and "
        f"{(y2 / height).max():.3g} times the height of an image: take the images that they were drawn in, or scale "
        "the coordinates"
    )


def _fill_percent(numbers: Float64Array, sizes: Int64Array) -> bool:
    """Whether boxes fill 0..100, but as pixels lie in a corner of so many larger images that this is not chance."""
    if numbers.min() < 0 or not _PERCENT / 2 < numbers.max() <= _PERCENT:
        return False
    return bool(np.log(np.minimum(1.0, _PERCENT / sizes)).sum() < _CHANCE)

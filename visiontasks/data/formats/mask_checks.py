"""Masks whose values can hardly be the class indices that they are taken for, and the option that reads them so."""

from collections.abc import Iterable, Sequence

import numpy as np

from visiontasks.data.formats.mask_values import Recoding, proposal
from visiontasks.data.formats.masks import MaskedImage, ranges
from visiontasks.data.pipeline.files import listed
from visiontasks.data.pipeline.mask_pixels import UInt8Array
from visiontasks.data.pipeline.sources import Int64Array
from visiontasks.errors import InputError
from visiontasks.ops.losses import IGNORED

_LARGE_SHARE = 0.05
"""Of all pixels, above which 255 is more than borders."""
_LEAST_LEVEL = 32
"""A largest value from which on values with gaps look like grey levels."""
_LEAST_GAP = 16
"""Between all values, from which on they look like grey levels; class indices that stayed of more lie closer."""
_FEWEST_VALUES = 5
_FEWEST_OBJECTS = 12
"""Values, from which on they may number objects, ..."""
_MOST_COUNTED = 0.8
"""... in at least this share of the masks, ..."""
_FEWEST_COUNTS = 4
"""... of which so many numbers of objects differ."""
_MOST_READ = 16
_LEAST_SOLID = 0.2
"""Share of a class's pixels, at least, that lie in 2x2 pixels of it; interpolation makes lines of one pixel."""


def check_values(images: Sequence[MaskedImage], recoding: Recoding, *, ignored: Sequence[int]) -> None:
    """Refuse values that nothing names, if they look like grey levels or the work of an interpolation.

    Args:
        images: With their values counted.
        recoding: How masks are read.
        ignored: Values that are stated to mean no class.

    Raises:
        InputError: With the option to set.
    """
    counts = np.sum([image.value_counts for image in images], axis=0)
    values = [value for value in np.flatnonzero(counts).tolist() if value not in ignored]
    _check_interpolation(images, values, recoding)
    _check_instances(images, values)
    _check_levels(counts, values, recoding)


def check_targets(recoding: Recoding, values: Iterable[int]) -> None:
    """Refuse class indices of the option `values` that are no class's.

    Args:
        recoding: The option.
        values: Class indices that are, and ignored ones.

    Raises:
        InputError: If there are any.
    """
    known = {*values, IGNORED}
    strange = sorted({*recoding.targets.values()} - known)
    if strange:
        raise InputError(
            f"data.init_args.values: class index {listed(list(map(str, strange)))}, expected those of classes.txt or "
            f"data.init_args.classes and of ignored pixels: {ranges(sorted(known))}"
        )


def mapping_hint(counts: Int64Array, classes: Sequence[int], recoding: Recoding, *, ignored: Sequence[int]) -> str:
    """What to do about values that are no class's, if that can be guessed.

    Args:
        counts: Pixels of each value, (256,).
        classes: Class indices, ascending.
        recoding: How masks are read.
        ignored: Values that are stated to mean no class.
    """
    found = np.flatnonzero(counts).tolist()
    for values in (found, [value for value in found if value not in (*ignored, IGNORED)]):
        if len(values) == len(classes) and values != list(classes):
            return f", or set {proposal(values, classes, given=recoding)}"
    if len(found) > 2 * len(classes) + 2:
        return ", or, if masks were resized with interpolation, make them again with nearest neighbour"
    return ""


def level_hint(found: Sequence[int], recoding: Recoding) -> str:
    """The option for masks of a single value and 255."""
    option = proposal(found, given=recoding)
    return f", or, if {IGNORED} is a class, set {option}" if found[1:] == [IGNORED] else ""


def lone_class_hint(name: str, counts: Int64Array, recoding: Recoding, *, ignored: Sequence[int]) -> str:
    """What to do where one class is named, and the masks hold a second value that may be its background's.

    Args:
        name: Of the class.
        counts: Pixels of each value, (256,).
        recoding: How masks are read.
        ignored: Values that are stated to mean no class.
    """
    found = [value for value in np.flatnonzero(counts).tolist() if value not in ignored]
    if len(found) != 2:
        return ""
    option = "" if found == [0, 1] else f", and set {proposal(found, given=recoding)}"
    return f"; if {name} are the pixels of {found[1]}, name both classes, background first{option}"


def untaught_hint(name: str, value: int | None, ignored_share: float, recoding: Recoding) -> str:
    """What to do about a class without a training pixel.

    Args:
        name: Of the class.
        value: Its class index in the masks, if that is known.
        ignored_share: Of the training pixels, those that are 255.
        recoding: How masks are read.
    """
    if value is None:
        return "add training images of it"
    leave_out = f"add training images of it, or leave it out (data.init_args.ignored: [{value}])"
    if not ignored_share:
        return leave_out
    return (
        f"if the {ignored_share:.1%} of the training pixels that are {IGNORED}, which means no class, are {name}, set "
        f"{proposal([IGNORED], [value], given=recoding)}; else {leave_out}"
    )


def _check_levels(counts: Int64Array, values: Sequence[int], recoding: Recoding) -> None:
    """Refuse grey levels of which the brightest would be taken for pixels without a class."""
    share = float(counts[IGNORED] / counts.sum())
    classes = [value for value in values if value != IGNORED]
    if IGNORED not in values or share < _LARGE_SHARE or len(classes) < 2 or max(classes) < _LEAST_LEVEL:
        return
    even = np.abs(np.diff([*classes, IGNORED]) - IGNORED / len(classes)).max() <= 2
    if even or len(classes) == 2 or np.diff([*classes, IGNORED]).min() >= _LEAST_GAP:
        names = listed(list(map(str, classes)))
        raise InputError(
            f"data.init_args.root: {share:.1%} of the pixels of the masks are {IGNORED}, which means no class, beside "
            f"the values {names}: if it is a class, set {proposal(values, given=recoding)}; if it is none, "
            f"data.init_args.ignored: [{IGNORED}]"
        )


def _check_instances(images: Sequence[MaskedImage], values: Sequence[int]) -> None:
    """Refuse numbers of objects: each mask has 1, 2, 3, ... without a gap, and as many as it has objects."""
    if len(values) < _FEWEST_OBJECTS:
        return
    held = [np.flatnonzero(image.value_counts[1:IGNORED]) + 1 for image in images]
    held = [of_mask for of_mask in held if len(of_mask)]
    without_gap = [len(of_mask) for of_mask in held if of_mask[-1] == len(of_mask)]
    if len(without_gap) < _MOST_COUNTED * len(held) or len(set(without_gap)) < _FEWEST_COUNTS:
        return
    raise InputError(
        f"data.init_args.root: the masks hold {len(values)} values, in {len(without_gap)} of {len(held)} of them "
        f"1, 2, 3, ... without a gap, from {min(without_gap)} to {max(without_gap)} of them: they seem to number the "
        "objects of an image (instances), not the classes; write masks of 0 and 1 (all objects as 1), or, if each "
        "value is a class, name them in classes.txt"
    )


def _check_interpolation(images: Sequence[MaskedImage], values: Sequence[int], recoding: Recoding) -> None:
    if len(values) < _FEWEST_VALUES:
        return
    richest = sorted(images, key=lambda image: -np.count_nonzero(image.value_counts))[:_MOST_READ]
    thin = _thin_values(recoding.read(image.mask)[0] for image in richest if image.value_counts.any())
    found = [value for value in values if value in thin]
    solid = [value for value in values if value not in thin]
    if len(found) < 3 or len(found) < len(solid):
        return
    option = f", and set {proposal(solid, given=recoding)}" if IGNORED in solid else ""
    lines, areas = (listed(list(map(str, some))) for some in (found, solid))
    raise InputError(
        f"data.init_args.root: the masks hold {len(values)} values, of which {len(found)} form no areas ({lines}; "
        f"{areas} do): they were resized with interpolation, or compressed as JPEG; make them again with nearest "
        f"neighbour, as PNG{option}"
    )


def _thin_values(masks: Iterable[UInt8Array]) -> set[int]:
    """Values that lie in lines or single pixels only."""
    pixels, solid = np.zeros(IGNORED + 1, np.int64), np.zeros(IGNORED + 1, np.int64)
    for mask in masks:
        pixels += np.bincount(mask.ravel(), minlength=len(pixels))
        blocks = (
            (mask[:-1, :-1] == mask[1:, 1:]) & (mask[:-1, :-1] == mask[1:, :-1]) & (mask[:-1, :-1] == mask[:-1, 1:])
        )
        solid += np.bincount(mask[:-1, :-1][blocks], minlength=len(solid))
    return set(np.flatnonzero((pixels > 0) & (solid < _LEAST_SOLID * pixels)).tolist())

"""Whether 16-bit images fill the range of 16 bits: if they hold 12, nearly all of their grey levels would be lost."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from visiontasks.data.pipeline.reader import largest_16bit
from visiontasks.data.pipeline.sixteen_bit import MAX_16BIT
from visiontasks.data.pipeline.sources import DecodingSource, Source, base_row, sample_path
from visiontasks.errors import InputError

_LEAST = 1 << 14
"""Below this largest value fewer than 64 of the 256 levels would be left."""
_MOST_OPENED, _MOST_DECODED = 64, 8
"""Images of a dataset, so that looking takes milliseconds."""


def check_depth(sources: Mapping[str, Source]) -> None:
    """Refuse a dataset whose 16-bit images leave most of their range unused, judged by some of them.

    Args:
        sources: The splits.

    Raises:
        InputError: With the option to set.
    """
    unused = unused_range(_some_files(sources), most=_MOST_DECODED)
    if unused:
        raise InputError(f"data.init_args.max_16bit: not stated, but {unused}")


def unused_range(paths: Iterable[str], *, most: int | None = None, way_out: str = "") -> str:
    """The warning for 16-bit images that leave most of their range unused.

    Args:
        paths: Image files of any kind, of which the first with larger values ends the search.
        most: How many 16-bit images are decoded at most; None for all.
        way_out: What to do; by default to state the largest value.

    Returns:
        An empty text if one has larger values, or none has 16 bits.
    """
    decoded: dict[str, int] = {}
    for path in paths:
        try:
            largest = largest_16bit(path)
        except InputError:  # reported with all bad files
            continue
        if largest is None:
            continue
        if largest >= _LEAST:
            return ""
        decoded[path] = largest
        if len(decoded) == most:
            break
    if not decoded:
        return ""
    largest = max(decoded.values())
    bits = max(largest.bit_length(), 9)
    way_out = way_out or (
        f"state the largest value that there can be (data.init_args.max_16bit), such as {(1 << bits) - 1} for {bits} "
        f"bits, or {MAX_16BIT} to take them as they are"
    )
    return (
        f"the 16-bit images have no value above {largest} of {MAX_16BIT} ({len(decoded)} looked at, as "
        f"{next(iter(decoded))}), so that {largest // 257 + 1} of 256 grey levels would be left; {way_out}"
    )


def _some_files(sources: Mapping[str, Source]) -> Iterator[str]:
    """Image files evenly over each split."""
    for source in sources.values():
        if isinstance(base_row(source, 0)[0], DecodingSource):
            number = min(len(source), _MOST_OPENED // len(sources))
            for row in np.linspace(0, len(source) - 1, number).round().astype(int).tolist():
                yield sample_path(source, row)

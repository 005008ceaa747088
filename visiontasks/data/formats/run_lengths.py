"""The box around a mask in COCO's run lengths, without making the mask.

Runs of 0 and 1 take turns, down each column, the first one of 0: https://github.com/cocodataset/cocoapi,
common/maskApi.c. Compressed, each count from the fourth on is the difference to the one two before it, in groups of 5
bits: the sixth bit of a character (from "0") announces another, the fifth of the last one is the sign.
"""

from itertools import accumulate

_MORE, _SIGN, _BITS, _BASE = 32, 16, 5, 48


def run_length_box(counts: object, size: object) -> tuple[float, float, float, float] | None:
    """The smallest box around the pixels of 1.

    Args:
        counts: A list of counts, or a text of compressed ones.
        size: Height and width of the mask.

    Returns:
        x1, y1, x2, y2 in pixels, the edges of the outermost pixels; None without a pixel, or where the run lengths are
        not valid.
    """
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        return None
    height, width = size
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        return None
    ends = list(accumulate(runs))
    if not ends or ends[-1] > height * width:
        return None
    ones = [(start, end - 1) for start, end in zip(ends[::2], ends[1::2], strict=False) if end > start]
    if not ones:
        return None
    rows = [(0, height - 1) if a // height < b // height else (a % height, b % height) for a, b in ones]
    y1, y2 = min(low for low, _ in rows), max(high for _, high in rows)
    return float(ones[0][0] // height), float(y1), float(ones[-1][1] // height + 1), float(y2 + 1)


def _decompressed(text: str) -> list[int] | None:
    """The counts of a compressed text; None if it is cut off or has other characters."""
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        group = ord(character) - _BASE
        if not 0 <= group < 2 * _MORE:
            return None
        value |= (group & (_MORE - 1)) << shift
        shift += _BITS
        if group & _MORE:
            continue
        if group & _SIGN:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    return None if shift else counts

"""Tables of names and figures whose rows are never broken: where the terminal is narrow, columns are left out."""

from collections.abc import Collection, Mapping, Sequence

GAPS = ("  ", " ")
EMPTY = "-"
"""An unknown cell, so that a row splits into as many words as its header."""


def table(
    rows: Sequence[Mapping[str, str]], layouts: Sequence[Sequence[str]], width: int, *, right: Collection[str] = ()
) -> list[str]:
    """Lines of a header and of each row, as many columns as fit.

    Args:
        rows: Cells by column; an empty one is shown as "-".
        layouts: Columns, the most complete layout first; the last is taken even if it does not fit.
        width: Characters of a line.
        right: Columns that are aligned right.
    """
    lines: list[str] = []
    for layout in layouts:
        cells = [list(layout), *([row.get(name) or EMPTY for name in layout] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for gap in GAPS:
            lines = [gap.join(_aligned(row, widths, layout, right)).rstrip() for row in cells]
            if max(map(len, lines)) <= width:
                return lines
    return lines


def _aligned(row: Sequence[str], widths: Sequence[int], layout: Sequence[str], right: Collection[str]) -> list[str]:
    return [
        cell.rjust(width) if name in right else cell.ljust(width)
        for cell, width, name in zip(row, widths, layout, strict=True)
    ]

"""The confusion matrix as SVG, from 2 to 100 classes, and its largest entries off the diagonal."""

from collections.abc import Sequence

from visiontasks.report.html import Markup, escaped, percent, shortened, table

MOST_CLASSES = 100
_NUMBERED = 25
"""Up to so many classes the cells have room for their counts."""
_CELLS_PX = ((4, 56), (7, 42), (_NUMBERED, 30), (50, 17))
_SMALLEST_PX = 10.5
_LEAST_SHARE = 0.001
"""Of a row's pixels, for a cell to be drawn."""
_RIGHT_COLOUR, _WRONG_COLOUR = "#2663ad", "#c7432b"


def confusion_matrix(
    counts: Sequence[Sequence[int]],
    names: Sequence[str],
    *,
    column_names: Sequence[str] | None = None,
    of_pixels: bool = False,
) -> str:
    """Samples or pixels by true (row) and predicted class; the darker, the larger the share of the row.

    Args:
        counts: (K, K).
        names: Of the classes, K.
        column_names: Where those of the columns differ, K.
        of_pixels: Whether cells show their share of the row in per cent, and those below 0.1 % stay empty: of many
            pixels almost every count is above 0.

    Returns:
        HTML; empty above 100 classes, where cells would be too small.
    """
    if len(names) > MOST_CLASSES:
        return ""
    cell = next((size for most, size in _CELLS_PX if len(names) <= most), _SMALLEST_PX)
    font = min(12.0, cell - 1.5)
    column_names = column_names or names
    longest = max(len(name) for name in [*names, *column_names])
    side = 26 + min(22, longest) * font * 0.58
    width = side + cell * len(names) + 2
    parts = [_axis_names(side, cell * len(names))]
    for row, of_row in enumerate(counts):
        parts += _labels(row, names[row], column_names[row], side, cell, font)
        total = sum(of_row)
        for column, count in enumerate(of_row):
            if count and (not of_pixels or count >= _LEAST_SHARE * total):
                about = f"true: {names[row]}, predicted: {column_names[column]}: {count:,} of {total:,}"
                parts.append(_cell(row, column, count, total, about, len(names), side, cell, of_pixels=of_pixels))
    parts.append(_frame(side, cell, len(names)))
    label = "Confusion matrix, true classes in rows, predicted ones in columns"
    return (
        f'<div class="wide"><svg class="fixed" width="{width:.0f}" height="{width:.0f}" '
        f'viewBox="0 0 {width:.0f} {width:.0f}" role="img" aria-label="{label}">{"".join(parts)}</svg></div>'
    )


def most_confused(
    counts: Sequence[Sequence[int]],
    names: Sequence[str],
    *,
    column_names: Sequence[str] | None = None,
    of_pixels: bool = False,
    most: int = 10,
) -> str:
    """A table of the most frequent pairs of a true class and a wrong predicted one; empty without mistakes.

    Args:
        counts: Samples or pixels by true (row) and predicted class, (K, K).
        names: Of the classes, K.
        column_names: Where those of the columns differ, K.
        of_pixels: Whether to give shares of all pixels in place of counts.
        most: How many pairs.
    """
    found = [
        (count, row, column)
        for row, of_row in enumerate(counts)
        for column, count in enumerate(of_row)
        if count and row != column
    ]
    if not found:
        return ""
    worst = sorted(found, key=lambda entry: (-entry[0], entry[1], entry[2]))[:most]
    whole = sum(map(sum, counts))
    rows = [
        (
            names[row],
            (column_names or names)[column],
            Markup(percent(count / whole, 2)) if of_pixels else count,
            Markup(percent(count / sum(counts[row]))),
        )
        for count, row, column in worst
    ]
    return table(["true", "predicted", "share of all pixels" if of_pixels else "count", "share of the class"], rows)


def _axis_names(side: float, length: float) -> str:
    return (
        f'<text x="{side + length / 2:.0f}" y="12" text-anchor="middle">predicted</text>'
        f'<text transform="translate(11 {side + length / 2:.0f}) rotate(-90)" text-anchor="middle">true</text>'
    )


def _labels(row: int, name: str, column_name: str, side: float, cell: float, font: float) -> list[str]:
    """The class's name left of its row and above its column."""
    middle = side + (row + 0.5) * cell
    left, above = (f"<title>{escaped(text)}</title>{escaped(shortened(text, 22))}" for text in (name, column_name))
    style = f'style="font-size:{font:.1f}px"'
    return [
        f'<text {style} x="{side - 5:.1f}" y="{middle + font * 0.35:.1f}" text-anchor="end">{left}</text>',
        f'<text {style} transform="translate({middle + font * 0.35:.1f} {side - 5:.1f}) rotate(-90)">{above}</text>',
    ]


def _cell(
    row: int,
    column: int,
    count: int,
    total: int,
    about: str,
    num_classes: int,
    side: float,
    cell: float,
    *,
    of_pixels: bool,
) -> str:
    share = count / total
    colour = _RIGHT_COLOUR if row == column else _WRONG_COLOUR
    strength = share**0.5 if of_pixels else 0.18 + 0.82 * share  # a single sample is to be seen, a few pixels are not
    x, y = side + column * cell, side + row * cell
    about += " pixels" if of_pixels else ""
    rect = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell}" height="{cell}" fill="{colour}" '
        f'fill-opacity="{strength:.3g}">'
        f"<title>{escaped(shortened(about))}</title></rect>"
    )
    if num_classes > _NUMBERED:
        return rect
    ink = "#fff" if strength > 0.55 else "var(--ink)"
    text = _short_share(share) if of_pixels else _short(count)
    font = min(13.0, 1.5 * cell / max(2, len(text)))
    place = f'x="{x + cell / 2:.1f}" y="{y + cell / 2 + font * 0.35:.1f}"'
    style = f'style="font-size:{font:.1f}px;fill:{ink};pointer-events:none"'
    return f'{rect}<text {place} {style} text-anchor="middle">{text}</text>'


def _short(count: int) -> str:
    """A count in at most four signs."""
    for limit, unit, name in ((10**4, 1, ""), (10**6, 10**3, "k"), (10**9, 10**6, "M"), (10**12, 10**9, "G")):
        if count < limit:
            return f"{count // unit}{name}"
    return f"{count:.0e}"


def _short_share(share: float) -> str:
    """A share in per cent in at most four signs, where 100 means all."""
    return "100" if share == 1 else f"{min(99.9, 100 * share):.1f}"


def _frame(side: float, cell: float, size: int) -> str:
    """Lines between the cells."""
    length = size * cell
    lines = "".join(
        f"M{side:.1f} {side + i * cell:.1f}h{length:.1f}M{side + i * cell:.1f} {side:.1f}v{length:.1f}"
        for i in range(size + 1)
    )
    return f'<path d="{lines}" stroke="var(--line)" stroke-width="0.6" fill="none"/>'

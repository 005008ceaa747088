"""Charts as SVG inside of a page: curves, histograms, calibration. Text stays text, so that it is sharp at any size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite, log10

from visiontasks.ops.class_scores import CalibrationBin
from visiontasks.report.html import escaped, legend

# Okabe and Ito's, which the colour-blind can distinguish; "Color Universal Design", 2008
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7d7d7d", "#8c510a")
BLUE, RED = "#3b6fb6", "#c7432b"
_BANDS = ("var(--band)", "var(--paper)")
_WIDTH, _HEIGHT = 440, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 22, 36
_MOST_DOTS, _MOST_POINTS = 40, 500
_MOST_EDGES = 14


@dataclass(frozen=True)
class Line:
    """A curve.

    Args:
        name: What the legend calls it.
        points: x and y, ascending in x; one that is not finite is left out.
        is_joined: Whether points are joined; else they are dots.
    """

    name: str
    points: Sequence[tuple[float, float]]
    is_joined: bool = True


@dataclass(frozen=True)
class Axes:
    """Where values come to lie in a chart.

    Args:
        x: Lowest and highest x.
        y: Lowest and highest y; of powers of ten where `is_log`.
        is_log: Whether y is logarithmic.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    is_log: bool = False

    def left(self, x: float) -> float:
        """Pixels from the left."""
        low, high = self.x
        return _LEFT + (x - low) / ((high - low) or 1) * (_WIDTH - _LEFT - _RIGHT)

    def top(self, y: float) -> float:
        """Pixels from the top."""
        low, high = self.y
        value = log10(y) if self.is_log else y
        return _HEIGHT - _BOTTOM - (value - low) / ((high - low) or 1) * (_HEIGHT - _TOP - _BOTTOM)


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_name: str,
    bands: Sequence[tuple[float, float]] = (),
    mark: float | None = None,
    is_log: bool = False,
) -> str:
    """Curves with a legend below.

    Args:
        title: What the chart shows.
        lines: The curves; those without a finite point are left out.
        x_name: What x is.
        bands: Ranges of x that are shaded and numbered from 1.
        mark: An x to mark by a dashed line.
        is_log: Whether y is logarithmic; points at 0 or below are left out.
    """
    drawn = [replace(line, points=_thinned(line.points, is_log)) for line in lines]
    drawn = [line for line in drawn if line.points]
    if not drawn:
        return ""
    xs = [x for line in drawn for x, _ in line.points] + [edge for band in bands for edge in band]
    ys = [log10(y) if is_log else y for line in drawn for _, y in line.points]
    ticks = _log_ticks(min(ys), max(ys)) if is_log else nice_ticks(min(ys), max(ys))
    axes = Axes((min(0.0, *xs), max(xs)), (min(ticks[0], *ys), max(ticks[-1], *ys)), is_log)
    parts = [*_bands(axes, bands), *_y_axis(axes, [10**tick if is_log else tick for tick in ticks])]
    parts += _x_axis(axes, [tick for tick in nice_ticks(*axes.x, most=8) if tick == int(tick)], x_name)
    if mark is not None:
        parts += _mark(axes, mark)
    curves = [[(axes.left(x), axes.top(y)) for x, y in line.points] for line in drawn]
    for i, (places, colour) in enumerate(zip(curves, _cycle(len(drawn)), strict=True)):
        below = sum(_coincide(places, later) for later in curves[i + 1 :])  # wider, so that it is visible beside those
        parts += [_path(places, colour, width=1.8 + 3 * below)] if drawn[i].is_joined else []
        if len(places) <= _MOST_DOTS or not drawn[i].is_joined:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2.4 + 2 * below}" fill="{colour}"/>' for x, y in places]
    names = zip(_cycle(len(drawn)), (line.name for line in drawn), strict=True)
    return f"<div><h3>{escaped(title)}</h3>{_svg(title, parts)}{legend(names)}</div>"


def histogram(
    title: str, values: Sequence[float], *, x_name: str, num_bins: int = 20, marks: Sequence[float] = ()
) -> str:
    """How many of the values, 0..1, lie in each of the bins of equal width.

    Args:
        title: What the chart shows.
        values: At least one; those outside count in the outermost bins.
        x_name: What they are.
        num_bins: Number of bins.
        marks: Values to mark by a dashed line.
    """
    counts = [0] * num_bins
    for value in values:
        counts[min(num_bins - 1, max(0, floor(value * num_bins)))] += 1
    ticks = [tick for tick in nice_ticks(0, max(1, *counts)) if tick == int(tick)]
    axes = Axes((0, 1), (0, max(ticks[-1], *counts)))
    parts = [*_y_axis(axes, ticks), *_x_axis(axes, [0, 0.25, 0.5, 0.75, 1], x_name)]
    for i, count in enumerate(counts):
        about = f"{i / num_bins:.2f} to {(i + 1) / num_bins:.2f}: {count:,}"
        parts.append(_column(axes, i / num_bins, (i + 1) / num_bins, count, BLUE, about))
    for mark in marks:
        parts += _mark(axes, mark)
    return f"<div><h3>{escaped(title)}</h3>{_svg(title, parts)}</div>"


def stacked_histogram(title: str, edges: Sequence[float], counts: Mapping[str, Sequence[int]], *, x_name: str) -> str:
    """Counts of several kinds in the same bins, which are drawn equally wide, with a legend below.

    Args:
        title: What the chart shows.
        edges: Of the n bins, n + 1.
        counts: By kind, from the bottom, n of each.
        x_name: What is binned.
    """
    totals = [sum(of_bin) for of_bin in zip(*counts.values(), strict=True)]
    ticks = [tick for tick in nice_ticks(0, max(1, *totals)) if tick == int(tick)]
    axes = Axes((0, len(totals)), (0, max(ticks[-1], *totals)))
    parts = [*_y_axis(axes, ticks), *_x_axis(axes, [], x_name)]
    step = ceil(len(edges) / _MOST_EDGES)
    for i in range(0, len(edges), step):
        place = f'x="{axes.left(i):.1f}" y="{_HEIGHT - _BOTTOM + 14}"'
        parts.append(f'<text {place} text-anchor="middle">{edges[i]:.4g}</text>')
    colours = dict(zip(counts, _cycle(len(counts)), strict=True))
    for i, height in enumerate(totals):
        for kind in reversed([*counts]):  # a column begins at 0: the lower ones are drawn over it
            about = f"{edges[i]:.4g} to {edges[i + 1]:.4g}: {counts[kind][i]:,} of {totals[i]:,} {kind}"
            if counts[kind][i]:
                parts.append(_column(axes, i, i + 1, height, colours[kind], about))
            height -= counts[kind][i]
    names = [(colour, f"{kind} ({sum(counts[kind]):,})") for kind, colour in colours.items()]
    return f"<div><h3>{escaped(title)}</h3>{_svg(title, parts)}{legend(names)}</div>"


def calibration_chart(bins: Sequence[CalibrationBin]) -> str:
    """Accuracy over confidence; a calibrated classifier's lies on the diagonal."""
    title = "Accuracy by confidence"
    axes = Axes((0, 1), (0, 1))
    parts = [*_y_axis(axes, [0, 0.25, 0.5, 0.75, 1]), *_x_axis(axes, [0, 0.25, 0.5, 0.75, 1], "confidence")]
    for each in bins:
        if each.n:
            about = (
                f"confidence {each.low:.2f} to {each.high:.2f}: {each.n:,} samples, mean {each.confidence:.3f}, "
                f"accuracy {each.accuracy:.3f}"
            )
            parts.append(_column(axes, each.low, each.high, each.accuracy, BLUE, about))
            x, y = axes.left(each.confidence), axes.top(each.accuracy)
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="var(--paper)" stroke="{RED}" stroke-width="1.6"/>'
            )
    parts.append(
        _path([(axes.left(0), axes.top(0)), (axes.left(1), axes.top(1))], "var(--label)", dashes="4 4", width=1.2)
    )
    names = [
        (BLUE, "accuracy of the bin"),
        (RED, "at the bin's mean confidence"),
        ("var(--label)", "perfect calibration"),
    ]
    return f"<div><h3>{title}</h3>{_svg(title, parts)}{legend(names)}</div>"


def share_chart(title: str, lines: Sequence[Line], *, x_name: str, y_name: str = "") -> str:
    """Curves of shares 0..1 over shares 0..1, with a legend below.

    Args:
        title: What the chart shows.
        lines: The curves; those without a finite point are left out.
        x_name: What x is.
        y_name: What y is, where the legend does not tell it.
    """
    drawn = [line for line in (Line(line.name, _thinned(line.points, False)) for line in lines) if line.points]
    if not drawn:
        return ""
    axes, ticks = Axes((0, 1), (0, 1)), [0, 0.25, 0.5, 0.75, 1]
    parts = [*_y_axis(axes, ticks), *_x_axis(axes, ticks, x_name)]
    if y_name:
        parts.append(f'<text x="{_LEFT - 6}" y="{_TOP - 8}">{escaped(y_name)}</text>')
    for line, colour in zip(drawn, _cycle(len(drawn)), strict=True):
        parts.append(_path([(axes.left(x), axes.top(y)) for x, y in line.points], colour))
        if len(line.points) == 1:
            ((x, y),) = line.points
            parts.append(f'<circle cx="{axes.left(x):.1f}" cy="{axes.top(y):.1f}" r="2.4" fill="{colour}"/>')
    names = zip(_cycle(len(drawn)), (line.name for line in drawn), strict=True)
    return f"<div><h3>{escaped(title)}</h3>{_svg(title, parts)}{legend(names)}</div>"


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """At most about `most` round numbers from at or below `low` to at or above `high`."""
    if high <= low:
        pad = abs(low) * 0.1 or 0.5
        low, high = low - pad, high + pad
    rough = (high - low) / max(1, most - 1)
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Whole powers of ten around the range, thinned to a readable number."""
    first, last = floor(low + 1e-9), ceil(high - 1e-9)
    return [float(power) for power in range(first, max(last, first + 1) + 1, 1 + (last - first) // 7)]


def _thinned(points: Sequence[tuple[float, float]], is_log: bool) -> list[tuple[float, float]]:
    """The points that can be drawn, of a long curve every n-th and the last."""
    good = [(x, y) for x, y in points if isfinite(x) and isfinite(y) and (y > 0 or not is_log)]
    step = ceil(len(good) / _MOST_POINTS) or 1
    return good[::step] + (good[-1:] if (len(good) - 1) % step else [])


def _cycle(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def _svg(title: str, parts: Sequence[str]) -> str:
    label = escaped(title)
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _path(places: Sequence[tuple[float, float]], colour: str, *, dashes: str = "", width: float = 1.8) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed}/>'


def _mark(axes: Axes, x: float) -> list[str]:
    """A dashed line from top to bottom, visible on dark columns too."""
    places = [(axes.left(x), _TOP), (axes.left(x), _HEIGHT - _BOTTOM)]
    return [_path(places, "var(--paper)", width=3), _path(places, "var(--ink)", dashes="4 3", width=1.4)]


def _coincide(places: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]]) -> bool:
    """Whether two curves can hardly be distinguished: at each point they are less than two pixels from each other."""
    return len(places) == len(others) and all(
        abs(a - b) < 2 for point, other in zip(places, others, strict=True) for a, b in zip(point, other, strict=True)
    )


def _column(axes: Axes, start: float, end: float, height: float, colour: str, about: str) -> str:
    x, y = axes.left(start), axes.top(height)
    width = axes.left(end) - x - 1
    return (
        f'<rect x="{x + 0.5:.1f}" y="{y:.1f}" width="{width:.1f}" height="{axes.top(0) - y:.1f}" fill="{colour}">'
        f"<title>{escaped(about)}</title></rect>"
    )


def _bands(axes: Axes, bands: Sequence[tuple[float, float]]) -> list[str]:
    parts = []
    for i, (start, end) in enumerate(bands):
        x, width = axes.left(start), axes.left(end) - axes.left(start)
        parts.append(
            f'<rect x="{x:.1f}" y="{_TOP - 16}" width="{width:.1f}" height="{_HEIGHT - _TOP - _BOTTOM + 16}" '
            f'fill="{_BANDS[i % 2]}"/>'
            f'<text x="{x + width / 2:.1f}" y="{_TOP - 5}" text-anchor="middle">{i + 1}</text>'
        )
        if i:
            parts.append(_path([(x, _TOP - 16), (x, _HEIGHT - _BOTTOM)], "var(--axis)", width=1))
    return parts


def _y_axis(axes: Axes, ticks: Sequence[float]) -> list[str]:
    parts = []
    for tick in ticks:
        y = axes.top(tick)
        parts.append(_path([(_LEFT, y), (_WIDTH - _RIGHT, y)], "var(--line)", width=1))
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_tick(tick)}</text>')
    return parts


def _x_axis(axes: Axes, ticks: Sequence[float], name: str) -> list[str]:
    bottom = _HEIGHT - _BOTTOM
    parts = [_path([(_LEFT, bottom), (_WIDTH - _RIGHT, bottom)], "var(--axis)", width=1)]
    for tick in ticks:
        if axes.x[0] <= tick <= axes.x[1]:
            parts.append(f'<text x="{axes.left(tick):.1f}" y="{bottom + 14}" text-anchor="middle">{_tick(tick)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return [*parts, f'<text x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{escaped(name)}</text>']


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

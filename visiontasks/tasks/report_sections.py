"""What a task adds to a run's report: charts and tables as plain values, which JSON can hold and the report draws."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any, Self

MOST_CURVES = 8
"""In a chart."""


@dataclass(frozen=True)
class ShareCurves:
    """Curves of one share over another, such as precision over recall.

    Args:
        title: What the chart shows.
        x_name: What x is.
        y_name: What y is.
        curves: By name, points of x and y in 0..1, ascending in x.
    """

    title: str
    x_name: str
    y_name: str
    curves: Mapping[str, Sequence[Sequence[float]]]

    def split(self) -> list["ShareCurves"]:
        """The same in charts with about equal numbers of curves, whose colours can be distinguished."""
        names = [*self.curves]
        size = ceil(len(names) / ceil(len(names) / MOST_CURVES))
        parts = [names[i : i + size] for i in range(0, len(names), size)]
        return [replace(self, curves={name: self.curves[name] for name in part}) for part in parts]


@dataclass(frozen=True)
class StackedHistogram:
    """Counts of several kinds in the same bins, on top of each other.

    Args:
        title: What the chart shows.
        x_name: What is binned, with its unit.
        edges: Of n bins, ascending, n + 1.
        counts: By kind, from the bottom, n of each.
    """

    title: str
    x_name: str
    edges: Sequence[float]
    counts: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class CountMatrix:
    """Counts by true (row) and predicted (column) class.

    Args:
        rows: Names, R.
        columns: Names, R; on the diagonal are the correct predictions.
        counts: (R, R).
    """

    rows: Sequence[str]
    columns: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class ValueTable:
    """A table; of a long one the first rows are shown, and all of them on a click.

    Args:
        header: Names of the columns.
        rows: The most interesting ones first; None for a number that is not defined.
        bar: Column of shares 0..1 that is drawn as bars; None without one.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | int | float | None]]
    bar: int | None = None


Part = ShareCurves | StackedHistogram | CountMatrix | ValueTable
_PARTS: Mapping[str, type[Part]] = {
    kind.__name__: kind for kind in (ShareCurves, StackedHistogram, CountMatrix, ValueTable)
}


@dataclass(frozen=True)
class ReportSection:
    """A part of the report under a heading.

    Args:
        title: The heading.
        text: What is shown and how to read it, a paragraph.
        parts: Charts and tables in order.
    """

    title: str
    text: str
    parts: Sequence[Part]

    def to_json(self) -> dict[str, Any]:
        """Values for a JSON file."""
        parts = [{"kind": type(part).__name__, **asdict(part)} for part in self.parts]
        return {"title": self.title, "text": self.text, "parts": parts}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Read what `to_json` gives.

        Raises:
            KeyError: If a value is missing, or a part is of no known kind.
            TypeError: If a part has other values than its kind.
        """
        parts = [_PARTS[part["kind"]](**{k: v for k, v in part.items() if k != "kind"}) for part in entry["parts"]]
        return cls(entry["title"], entry["text"], parts)

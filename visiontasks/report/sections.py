"""The task's own sections of a report: their charts and tables drawn."""

from collections.abc import Sequence

from visiontasks.report.charts import Line, share_chart, stacked_histogram
from visiontasks.report.html import bar, folded, paragraph, section, table
from visiontasks.report.matrix import MOST_CLASSES, confusion_matrix, most_confused
from visiontasks.tasks.report_sections import (
    CountMatrix,
    ReportSection,
    ShareCurves,
    StackedHistogram,
    ValueTable,
)

_MOST_ROWS, _FIRST_ROWS = 25, 10
_MOST_CHARTS = 4
"""Of a section; the others open on a click."""


def task_section(content: ReportSection) -> str:
    """A section as HTML: its charts, and below them its tables."""
    charts = [_chart(part) for part in content.parts if isinstance(part, ShareCurves | StackedHistogram)]
    others = [_table(part) for part in content.parts if isinstance(part, ValueTable | CountMatrix)]
    more = folded(f"{len(charts) - _MOST_CHARTS} more charts", _cards(charts[_MOST_CHARTS:]))
    return section(
        content.title,
        paragraph(content.text),
        _cards(charts[:_MOST_CHARTS]),
        more if len(charts) > _MOST_CHARTS else "",
        *others,
    )


def _cards(charts: Sequence[str]) -> str:
    return f'<div class="cards">{"".join(charts)}</div>' if charts else ""


def _chart(part: ShareCurves | StackedHistogram) -> str:
    if isinstance(part, StackedHistogram):
        return stacked_histogram(part.title, part.edges, part.counts, x_name=part.x_name)
    lines = [Line(name, [(x, y) for x, y in points]) for name, points in part.curves.items()]
    return share_chart(part.title, lines, x_name=part.x_name, y_name=part.y_name)


def _table(part: ValueTable | CountMatrix) -> str:
    if isinstance(part, CountMatrix):
        matrix = confusion_matrix(part.counts, part.rows, column_names=part.columns)
        too_many = paragraph(f"The matrix is drawn for up to {MOST_CLASSES - 1} classes.")
        found = most_confused(part.counts, part.rows, column_names=part.columns)
        mistakes = f"<h3>Most frequent mistakes</h3>{found}" if found else paragraph("No mistakes.")
        return f'<div class="beside">{matrix or too_many}<div>{mistakes}</div></div>'
    rows = [[bar(_share(cell)) if k == part.bar else cell for k, cell in enumerate(row)] for row in part.rows]
    if len(rows) <= _MOST_ROWS:
        return table(part.header, rows)
    return table(part.header, rows[:_FIRST_ROWS]) + folded(f"All {len(rows)} rows", table(part.header, rows))


def _share(cell: str | int | float | None) -> float | None:
    return None if cell is None else float(cell)

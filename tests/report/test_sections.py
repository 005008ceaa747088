"""A task's own sections drawn: curves, stacked columns, a matrix with other columns, tables, names as text."""

import re

from visiontasks.report.charts import stacked_histogram
from visiontasks.report.sections import task_section
from visiontasks.tasks.report_sections import CountMatrix, ReportSection, ShareCurves, StackedHistogram, ValueTable

HOSTILE = "<script>alert(1)</script>"


def drawn(*parts: ShareCurves | StackedHistogram | CountMatrix | ValueTable) -> str:
    return task_section(ReportSection("A title", "A text.", parts))


def test_columns_are_stacked_from_the_bottom() -> None:
    chart = stacked_histogram("Sizes", [8, 16, 32], {"found": [3, 0], "missed": [1, 2]}, x_name="px")
    rects = re.findall(r'y="([\d.]+)" width="[\d.]+" height="([\d.]+)" fill="(#\w+)"><title>(.*?)</title>', chart)
    # the axis is 192 px high from 0 to 4: 48 px each, its bottom at 214
    assert rects == [
        ("22.0", "192.0", "#d55e00", "8 to 16: 1 of 4 missed"),  # drawn first, and three quarters of it drawn over
        ("70.0", "144.0", "#0072b2", "8 to 16: 3 of 4 found"),
        ("118.0", "96.0", "#d55e00", "16 to 32: 2 of 2 missed"),
    ]
    assert re.findall(r">(\d+)</text>", chart)[-3:] == ["8", "16", "32"]
    assert "found (3)" in chart
    assert "missed (3)" in chart


def test_many_edges_are_named_in_part() -> None:
    chart = stacked_histogram("Sizes", range(100, 130), {"found": [1] * 29}, x_name="px")
    assert re.findall(r">(1\d\d)</text>", chart) == [
        "100",
        "103",
        "106",
        "109",
        "112",
        "115",
        "118",
        "121",
        "124",
        "127",
    ]


def test_the_matrix_has_names_of_its_own_for_columns() -> None:
    page = drawn(CountMatrix(["cat", "invented"], ["cat", "missed"], [[4, 1], [2, 0]]))
    assert "true: cat, predicted: missed: 1 of 5" in page
    assert "true: invented, predicted: cat: 2 of 2" in page
    assert re.search(r"invented</td><td[^>]*>cat</td><td[^>]*>2</td>", page)  # the most frequent mistake


def test_a_matrix_of_too_many_classes_leaves_its_table() -> None:
    names = [f"class {k}" for k in range(101)]
    page = drawn(CountMatrix(names, names, [[int(j == (k + 1) % 101) for j in range(101)] for k in range(101)]))
    assert "<svg" not in page
    assert "The matrix is drawn for up to 99 classes." in page
    assert "Most frequent mistakes" in page


def test_a_column_of_shares_is_drawn_as_bars_and_a_missing_number_is_a_dash() -> None:
    page = drawn(ValueTable(["kind", "share", "AP"], [["class", 0.25, None]], bar=1))
    assert 'style="width:25.0%"' in page
    assert "–" in page  # noqa: RUF001  an en dash is meant


def test_a_long_table_and_many_charts_open_on_a_click() -> None:
    curve = ShareCurves("a curve", "recall", "precision", {HOSTILE: [[0, 1], [1, 0.5]]})
    page = drawn(*[curve] * 6, ValueTable(["class", "n"], [[f"class {k}", k] for k in range(26)]))
    assert "2 more charts" in page
    assert page.count("<h3>a curve</h3>") == 6
    assert "All 26 rows" in page
    assert page.count("class 9<") == 2
    assert page.count("class 10<") == 1
    assert HOSTILE not in page

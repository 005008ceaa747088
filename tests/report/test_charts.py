"""Charts by the places that values come to lie at."""

from math import inf, nan
from xml.etree import ElementTree

import pytest

from visiontasks.ops.class_scores import calibration_bins
from visiontasks.report.charts import Axes, Line, calibration_chart, histogram, line_chart, nice_ticks


def svg(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(chart[chart.index("<svg") : chart.index("</svg>") + len("</svg>")])


def places(chart: str, colour: str) -> list[tuple[float, float]]:
    line = next(line for line in svg(chart).iter("polyline") if line.get("stroke") == colour)
    pairs = [pair.split(",") for pair in line.attrib["points"].split()]
    return [(float(x), float(y)) for x, y in pairs]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.93, 0.99, [0.92, 0.94, 0.96, 0.98, 1.0]),
        (0, 7, [0, 2, 4, 6, 8]),
        (0.5, 0.5, [0.44, 0.46, 0.48, 0.5, 0.52, 0.54, 0.56]),
        (0, 0, [-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, ticks: list[float]) -> None:
    found = nice_ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert len(found) <= 8
    if high > low:
        assert found == pytest.approx(ticks)


def test_values_lie_between_the_axes() -> None:
    axes = Axes((0, 10), (0, 1))
    assert (axes.left(0), axes.left(10), axes.left(5)) == (50, 428, 239)
    assert (axes.top(0), axes.top(1), axes.top(0.5)) == (214, 22, 118)


def test_a_decade_is_as_high_as_the_next_on_a_logarithmic_axis() -> None:
    axes = Axes((0, 1), (-4, -2), is_log=True)
    assert axes.top(1e-4) - axes.top(1e-3) == pytest.approx(axes.top(1e-3) - axes.top(1e-2))


def test_a_curve_leaves_out_what_is_no_number() -> None:
    points = [(1.0, 0.0), (2.0, nan), (3.0, 1.0), (4.0, inf)]
    found = places(line_chart("Loss", [Line("train", points)], x_name="epoch"), "#0072b2")
    assert len(found) == 2
    assert found[0][1] > found[1][1]


def test_a_chart_of_nothing_is_left_out() -> None:
    assert line_chart("Loss", [], x_name="epoch") == ""
    assert line_chart("Loss", [Line("train", [(1.0, nan)])], x_name="epoch") == ""
    assert line_chart("Rate", [Line("head", [(1.0, 0.0)])], x_name="epoch", is_log=True) == ""


@pytest.mark.parametrize("value", [0.0, 0.5, 1e-9, 1e9, -3.0])
def test_a_single_point_is_drawn(value: float) -> None:
    chart = line_chart("Loss", [Line("train", [(1.0, value)])], x_name="epoch", bands=[(0, 1)], mark=1.0)
    assert len(list(svg(chart).iter("circle"))) == 1
    assert "nan" not in chart


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    points = [(float(i), float(i)) for i in range(10_001)]
    chart = line_chart("Loss", [Line("train", points)], x_name="epoch")
    found = places(chart, "#0072b2")
    assert len(found) <= 502
    assert found[-1] == (428, 22)
    assert len(chart) < 20_000


def test_phases_are_shaded_and_numbered() -> None:
    chart = line_chart("Loss", [Line("a", [(1.0, 1.0), (8.0, 2.0)])], x_name="epoch", bands=[(0, 2), (2, 8)])
    bands = list(svg(chart).iter("rect"))
    assert [float(band.attrib["x"]) for band in bands] == [50, 144.5]  # a quarter of 378 px
    texts = [text.text for text in svg(chart).iter("text")]
    assert texts[:2] == ["1", "2"]


def test_a_histogram_counts_each_value_once() -> None:
    chart = histogram("IoU", [0.0, 0.04, 0.05, 0.5, 1.0, 1.0], x_name="IoU", marks=[0.5])
    counts = [int("".join(title.itertext()).rpartition(" ")[2]) for title in svg(chart).iter("title")]
    assert sum(counts) == 6
    assert (counts[0], counts[1], counts[10], counts[19]) == (2, 1, 1, 2)


def test_the_calibration_chart_draws_the_bins_that_have_samples() -> None:
    chart = calibration_chart(calibration_bins([0.95, 0.99, 0.5], [True, False, True]))
    columns = list(svg(chart).iter("rect"))
    assert len(columns) == 2
    assert sorted(float(column.attrib["height"]) for column in columns) == [96, 192]  # half and all of the height


def test_names_in_a_legend_are_text() -> None:
    chart = line_chart("<b>", [Line("<script>", [(1.0, 1.0)])], x_name="<i>")
    assert "<script>" not in chart
    assert "<b>" not in chart
    assert "<i>" not in chart.replace('<i style="background:#0072b2"></i>', "")


def test_a_curve_below_another_is_drawn_wider_so_that_both_are_seen() -> None:
    below, above, apart = ([(1.0, y), (2.0, y + 0.5)] for y in (0.1, 0.101, 0.3))
    lines = [Line(name, points) for name, points in (("top1", below), ("macro", above), ("top5", apart))]
    drawn = [line.attrib for line in svg(line_chart("Validation", lines, x_name="epoch")).iter("polyline")][-3:]
    assert [float(line["stroke-width"]) for line in drawn] == [4.8, 1.8, 1.8]


def test_a_mark_is_seen_on_dark_columns() -> None:
    chart = histogram("IoU", [0.51] * 9, x_name="IoU", marks=(0.51,))
    under, mark = [line.attrib for line in svg(chart).iter("polyline")][-2:]
    assert under["points"] == mark["points"]
    assert under["stroke"] == "var(--paper)"
    assert float(under["stroke-width"]) > float(mark["stroke-width"])


def test_points_that_are_not_joined_are_dots_however_many() -> None:
    points = [(float(x), float(x % 7)) for x in range(60)]
    dots, joined = (line_chart("t", [Line("a", points, is_joined=each)], x_name="x") for each in (False, True))
    assert (dots.count("<circle"), dots.count("<polyline")) == (60, joined.count("<polyline") - 1)
    assert joined.count("<circle") == 0

"""The confusion matrix: its cells, its size for few and many classes, names that fit, and the table of mistakes."""

import re
from xml.etree import ElementTree

import pytest

from visiontasks.report.matrix import confusion_matrix, most_confused

COUNTS = [[8, 2, 0], [0, 5, 0], [1, 0, 0]]
NAMES = ["ant", "bee", "cow"]


def svg(made: str) -> ElementTree.Element:
    return ElementTree.fromstring(made[made.index("<svg") : made.index("</svg>") + len("</svg>")])


def made_counts(size: int) -> list[list[int]]:
    """Class k is right k + 1 times and once taken for the next."""
    return [[k + 1 if j == k else int(j == (k + 1) % size) for j in range(size)] for k in range(size)]


def test_each_count_has_a_cell_with_its_true_and_predicted_class() -> None:
    cells = list(svg(confusion_matrix(COUNTS, NAMES)).iter("rect"))
    titles = [cell.findtext("title") for cell in cells]
    assert titles == [
        "true: ant, predicted: ant: 8 of 10",
        "true: ant, predicted: bee: 2 of 10",
        "true: bee, predicted: bee: 5 of 5",
        "true: cow, predicted: ant: 1 of 1",
    ]
    ant, bee = cells[0], cells[1]
    assert ant.attrib["y"] == bee.attrib["y"]  # the true class is the row
    assert float(bee.attrib["x"]) - float(ant.attrib["x"]) == pytest.approx(float(ant.attrib["width"]))
    assert cells[3].attrib["fill"] == "#c7432b"  # all of the row is wrong


@pytest.mark.parametrize(("size", "most_px"), [(2, 420), (10, 660), (25, 1000), (50, 1100), (100, 1200)])
def test_the_matrix_stays_readable_and_fits_a_page(size: int, most_px: int) -> None:
    names = [f"class number {k} of them" for k in range(size)]
    drawn = svg(confusion_matrix(made_counts(size), names))
    assert float(drawn.attrib["width"]) <= most_px
    fonts = [float(found) for found in re.findall(r"font-size:([\d.]+)px", ElementTree.tostring(drawn, "unicode"))]
    assert min(fonts) >= 8.5
    sides = {float(cell.attrib["width"]) for cell in drawn.iter("rect")}
    assert min(sides) >= 10


def test_counts_are_written_into_the_cells_of_up_to_25_classes() -> None:
    for size, written in ((25, True), (26, False)):
        texts = [text.text for text in svg(confusion_matrix(made_counts(size), ["x"] * size)).iter("text")]
        assert (str(size) in texts) == written


@pytest.mark.parametrize(("count", "text"), [(9999, "9999"), (12_345, "12k"), (12_345_678, "12M"), (10**10, "10G")])
def test_large_counts_are_short(count: int, text: str) -> None:
    texts = [each.text for each in svg(confusion_matrix([[count, 0], [0, 1]], ["a", "b"])).iter("text")]
    assert text in texts


def test_more_than_100_classes_have_no_matrix() -> None:
    assert confusion_matrix(made_counts(101), ["x"] * 101) == ""


def test_hostile_and_long_names_stay_text_and_short() -> None:
    made = confusion_matrix(COUNTS, ["<script>", "y" * 500, "</text>"])
    assert "<script>" not in made
    shown = [(text.findtext("title"), "".join(text.itertext())) for text in svg(made).iter("text")]
    assert ("<script>", "<script><script>") in shown
    assert all(len(both) - len(title) <= 22 for title, both in shown if title)


def test_the_most_frequent_mistakes_come_first() -> None:
    made = most_confused(COUNTS, NAMES)
    rows = re.findall("<tr>(.*?)</tr>", made)[1:]
    assert [re.findall(">([^<>]+)<", row) for row in rows] == [
        ["ant", "bee", "2", "20.0 %"],
        ["cow", "ant", "1", "100.0 %"],
    ]
    assert most_confused([[1, 0], [0, 1]], ["a", "b"]) == ""


PIXELS = [[99_990, 10, 0], [1_000, 9_000, 0], [0, 0, 0]]


def test_pixels_are_shown_in_per_cent_of_their_row_and_single_ones_not_at_all() -> None:
    drawn = svg(confusion_matrix(PIXELS, NAMES, of_pixels=True))
    assert [cell.findtext("title") for cell in drawn.iter("rect")] == [  # 10 of 100,000 are below 0.1 %
        "true: ant, predicted: ant: 99,990 of 100,000 pixels",
        "true: bee, predicted: ant: 1,000 of 10,000 pixels",
        "true: bee, predicted: bee: 9,000 of 10,000 pixels",
    ]
    texts = [text.text for text in drawn.iter("text")]
    assert [text for text in texts if text and text[0].isdigit()] == ["99.9", "10.0", "90.0"]


def test_only_a_row_without_any_other_pixel_is_100_per_cent() -> None:
    made = confusion_matrix([[99_999, 1], [0, 5]], ["a", "b"], of_pixels=True)
    assert [text.text for text in svg(made).iter("text") if text.text and text.text[0].isdigit()] == ["99.9", "100"]


def test_mistakes_of_pixels_are_shares_of_all_and_of_the_class() -> None:
    rows = re.findall("<tr>(.*?)</tr>", most_confused(PIXELS, NAMES, of_pixels=True))
    assert [re.findall(">([^<>]+)<", row) for row in rows] == [
        ["true", "predicted", "share of all pixels", "share of the class"],
        ["bee", "ant", "0.91 %", "10.0 %"],  # 1,000 of 110,000 and of 10,000
        ["ant", "bee", "0.01 %", "0.0 %"],
    ]


def test_a_hundred_classes_of_pixels_stay_small() -> None:
    counts = [[10**6 if row == column else 2_000 for column in range(100)] for row in range(100)]
    made = confusion_matrix(counts, ["y" * 200] * 100, of_pixels=True)
    assert made.count("<rect") == 10_000
    assert len(made) < 3_500_000

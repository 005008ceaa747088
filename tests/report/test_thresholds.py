"""Curves over a threshold, and the sentence that makes one of it."""

import re
from xml.etree import ElementTree

from visiontasks.report import RunContent, Score, Scored
from visiontasks.report.thresholds import score_chart, threshold_section


def content(probability: list[float], label: list[int], predicted: list[int], num_classes: int = 2) -> RunContent:
    return RunContent(
        name="a",
        run="b",
        split="test",
        class_names=[f"class {k}" for k in range(num_classes)],
        scored=Scored(probability, label, predicted, probability),
    )


def curves(section: str) -> list[str]:
    """Names in the legends, in their order."""
    return re.findall("<li>.*?</i>(.*?)</li>", section)


def test_the_threshold_for_99_per_cent_is_the_lowest_that_reaches_it() -> None:
    # the two mistakes are the least sure ones, with 0.6
    made = threshold_section(content([0.6] * 2 + [0.9] * 8, [0] * 10, [1] * 2 + [0] * 8))
    assert (
        "accept predictions with a confidence of 0.61 or more and check the others by hand. That accepts 80.0 % of "
        "the images, of which 100.0 % are right, instead of 80.0 % of all images." in made
    )


def test_an_accuracy_that_no_threshold_reaches_is_not_promised() -> None:
    made = threshold_section(content([0.9] * 4, [0, 0, 1, 1], [0, 1, 1, 0]))
    assert "No threshold that covers at least 10 % of the images reaches an accuracy of 99 %." in made


def test_a_perfect_classifier_needs_no_threshold() -> None:
    made = threshold_section(content([0.9] * 4, [0, 0, 1, 1], [0, 0, 1, 1]))
    assert "Without a threshold, 100.0 % of the predictions are right." in made
    assert curves(made)[:2] == ["class 0, AP 1.000", "class 1, AP 1.000"]


def test_both_classes_of_two_have_a_probability_for_each_image() -> None:
    # of class 0 the scores are 0.9 right, 0.4 (1 - 0.6) right, 0.2 (1 - 0.8) wrong: a perfect order
    made = threshold_section(content([0.9, 0.6, 0.8], [0, 0, 1], [0, 1, 1]))
    assert curves(made)[:2] == ["class 0, AP 1.000", "class 1, AP 1.000"]


def test_of_many_classes_those_with_the_lowest_recall_are_drawn() -> None:
    label = [k for k in range(10) for _ in range(2)]
    predicted = [k if i % 2 == 0 or k > 1 else 9 for i, k in enumerate(label)]  # classes 0 and 1 are found half
    made = threshold_section(content([0.9] * 20, label, predicted, num_classes=10))
    assert "8 classes with the lowest recall" in made
    assert curves(made)[:2] == ["class 0", "class 1"]


def test_boxes_have_the_share_of_images_by_iou() -> None:
    scored = Scored([0.2, 0.6, 0.6, 1.0])
    chart = score_chart(RunContent(name="a", run="b", split="test", scored=scored, score=Score("IoU", measures=True)))
    svg = ElementTree.fromstring(chart[chart.index("<svg") : chart.index("</svg>") + 6])
    line = max((each.attrib["points"] for each in svg.iter("polyline")), key=len).split()
    heights = [float(point.split(",")[1]) for point in line]
    assert heights[0] < heights[-1]  # from all images down to one of four
    assert len({round(height) for height in heights}) == 3


def test_nothing_is_drawn_without_probabilities() -> None:
    assert threshold_section(RunContent(name="a", run="b", split="test", scored=Scored([0.5], [0], [0]))) == ""

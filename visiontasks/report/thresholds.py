"""What other thresholds would give: precision against recall, coverage against accuracy, shares by IoU."""

from collections.abc import Sequence
from math import isnan

from visiontasks.ops.class_scores import average_precision, coverage, precision_recall
from visiontasks.report.charts import COLOURS, Line, share_chart
from visiontasks.report.content import RunContent
from visiontasks.report.html import paragraph, percent, section, shortened

_THRESHOLDS = (*(i / 100 for i in range(100)), 0.995, 0.999, 1.0)
_WANTED = 0.99
"""Accuracy for which a threshold is looked up."""
_LEAST_COVERAGE = 0.1
_Sample = tuple[float, int, int]
"""Probability of the predicted class, true class, predicted class."""
_TWO = (
    "Each point is a threshold on the class's probability: above it, an image is assigned the class. Average precision "
    "(AP) is the area below the curve; 1 is perfect."
)
_MANY = (
    "Each point is a threshold: below it, predictions of the class are discarded. A curve ends at the recall of all "
    "predictions, without a threshold."
)


def threshold_section(content: RunContent) -> str:
    """Precision-recall curves of the classes, and accuracy where uncertain predictions are left to a person."""
    scored = content.scored
    if scored is None or scored.label is None or scored.predicted is None or scored.probability is None:
        return ""
    rows = zip(scored.probability, scored.label, scored.predicted, strict=True)
    samples = [row for row in rows if not isnan(row[0])]
    if not samples:
        return ""
    probability, is_right = [row[0] for row in samples], [label == predicted for _, label, predicted in samples]
    points = [(threshold, *coverage(probability, is_right, threshold)) for threshold in _THRESHOLDS]
    curves = [
        Line("accuracy of the predictions above the threshold", [(t, accuracy) for t, _, accuracy in points]),
        Line("coverage: share of images above the threshold", [(t, covered) for t, covered, _ in points]),
    ]
    lines = _class_curves(samples, content.class_names)
    chosen = len(lines) < len(content.class_names)
    title = f"Precision-recall curves{f', the {len(lines)} classes with the lowest recall' if chosen else ''}"
    about = "" if not lines else _TWO if len(content.class_names) == 2 else _MANY
    charts = share_chart(title, lines, x_name="recall", y_name="precision") + share_chart(
        "Accuracy and coverage by threshold", curves, x_name="minimum confidence"
    )
    return section(
        "Thresholds",
        f'<div class="cards">{charts}</div>',
        paragraph(about) if about else "",
        paragraph(_advice(points)),
    )


def score_chart(content: RunContent) -> str:
    """The share of images at or above each score, such as IoU."""
    known = content.scored.known if content.scored is not None else []
    name = content.score.name
    if not known or not all(0 <= score <= 1 for score in known):
        return ""
    points = [(t, sum(score >= t for score in known) / len(known)) for t in _THRESHOLDS]
    line = Line(f"share of images with this {name} or more", points)
    return share_chart(f"Share of images by minimum {name}", [line], x_name=name)


def _class_curves(samples: Sequence[_Sample], names: Sequence[str]) -> list[Line]:
    """A precision-recall curve for each class, or for those with the lowest recall."""
    curves = []
    for k, name in enumerate(names):
        line, recall = _class_curve(samples, k, len(names), shortened(name, 40))
        if line.points:
            curves.append((recall, line))
    if len(curves) > len(COLOURS):
        curves = sorted(curves, key=lambda curve: curve[0])[: len(COLOURS)]
    return [line for _, line in curves]


def _class_curve(samples: Sequence[_Sample], k: int, num_classes: int, name: str) -> tuple[Line, float]:
    """The curve of a class against the rest, and the recall of its predictions.

    Of two classes the probability of either is known for each sample; of more only the predicted one's is.
    """
    called = [
        (probability if predicted == k else 1 - probability, label == k)
        for probability, label, predicted in samples
        if predicted == k or num_classes == 2
    ]
    positives = sum(label == k for _, label, _ in samples)
    if not positives or not called:
        return Line(name, []), 1.0
    points = precision_recall([score for score, _ in called], [positive for _, positive in called], positives)
    title = f"{name}, AP {average_precision(points):.3f}" if num_classes == 2 else name
    found = sum(label == k == predicted for _, label, predicted in samples)
    return Line(title, [(0.0, points[0][1]), *points]), found / positives


def _advice(points: Sequence[tuple[float, float, float]]) -> str:
    """The lowest threshold above which almost all predictions are right, in words."""
    accuracy = points[0][2]
    if accuracy >= _WANTED:
        return f"Without a threshold, {percent(accuracy)} of the predictions are right."
    found = next(((t, c, a) for t, c, a in points if a >= _WANTED and c >= _LEAST_COVERAGE), None)
    if found is None:
        return (
            f"No threshold that covers at least {percent(_LEAST_COVERAGE, 0)} of the images reaches an accuracy of "
            f"{percent(_WANTED, 0)}."
        )
    threshold, covered, reached = found
    return (
        f"Example: accept predictions with a confidence of {threshold:g} or more and check the others by hand. That "
        f"accepts {percent(covered)} of the images, of which {percent(reached)} are right, instead of "
        f"{percent(accuracy)} of all images."
    )

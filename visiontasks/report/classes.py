"""The classes in a report: confusion matrix, scores of each class, calibration."""

from collections.abc import Sequence
from math import isnan, nan

import torch
from torch import Tensor

from visiontasks.ops.class_scores import (
    NUM_BINS,
    calibration_bins,
    class_scores,
    confusion_counts,
    expected_calibration_error,
)
from visiontasks.report.charts import calibration_chart, histogram
from visiontasks.report.content import RunContent
from visiontasks.report.html import bar, folded, number, paragraph, percent, section, table
from visiontasks.report.matrix import MOST_CLASSES, confusion_matrix, most_confused
from visiontasks.report.thresholds import score_chart

_MOST_ROWS = 25
_WORST_ROWS = 10
_MUCH = 0.01  # difference of two shares that matters
_MATRIX = (
    "Rows are true classes, columns predicted ones. Correct predictions lie on the diagonal (blue), mistakes off it "
    "(red); the darker a cell, the larger its share of the row."
)
_PIXEL_MATRIX = (
    "Rows are true classes, columns predicted ones, in per cent of the row's labelled pixels. Correct pixels lie on "
    "the diagonal (blue), mistakes off it (red); the darker a cell, the larger its share. Below 0.1 % a cell is empty."
)
GUO = "Guo et al., “On Calibration of Modern Neural Networks”, 2017"


def confusion_section(content: RunContent) -> str:
    """Samples or pixels by true and predicted class."""
    counted, names = _counted(content), content.class_names
    if counted is None:
        return ""
    counts = counted[0].tolist()
    of_pixels = content.pixels is not None
    found = most_confused(counts, names, of_pixels=of_pixels)
    mistakes = f"<h3>Most frequent mistakes</h3>{found}" if found else paragraph("No mistakes.")
    matrix = confusion_matrix(counts, names, of_pixels=of_pixels)
    about = _PIXEL_MATRIX if of_pixels else _MATRIX
    too_many = f"{len(names)} classes do not fit into a matrix, which is drawn for up to {MOST_CLASSES}."
    return section(
        "Confusion matrix",
        paragraph(about if matrix else too_many),
        f'<div class="beside">{matrix}<div>{mistakes}</div></div>',
    )


def class_section(content: RunContent) -> str:
    """Precision, recall, F1 and support of each class."""
    counted, names = _counted(content), content.class_names
    if counted is None:
        return ""
    counts, support = counted
    scores = class_scores(counts, support)
    unit = "pixels" if content.pixels is not None else "samples"
    rows = list(
        zip(
            names,
            scores["precision"],
            scores["recall"],
            scores["f1"],
            support.tolist(),
            map(bar, scores["f1"]),
            strict=True,
        )
    )
    return section(
        "Precision and recall of each class",
        *_long_table(["class", "precision", "recall", "F1", "support", ""], rows, key=3),
        paragraph(
            f"Precision: share of the {unit} predicted as the class that are of it. Recall: share of the class's "
            f"{unit} predicted as it. F1: harmonic mean of the two. Support: number of {unit} of the class.",
            "pale",
        ),
    )


def calibration_section(content: RunContent) -> str:
    """Whether probabilities are calibrated."""
    scored = content.scored
    if scored is None or scored.label is None or scored.predicted is None or scored.probability is None:
        return ""
    known = [
        (probability, label == predicted)
        for probability, label, predicted in zip(scored.probability, scored.label, scored.predicted, strict=True)
        if not isnan(probability)
    ]
    if not known:
        return ""
    probability, is_right = zip(*known, strict=True)
    bins = calibration_bins(probability, is_right)
    confidence, accuracy = sum(probability) / len(known), sum(is_right) / len(known)
    verdict = "well calibrated"
    if abs(accuracy - confidence) >= _MUCH:
        verdict = "under-confident" if accuracy > confidence else "over-confident"
    digits = 0 if round(100 * confidence) != round(100 * accuracy) else 1
    return section(
        f"Calibration: {verdict} ({percent(confidence, digits)} sure on average, {percent(accuracy, digits)} right)",
        paragraph(
            f"Expected calibration error (ECE): {number(expected_calibration_error(bins), 4)}. It is the mean gap "
            "between confidence, the probability of the predicted class, and accuracy; 0 is perfect."
        ),
        f'<div class="cards">{calibration_chart(bins)}'
        f"{histogram('Samples by confidence', probability, x_name='confidence', num_bins=NUM_BINS)}</div>",
        paragraph(
            f"{NUM_BINS} bins of equal width; the gaps are weighted by the number of samples in their bins ({GUO}).",
            "pale",
        ),
    )


def score_section(content: RunContent) -> str:
    """The scores of boxes and masks by image and by class."""
    scored = content.scored
    if scored is None or not content.score.measures or not scored.known:
        return ""
    known = scored.known
    mean = sum(known) / len(known)
    by_class = _by_class(content)
    has_counts = any(count is not None for _, _, count in by_class)
    name, note = content.score.name, ((content.result.get("metrics") or {}).get(content.headline) or {}).get("note")
    header = ["class", name, *(["samples"] if has_counts else []), ""]
    rows: list[Sequence[object]] = [
        (name, value, *([count] if has_counts else []), bar(value)) for name, value, count in by_class
    ]
    charts = histogram(f"Images by {name}", known, x_name=name, marks=(mean,)) + score_chart(content)
    classes = f"<div><h3>By class</h3>{''.join(_long_table(header, rows, key=1))}</div>" if rows else ""
    return section(
        f"{name} by image{' and class' if rows else ''}",
        f'<div class="cards">{charts}{classes}</div>',
        paragraph(
            f"{len(known):,} annotated images, mean {name} {number(mean, 3)} (dashed line){_shares(name, known)}."
        ),
        paragraph(note, "pale") if note else "",
    )


def _counted(content: RunContent) -> tuple[Tensor, Tensor] | None:
    """Pixels, or else samples, by true (row) and predicted class, and those of each class; None for fewer than two."""
    scored, names = content.scored, content.class_names
    if len(names) < 2:
        return None
    if content.pixels is not None:
        counts = torch.tensor(content.pixels)
        return counts, counts.sum(1)
    if scored is None or scored.label is None or scored.predicted is None:
        return None
    label, predicted = torch.tensor(scored.label), torch.tensor(scored.predicted)
    return confusion_counts(label, predicted, len(names)), label.bincount(minlength=len(names))


def _by_class(content: RunContent) -> list[tuple[str, float | None, int | None]]:
    """The first metric of each class where there is one, else the mean score of its samples."""
    for values in (content.result.get("class_metrics") or {}).values():
        return [(name, value, None) for name, value in values.items()]
    scored = content.scored
    if scored is None or scored.label is None or len(content.class_names) < 2:
        return []
    of_class: list[list[float]] = [[] for _ in content.class_names]
    for label, score in zip(scored.label, scored.score, strict=True):
        if not isnan(score):
            of_class[label].append(score)
    return [
        (name, sum(scores) / len(scores) if scores else nan, len(scores))
        for name, scores in zip(content.class_names, of_class, strict=True)
    ]


def _shares(name: str, scores: Sequence[float]) -> str:
    """The scale of IoU, and the shares above its usual thresholds, which no other score has."""
    if name != "IoU":
        return ""
    return (
        f"; {percent(_share(scores, 0.5))} have an IoU of 0.5 or more, {percent(_share(scores, 0.75))} of 0.75 or "
        "more. IoU, intersection over union, is the area that truth and prediction share, divided by the area that "
        "either covers: 0 without overlap, 1 for a perfect match"
    )


def _share(values: Sequence[float], least: float) -> float:
    return sum(value >= least for value in values) / len(values)


def _long_table(header: Sequence[str], rows: Sequence[Sequence[object]], *, key: int) -> list[str]:
    """A table, of many classes first the worst ones by a column."""
    if len(rows) <= _MOST_ROWS:
        return [table(header, rows)]
    known = [row for row in rows if isinstance(row[key], float) and row[key] == row[key]]
    worst = sorted(known, key=lambda row: row[key])[:_WORST_ROWS]  # type: ignore[arg-type,return-value]  # floats
    return [
        f"<h3>The {len(worst)} worst</h3>",
        table(header, worst),
        folded(f"All {len(rows)} classes", table(header, rows)),
    ]

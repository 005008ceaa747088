"""What the report of a detection run shows besides pictures: curves, confusion, kinds of errors, sizes of objects."""

from collections.abc import Sequence
from math import isnan

import numpy as np

from visiontasks.tasks.metrics.detection_errors import Errors, confusion_at, errors_at, missed_and_invented
from visiontasks.tasks.metrics.matches import Matches
from visiontasks.tasks.metrics.precision_recall import RECALLS, counts_at, precision_recall
from visiontasks.tasks.report_sections import CountMatrix, ReportSection, ShareCurves, StackedHistogram, ValueTable


def detection_sections(matches: Matches, threshold: float, class_names: Sequence[str]) -> list[ReportSection]:
    """Sections about a measured split; none where no object is to be found.

    Args:
        matches: Of the split.
        threshold: Score that a detection needs, wherever not all scores are shown.
        class_names: K.
    """
    if not matches.truths.counts[0].any():
        return []
    return [
        _class_section(matches, threshold, class_names),
        _confusion_section(matches, threshold, class_names),
        _error_section(matches, threshold),
        _size_section(matches, threshold),
    ]


def _class_section(matches: Matches, threshold: float, class_names: Sequence[str]) -> ReportSection:
    """Curves and numbers of each class, the worst one first."""
    curves, counts = precision_recall(matches), counts_at(matches, threshold)
    average = curves.average_precision
    shares = [average.mean(0), average[0], counts.precision, counts.recall, counts.f1]
    known = [k for k in np.argsort(average[0], kind="stable").tolist() if counts.objects[k]]
    others = [k for k in range(matches.num_classes) if not counts.objects[k]]
    rows = [
        [class_names[k], int(counts.objects[k]), *(_number(share[k]) for share in shares)] for k in [*known, *others]
    ]
    precision = curves.precision[0, 0]
    lines = {
        f"{class_names[k]} ({average[0, k]:.3f})": [
            (round(x, 4), round(y, 4)) for x, y in zip(RECALLS.tolist(), precision[k].tolist(), strict=True)
        ]
        for k in known
    }
    text = (
        "All detections count, in the order of their scores; one with the right class and an IoU of 0.5 or more is "
        "right. A curve shows the highest precision at each recall or above: the area under it is the class's AP50, in "
        "brackets. The class with the lowest comes first. AP is the mean over IoU from 0.50 to 0.95. Precision, recall "
        f"and F1 in the table are those at the threshold of {threshold:.3f}."
    )
    header = ["class", "objects", "AP", "AP50", "precision", "recall", "F1"]
    charts = ShareCurves("Precision over recall at an IoU of 0.5", "recall", "precision", lines).split()
    return ReportSection("Precision and recall of each class", text, [*charts, ValueTable(header, rows)])


def _confusion_section(matches: Matches, threshold: float, class_names: Sequence[str]) -> ReportSection:
    counts = confusion_at(matches, threshold).tolist()
    text = (
        f"Objects and detections with a score of {threshold:.3f} or more, at an IoU of 0.5. Rows are true classes, "
        "columns predicted ones: found objects lie on the diagonal (blue), those taken for another class off it (red). "
        "The last column counts objects that are missed, the last row detections that are invented, second detections "
        "of an object among them."
    )
    matrix = CountMatrix([*class_names, "nothing (invented)"], [*class_names, "nothing (missed)"], counts)
    return ReportSection("Confusion matrix", text, [matrix])


def _error_section(matches: Matches, threshold: float) -> ReportSection:
    counts = errors_at(matches, threshold).counts
    total = sum(counts.values())
    rows: list[list[str | int | float]] = [
        [kind.replace("_", " "), count, count / total if total else 0.0, Errors.KINDS[kind]]
        for kind, count in counts.items()
    ]
    right = int(counts_at(matches, threshold).right.sum())
    text = (
        f"{right:,} of {int(matches.truths.counts[0].sum()):,} objects are found by a detection with a score of "
        f"{threshold:.3f} or more. Each wrong detection is of one kind, after Bolya et al., “TIDE”, 2020."
    )
    return ReportSection("Errors by kind", text, [ValueTable(["kind", "number", "share", "what it is"], rows, bar=2)])


def _size_section(matches: Matches, threshold: float) -> ReportSection:
    """Objects by side length, in bins that grow by the square root of 2."""
    is_missed, _ = missed_and_invented(matches, threshold)
    counted = matches.truths.counts[0]
    step = np.floor(np.log2(np.maximum(matches.truths.area, 1)) + 1e-9).astype(int)  # area doubles from bin to bin
    first, last = int(step[counted].min()), int(step[counted].max())
    num_bins = last - first + 1
    kinds = (counted & ~is_missed, is_missed)
    found, missed = (np.bincount(step[rows] - first, minlength=num_bins).tolist() for rows in kinds)
    edges = [round(2 ** (k / 2), 1) for k in range(first, last + 2)]
    text = (
        "The size of an object is the square root of its area in pixels of the original image. An object is missed "
        f"where no detection of its class has a score of {threshold:.3f} or more and an IoU of 0.5 or more with it."
    )
    chart = StackedHistogram(
        "Objects by size", "square root of the area, px", edges, {"found": found, "missed": missed}
    )
    return ReportSection("Found and missed objects by size", text, [chart])


def _number(value: float) -> float | None:
    """None in place of NaN, which JSON does not know."""
    return None if isnan(value) else float(value)

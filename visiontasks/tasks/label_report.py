"""What the report of several labels for each image shows besides pictures: curves, and labels that come together."""

from collections.abc import Sequence
from math import isnan

import numpy as np

from visiontasks.tasks.metrics.labels import Floats, Labels, average_precisions
from visiontasks.tasks.report_sections import ReportSection, ShareCurves, ValueTable

Curve = list[tuple[float, float]]
_POINTS = 101
_MOST_PAIRS = 200


def label_sections(labels: Labels, threshold: Floats, class_names: Sequence[str]) -> list[ReportSection]:
    """Sections about a measured split; none where no image has a label.

    Args:
        labels: Of the split.
        threshold: Of each label, (K,).
        class_names: K.
    """
    if not (labels.truth & labels.known).any():
        return []
    sections = [_curve_section(labels, threshold, class_names)]
    return sections + ([_pair_section(labels, threshold, class_names)] if len(class_names) > 1 else [])


def _curve_section(labels: Labels, threshold: Floats, class_names: Sequence[str]) -> ReportSection:
    """Curves and numbers of each label, the worst one first."""
    average = average_precisions(labels, np.ones((len(labels.truth), 1)))[:, 0]
    images = (labels.truth & labels.known).sum(0)
    found, missed, invented = (each.sum(0) for each in labels.outcomes(threshold))
    order = np.argsort(np.where(np.isnan(average), np.inf, average), kind="stable").tolist()
    rows = [
        [
            class_names[k],
            int(images[k]),
            None if isnan(average[k]) else float(average[k]),
            float(threshold[k]),
            int(found[k]),
            int(missed[k]),
            int(invented[k]),
        ]
        for k in order
    ]
    curves = {f"{class_names[k]} ({average[k]:.3f})": _curve(labels, k) for k in order if images[k]}
    text = (
        "Images in the order of the label's probability: precision is the share of them that have it, recall the share "
        "of the images with it that are among them. The area under the curve is the label's average precision (AP), in "
        "brackets; the label with the lowest comes first. Found, missed and invented are counted at the label's "
        "threshold."
    )
    header = ["label", "images", "AP", "threshold", "found", "missed", "invented"]
    charts = ShareCurves("Precision over recall", "recall", "precision", curves).split()
    return ReportSection("Precision and recall of each label", text, [*charts, ValueTable(header, rows)])


def _curve(labels: Labels, k: int) -> Curve:
    """Precision over recall of a label, at most 101 points."""
    known = labels.known[:, k]
    truth, probability = labels.truth[known, k], labels.probability[known, k]
    order = np.argsort(-probability, kind="stable")
    right = np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(np.diff(probability[order]) != 0, True))
    recall, precision = right[ends] / right[-1], right[ends] / (ends + 1)
    some = np.unique(np.linspace(0, len(ends) - 1, min(_POINTS, len(ends))).astype(int))
    return [(round(x, 4), round(y, 4)) for x, y in zip(recall[some].tolist(), precision[some].tolist(), strict=True)]


def _pair_section(labels: Labels, threshold: Floats, class_names: Sequence[str]) -> ReportSection:
    """How often two labels come together, in truth and as predicted, those first where that differs most."""
    both = labels.known.astype(np.int64)
    true, found = ((labels.known & each).astype(np.int64) for each in (labels.truth, labels.present(threshold)))
    first, second = np.triu_indices(len(class_names), 1)
    counts = [(each.T @ each)[first, second] for each in (true, found, both)]
    in_truth, predicted, known = counts
    seen = np.flatnonzero((in_truth > 0) | (predicted > 0))
    order = seen[np.argsort(-np.abs(predicted - in_truth)[seen], kind="stable")][:_MOST_PAIRS].tolist()
    rows = [
        [class_names[first[i]], class_names[second[i]], int(in_truth[i]), int(predicted[i]), int(known[i])]
        for i in order
    ]
    text = (
        "Images that have both labels, and those for which both are predicted, of the images where both are known; the "
        "pairs that differ most come first."
    )
    return ReportSection(
        "Labels that come together", text, [ValueTable(["label", "and", "true", "predicted", "known"], rows)]
    )
